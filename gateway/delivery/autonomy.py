"""How long the outbox lasts: from what was signed lately and what room is left, when each lane begins to lose.

The rate is that of the last hours, so that one busy minute is no alarm and a night's quiet no comfort. What is answered
is "if the link failed now": nothing leaves by a receipt, and the lanes lose in their order, telemetry first.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from gateway.event import Lane

STEP: Final = 600.0  # seconds that are counted together
STEPS: Final = 18  # of them: three hours
SOONEST: Final = 60.0  # seconds: a start's own records are no rate
ON_DISK: Final = 1.25  # bytes on disk for one of a record: its key, the page's unused part
HOUR: Final = 3600.0


class Rates:
    """Bytes of records signed, by lane, over the last hours."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._steps: deque[tuple[float, dict[Lane, int]]] = deque(maxlen=STEPS)

    def signed(self, lane: Lane, size: int, now: float) -> None:
        """Count a record."""
        if not self._steps or now >= self._steps[-1][0] + STEP:
            self._steps.append((now, {}))
        counted = self._steps[-1][1]
        counted[lane] = counted.get(lane, 0) + size

    def per_second(self, now: float) -> dict[Lane, float]:
        """Return bytes a second, by lane."""
        since = max(self._began, now - STEP * STEPS)
        recent = [counted for at, counted in self._steps if at + STEP > since]
        passed = max(SOONEST, now - since)
        return {lane: sum(counted.get(lane, 0) for counted in recent) / passed for lane in Lane}


def hours(
    rates: Mapping[Lane, float], held: Mapping[Lane, int], *, used: int, shared: int, file: int
) -> dict[Lane, float | None]:
    """Return in how many hours each lane begins to lose; None: not at this rate, ever.

    `held` is what each lane has in the store, `used` what is taken in all, `shared` what status and telemetry may fill
    and `file` what alarms may, all in bytes. What is not an alarm makes room for those before it.
    """
    found: dict[Lane, float | None] = {}
    left = {
        Lane.TELEMETRY: shared - used,
        Lane.STATUS: shared - used + ON_DISK * held.get(Lane.TELEMETRY, 0),
        Lane.ALARM: file - used + ON_DISK * (held.get(Lane.TELEMETRY, 0) + held.get(Lane.STATUS, 0)),
    }
    for lane in Lane:
        rate = ON_DISK * sum(rates.get(other, 0.0) for other in Lane if other <= lane)
        nothing = rate <= 0 or not (rates.get(lane) or held.get(lane))
        found[lane] = None if nothing else round(max(0.0, left[lane]) / rate / HOUR, 1)
    return found
