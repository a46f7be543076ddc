"""Which of several brokers carries the records: the preferred one that works, and no going back and forth.

1. A path works while it is connected, the centre isn't silent on it (where another path hears the centre), and its
   broker neither refuses records nor has nobody to give them to.
2. When the one that carries stops working, the most preferred that works takes over at once. When none works, the one
   that carries goes on as long as it is connected: there is nothing better.
3. A more preferred path that had failed takes back only after it has worked for `hold` seconds, and up to half as many
   again by chance, and the centre was heard on it meanwhile: a thousand gateways that lost one broker don't return in
   one moment, and none returns to a broker that C5 hasn't come back to.
4. A refusal is forgotten after the same time: the path is tried again, one failover each time.

Paths are numbered in their order of preference. Times are monotonic seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Path:
    connected: bool = False
    silent: bool = False
    refused: bool = False
    heard: bool = False  # the centre, since it last came back
    failed: bool = False  # ever: rule 3
    ready_at: float | None = None  # when it will have held long enough

    @property
    def works(self) -> bool:
        return self.connected and not self.silent and not self.refused

    @property
    def returns(self) -> bool:
        return self.works and self.ready_at is None and (self.heard or not self.failed)


class Choice:
    """Chooses among `count` paths; `active` is the one that carries, None while none is connected."""

    def __init__(self, count: int, hold: float, random: Callable[[], float]) -> None:
        self._paths = [_Path() for _ in range(count)]
        self._hold = hold
        self._random = random
        self.active: int | None = None

    def connected(self, path: int, now: float) -> None:
        """A connection began."""
        found = self._paths[path]
        found.connected = True
        if found.failed:
            self._put_off(found, now)
        self._choose()

    def disconnected(self, path: int) -> None:
        """It ended, or could not be opened."""
        found = self._paths[path]
        found.connected = found.heard = False
        found.failed = True
        self._choose()

    def heard(self, path: int, now: float) -> None:
        """The centre was heard on it."""
        found = self._paths[path]
        found.heard = True
        if found.silent:
            found.silent = False
            self._put_off(found, now)
        self._choose()

    def silent(self, path: int) -> None:
        """The centre is silent on it, and another path hears it."""
        found = self._paths[path]
        found.silent = found.failed = True
        found.heard = False
        self._choose()

    def refused(self, path: int, now: float) -> None:
        """Its broker refuses records, or has nobody to give them to."""
        found = self._paths[path]
        if len(self._paths) == 1 or found.refused:
            return
        found.refused = found.failed = True
        self._put_off(found, now)
        self._choose()

    def _put_off(self, path: _Path, now: float) -> None:
        path.heard = False
        path.ready_at = max(path.ready_at or now, now + self._hold * (1 + self._random() / 2))

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return min((path.ready_at for path in self._paths if path.ready_at is not None), default=None)

    def tick(self, now: float) -> None:
        """Time passed."""
        for path in self._paths:
            if path.ready_at is not None and now >= path.ready_at:
                path.ready_at = None
                path.refused = False
        self._choose()

    def _choose(self) -> None:
        active = None if self.active is None else self._paths[self.active]
        if active is not None and active.works:
            better = self._paths[: self.active]
            self.active = next((number for number, path in enumerate(better) if path.returns), self.active)
            return
        working = [number for number, path in enumerate(self._paths) if path.works]
        connected = [number for number, path in enumerate(self._paths) if path.connected]
        if working:
            self.active = working[0]
        elif active is None or not active.connected:
            self.active = connected[0] if connected else None
