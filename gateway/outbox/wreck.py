"""What a damaged store still says of itself: its small tables, before a single record of it is looked for.

They are read at once, because a gateway that takes frames must know which it has had: counters (a replay), event
numbers that C5 has (no second record), the start count and the last record of each lane (the next epoch). What is taken
over is less than what is found:

1. A row counts only if it fits (`FITS`) and its page is whole. A device whose row doesn't is as one enrolled anew:
   heard, its records flagged, and challenged. A wrong counter would make it a stranger for good.
2. An event is known only if C5 has it. Of one that was merely stored, the record may be what is lost: sent again by its
   device, it is recorded again, and C5 takes both for one happening.
3. What names an epoch that isn't known is dropped: that number will be given again.
"""

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from gateway.delivery.item import PRESS, Run
from gateway.errors import DamagedError
from gateway.event import Lane
from gateway.outbox import spans, statements
from gateway.outbox.migrate import MIGRATIONS
from gateway.outbox.pages import Pages, Row, Value
from gateway.text import _

UINT32: Final = 2**32 - 1
PLACE_MAX: Final = 2**53 - 1  # of ordinals and sequences
_DEVICE: Final = re.compile(r"[0-9a-f]{8}")
_NAME: Final = re.compile(r"[a-z0-9.-]{1,63}")
_NOTED: Final = re.compile(r"[a-z0-9_./-]{1,160}")  # a type, and for a unit on a bus which point of it
_NOWHERE: Final = 0  # an ordinal that no epoch has: those of a store count up from 1, salvaged ones down from -1
_RECEIVED: Final = 2  # the stage of an event that C5 has


def _number(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _span(lane: Any, ordinal: Any, first: Any, last: Any) -> bool:
    return (
        _number(lane, 0, max(Lane))
        and _number(ordinal, -PLACE_MAX, PLACE_MAX)
        and _number(first, 1, PLACE_MAX)
        and _number(last, first, PLACE_MAX)
    )


def _device(device: Any, *rest: Any) -> bool:
    match rest:
        case [counter, bytes(), seen, proven, highest, bytes()]:
            numbers = ((counter, UINT32), (seen, 0xFFFF), (proven, 1), (highest, UINT32))
            return _is_device(device) and all(_number(value, 0, most) for value, most in numbers)
    return False


def _is_device(value: Any) -> bool:
    return type(value) is str and _DEVICE.fullmatch(value) is not None


def _note(source: Any, what: Any, value: Any) -> bool:
    named = type(source) is str and _NAME.fullmatch(source) and type(what) is str and _NOTED.fullmatch(what)
    return bool(named) and _number(value, 0, PLACE_MAX)


# By table, whether a row can be one of ours.
FITS: Final[dict[str, Callable[..., bool]]] = {
    "fact": lambda name, value: type(name) is str and _number(value, 0, PLACE_MAX),
    "epoch": lambda ordinal, epoch, count, chain: (
        _number(ordinal, -PLACE_MAX, PLACE_MAX)
        and _number(count, 0, UINT32)
        and type(epoch) is bytes
        and len(epoch) == 8
        and epoch[:4] == count.to_bytes(4, "big")
        and type(chain) is bytes
    ),
    "head": lambda lane, ordinal, sequence, digest, receipted: (
        _span(lane, ordinal, sequence, sequence)
        and type(digest) is bytes
        and len(digest) == 32
        and _number(receipted, 0, 1)
    ),
    "receipted": _span,
    "lost": _span,
    "declared": lambda lane, ordinal, first, last, by, sequence: (
        _span(lane, ordinal, first, last) and _span(lane, by, sequence, sequence)
    ),
    "device": _device,
    "event": lambda device, number, lane, ordinal, sequence, stage: (
        _is_device(device)
        and _number(number, 1, UINT32)
        and _span(lane, ordinal, sequence, sequence)
        and _number(stage, 1, 3)
    ),
    "note": _note,
    "raised": lambda source, type_, number, digest, at_us, lane, ordinal, sequence, stage: (
        type(source) is str
        and _NAME.fullmatch(source) is not None
        and type(type_) is str
        and _NOTED.fullmatch(type_) is not None
        and _number(number, 1, PLACE_MAX)
        and type(digest) is bytes
        and _number(at_us, -PLACE_MAX, PLACE_MAX)
        and _span(lane, ordinal, sequence, sequence)
        and _number(stage, 1, 3)
    ),
}
_COLUMNS: Final = {
    "fact": 2, "epoch": 4, "head": 5, "receipted": 4, "declared": 6, "device": 7, "event": 6, "note": 3, "lost": 4,
    "raised": 9,
}  # fmt: skip


def _fits(table: str, row: Sequence[Any]) -> bool:
    return len(row) == _COLUMNS[table] and FITS[table](*row)


def check(connection: sqlite3.Connection) -> None:
    """Raise `DamagedError` if the small tables hold what was never put there: noise that SQLite took for rows."""
    epochs = {ordinal for (ordinal,) in connection.execute("SELECT ordinal FROM epoch")}
    here = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in FITS.keys() & here:  # an older store, on a disk that can't be written, has fewer
        rows = connection.execute(f"SELECT * FROM {table}") if statements.has(connection, table) else ()  # noqa: S608  # a constant
        for row in rows:
            if not _fits(table, row) or (table == "head" and row[1] not in epochs):
                raise DamagedError(_("the table {table} holds what was never put there").format(table=table))


@dataclass(frozen=True, slots=True)
class Known:
    """What could be believed. `reached`: by lane and ordinal, the highest sequence of which there is word.

    `told`: whether all is known that C5 has receipted; without that, what isn't here may well be there.
    """

    start_count: int
    epochs: tuple[Row, ...]
    heads: tuple[Row, ...]
    receipted: tuple[Row, ...]
    devices: tuple[Row, ...]
    events: tuple[Row, ...]
    notes: tuple[Row, ...]
    lost: tuple[Row, ...]
    raised: tuple[Row, ...]
    reached: dict[tuple[Lane, int], int]
    told: bool

    @property
    def chains(self) -> tuple[bytes, ...]:
        """The certificates under which its epochs were signed."""
        return tuple({epoch[3]: None for epoch in self.epochs if isinstance(epoch[3], bytes)})

    @property
    def names(self) -> dict[int, bytes]:
        """Its epochs by its ordinals."""
        return {_int(ordinal): epoch for ordinal, epoch, *_ in self.epochs if isinstance(epoch, bytes)}

    def ordinals(self, here: Mapping[int, int]) -> dict[bytes, int]:
        """Return its epochs with their ordinals in another store, given those by its own."""
        return {epoch: here[_int(ordinal)] for ordinal, epoch, *_ in self.epochs if isinstance(epoch, bytes)}


def known(pages: Pages) -> Known:
    """Read the small tables."""
    roots = dict(_standard())  # should the page that says so be gone
    for row in pages.table(1)[0]:
        match row:
            case [_rowid, "table", str(name), _table, int(root), *_] if name in roots:
                roots[name] = root
    rows: dict[str, list[Row]] = {}
    whole: dict[str, bool] = {}
    for table in _COLUMNS:
        found, whole[table] = pages.table(roots[table])
        if table in ("epoch", "head"):  # their first column is the rowid, and NULL where it would stand
            found = [(row[0], *row[2:]) for row in found]
        rows[table] = [row for row in found if _fits(table, row)]
    epochs = {row[0]: row for row in rows["epoch"]}
    rows["head"] = [row for row in rows["head"] if row[1] in epochs]
    for table in ("receipted", "lost"):
        rows[table] = [row for row in rows[table] if row[1] in epochs]
    reached: dict[tuple[Lane, int], int] = {}
    ends = [
        *((row[0], row[1], row[2]) for row in rows["head"]),
        *((row[0], row[1], row[3]) for row in rows["receipted"]),
        *((row[2], row[3], row[4]) for row in rows["event"] if row[3] in epochs),
    ]
    for lane, ordinal, sequence in ends:
        place = Lane(_int(lane)), _int(ordinal)
        reached[place] = max(reached.get(place, 0), _int(sequence))
    counts = [_int(row[1]) for row in rows["fact"] if row[0] == "start_count" and _int(row[1]) <= UINT32]
    counts += [_int(row[2]) for row in rows["epoch"]]
    return Known(
        start_count=max(counts, default=0),
        epochs=tuple(rows["epoch"]),
        heads=tuple(rows["head"]),
        receipted=tuple(rows["receipted"]),
        devices=tuple(rows["device"]),
        events=tuple(row for row in rows["event"] if _int(row[5]) >= _RECEIVED),
        notes=tuple(row for row in rows["note"] if not str(row[1]).startswith(PRESS)),
        lost=tuple(rows["lost"]),
        raised=tuple(row for row in rows["raised"] if row[6] in epochs and _int(row[8]) >= _RECEIVED),
        reached=reached,
        told=whole["receipted"] and whole["epoch"],
    )


def adopt(connection: sqlite3.Connection, found: Known, *, whole: bool) -> dict[int, int]:
    """Put into a store what it doesn't know better itself: nothing goes back. Return its ordinals by the wreck's.

    `whole`: it takes the other's place. Else only what helps with the other's records: epochs, and what C5 has.
    Notes are taken by a store that has no epoch yet: one that has knows which of them have ended.
    """
    begun = connection.execute("SELECT 1 FROM epoch").fetchone() is not None
    connection.execute(
        "INSERT INTO fact VALUES ('start_count', ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
        (found.start_count,),
    )
    ordinals = {
        _int(ordinal): place(connection, epoch, count, chain, ordinal if whole else None)
        for ordinal, epoch, count, chain in found.epochs
    }
    statements.receipt(connection, [_run(row, ordinals) for row in found.receipted])
    if whole:
        for row in found.lost:
            spans.merge(connection, "lost", _run(row, ordinals))
        connection.executemany(
            "INSERT OR IGNORE INTO head VALUES (?, ?, ?, ?, ?)",
            ((row[0], ordinals[_int(row[1])], *row[2:]) for row in found.heads),
        )
        connection.executemany("INSERT OR IGNORE INTO device VALUES (?, ?, ?, ?, ?, ?, ?)", found.devices)
        if not begun:
            connection.executemany("INSERT OR IGNORE INTO note VALUES (?, ?, ?)", found.notes)
        connection.executemany(
            "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, ?)",
            ((*row[:3], ordinals.get(_int(row[3]), _NOWHERE), *row[4:]) for row in found.events),
        )
        connection.executemany(
            "INSERT OR IGNORE INTO raised VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((*row[:6], ordinals[_int(row[6])], *row[7:]) for row in found.raised),
        )
    return ordinals


def _run(row: Row, ordinals: Mapping[int, int]) -> Run:
    return Run(Lane(_int(row[0])), ordinals[_int(row[1])], _int(row[2]), _int(row[3]))


def place(connection: sqlite3.Connection, epoch: Value, start_count: Value, chain: Value, wish: Value) -> int:
    """Return an epoch's ordinal in this store; one that it doesn't know is put in: as wished, or before all others."""
    for (ordinal,) in connection.execute("SELECT ordinal FROM epoch WHERE epoch = ?", (epoch,)):
        return _int(ordinal)
    (lowest,) = connection.execute("SELECT min(ordinal) FROM epoch").fetchone()
    if wish is None or connection.execute("SELECT 1 FROM epoch WHERE ordinal = ?", (wish,)).fetchone():
        wish = min(_NOWHERE, lowest or _NOWHERE) - 1
    connection.execute("INSERT INTO epoch VALUES (?, ?, ?, ?)", (wish, epoch, start_count, chain))
    return _int(wish)


@cache
def _standard() -> dict[str, int]:
    """Return where each table begins in a store that we make."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for script in MIGRATIONS:
            connection.executescript(script)
        return dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"))
    finally:
        connection.close()


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
