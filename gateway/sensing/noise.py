"""Is a line jammed? Bytes that were no frame, over a threshold for a time; cleared at half of it, for a time.

They are counted in windows of `WINDOW` seconds, so that a jammer that pulses is found too, and a burst (an adapter that
is plugged in, a receiver that prints as it starts) is none. A quiet line has no window, and costs nothing.
"""

from dataclasses import dataclass
from typing import Final

WINDOW: Final = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Jammed:
    """So many bytes a second were noise. Record it and set `jammed`, or it comes again."""

    bytes_s: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """The noise is over. Record it and set `jammed`, or it comes again."""

    bytes_s: int


class Noise:
    """One line's. `jammed`: it is told as jammed."""

    def __init__(self, bytes_s: int, jam_s: float, clear_s: float, now: float, *, jammed: bool = False) -> None:
        self._limit = bytes_s
        self._jam_s = jam_s
        self._clear_s = clear_s
        self.jammed = jammed
        self._began: float | None = now if jammed else None
        self._count = 0
        self._loud = 0.0  # seconds
        self._quiet = 0.0

    def heard(self, count: int, now: float) -> None:
        """Take so many bytes that were no frame."""
        self._count += count
        if self._began is None:
            self._began = now

    def tick(self, now: float) -> Jammed | Cleared | None:
        """Time passed."""
        if self._began is None or now < self._began + WINDOW:
            return None
        lasted = now - self._began
        rate = self._count / lasted
        self._loud = self._loud + lasted if rate >= self._limit else 0.0
        self._quiet = self._quiet + lasted if rate < self._limit / 2 else 0.0
        self._began = now if self._count or self.jammed else None
        self._count = 0
        if self.jammed:
            return Cleared(round(rate)) if self._quiet >= self._clear_s else None
        return Jammed(round(rate)) if self._loud >= self._jam_s else None
