"""Is each device still there? Lost once, restored once.

Rules (wire.md, section 1):

1. Every accepted frame is a sign of life, a HEARTBEAT's key 5 says in how many seconds the next one is due (without
   it: the usual interval).
2. A device is lost after `grace` intervals without one, whether it was ever heard or not: nobody would hear its button.
3. Silence is counted from the moment that the gateway began to listen: a start makes nobody lost (`Listening`).
4. It stays lost until its restoral was told: what could not be recorded is asked for again (`told`).
5. Where many are silent at once (a receiver died), a few are told at a time: signing must not hold up an alarm.

Hearing a device costs nothing but noting the time; a tick looks at all of them.
"""

from dataclasses import dataclass
from typing import Final

INTERVAL_MIN: Final = 1  # seconds; an interval beyond these isn't believed, but cut
INTERVAL_MAX: Final = 86_400
AT_ONCE: Final = 16  # devices told as lost in one tick
AGAIN: Final = 10.0  # seconds until what could not be told is returned again
GAP: Final = 10.0  # seconds between two looks at the clock, after which nobody was listening in between


@dataclass(frozen=True, slots=True)
class Lost:
    """A device has been silent for too long. Record it and say `told`, or it comes again."""

    device: str
    silent_s: float


@dataclass(frozen=True, slots=True)
class Restored:
    """A lost device was heard: `silent_s` is what the gateway listened in vain, at least. Record it and say `told`."""

    device: str
    silent_s: float


class Listening:
    """Time as it passed while somebody listened: a process that was stopped for an hour has not missed anybody."""

    def __init__(self, now: float) -> None:
        self._last = now
        self._deaf = 0.0

    def at(self, now: float) -> float:
        """Return the seconds; ask more often than every `GAP`."""
        if now > self._last + GAP:
            self._deaf += now - self._last
        self._last = max(now, self._last)
        return now - self._deaf


@dataclass(slots=True)
class _Watched:
    since: float  # silent since then
    interval: int | None  # as it said
    lost: bool  # and that was told
    before: float  # seconds of silence before this start
    again_at: float = 0.0  # it is not told as lost before


class Supervision:
    """The enrolled devices. All times are those of one `Listening`."""

    def __init__(self, interval: float, grace: float) -> None:
        self._interval = interval
        self._grace = grace
        self._watched: dict[str, _Watched] = {}

    def watch(self, device: str, now: float, *, interval: int | None = None, lost_for: float | None = None) -> None:
        """Miss this device from now on; `lost_for`: it was told as lost before this start, after so much silence."""
        self._watched[device] = _Watched(now, interval, lost_for is not None, lost_for or 0.0)

    def forget(self, device: str) -> None:
        """Miss it no more."""
        self._watched.pop(device, None)

    def heard(self, device: str, now: float) -> Restored | None:
        """Take a sign of life."""
        watched = self._watched[device]
        if watched.lost:
            return Restored(device, self.silent(device, now))
        watched.since = now
        return None

    def says(self, device: str, interval_s: int | None) -> bool:
        """Take how often it will be heard, None: as usual; return whether that is news."""
        watched = self._watched[device]
        interval = None if interval_s is None else min(max(interval_s, INTERVAL_MIN), INTERVAL_MAX)
        before, watched.interval = watched.interval, interval
        return interval != before

    def interval(self, device: str) -> int | None:
        """Return how often it will be heard, as it said."""
        return self._watched[device].interval

    def told(self, news: Lost | Restored, now: float) -> None:
        """C5 will know."""
        watched = self._watched[news.device]
        watched.lost = isinstance(news, Lost)
        if not watched.lost:
            watched.before, watched.since = 0.0, now

    def lost(self, device: str) -> bool:
        """Whether it was told as lost, and not as restored."""
        return self._watched[device].lost

    def silent(self, device: str, now: float) -> float:
        """Return for how many seconds it has been listened for in vain."""
        watched = self._watched[device]
        return watched.before + now - watched.since

    def tick(self, now: float) -> list[Lost]:
        """Time passed."""
        found: list[Lost] = []
        for device, watched in self._watched.items():
            if watched.lost or now < max(watched.since + self._limit(watched), watched.again_at):
                continue
            found.append(Lost(device, now - watched.since))
            watched.again_at = now + AGAIN
            if len(found) == AT_ONCE:
                break
        return found

    def _limit(self, watched: _Watched) -> float:
        return self._grace * (self._interval if watched.interval is None else watched.interval)
