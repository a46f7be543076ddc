"""What local sources have had recorded is durable with its record, bounded, and outlives restarts and damage."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.delivery.item import Entry, Item, Raised, RaisedState, Run
from gateway.event import Lane
from gateway.outbox import raised
from gateway.outbox.inspect import FILE
from gateway.outbox.migrate import MIGRATIONS
from tests.support.storing import NOW_US, Life

PRESS = Raised("help", 2**53 - 1, b"d" * 16, NOW_US)


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


def test_only_the_newest_of_a_source_are_known_and_none_for_more_than_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raised, "KEPT", 3)

    def live(life: Life) -> None:
        put(life, replace(PRESS, source="other"), 1)
        for number in range(2, 8):
            put(life, replace(PRESS, number=number, at_us=NOW_US + number), number)

    def later(life: Life) -> None:
        put(life, replace(PRESS, number=8, at_us=NOW_US + 7 + raised.KEPT_US), 1)

    _, first, second = lives(tmp_path, live, later)
    assert [(one.raised.source, one.raised.number) for one in first] == [
        ("other", PRESS.number), ("help", 5), ("help", 6), ("help", 7),
    ]  # fmt: skip
    assert [(one.raised.source, one.raised.number) for one in second] == [
        ("other", PRESS.number), ("help", 7), ("help", 8),
    ]  # fmt: skip


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
