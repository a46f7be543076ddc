"""What local sources have had recorded is durable with its record, bounded, and outlives restarts and damage."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.delivery.item import Entry, Item, Raised, RaisedState, Run
from gateway.errors import StoreError
from gateway.event import Lane
from gateway.outbox import raised
from gateway.outbox.inspect import FILE
from gateway.outbox.migrate import MIGRATIONS
from gateway.outbox.pending import Pending
from tests.support.storing import NOW_US, Life

PRESS = Raised("help", "panic.pressed", 2**53 - 1, b"d" * 16, NOW_US)


def put(life: Life, what: Raised, sequence: int, acknowledges: tuple[str, int] | None = None) -> None:
    item = Item(Lane.ALARM, life.box.start.ordinal, sequence, b"a record")
    life.box.append(Entry(item, b"h" * 32, raised=what, acknowledges=acknowledges))


def lives(folder: Path, *lived: Callable[[Life], None]) -> list[tuple[RaisedState, ...]]:
    """Live so many times; return what was known at each start, and at one more."""

    async def run() -> list[tuple[RaisedState, ...]]:
        known = []
        for number, live in enumerate((*lived, None)):
            async with Life(folder, b"run%d" % number) as life:
                known.append(life.box.start.raised)
                if live is not None:
                    live(life)
        return known

    return asyncio.run(run())


def test_an_event_is_known_after_a_restart_with_its_place_and_its_stage(tmp_path: Path) -> None:
    before, first, second, third = lives(
        tmp_path,
        lambda life: put(life, PRESS, 1),
        lambda life: life.box.receipted([Run(Lane.ALARM, 1, 1, 1)]),
        lambda life: put(life, replace(PRESS, number=7), 1, acknowledges=("help", PRESS.number)),
    )
    (state,) = first
    assert before == ()
    assert (state.raised, state.lane, state.ordinal, state.sequence, state.epoch[4:], state.stage) == (
        PRESS, Lane.ALARM, 1, 1, b"run0", 1,
    )  # fmt: skip
    assert second == (replace(state, stage=2),)
    assert [(one.raised.number, one.stage) for one in third] == [(PRESS.number, 3), (7, 1)]


def test_a_receipt_that_came_before_the_disk_did_its_work_counts(tmp_path: Path) -> None:
    def live(life: Life) -> None:
        life.box.receipted([Run(Lane.ALARM, 1, 1, 1)])
        put(life, PRESS, 1)

    assert [one.stage for one in lives(tmp_path, live)[1]] == [2]


def test_only_the_newest_of_a_type_are_known_whatever_a_clock_says_and_a_flood_of_another_takes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raised, "RAISED_KEPT", 3)

    def live(life: Life) -> None:
        put(life, replace(PRESS, source="other"), 1)
        put(life, PRESS, 2)
        for number in range(3, 9):
            put(life, replace(PRESS, type="door.opened", number=number, at_us=NOW_US - number), number)

    def later(life: Life) -> None:
        put(life, replace(PRESS, type="door.opened", number=9, at_us=NOW_US - 10**12), 1)

    _, first, second = lives(tmp_path, live, later)
    assert [(one.raised.source, one.raised.number) for one in first] == [
        ("other", PRESS.number), ("help", PRESS.number), ("help", 6), ("help", 7), ("help", 8),
    ]  # fmt: skip
    assert [one.raised.number for one in second][2:] == [7, 8, 9]


def test_a_source_that_the_settings_name_no_more_is_forgotten(tmp_path: Path) -> None:
    known = lives(tmp_path, lambda life: put(life, PRESS, 1), lambda life: life.box.forget("help"))
    assert [len(one) for one in known] == [0, 1, 0]


def test_what_c5_had_before_a_disk_that_failed_is_known_after_a_restart(tmp_path: Path) -> None:
    async def run() -> tuple[RaisedState, ...]:
        async with Life(tmp_path, b"run0") as life:
            life.box._failed(StoreError("the disk fails"))
            put(life, PRESS, 1)
            life.box.receipted([Run(Lane.ALARM, 1, 1, 1)])
            assert not life.box._pending.waiting, "C5 has it: nothing of the record is kept"
            async with asyncio.timeout(10):
                while life.box.trouble is not None:  # noqa: ASYNC110  # what is shown has no event
                    await asyncio.sleep(0.05)
        async with Life(tmp_path, b"run1") as life:
            return life.box.start.raised

    (state,) = asyncio.run(run())
    assert (state.raised, state.sequence, state.stage) == (PRESS, 1, 2)


def test_what_the_disk_refuses_again_is_not_forgotten() -> None:
    pending = Pending(lambda: 0.0)
    pending.add(Entry(Item(Lane.ALARM, 1, 1, b"a record"), b"h" * 32, raised=PRESS))
    pending.free([Run(Lane.ALARM, 1, 1, 1)], 1)
    for _ in range(2):
        write = pending.take(shared=True)
        assert write is not None
        assert write.known == ((PRESS, Item(Lane.ALARM, 1, 1, b"")),)
        pending.failed(write)
    pending.forget("help")
    write = pending.take(shared=True)
    assert write is not None
    assert write.known == ()


def test_a_store_of_before_gets_the_table_and_noise_in_it_is_damage(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as older:
        for script in MIGRATIONS[:4]:
            older.executescript(script)
        older.execute("PRAGMA user_version = 4")
        older.commit()
    known = lives(tmp_path, lambda life: put(life, PRESS, 1))
    assert [one.raised for one in known[1]] == [PRESS]
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as noisy:
        noisy.execute("UPDATE raised SET lane = 77")
        noisy.commit()

    async def damaged() -> tuple[str | None, tuple[RaisedState, ...]]:
        async with Life(tmp_path, b"next") as life:
            return life.box.complaint, life.box.start.raised

    complaint, after = asyncio.run(damaged())
    assert complaint == "the table raised holds what was never put there"
    assert after == ()
