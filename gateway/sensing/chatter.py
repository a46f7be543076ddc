"""Does a device send too many events? It is told once a minute, and nothing is held back.

An authentic EVENT is never thrown away (wire.md, "Vocabulary"): the first of a chattering contact may be somebody's
only press, and so may any later one. What bounds them is the line's speed, and the 32 that a device keeps.
"""

from typing import Final

PERIOD: Final = 60.0  # seconds


class Chatter:
    """One device's events: more than `limit` of them in a `PERIOD` are too many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._began: float | None = None
        self._count = 0
        self.chattering = 0  # events in the last period, while they are too many
        self.owed = 0  # events of a count that could not be told: they are in the next one

    def happened(self, now: float) -> int | None:
        """Take an event; return the count to tell now, if there is one."""
        if not self.chattering and (self._began is None or now >= self._began + PERIOD):
            self._began, self._count = now, 0
        self._count += 1
        return self._too_many(now) if not self.chattering and self._count > self._limit else None

    def tick(self, now: float) -> int | None:
        """Time passed; return the count to tell now, if there is one."""
        if not self.chattering or self._began is None or now < self._began + PERIOD:
            return None
        if self.owed or self._count > self._limit:
            return self._too_many(now)
        self.chattering, self._began = 0, None
        return None

    def _too_many(self, now: float) -> int:
        self.chattering, self._count, self._began = self._count + self.owed, 0, now
        self.owed = 0
        return self.chattering
