"""At most one report a minute for each key, and none of what happened in between uncounted.

The first happening is reported at once. Those of the following interval are counted, and reported together when it has
passed: at the next happening or at `tick`, whichever comes first.
"""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

INTERVAL: Final = 60.0  # seconds; wire.md: at most one a minute

K = TypeVar("K", bound=Hashable)


class Limiter(Generic[K]):
    """Counts happenings by key. Keys must come from a bounded set: enrolled devices, ports, never a stranger's id."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._until: dict[K, float] = {}  # when the next report of a key may be made
        self._counts: dict[K, int] = {}  # happenings not reported yet

    def happened(self, key: K, now: float) -> int | None:
        """Count one happening; return the count to report now, if a report may be made."""
        self._counts[key] = self._counts.get(key, 0) + 1
        if now < self._until.get(key, now):
            return None
        self._until[key] = now + self._interval
        return self._counts.pop(key)

    @property
    def deadline(self) -> float | None:
        """When `tick` is due."""
        return min((self._until[key] for key in self._counts), default=None)

    def tick(self, now: float) -> list[tuple[K, int]]:
        """Return the keys and counts whose report is due."""
        due = [key for key in self._counts if now >= self._until[key]]
        for key in due:
            self._until[key] = now + self._interval
        return [(key, self._counts.pop(key)) for key in due]
