"""A machine's clocks: monotonic time since its power came on, and wall time that may be anything."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from gateway.clock import FloorFile
from gateway.signing.record import UNKNOWN_MS
from tests.simulation.loop import PROCESS

BEGIN_US: Final = 1_800_000_000_000_000  # 2027-01-15: the true time when a simulation begins


class SimulatedClock:
    """A `Timekeeper`. `time` is the loop's; the wall clock is true until it is told to be otherwise."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._on_at = time()
        self.offset_us = 0
        self.synchronised = True

    def monotonic(self) -> float:
        """Seconds since the power came on."""
        return self._time() - self._on_at

    def true_us(self) -> int:
        """Return what time it really is."""
        return BEGIN_US + round(self._time() * 1e6)

    def now_us(self) -> int:
        """Microseconds since 1970, as this machine believes."""
        return self.true_us() + self.offset_us

    def quality(self) -> tuple[int, int]:
        """The source, and the uncertainty in ms."""
        return (2, 12) if self.synchronised else (0, UNKNOWN_MS)

    def power_on(self, shown_us: int) -> None:
        """Begin anew after a power cut, showing this time and knowing no better."""
        self._on_at = self._time()
        self.offset_us = shown_us - self.true_us()
        self.synchronised = False

    def synchronise(self) -> None:
        """Set the clock right."""
        self.offset_us = 0
        self.synchronised = True

    def jump(self, seconds: float) -> None:
        """Step the clock by somebody's hand."""
        self.offset_us += round(seconds * 1e6)


class SimulatedFloor(FloorFile):
    """The floor's file: written whole by a program that lives, and there after a power cut."""

    def __init__(self) -> None:
        self._us: int | None = None

    def read(self, _state_dir: Path) -> int | None:
        """Return what was written last, to the second."""
        return self._us

    async def write(self, _state_dir: Path, us: int) -> None:
        """Write it."""
        process = PROCESS.get()
        if process is None or process.alive:
            self._us = us // 1_000_000 * 1_000_000


def moment(us: int) -> datetime:
    """Return microseconds since 1970 as a date."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
