"""What time it is where the machine's clock may be wrong: a floor under it, an end above it, and its steps.

A Raspberry Pi has no clock across a power cut. It wakes up in 1970, or where it stopped, until NTP or GNSS sets it; no
certificate can be judged by that, and a time signed by it misleads. What is known all the while is a *floor*: the
latest of the last time that this gateway was sure of, its software's build, and the beginning of its own certificates.

1. A synchronised clock is right, unless it shows a time before the software was built or the certificates were issued.
   It sets the floor anew, backwards too: a floor that was wrong must not outlive the first true clock.
2. A clock that nobody vouches for (a battery's, or one that goes on by itself) is used while it shows a time between
   the floor and the end of our own certificates.
3. Where the machine's clock is none of the first kind, satellites (GNSS) may tell the time by which records are
   signed: one between the build and the end of our certificates, not before the floor, and not another than that of
   the clock that was synchronised in this run. What they have told is carried on when they tell no more.
4. Otherwise the time is the floor, carried on by the monotonic clock: too early, by as long as the power was off.
5. What satellites alone tell judges nothing (`firm`), neither certificates nor commands, and never moves the floor: who
   deceives a receiver must not cut the gateway off, nor what he said outlive a restart.

Order comes from sequences alone, and C5 corrects such times from the first record of a synchronised clock (wire.md,
section 2, "Time"), so that a wrong time here costs no alarm. Not checked here: whether a server that sets the clock
is honest.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.signing.record import SYNCHRONISED, UNKNOWN_MS

NTP: Final = 2  # the source that wire.md (key 8) has for a machine that a time server has set
GNSS: Final = 3  # the source that wire.md (key 8) has for the time of satellites
FLOOR: Final = 1  # the source that wire.md (key 8) has for a time that comes from the floor
STEP_US: Final = 1_000_000  # what moves the wall clock by more against the monotonic one is a step
APART_US: Final = 2_000_000  # two clocks that are further apart than this, and than both are unsure, don't agree
DRIFT: Final = 100e-6  # seconds a second: of the monotonic clock where nobody turns it
DOUBT_US: Final = 60_000_000  # a machine's clock that is off by less is shown as right
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


class Sure(NamedTuple):
    """A time that was known in this run, at a moment of the monotonic clock."""

    us: int
    now: float
    uncertainty_ms: int

    def carried(self, now: float) -> int:
        """Return the time that it is by now."""
        return self.us + round((now - self.now) * 1e6)

    def agrees(self, us: int, uncertainty_ms: int, now: float) -> bool:
        """Whether this can be the time now, if that was right."""
        unsure_us = (self.uncertainty_ms + uncertainty_ms) * 1000 + (now - self.now) * DRIFT * 1e6
        return abs(us - self.carried(now)) <= APART_US + unsure_us


class Wall:
    """Judges a machine's wall clock. `least_us` and `most_us`: between them it can be right, whoever set it or not."""

    def __init__(self, stored_us: int | None, least_us: int, most_us: int, now: float) -> None:
        self._least_us = least_us
        self._most_us = most_us
        if stored_us is None or stored_us > most_us:  # a time server was wrong for a day, and none has been there since
            stored_us = least_us
        self._floor = (max(stored_us, least_us), now)  # one value: threads read it
        self._sure: Sure | None = None  # of the machine's synchronised clock; one value too
        self._told: Sure | None = None  # of satellites, since then
        self.unbelieved: str | None = None  # why satellites aren't: their time is "early", "late" or "apart"

    def judge(self, reading: Reading, satellites: tuple[int, int] | None = None) -> Judged:
        """Say what time to sign by. `satellites`: µs since 1970, and ms unsure."""
        firm, now = self.firm(reading), reading.now
        self.unbelieved = self._wrong(satellites, now)
        if firm.source in SYNCHRONISED:
            self._told = None
            return firm
        if satellites is not None and self.unbelieved is None:  # rule 3
            us, uncertainty_ms = satellites
            self._told = Sure(us, now, uncertainty_ms)
            return Judged(us, GNSS, uncertainty_ms, doubted=abs(reading.wall_us - us) > DOUBT_US)
        if self._told is not None:
            us = self._told.carried(now)
            return Judged(us, FLOOR, UNKNOWN_MS, doubted=abs(reading.wall_us - us) > DOUBT_US)
        return firm

    def firm(self, reading: Reading) -> Judged:
        """Say what time to judge others by: without satellites. A synchronised clock sets the floor."""
        if reading.source in SYNCHRONISED and reading.wall_us >= self._least_us:  # rule 1
            self._floor = (reading.wall_us, reading.now)
            self._sure = Sure(reading.wall_us, reading.now, reading.uncertainty_ms)
            return Judged(reading.wall_us, reading.source, reading.uncertainty_ms, doubted=False)
        floor_us = self.floor_us(reading.now)
        if floor_us - STEP_US <= reading.wall_us <= self._most_us and reading.source not in SYNCHRONISED:  # rule 2
            return Judged(reading.wall_us, reading.source, UNKNOWN_MS, doubted=False)
        return Judged(floor_us, FLOOR, UNKNOWN_MS, doubted=True)  # rule 4

    def _wrong(self, satellites: tuple[int, int] | None, now: float) -> str | None:
        """Return why the time of satellites can't be right."""
        if satellites is None:
            return None
        us, uncertainty_ms = satellites
        if us < self._least_us or (us < self.floor_us(now) - APART_US and self._sure is None):
            return "early"
        if us > self._most_us:
            return "late"
        if self._sure is not None and not self._sure.agrees(us, uncertainty_ms, now):
            return "apart"
        return None

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
