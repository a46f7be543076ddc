"""How full the outbox is, and how long it lasts: what a technician, C5 and a monitoring system ask of it."""

from collections.abc import Callable
from typing import Any, Final

from gateway.delivery.autonomy import Rates, hours
from gateway.delivery.item import Entry
from gateway.event import LANE_NAMES, Lane
from gateway.outbox.budget import LOG_MAX, MB, Budget, Usage
from gateway.outbox.statements import Write, Written

LOW: Final = 64  # MB free on the file system: below this it is a trouble
ENOUGH: Final = 2 * LOW  # … and from here on none any more
FREE_KEPT: Final = 2 * MB  # bytes of free pages that the store keeps for what comes next


class Gauge:
    """Figures of one store."""

    def __init__(self, budget: Budget, now: Callable[[], float]) -> None:
        self.budget = budget
        self.usage = Usage()
        self.dropped = 0  # records since the start
        self.free: int | None = None  # bytes, on the file system
        self.low = False
        self._now = now
        self._rates = Rates(now())
        self._held: dict[Lane, int] = {}  # bytes of records by lane, once they have been counted

    @property
    def free_mb(self) -> int | None:
        """What the file system has left."""
        return None if self.free is None else self.free // MB

    @property
    def shared(self) -> bool:
        """Whether there is room for more than alarms, and nobody who reads holds up the log."""
        return self.usage.used < self.budget.shared and self.usage.log <= LOG_MAX

    @property
    def wasteful(self) -> bool:
        """Whether pages should be given back to the file system."""
        return self.usage.free > max(FREE_KEPT, self.usage.used // 4)

    def signed(self, entry: Entry) -> None:
        """Count a record that was signed."""
        self._rates.signed(entry.item.lane, len(entry.item.wire), self._now())

    def counted(self, sizes: dict[Lane, int]) -> None:
        """Count what the store held before."""
        for lane, size in sizes.items():
            self._held[lane] = self._held.get(lane, 0) + size

    def emptied(self) -> None:
        """Count from nothing: a new store begins."""
        self._held.clear()

    def wrote(self, write: Write, written: Written) -> None:
        """Count what a transaction brought and took."""
        for entry in write.entries:
            self.counted({entry.item.lane: len(entry.item.wire)})
        for lane, size in written.gone.items():
            self._held[lane] = max(0, self._held.get(lane, 0) - size)

    def looked(self, free: int | None) -> bool | None:
        """Take how many bytes the file system has; True: they are few now, False: they are enough again."""
        if free is None:
            return None
        self.free = free
        before, self.low = self.low, free // MB < (ENOUGH if self.low else LOW)
        return self.low if self.low is not before else None

    def brief(self) -> dict[str, Any]:
        """Return the same as whole numbers, for a state that goes out every half minute; without what isn't known."""
        health = self.health()
        hours_left = {lane: int(left) for lane, left in health["hours"].items() if left is not None}
        figures = {name: int(value) for name, value in health.items() if isinstance(value, int | float)}
        return {**figures, "hours": hours_left}

    def exact(self) -> dict[str, int | None]:
        """Return the same in bytes, for a monitoring system, which does its own rounding."""
        return {
            "used_bytes": self.usage.used,
            "file_bytes": self.usage.whole,
            "max_bytes": self.budget.whole,
            "free_bytes": self.free,
        }

    def health(self) -> dict[str, Any]:
        """Return how full the store is, in MB, and in how many hours each lane begins to lose if the link fails now."""
        lasts = hours(
            self._rates.per_second(self._now()),
            self._held,
            used=self.usage.used,
            shared=self.budget.start,
            file=self.budget.file,
        )
        return {
            "used_mb": round(self.usage.used / MB, 1),
            "file_mb": round(self.usage.whole / MB, 1),
            "max_mb": self.budget.max_mb,
            "free_mb": self.free_mb,
            "dropped": self.dropped,
            "hours": {LANE_NAMES[lane]: left for lane, left in lasts.items()},
        }
