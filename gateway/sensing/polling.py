"""Whose turn it is on a bus: each read by its period, and a unit that is silent so rarely that the others don't notice.

1. The read that is due the longest goes first; a bus that can't keep up is late for everybody, and starves nobody.
2. A unit that doesn't answer costs the line a whole timeout. So it is asked again only after `COST` timeouts, then
   after twice, four times … that long, at most `REST_MAX` seconds, and with one read alone: it never takes more than a
   `COST`-th part of the line's time, and soon a hundredth.
3. After `LOST_AFTER` questions without an answer that can be read it is lost. Any answer restores it, an exception too,
   and then all of its reads are due at once.
4. A unit that answers, and refuses one read, is asked for that one every `REFUSED_REST` seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.sensing.registers import Read

COST: Final = 12.0  # the line's time over what one silent unit takes of it, at most
REST_MIN: Final = 1.0  # seconds
REST_MAX: Final = 60.0
LOST_AFTER: Final = 3
REFUSED_REST: Final = 60.0


@dataclass(slots=True)
class _Unit:
    reads: Sequence[Read]
    due: list[float]
    answered_at: float  # or when the line came
    failures: int = 0
    probe_at: float = 0.0
    late: dict[int, float] = field(default_factory=dict)


class Polling:
    """All units of one line. Times are those of one monotonic clock."""

    def __init__(self, units: Mapping[str, Sequence[Read]], timeout: float, now: float) -> None:
        self._timeout = timeout
        self._units = {name: _Unit(reads, [now] * len(reads), now) for name, reads in units.items()}

    def next(self, now: float) -> tuple[str, int, Read] | None:
        """Return the unit to ask, and its read, if one is due."""
        at, name, index = self._first()
        return (name, index, self._units[name].reads[index]) if at <= now else None

    @property
    def deadline(self) -> float:
        """When `next` has something."""
        return self._first()[0]

    def _first(self) -> tuple[float, str, int]:
        return min(
            (unit.probe_at if unit.failures else unit.due[index], name, index)
            for name, unit in self._units.items()
            for index in (range(1) if unit.failures else range(len(unit.reads)))
        )

    def answered(self, name: str, index: int, now: float, *, refused: bool = False) -> None:
        """The unit answered; `refused`: with an exception."""
        unit = self._units[name]
        if unit.failures:
            unit.due = [now] * len(unit.reads)
        unit.failures, unit.answered_at = 0, now
        period = unit.reads[index].poll_s
        unit.late[index] = max(0.0, now - unit.due[index])
        if refused:
            unit.due[index] = now + max(period, REFUSED_REST)
        else:  # by its period from when it was due, so that a second is a second; what was missed is not made up for
            unit.due[index] = max(unit.due[index] + period, now)

    def failed(self, name: str, now: float) -> None:
        """The unit didn't answer, or not in a way that can be read."""
        unit = self._units[name]
        rest = max(REST_MIN, COST * self._timeout) * 2.0 ** min(unit.failures, 10)
        unit.failures += 1
        unit.probe_at = now + max(COST * self._timeout, min(rest, REST_MAX))

    def lost(self, name: str) -> bool:
        """Whether a unit is lost."""
        return self._units[name].failures >= LOST_AFTER

    def silent(self, name: str, now: float) -> float:
        """Return for how many seconds a unit has not answered, or the line has been there without it."""
        return now - self._units[name].answered_at

    def late(self, name: str) -> float:
        """Return how late the slowest read of a unit was answered, in seconds after it was due."""
        return max(self._units[name].late.values(), default=0.0)
