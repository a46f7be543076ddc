"""Is the centre there? Broker up and centre down looks like delivery, and is none.

The centre is heard by its heartbeat and by newer receipts than the last. Only time with a connection counts: while
there is none, its silence says nothing of the centre. Each path has a watch of its own: C5 may be there at one broker
and gone from another.

Source: wire.md, section 3 ("`c5/v1/centre`").
"""

from dataclasses import dataclass
from typing import Final

SILENCE_MIN: Final = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Silent:
    """The centre has not been heard for this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Restored:
    """The centre is heard again after this many seconds."""

    seconds: float


class CentreWatch:
    """Tells once when the centre falls silent, and once when it is heard again."""

    def __init__(self, profile: float, now: float) -> None:
        self._profile_us = round(profile * 1e6)
        self._grace = max(profile, SILENCE_MIN)
        self._heard_at = now
        self._left_at: float | None = now  # since when there has been no connection
        self._newest_us: dict[str, int] = {}
        self._silent = False

    @property
    def silent(self) -> bool:
        """Whether the centre is silent."""
        return self._silent

    @property
    def heard_at(self) -> float:
        """When it was last heard, with time without a connection left out."""
        return self._heard_at

    @property
    def deadline(self) -> float | None:
        """When `tick` may have something to say."""
        return None if self._silent else self._heard_at + self._grace

    def connected(self, now: float) -> None:
        """A connection began; the centre's time to be heard goes on with it."""
        if self._left_at is not None:
            self._heard_at += now - self._left_at
            self._left_at = None

    def disconnected(self, now: float) -> None:
        """The connection ended; the centre's time stands still."""
        if self._left_at is None:
            self._left_at = now

    def heartbeat(self, name: str, time_us: int, now: float, clock_us: int | None = None) -> Restored | None:
        """Take a receiver's heartbeat or receipt: one no newer than its last is a recording.

        So is one older than the profile by `clock_us`, our own clock where it is synchronised. One newer by as much is
        of a receiver whose clock is ahead, and which lives all the same; once it has been set right, its last one
        counts no more, or it would be silent for as long as its clock was ahead.
        """
        newest = self._newest_us.get(name, -1)
        if clock_us is not None:
            if time_us < clock_us - self._profile_us:
                return None
            if newest > clock_us + self._profile_us >= time_us:
                newest = -1
        if time_us <= newest:
            return None
        self._newest_us[name] = time_us
        return self.heard(now)

    def heard(self, now: float) -> Restored | None:
        """The centre was heard: a receipt, or a heartbeat."""
        silent_for, self._heard_at = now - self._heard_at, now
        if not self._silent:
            return None
        self._silent = False
        return Restored(silent_for)

    def tick(self, now: float) -> Silent | None:
        """Time passed, with a connection up."""
        if self._silent or now < self._heard_at + self._grace:
            return None
        self._silent = True
        return Silent(now - self._heard_at)
