"""The time that a GNSS receiver says, held against the monotonic clock: believed when it has been the same for a while.

A sentence tells a moment that is over: it has been reckoned, has waited for those before it and has crept over a slow
line. How late it is at the most is the uncertainty; without a pulse (PPS) it is some hundred milliseconds. The least
late sentence counts. When no more come, the time goes on by the monotonic clock, less and less certain, and ends.

A jump is not believed: time passes everywhere alike, and a receiver whose time does not has been deceived, or has
counted its weeks wrongly. What was believed goes on, and the receiver is believed again when it agrees with that. One
jump after the start is allowed, by no more than the leap seconds: a receiver that is cold may learn these late.
"""

from dataclasses import dataclass, field
from typing import Final

SAME_US: Final = 2_000_000  # two sentences agree on the time: beyond what a line and a busy machine make late
AGREED_S: Final = 30.0  # for so long, before it is believed
AGREED: Final = 10  # sentences
GAP_S: Final = 60.0  # between two sentences; then it begins anew
JUMP_S: Final = 5.0  # a jump lasts: what only came late is none
DRIFT: Final = 100e-6  # of a crystal, seconds a second: twice what a board's data sheet allows, for heat
UNCERTAINTY_MAX_MS: Final = 10_000  # then it isn't believed: a day after the last sentence
LEAP_US: Final = 20_000_000  # the leap seconds since 1980, and some to come
RECKONING_MS: Final = 300  # from a moment to its first byte
BURST_BYTES: Final = 600  # that come before a sentence that tells of the same moment


def uncertainty_ms(baud: int) -> int:
    """Return how late a sentence may be on a line of this speed."""
    return RECKONING_MS + BURST_BYTES * 10_000 // baud


@dataclass(slots=True)
class _Run:
    """Sentences that agree: UTC less the monotonic clock in µs, by the least late of them.

    That one may be less late than the first, and by no more: a clock that runs away in small steps agrees with none.
    """

    offset_us: float
    since: float
    at: float
    count: int = 1
    most_us: float = field(init=False)  # at `since`

    def __post_init__(self) -> None:
        self.most_us = self.offset_us + SAME_US

    def agrees(self, offset_us: float, now: float) -> bool:
        near = abs(offset_us - self.offset_us) <= SAME_US + (now - self.at) * DRIFT * 1e6
        return near and offset_us <= self.most_us + (now - self.since) * DRIFT * 1e6

    def take(self, offset_us: float, now: float) -> None:
        self.offset_us = max(offset_us, self.offset_us - (now - self.at) * DRIFT * 1e6)
        self.at = now
        self.count += 1


class Satellites:
    """One receiver's time."""

    def __init__(self, latency_ms: int) -> None:
        self._latency_ms = latency_ms
        self._run: _Run | None = None
        self._believed: _Run | None = None
        self._leapt = False
        self._apart_since: float | None = None  # when it began to say another time than what is believed
        self.jumps = 0
        self.jumped = False  # it says another time than it said

    def heard(self, utc_us: int, now: float) -> None:
        """Take the time of a sentence that arrived now, of a receiver that has a good fix."""
        offset_us = utc_us - now * 1e6
        run, believed = self._run, self._believed
        if run is None or now > run.at + GAP_S or not run.agrees(offset_us, now):
            self._run = run = _Run(offset_us, now, now)
        else:
            run.take(offset_us, now)
        if believed is not None and believed.agrees(run.offset_us, now):
            believed.take(run.offset_us, now)
            self._apart_since, self.jumped = None, False
        elif now >= run.since + AGREED_S and run.count >= AGREED and (believed is None or self._leaps(believed, run)):
            self._leapt = believed is not None
            self._believed = _Run(run.offset_us, now, now)
            self._apart_since, self.jumped = None, False
        elif believed is not None:
            self._apart_since = now if self._apart_since is None else self._apart_since
            if now >= self._apart_since + JUMP_S and not self.jumped:
                self.jumped = True
                self.jumps += 1

    def _leaps(self, believed: _Run, run: _Run) -> bool:
        return not self._leapt and abs(run.offset_us - believed.offset_us) <= LEAP_US

    def at(self, now: float) -> tuple[int, int] | None:
        """Return UTC in µs and its uncertainty in ms; None where it isn't known."""
        believed = self._believed
        if believed is None:
            return None
        uncertain_ms = self._latency_ms + round((now - believed.at) * DRIFT * 1000)
        if uncertain_ms > UNCERTAINTY_MAX_MS:
            return None
        return round(believed.offset_us + now * 1e6), uncertain_ms
