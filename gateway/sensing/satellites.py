"""The time that a GNSS receiver says, held against the monotonic clock: believed when it has been the same for a while.

A sentence tells a moment that is over: it has been reckoned, has waited for those before it and has crept over a slow
line. How late it is at the most is the uncertainty; without a pulse (PPS) it is some hundred milliseconds. The least
late sentence counts. One that is later than it may be moves nothing, and where all are for a while it may have been
that one which was wrong: so much more uncertain it is. When no more come, the time goes on by the monotonic clock,
less and less certain, and ends.

A jump is not believed: time passes everywhere alike, and a receiver whose time does not has been deceived, or has
counted its weeks wrongly. What was believed goes on, and the receiver is believed again when it agrees with that. One
jump soon after the start is allowed, by no more than the leap seconds: a receiver that is cold learns these late. And
what was believed is given up for another time where somebody else knows that it can't be (`refused`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

SAME_US: Final = 2_000_000  # a sentence that is later by less is no jump: a busy machine reads late
AGREED_S: Final = 30.0  # for so long, before it is believed
AGREED: Final = 10  # sentences
GAP_S: Final = 60.0  # between two sentences; then it begins anew
JUMP_S: Final = 5.0  # a jump lasts: what only came late is none
DRIFT: Final = 100e-6  # of a crystal, seconds a second: twice what a board's data sheet allows, for heat
UNCERTAINTY_MAX_MS: Final = 10_000  # then it isn't believed: a day after the last sentence
LEAP_US: Final = 20_000_000  # the leap seconds since 1980, and some to come
LEAP_S: Final = 900.0  # after the first sentence: satellites tell them once in 12.5 minutes
RECKONING_MS: Final = 300  # from a moment to its first byte
BURST_BYTES: Final = 1000  # that come before a sentence that tells of the same moment


def uncertainty_ms(baud: int) -> int:
    """Return how late a sentence may be on a line of this speed."""
    return RECKONING_MS + BURST_BYTES * 10_000 // baud


@dataclass(slots=True)
class _Run:
    """Sentences that agree: UTC less the monotonic clock in µs, by the least late of them.

    None can be earlier than that one by more than a sentence is late at the most: so far it is followed, and no clock
    that runs away in small steps further.
    """

    offset_us: float
    latency_us: float
    since: float
    at: float  # of the last sentence that agreed
    count: int = 1
    late_us: float | None = None  # the least late of those since, where all came later than they may
    most_us: float = field(init=False)

    def __post_init__(self) -> None:
        self.most_us = self.offset_us + self.latency_us

    def take(self, offset_us: float, now: float) -> bool:
        """Take a sentence; return whether it says the same time."""
        drift_us = (now - self.at) * DRIFT * 1e6
        least_us = self.offset_us - self.latency_us - drift_us
        if not least_us - SAME_US <= offset_us <= self.most_us + drift_us:
            return False
        if offset_us < least_us:
            self.late_us = offset_us if self.late_us is None else max(offset_us, self.late_us)
            return True
        self.offset_us = max(offset_us, self.offset_us - drift_us)
        self.most_us = min(self.most_us + drift_us, self.offset_us + self.latency_us)
        self.at, self.late_us = now, None
        self.count += 1
        return True

    def uncertain_ms(self, now: float) -> int:
        gap_us = 0.0 if self.late_us is None or now < self.at + AGREED_S else self.offset_us - self.late_us
        return round((self.latency_us + gap_us + (now - self.at) * DRIFT * 1e6) / 1000)


class Satellites:
    """One receiver's time. `refused` tells whether what is believed of it can't be, by a clock that knows better."""

    def __init__(self, latency_ms: int, refused: Callable[[], bool] = lambda: False) -> None:
        self._latency_us = latency_ms * 1000.0
        self._refused = refused
        self._run: _Run | None = None  # what it says instead of what is believed
        self._believed: _Run | None = None
        self._began: float | None = None
        self._leapt = False
        self._apart_since: float | None = None  # when it began to say another time than what is believed
        self.jumps = 0
        self.jumped = False  # it says another time than it said

    def heard(self, utc_us: int, now: float) -> None:
        """Take the time of a sentence that arrived now, of a receiver that has a good fix."""
        offset_us = utc_us - now * 1e6
        self._began = now if self._began is None else self._began
        if self.at(now) is None:
            self._believed = None
        believed = self._believed
        if believed is not None and believed.take(offset_us, now):
            self._run, self._apart_since, self.jumped = None, None, False
            return
        run = self._run
        if run is None or now > run.at + GAP_S or not run.take(offset_us, now):
            self._run = run = _Run(offset_us, self._latency_us, now, now)
        if run.at >= run.since + AGREED_S and run.count >= AGREED and self._may_become(run):
            self._leapt = self._leapt or believed is not None
            self._run, self._believed, self._apart_since, self.jumped = None, run, None, False
        elif believed is not None:
            self._apart_since = now if self._apart_since is None else self._apart_since
            if now >= self._apart_since + JUMP_S and not self.jumped:
                self.jumped = True
                self.jumps += 1

    def _may_become(self, run: _Run) -> bool:
        """Whether a time is to be believed that is another than the one before, if there was one."""
        believed = self._believed
        if believed is None or self._refused():
            return True
        early = self._began is not None and run.since <= self._began + LEAP_S
        return early and not self._leapt and abs(run.offset_us - believed.offset_us) <= LEAP_US

    def at(self, now: float) -> tuple[int, int] | None:
        """Return UTC in µs and its uncertainty in ms; None where it isn't known."""
        believed = self._believed
        if believed is None or (uncertain_ms := believed.uncertain_ms(now)) > UNCERTAINTY_MAX_MS:
            return None
        return round(believed.offset_us + now * 1e6), uncertain_ms
