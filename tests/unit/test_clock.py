"""The gateway's time from the machine's clocks, and the floor on disk."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.clock import FLOOR_FILE, EpochClock, FieldClock, FloorFile, SystemClock, moment
from gateway.signing.record import Clock
from tests.support.memory import NOW_US
from tests.support.memory import Clock as FakeClock

LEAST = datetime(2026, 11, 21, tzinfo=UTC)
MOST = datetime(2030, 1, 1, tzinfo=UTC)
UNKNOWN = 2**32 - 1
DAY_US = 86_400_000_000


class Unset(FakeClock):
    """The fake clock in 1970, until somebody sets it."""

    off_us = -NOW_US

    def now_us(self) -> int:
        return super().now_us() + self.off_us


def test_records_of_a_gateway_that_wakes_up_in_1970_carry_the_floor_and_its_source() -> None:
    machine = Unset(source=0)
    field = FieldClock(machine, NOW_US - DAY_US, LEAST, MOST)
    occurred = EpochClock(field).occurred
    machine.now += 2.5
    assert occurred(500) == (NOW_US - DAY_US + 2_000_000, Clock(1, UNKNOWN, 2000))
    assert field.instead() == datetime(2027, 1, 14, 8, 0, 2, 500_000, tzinfo=UTC)
    machine.off_us, machine.source = 0, 2
    assert occurred(0) == (NOW_US + 2_500_000, Clock(2, 5, 2500))
    assert (field.instead(), field.firm()) == (None, (NOW_US + 2_500_000, True))


def test_satellites_sign_records_and_judge_nothing() -> None:
    machine = FakeClock(source=1)
    field = FieldClock(machine, NOW_US - DAY_US, LEAST, MOST)
    told_us = NOW_US + 400 * DAY_US
    field.satellites = lambda _now: (told_us, 386)
    assert EpochClock(field).occurred(0) == (told_us, Clock(3, 386, 0))
    assert (field.instead(), field.firm()) == (None, (NOW_US, False)), "a battery's clock that is right stays right"
    dead = Unset(source=0)
    field = FieldClock(dead, NOW_US - DAY_US, LEAST, MOST)
    field.satellites = lambda _now: (told_us, 386)
    assert field.judged().us == told_us
    assert field.instead() == datetime(2027, 1, 14, 8, 0, tzinfo=UTC), "the floor allows TLS after a boot in 1970"
    assert field.firm() == (NOW_US - DAY_US, False)


def test_what_the_kernel_has_stamped_carries_the_kernel_s_time_to_the_microsecond() -> None:
    machine = FakeClock()
    occurred = EpochClock(FieldClock(machine, None, LEAST, MOST)).occurred
    pressed_ns = round((machine.now + 1) * 1e9) + 4321
    machine.now += 2.5
    at_us, clock = occurred(0, pressed_ns)
    assert (at_us, clock.monotonic_ms) == (NOW_US + 1_000_004, 1000)
    assert occurred(0, round((machine.now + 60) * 1e9))[0] == NOW_US + 2_500_000, "never in the future"


def test_certificates_of_our_own_are_a_floor_where_nothing_is_stored() -> None:
    field = FieldClock(Unset(source=0), None, LEAST, MOST)
    assert field.now() == LEAST
    assert field.quality() == (1, UNKNOWN)


def test_the_floor_is_read_back_after_a_power_cut_to_the_second(tmp_path: Path) -> None:
    asyncio.run(FloorFile().write(tmp_path, NOW_US + 999_999))
    assert (tmp_path / FLOOR_FILE).read_text() == "2027-01-15T08:00:00Z 2df5108c\n"
    assert [path.name for path in tmp_path.iterdir()] == [FLOOR_FILE]
    assert FloorFile().read(tmp_path) == NOW_US
    asyncio.run(FloorFile().write(tmp_path, NOW_US - DAY_US))
    assert FloorFile().read(tmp_path) == NOW_US - DAY_US


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"2027-01-15T08:00:00Z",
        b"2027-01-15T08:00:00Z 00000000\n",
        b"\xff\x00",
        b"never 1a25a210\n",
        b"2027-01-15 f96e12f5\n",
    ],
)
def test_a_floor_that_is_damaged_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FLOOR_FILE).write_bytes(content)
    assert FloorFile().read(tmp_path) is None


def test_a_wrong_bit_in_the_floor_is_seen(tmp_path: Path) -> None:
    asyncio.run(FloorFile().write(tmp_path, NOW_US))
    whole = (tmp_path / FLOOR_FILE).read_bytes()
    for place in range(len(whole) - 1):
        for bit in range(8):
            (tmp_path / FLOOR_FILE).write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            assert FloorFile().read(tmp_path) is None


def test_a_folder_that_is_not_there_costs_the_floor_and_nothing_else(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    asyncio.run(FloorFile().write(missing, NOW_US))
    assert FloorFile().read(missing) is None


def test_the_machines_clock_says_what_the_kernel_says() -> None:
    clock = SystemClock()
    source, uncertainty_ms = clock.quality()
    assert (source == 2 and uncertainty_ms < 16_000) or (source in {0, 1} and uncertainty_ms == UNKNOWN)
    assert moment(clock.now_us())[10] == "T"
