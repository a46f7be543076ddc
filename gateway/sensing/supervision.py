"""Is each device still there? Lost once, restored once.

Rules (wire.md, section 1):

1. Every accepted frame is a sign of life, a HEARTBEAT's key 5 says in how many seconds the next one is due.
2. A device is lost after `grace` intervals without one, whether it was ever heard or not: nobody would hear its button.
3. Silence is counted from the moment that the gateway began to listen: a start makes nobody lost (`Listening`).
4. It stays lost until its restoral was told: what could not be recorded is asked for again (`told`).

Hearing a device costs nothing but noting the time. Its deadline moves when it comes, so that 256 devices cost a look
at each once in its grace.
"""

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

INTERVAL_MIN: Final = 1  # seconds; an interval beyond these isn't believed, but cut
INTERVAL_MAX: Final = 86_400
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
    interval: float | None  # as it said
    lost: bool  # and that was told
    before: float  # seconds of silence before this start
    due: float | None = None  # its entry in the queue that counts


class Supervision:
    """The enrolled devices. All times are those of one `Listening`."""

    def __init__(self, interval: float, grace: float) -> None:
        self._interval = interval
        self._grace = grace
        self._watched: dict[str, _Watched] = {}
        self._queue: list[tuple[float, str]] = []  # entries that were overtaken stay until they come up

    def watch(self, device: str, now: float, *, interval: float | None = None, lost_for: float | None = None) -> None:
        """Miss this device from now on; `lost_for`: it was told as lost before this start, after so much silence."""
        self._watched[device] = watched = _Watched(now, interval, lost_for is not None, lost_for or 0.0)
        self._schedule(device, watched, now)

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

    def says(self, device: str, interval_s: int, now: float) -> int | None:
        """Take how often it will be heard; return it as it counts, if that is news."""
        watched = self._watched[device]
        interval = min(max(interval_s, INTERVAL_MIN), INTERVAL_MAX)
        if interval == watched.interval:
            return None
        watched.interval = interval
        if watched.due is not None and watched.since + self._limit(watched) < watched.due:
            self._schedule(device, watched, now)
        return interval

    def told(self, news: Lost | Restored, now: float) -> None:
        """C5 will know."""
        watched = self._watched[news.device]
        watched.lost = isinstance(news, Lost)
        if not watched.lost:
            watched.before, watched.since = 0.0, now
            self._schedule(news.device, watched, now)

    def lost(self, device: str) -> bool:
        """Whether it was told as lost, and not as restored."""
        return self._watched[device].lost

    def silent(self, device: str, now: float) -> float:
        """Return for how many seconds it has been listened for in vain."""
        watched = self._watched[device]
        return watched.before + now - watched.since

    @property
    def deadline(self) -> float | None:
        """When `tick` is due."""
        return self._queue[0][0] if self._queue else None

    def tick(self, now: float) -> list[Lost]:
        """Time passed."""
        found: list[Lost] = []
        while self._queue and self._queue[0][0] <= now:
            at, device = heappop(self._queue)
            watched = self._watched.get(device)
            if watched is None or watched.due != at:
                continue
            watched.due = None
            if watched.lost:
                continue  # until it is restored
            if now >= watched.since + self._limit(watched):
                found.append(Lost(device, now - watched.since))
                self._push(device, watched, now + AGAIN)
            else:
                self._schedule(device, watched, now)
        return found

    def _limit(self, watched: _Watched) -> float:
        return self._grace * (self._interval if watched.interval is None else watched.interval)

    def _schedule(self, device: str, watched: _Watched, now: float) -> None:
        self._push(device, watched, max(now, watched.since + self._limit(watched)))

    def _push(self, device: str, watched: _Watched, at: float) -> None:
        watched.due = at
        heappush(self._queue, (at, device))
