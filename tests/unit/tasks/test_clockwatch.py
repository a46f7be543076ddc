"""Steps become records, and the floor on disk follows what is sure."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.clock import FieldClock
from gateway.tasks import clockwatch
from gateway.tasks.clockwatch import ClockWatch
from tests.support.memory import NOW_US, Clock

LEAST = datetime(2026, 11, 21, tzinfo=UTC)
MOST = datetime(2030, 1, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000
STORED = NOW_US - 24 * HOUR_US


class Set(Clock):
    """The fake clock, set by hand."""

    off_us = 0
    torn = 0.0  # seconds that pass between a look at one clock and at the other

    def now_us(self) -> int:
        shown_us = super().now_us() + self.off_us
        self.now += self.torn
        return shown_us


def watched(
    machine: Set,
    happen: Callable[[Set, int], None],
    looks: int,
    satellites: Callable[[float], tuple[int, int] | None] = lambda _now: None,
    room: Callable[[], bool] = lambda: True,
) -> tuple[list[int], list[Any]]:
    """Look so often, a second apart, with what happens before each; return what was kept and recorded."""
    kept: list[int] = []
    recorded: list[Any] = []
    look = 0

    async def keep(us: int) -> None:
        kept.append(us)

    def record(type_: str, data: dict[str, Any]) -> bool:
        if room():
            recorded.append((type_, data))
        return room()

    async def sleep(seconds: float) -> None:
        nonlocal look
        look += 1
        machine.now += seconds
        if look == looks:
            raise asyncio.CancelledError
        happen(machine, look)

    async def run() -> None:
        field = FieldClock(machine, STORED, LEAST, MOST)
        field.satellites = satellites
        await ClockWatch(field, keep, record).run()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clockwatch, "asyncio", SimpleNamespace(sleep=sleep))
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(run())
    return kept, recorded


def test_a_step_is_recorded_once_and_the_first_time_that_is_sure_is_kept_at_once() -> None:
    def happen(machine: Set, look: int) -> None:
        if look == 3:
            machine.off_us, machine.source = 0, 2

    machine = Set(source=0)
    machine.off_us = -NOW_US
    kept, recorded = watched(machine, happen, looks=8)
    assert recorded == [("clock.stepped", {"from_us": 3_000_000, "to_us": NOW_US + 3_000_000})]
    assert kept == [NOW_US + 3_000_000, NOW_US + 8_000_000]


def test_a_clock_that_is_right_is_kept_at_the_start_each_hour_and_at_the_end() -> None:
    def happen(machine: Set, look: int) -> None:
        if look in {2, 4}:
            machine.now += 1800.0

    kept, recorded = watched(Set(source=2), happen, looks=6)
    assert (kept, recorded) == ([NOW_US, NOW_US + HOUR_US + 4_000_000, NOW_US + HOUR_US + 6_000_000], [])


def test_a_clock_that_nobody_set_keeps_the_floor_carried_on() -> None:
    kept, _recorded = watched(Set(source=0), lambda _machine, _look: None, looks=3)
    assert kept == [STORED + 3_000_000]


def test_clocks_that_were_read_too_far_apart_are_not_compared() -> None:
    def happen(machine: Set, look: int) -> None:
        machine.torn = 5.0 if look == 2 else 0.0

    machine = Set(source=0)
    _kept, recorded = watched(machine, happen, looks=5)
    assert recorded == []


def test_a_time_that_satellites_begin_to_tell_is_a_step_of_the_clock_that_is_gone_by_and_told_once() -> None:
    machine = Set(source=0)
    machine.off_us = -NOW_US
    told_us = NOW_US + 60_000_000

    def satellites(now: float) -> tuple[int, int] | None:
        return (told_us + round((now - 1000.0) * 1e6), 925) if 1003.0 <= now < 1006.0 or now >= 1008.0 else None

    kept, recorded = watched(machine, lambda _machine, _look: None, looks=12, satellites=satellites)
    assert recorded == [("clock.stepped", {"from_us": STORED + 3_000_000, "to_us": told_us + 3_000_000})]
    assert kept == [STORED + 12_000_000], "satellites move no floor"


def test_satellites_that_take_over_from_a_time_server_are_no_step() -> None:
    def happen(machine: Set, look: int) -> None:
        if look == 3:
            machine.source = 0

    machine = Set(source=2)
    late_us = NOW_US - 1_500_000
    _kept, recorded = watched(
        machine, happen, looks=6, satellites=lambda now: (late_us + round((now - 1000.0) * 1e6), 925)
    )
    assert recorded == []


def test_another_time_of_satellites_is_a_step_too() -> None:
    machine = Set(source=0)
    machine.off_us = -NOW_US

    def satellites(now: float) -> tuple[int, int]:
        return NOW_US + round((now - 1000.0) * 1e6) + (0 if now >= 1003.0 else 18_000_000), 386

    _kept, recorded = watched(machine, lambda _machine, _look: None, looks=6, satellites=satellites)
    assert recorded == [("clock.stepped", {"from_us": NOW_US + 21_000_000, "to_us": NOW_US + 3_000_000})]


def test_a_step_that_there_was_no_room_for_is_told_when_there_is_room() -> None:
    def happen(machine: Set, look: int) -> None:
        if look == 2:
            machine.off_us, machine.source = 0, 2

    machine = Set(source=0)
    machine.off_us = -NOW_US
    _kept, recorded = watched(machine, happen, looks=8, room=lambda: machine.now >= 1005.0)
    assert recorded == [("clock.stepped", {"from_us": 2_000_000, "to_us": NOW_US + 2_000_000})]


def test_a_time_server_after_satellites_sets_the_floor_on_disk_at_once() -> None:
    def happen(machine: Set, look: int) -> None:
        if look == 5:
            machine.off_us, machine.source = 0, 2

    machine = Set(source=0)
    machine.off_us = -NOW_US
    kept, _recorded = watched(
        machine, happen, looks=8,
        satellites=lambda now: (NOW_US + round((now - 1000.0) * 1e6), 386) if now >= 1002.0 else None,
    )  # fmt: skip
    assert kept == [NOW_US + 5_000_000, NOW_US + 8_000_000]


def test_a_time_of_satellites_that_was_long_in_coming_is_not_compared() -> None:
    machine = Set(source=0)

    def satellites(now: float) -> tuple[int, int]:
        told = NOW_US + round((now - 1000.0) * 1e6), 386
        machine.now += 5.0 if 1002.0 <= now < 1003.0 else 0.0
        return told

    _kept, recorded = watched(machine, lambda _machine, _look: None, looks=6, satellites=satellites)
    assert recorded == []
