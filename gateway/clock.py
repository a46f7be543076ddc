"""The clocks: wall time with its quality, and monotonic time. Everything else is handed these.

The wall clock of a Raspberry Pi is wrong after a power cut until NTP or GNSS sets it, so every record carries how far
it was to be trusted: the kernel's own word for it (adjtimex). `SystemClock` says what the machine's clocks show,
`FieldClock` what the gateway makes of it (`gateway.wall`); `FloorFile` keeps a time that can't be later than the true
one across a power cut, in a file of its own, which is there when the outbox isn't.

Source: adjtimex(2); Linux, Documentation/ABI/testing/rtc-cdev and sysfs-class-rtc ("hctosys").
"""

import asyncio
import ctypes
import logging
import os
import time
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from gateway.signing.record import SYNCHRONISED, UNKNOWN_MS, Clock
from gateway.wall import FLOOR, Judged, Reading, Wall

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

FLOOR_FILE: Final = "clock-floor"
_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RTC: Final = Path("/sys/class/rtc")


class _Timex(ctypes.Structure):
    """struct timex of Linux, 64-bit, as far as it is read; the padding covers the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


class Timekeeper(Protocol):
    """What the gateway needs of time; a simulation hands in its own."""

    def monotonic(self) -> float:
        """Seconds that only ever grow."""

    def now_us(self) -> int:
        """Microseconds since 1970 by the wall clock, right or wrong."""

    def quality(self) -> tuple[int, int]:
        """The wall clock's source (wire.md, key 8) and uncertainty in ms."""


class Judge(Timekeeper, Protocol):
    """A clock by which what others have signed is judged too."""

    def firm(self) -> tuple[int, bool]:
        """Microseconds since 1970, in which satellites have no say, and whether a time server vouches for it."""


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._unsynchronised = (FLOOR if _set_from_rtc() else 0, UNKNOWN_MS)

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        return time.monotonic()

    def now_us(self) -> int:
        """Microseconds since 1970 by the wall clock."""
        return time.time_ns() // 1000

    def quality(self) -> tuple[int, int]:
        """Return source 2 (NTP) with the kernel's estimate while it is synchronised; else 1 (RTC) or 0, and unknown.

        The kernel is asked each time, which takes 2 µs: a clock that has just been set is believed at once.
        """
        timex = _Timex()
        state = self._libc.adjtimex(ctypes.byref(timex))
        if state in (-1, _TIME_ERROR) or timex.status & _STA_UNSYNC:
            return self._unsynchronised
        return 2, min(UNKNOWN_MS - 1, max(1, timex.maxerror // 1000))


def _set_from_rtc() -> bool:
    """Whether a clock with a battery set the system's when it started: the kernel's word."""
    try:
        return any(path.read_text() == "1\n" for path in _RTC.glob("*/hctosys"))
    except OSError:
        return False


class FieldClock:
    """The time that the gateway goes by: the machine's clocks, judged. It is a `Timekeeper` itself.

    `stored_us` is what the floor's file says; before `least` and after `most` no clock of this gateway is right.
    """

    def __init__(self, machine: Timekeeper, stored_us: int | None, least: datetime, most: datetime) -> None:
        self.machine = machine
        self.satellites: Callable[[float], tuple[int, int] | None] = lambda _now: None  # µs since 1970, and ms unsure
        self._wall = Wall(stored_us, _us(least), _us(most), machine.monotonic())

    def judged(self) -> Judged:
        """Read the machine's clocks and judge them."""
        reading = self._read()
        return self._wall.judge(reading, self.satellites(reading.now))

    def firm(self) -> tuple[int, bool]:
        """Return the time to judge others by: satellites have no say in it."""
        judged = self._wall.firm(self._read())
        return judged.us, judged.source in SYNCHRONISED

    def _read(self) -> Reading:
        source, uncertainty_ms = self.machine.quality()  # before the time: one set in between is doubted, not believed
        return Reading(self.machine.now_us(), source, uncertainty_ms, self.machine.monotonic())

    @property
    def unbelieved(self) -> str | None:
        """Why the time of satellites isn't believed, at the last look: "early", "late", "apart"; None: it is."""
        return self._wall.unbelieved

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        return self.machine.monotonic()

    def now_us(self) -> int:
        """Microseconds since 1970, as near as this gateway knows."""
        return self.judged().us

    def quality(self) -> tuple[int, int]:
        """Return the source (wire.md, key 8) and uncertainty in ms of `now_us`."""
        judged = self.judged()
        return judged.source, judged.uncertainty_ms

    def floor_us(self) -> int:
        """Return the time that it certainly is by now."""
        return self._wall.floor_us(self.machine.monotonic())

    def now(self) -> datetime:
        """Return the time as a date."""
        return _EPOCH + timedelta(microseconds=self.now_us())

    def instead(self) -> datetime | None:
        """Return a time that it is at least, where the machine's clock, which OpenSSL judges by, can't be right."""
        judged = self._wall.firm(self._read())  # a receiver that is deceived cuts no gateway off
        return _EPOCH + timedelta(microseconds=judged.us) if judged.doubted else None


class FloorFile:
    """The floor on disk: a time, and a checksum, since a wrong bit in it could be a wrong century.

    It is written when the clock has been synchronised, once an hour, and at the end: a start later than that begins
    with a time that is too early by at most an hour and the time without power.
    """

    def read(self, state_dir: Path) -> int | None:
        """Return microseconds since 1970; None if there is no file, or none that can be believed."""
        try:
            said, _, checksum = (state_dir / FLOOR_FILE).read_text(encoding="ascii").strip().partition(" ")
            if checksum != _checksum(said):
                return None
            return _us(datetime.fromisoformat(said))
        except (OSError, ValueError, TypeError):  # TypeError: a time without its zone
            return None

    async def write(self, state_dir: Path, us: int) -> None:
        """Write it, durably and whole or not at all; a disk that fails is the store's trouble, not this file's."""
        said = moment(us)
        try:
            await asyncio.to_thread(_replace, state_dir / FLOOR_FILE, f"{said} {_checksum(said)}\n".encode())
        except OSError as error:
            log.debug("the clock's floor can't be written: %s", error)


def moment(us: int) -> str:
    """Return a time to the second, for people: RFC 3339."""
    return f"{_EPOCH + timedelta(microseconds=us):%Y-%m-%dT%H:%M:%SZ}"


def _replace(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _checksum(said: str) -> str:
    return f"{zlib.crc32(said.encode()):08x}"


def _us(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


class EpochClock:
    """A record's time: when it happened by the wall clock, and on the epoch's own monotonic scale."""

    def __init__(self, clock: FieldClock) -> None:
        self._clock = clock
        self._began = clock.monotonic()

    def occurred(self, age_ms: int, at_ns: int | None = None) -> tuple[int, Clock]:
        """Return the time of something that happened `age_ms` ago, and how far to trust it.

        `at_ns` instead: the kernel's CLOCK_MONOTONIC when it happened, as `Timekeeper.monotonic` counts too.
        """
        judged, now = self._clock.judged(), self._clock.monotonic()
        age_us = age_ms * 1000 if at_ns is None else max(0, round(now * 1e6) - at_ns // 1000)
        monotonic_ms = round((now - self._began) * 1000 - age_us / 1000)
        return judged.us - age_us, Clock(judged.source, judged.uncertainty_ms, monotonic_ms)
