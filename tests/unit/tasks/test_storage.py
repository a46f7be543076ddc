"""What C5 is told of the disk."""

from typing import Any

import pytest

from gateway.delivery.coverage import Coverage
from gateway.delivery.item import Run
from gateway.event import Lane
from gateway.outbox.dropping import Drop
from gateway.tasks.storage import Storage
from tests.support.memory import Store, read
from tests.unit.tasks.test_recorder import EPOCH, _recorder


@pytest.fixture
def site() -> tuple[Storage, Store, Coverage]:
    store, coverage = Store(), Coverage()
    return Storage("gw-1", _recorder(store), coverage, {EPOCH: 2}), store, coverage


def _said(store: Store) -> list[tuple[str, Any]]:
    return [(record.type, record.data) for record in (read(entry.item.wire) for entry in store.entries)]


def test_a_disk_that_fails_and_heals_and_one_that_fills_up_and_has_room_again(
    site: tuple[Storage, Store, Coverage],
) -> None:
    storage, store, _coverage = site
    storage.trouble("x" * 900)
    storage.trouble(None)
    storage.low(63, True)
    storage.low(128, False)
    assert _said(store) == [
        ("storage.degraded", {"reason": "x" * 500}),
        ("storage.restored", {"reason": "writable"}),
        ("storage.low", {"reason": "the file system is nearly full", "free_mb": 63}),
        ("storage.restored", {"reason": "room", "free_mb": 128}),
    ]


def test_what_is_dropped_leaves_with_its_declaration_even_where_there_is_no_room_for_status(
    site: tuple[Storage, Store, Coverage],
) -> None:
    storage, store, coverage = site
    store.full = True
    run = Run(Lane.TELEMETRY, 2, 1, 9)
    storage.drop(Drop(Lane.TELEMETRY, (run,), 9))
    (entry,) = store.entries
    assert entry.drops == (run,)
    ranges = [[EPOCH, 1, 9]]
    assert _said(store) == [
        ("records.unavailable", {"lane": 2, "ranges": ranges, "count": 9, "reason": "dropped"})
    ]  # fmt: skip
    assert coverage.left_of(run) == []
    assert coverage.untold(run) == []


def test_what_was_declared_lost_and_is_found_is_to_be_sent_and_so_are_declarations_of_its_epoch(
    site: tuple[Storage, Store, Coverage],
) -> None:
    storage, store, coverage = site
    found, gone = Run(Lane.ALARM, 1, 1, 3), Run(Lane.ALARM, 1, 4, 5)
    coverage.forgo([found], (2, 7), lost=True)
    storage.found([found], {b"epoch--1": 1})
    assert coverage.left_of(Run(Lane.ALARM, 1, 1, 3)) == [found]
    storage.lost([gone])
    assert _said(store) == [
        ("records.unavailable", {"lane": 0, "ranges": [[b"epoch--1", 4, 5]], "count": 2, "reason": "lost"})
    ]
