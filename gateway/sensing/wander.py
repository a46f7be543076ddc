"""Whether what should stand still stands where it stood.

It is *moved* when it has been outside its radius for a time, by fixes that agree on that: what an echo between
buildings does for seconds (multipath) ends before, and a single fix inside begins the time anew, as an outage does. A
fix counts as outside only if its own inaccuracy can't explain it; where that can, it decides nothing. Back is back only
well inside, and for as long.

Without a place in the settings it is learnt: the mean of good fixes that agree for a time.
"""

from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

from gateway.sensing.fix import ASSUMED_M, TOGETHER_S, Fix, distance_m

FIXES_MIN: Final = 10  # that agree, without an outage between them
BACK: Final = 0.5  # of the radius
LEARN_S: Final = 600.0  # seconds of fixes: the receiver's own wandering is averaged over some of its periods
LEARN_FIXES: Final = 60
UNIT: Final = 1e-7  # degrees: what a record counts in


class Place(NamedTuple):
    """In degrees."""

    latitude: float
    longitude: float

    def pack(self) -> int:
        """Return it as one number, which a store's note can hold."""
        return (round(self.latitude / UNIT) + 900_000_000) << 32 | (round(self.longitude / UNIT) + 1_800_000_000)

    @classmethod
    def unpack(cls, packed: int) -> "Place":
        """Return the place that `pack` has made a number of."""
        north, east = packed >> 32, packed & 0xFFFF_FFFF
        return cls((north - 900_000_000) * UNIT, (east - 1_800_000_000) * UNIT)


class _Lasting:
    """Something that holds for a time, over enough fixes, without an outage."""

    def __init__(self) -> None:
        self._since = self._at = 0.0
        self._fixes = 0

    def so(self, now: float, seconds: float, *, holds: bool) -> bool:
        if not holds:
            self._fixes = 0
            return False
        if not self._fixes or now > self._at + TOGETHER_S:
            self._since, self._fixes = now, 0
        self._at = now
        self._fixes += 1
        return self._fixes >= FIXES_MIN and now >= self._since + seconds


class Wander:
    """One thing that should stand. `moved` may be known from before the start."""

    def __init__(self, anchor: Place, radius_m: float, seconds: float, *, moved: bool = False) -> None:
        self.anchor = anchor
        self.moved = moved
        self.distance_m: float | None = None
        self._radius_m = radius_m
        self._seconds = seconds
        self._outside = _Lasting()
        self._back = _Lasting()

    def fixed(self, fix: Fix) -> bool:
        """Take a good fix; return whether it is moved."""
        self.distance_m = distance = distance_m(*self.anchor, fix.latitude, fix.longitude)
        accuracy = ASSUMED_M if fix.accuracy_m is None else fix.accuracy_m
        outside = distance - accuracy > self._radius_m
        decides = outside or distance <= self._radius_m
        if decides and self._outside.so(fix.at, self._seconds, holds=outside):
            self.moved = True
        if self._back.so(fix.at, self._seconds, holds=distance <= self._radius_m * BACK):
            self.moved = False
        return self.moved


class Learning:
    """Finds out where something stands."""

    def __init__(self, radius_m: float) -> None:
        self._radius_m = radius_m
        self._first: Fix | None = None
        self._north = self._east = 0.0  # sums of degrees from the first
        self._count = 0

    def fixed(self, fix: Fix) -> Place | None:
        """Take a good fix; return the place once it is known."""
        if self._first is None or distance_m(*self._mean(self._first), fix.latitude, fix.longitude) > self._radius_m:
            self._first, self._north, self._east, self._count = fix, 0.0, 0.0, 0
        self._north += fix.latitude - self._first.latitude
        self._east += _turn(fix.longitude - self._first.longitude)
        self._count += 1
        if self._count >= LEARN_FIXES and fix.at >= self._first.at + LEARN_S:
            return self._mean(self._first)
        return None

    def _mean(self, first: Fix) -> Place:
        count = max(1, self._count)
        return Place(first.latitude + self._north / count, _turn(first.longitude + self._east / count))


def middle(fixes: Sequence[Fix]) -> Place:
    """Return where something is by its last fixes: an echo among them doesn't count."""
    first = fixes[0]
    east = median(_turn(fix.longitude - first.longitude) for fix in fixes)
    return Place(median(fix.latitude for fix in fixes), _turn(first.longitude + east))


def _turn(degrees: float) -> float:
    """Return the same angle from -180 up to 180: beside the date line too, the mean of two places is between them."""
    return (degrees + 180.0) % 360.0 - 180.0
