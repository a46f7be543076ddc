"""The clocks: wall time with its quality, and monotonic time. Everything else is handed these.

The wall clock of a Raspberry Pi is wrong after a power cut until NTP or GNSS sets it, so every record carries how far
it was to be trusted: the kernel's own word for it (adjtimex).

Source: adjtimex(2).
"""

import ctypes
import time
from typing import Final, Protocol

from gateway.signing.record import UNKNOWN_MS, Clock

_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5
_REFRESH: Final = 1.0  # seconds: the kernel isn't asked for each record


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


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._asked_at = -_REFRESH
        self._quality = (0, UNKNOWN_MS)

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        return time.monotonic()

    def now_us(self) -> int:
        """Microseconds since 1970 by the wall clock."""
        return time.time_ns() // 1000

    def quality(self) -> tuple[int, int]:
        """Return source 2 (NTP) with the kernel's estimate while it is synchronised, else 0 and unknown."""
        now = time.monotonic()
        if now - self._asked_at >= _REFRESH:
            self._asked_at = now
            self._quality = self._ask()
        return self._quality

    def _ask(self) -> tuple[int, int]:
        timex = _Timex()
        state = self._libc.adjtimex(ctypes.byref(timex))
        if state in (-1, _TIME_ERROR) or timex.status & _STA_UNSYNC:
            return 0, UNKNOWN_MS
        return 2, min(UNKNOWN_MS - 1, max(1, timex.maxerror // 1000))


class EpochClock:
    """A record's time: when it happened by the wall clock, and on the epoch's own monotonic scale."""

    def __init__(self, clock: Timekeeper) -> None:
        self._clock = clock
        self._began = clock.monotonic()

    def occurred(self, age_ms: int) -> tuple[int, Clock]:
        """Return the time of something that happened `age_ms` ago, and how far to trust it."""
        source, uncertainty = self._clock.quality()
        monotonic_ms = round((self._clock.monotonic() - self._began) * 1000) - age_ms
        return self._clock.now_us() - age_ms * 1000, Clock(source, uncertainty, monotonic_ms)
