"""What is said of what leaves, in as few words as hold it."""

import sqlite3

from gateway.delivery.item import Declared, Entry, Item, Run
from gateway.event import Lane
from gateway.outbox import statements
from gateway.outbox.dropping import MERGE, RANGES_MAX, Drop, declarations
from gateway.outbox.migrate import MIGRATIONS

STATUS, TELEMETRY = Lane.STATUS, Lane.TELEMETRY
EPOCH = bytes.fromhex("0000000101020304")


def _run(first: int, last: int | None = None, lane: Lane = TELEMETRY) -> Run:
    return Run(lane, 1, first, last or first)


def test_what_leaves_is_said_by_lane() -> None:
    drops = declarations({TELEMETRY: [_run(1, 9)], STATUS: [_run(3, 4, STATUS), _run(6, None, STATUS)]}, [])
    assert drops == [
        Drop(TELEMETRY, (_run(1, 9),), 9),
        Drop(STATUS, (_run(3, 4, STATUS), _run(6, None, STATUS)), 3),
    ]
    assert drops[1].data({1: EPOCH}) == {
        "lane": 1, "ranges": [[EPOCH, 3, 4], [EPOCH, 6, 6]], "count": 3, "reason": "dropped",
    }  # fmt: skip
    assert declarations({TELEMETRY: [], STATUS: []}, []) == []


def test_after_eight_the_next_says_what_they_said_and_another_that_they_are_gone() -> None:
    told = [Declared(_run(10 * n + 1, 10 * n + 10), (1, 5 * n + 5)) for n in range(MERGE - 1)]
    new = {TELEMETRY: [_run(71, 80)]}
    assert declarations(new, told) == [Drop(TELEMETRY, (_run(71, 80),), 10)], "few enough"
    told.append(Declared(_run(81, 90), (1, 40)))
    gone = tuple(_run(5 * n + 5, None, STATUS) for n in range(MERGE))
    assert declarations(new, told) == [Drop(TELEMETRY, (_run(1, 90),), 10), Drop(STATUS, gone, 0)]


def test_what_says_that_declarations_are_gone_is_itself_replaced_by_the_next_and_named_in_it() -> None:
    told = [Declared(_run(n, n), (1, n + 100)) for n in range(1, MERGE + 1)]
    before = Declared(_run(50, 57, STATUS), (1, 60))
    drops = declarations({TELEMETRY: [_run(MERGE + 1)]}, [*told, before])
    assert drops == [
        Drop(TELEMETRY, (_run(1, MERGE + 1),), 1),
        Drop(STATUS, (_run(50, 57, STATUS), _run(60, None, STATUS), _run(101, 100 + MERGE, STATUS)), 0),
    ]


def test_a_full_declaration_is_left_as_it_is() -> None:
    full = [Declared(_run(2 * n), (1, 7)) for n in range(1, RANGES_MAX + 1)]
    others = [Declared(_run(1000 + n), (1, 10 + n)) for n in range(MERGE)]
    drops = declarations({TELEMETRY: [_run(2000)]}, [*full, *others])
    assert drops[0].runs == (_run(1000, 1000 + MERGE - 1), _run(2000))
    assert drops[1].runs == (_run(10, 10 + MERGE - 1, STATUS),)
    assert all(len(drop.runs) <= RANGES_MAX for drop in drops)


def test_a_declaration_of_the_beginning_of_what_an_older_one_says_is_stored_and_the_older_one_stays() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for script in MIGRATIONS:
        connection.executescript(script)
    for run, by in ((Run(TELEMETRY, 1, 5, 10), 3), (Run(TELEMETRY, 1, 5, 7), 4), (Run(TELEMETRY, 1, 12, 12), 5)):
        statements.drop(connection, Entry(Item(STATUS, 1, by, b"declaration"), bytes(32), drops=(run,)))
    assert statements.declared(connection) == (
        Declared(Run(TELEMETRY, 1, 5, 10), (1, 3)),
        Declared(Run(TELEMETRY, 1, 12, 12), (1, 5)),
    )
    statements.drop(connection, Entry(Item(STATUS, 1, 6, b"x"), bytes(32), drops=(Run(TELEMETRY, 1, 5, 12),)))
    assert statements.declared(connection) == (Declared(Run(TELEMETRY, 1, 5, 12), (1, 6)),)
    connection.close()
