"""What a GNSS receiver says, sentence by sentence: where it is, how well it knows, and what time it is there.

No sentence says everything: RMC has the date and no quality, GGA the quality and no date, GLL neither. So the newest
quality is kept and goes for what comes soon after; of a receiver that tells any, no position is good without. One is
believed (a *good fix*) where the receiver vouches for it, with enough satellites that don't stand in a row (HDOP); what
it has reckoned or was told by hand is none.

Source: NMEA 0183 4.11 (GGA: quality indicator; RMC, GNS: mode indicator). An HDOP becomes metres by the error of a
single satellite's range, some 5 m (GPS SPS Performance Standard, 2020, appendix B: 7 m at 95 %, with the ionosphere).
"""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

RANGE_ERROR_M: Final = 5.0
HDOP_MAX: Final = 6.0  # "moderate": a fix beyond it is off by a street
SATELLITES_MIN: Final = 4
VOUCHED: Final = frozenset({1, 2, 3, 4, 5, 9})  # GGA: GPS, differential, PPS, RTK, float RTK; 9: SBAS, by some makers
TOGETHER_S: Final = 15.0  # between two fixes of one stay; a fix goes so long for a time
GRADED_S: Final = 60.0  # for which a quality goes for the positions after it: satellites rise and set slowly
ASSUMED_M: Final = 25.0  # accuracy of a receiver that doesn't tell, where it is to be reckoned with

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARTH_M: Final = 6_371_000.0


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence, as far as it is of use; what it doesn't say is None. `valid`: the receiver vouches for it."""

    latitude: float | None = None
    longitude: float | None = None
    valid: bool | None = None
    quality: int | None = None
    satellites: int | None = None
    hdop: float | None = None
    second: float | None = None  # of the UTC day
    day: date | None = None

    @property
    def utc_us(self) -> int | None:
        """Microseconds since 1970, where there is a date and a time."""
        if self.day is None or self.second is None:
            return None
        midnight = datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)
        return (midnight - _EPOCH) // timedelta(microseconds=1) + round(self.second * 1e6)


@dataclass(frozen=True, slots=True)
class Fix:
    """Where it was at a moment of the monotonic clock, in degrees (WGS 84) and metres."""

    latitude: float
    longitude: float
    accuracy_m: float | None
    at: float


class Receiver:
    """One receiver: from its sentences to fixes."""

    def __init__(self) -> None:
        self.fix: Fix | None = None  # the last good one
        self.quality: int | None = None
        self.satellites: int | None = None
        self.hdop: float | None = None
        self._graded_at: float | None = None  # None: it never told how good its positions are
        self._second: float | None = None  # of the last fix: several sentences tell of one

    def said(self, said: Said, now: float) -> Fix | None:
        """Take a sentence; return the fix that it makes, if it is a good one and new."""
        self._grade(said, now)
        if said.latitude is None or said.longitude is None or not said.valid or not self._good():
            return None
        if said.second is not None and said.second == self._second:
            return None  # however much later: a receiver that hangs repeats itself
        self._second = said.second
        accuracy = None if self.hdop is None else round(max(1.0, self.hdop * RANGE_ERROR_M), 2)
        self.fix = Fix(said.latitude, said.longitude, accuracy, now)
        return self.fix

    def fresh(self, now: float) -> bool:
        """Whether there was a good fix just now."""
        return self.fix is not None and now <= self.fix.at + TOGETHER_S

    def _grade(self, said: Said, now: float) -> None:
        if self._graded_at is not None and now > self._graded_at + GRADED_S:
            self.quality = self.satellites = self.hdop = None
        if said.quality is None and said.satellites is None and said.hdop is None:
            return
        self._graded_at = now
        self.quality = self.quality if said.quality is None else said.quality
        self.satellites = self.satellites if said.satellites is None else said.satellites
        self.hdop = self.hdop if said.hdop is None else said.hdop

    def _good(self) -> bool:
        known = (self.quality, self.satellites, self.hdop) != (None, None, None)
        return (
            (known or self._graded_at is None)
            and (self.quality is None or self.quality in VOUCHED)
            and (self.satellites is None or self.satellites >= SATELLITES_MIN)
            and (self.hdop is None or self.hdop <= HDOP_MAX)
        )


def distance_m(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Return how far two places in degrees are from each other: on a sphere, which is right within 0.6 %."""
    south, north = math.radians(latitude), math.radians(other_latitude)
    east = math.radians(other_longitude - longitude)
    half = math.sin((north - south) / 2) ** 2 + math.cos(south) * math.cos(north) * math.sin(east / 2) ** 2
    return 2 * _EARTH_M * math.asin(math.sqrt(min(1.0, half)))
