"""What time it is where the machine's clock may be wrong: a floor under it, an end above it, and its steps.

A Raspberry Pi has no clock across a power cut. It wakes up in 1970, or where it stopped, until NTP or GNSS sets it; no
certificate can be judged by that, and a time signed by it misleads. What is known all the while is a *floor*: the
latest of the last time that this gateway was sure of, its software's build, and the beginning of its own certificates.

1. A synchronised clock is right, unless it shows a time before the software was built or the certificates were issued.
   It sets the floor anew, backwards too: a floor that was wrong must not outlive the first true clock.
2. A clock that nobody vouches for (a battery's, or one that goes on by itself) is used while it shows a time between
   the floor and the end of our own certificates.
3. Otherwise the time is the floor, carried on by the monotonic clock: too early, by as long as the power was off.

Order comes from sequences alone, and C5 corrects such times from the first record of a synchronised clock (wire.md,
section 2, "Time"), so that a wrong time here costs no alarm. Not checked here: whether a server that sets the clock
is honest.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.signing.record import SYNCHRONISED, UNKNOWN_MS

FLOOR: Final = 1  # the source that wire.md (key 8) has for a time that comes from the floor
STEP_US: Final = 1_000_000  # what moves the wall clock by more against the monotonic one is a step
SLEW: Final = 500e-6  # seconds a second: what adjtimex(2) may turn a clock without stepping it


class Reading(NamedTuple):  # tuples: one of each is made for every record
    """The machine's clocks at one moment: microseconds since 1970, how far to trust them, monotonic seconds."""

    wall_us: int
    source: int
    uncertainty_ms: int
    now: float


class Judged(NamedTuple):
    """The time to go by. `doubted`: it isn't what the machine's clock shows."""

    us: int
    source: int
    uncertainty_ms: int
    doubted: bool


class Wall:
    """Judges a machine's wall clock. `least_us` and `most_us`: between them it can be right, whoever set it or not."""

    def __init__(self, stored_us: int | None, least_us: int, most_us: int, now: float) -> None:
        self._least_us = least_us
        self._most_us = most_us
        if stored_us is None or stored_us > most_us:  # a time server was wrong for a day, and none has been there since
            stored_us = least_us
        self._floor = (max(stored_us, least_us), now)  # one value: threads read it

    def judge(self, reading: Reading) -> Judged:
        """Say what time it is; a synchronised clock sets the floor."""
        if reading.source in SYNCHRONISED and reading.wall_us >= self._least_us:  # rule 1
            self._floor = (reading.wall_us, reading.now)
            return Judged(reading.wall_us, reading.source, reading.uncertainty_ms, doubted=False)
        floor_us = self.floor_us(reading.now)
        if floor_us - STEP_US <= reading.wall_us <= self._most_us and reading.source not in SYNCHRONISED:  # rule 2
            return Judged(reading.wall_us, reading.source, UNKNOWN_MS, doubted=False)
        return Judged(floor_us, FLOOR, UNKNOWN_MS, doubted=True)  # rule 3

    def floor_us(self, now: float) -> int:
        """Return the time that it certainly is by now."""
        floor_us, at = self._floor
        return floor_us + round((now - at) * 1e6)


@dataclass(frozen=True, slots=True)
class Stepped:
    """The wall clock was set: it would have shown one time, and showed another."""

    from_us: int
    to_us: int


class Steps:
    """Watches a wall clock against the monotonic one."""

    def __init__(self, wall_us: int, now: float) -> None:
        self._wall_us: float = wall_us
        self._at = now

    def look(self, wall_us: int, now: float) -> Stepped | None:
        """Compare them; a step is told once. What a clock is turned by slowly is followed."""
        elapsed, self._at = now - self._at, now
        self._wall_us += elapsed * 1e6
        off = wall_us - self._wall_us
        if abs(off) > STEP_US:
            stepped = Stepped(round(self._wall_us), wall_us)
            self._wall_us = wall_us
            return stepped
        most = elapsed * SLEW * 1e6
        self._wall_us += min(most, max(-most, off))
        return None
