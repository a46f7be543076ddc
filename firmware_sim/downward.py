"""Which downward frames a device takes for fresh.

A frame's counter must be one that the device sent in the last 10 minutes and since its own start, and (counter, number)
greater than the last it accepted. Nothing of this is stored: a restart forgets it, and old frames with it.

Source: wire.md, section 1, "Downward".
"""

from collections import deque
from typing import Final

ANSWERABLE: Final = 600.0  # seconds for which a counter may be answered
_GRAIN: Final = 1.0  # seconds; counters sent within one grain are remembered as a run


class Downward:
    """The device's memory of what it sent and accepted since its start. Counters are sent without holes."""

    def __init__(self) -> None:
        self._runs: deque[tuple[float, int]] = deque()  # when each run of counters began, and its first
        self._last_sent: int | None = None
        self._accepted = (-1, -1)

    def sent(self, counter: int, now: float) -> None:
        """Note a counter that went out."""
        if not self._runs or now >= self._runs[-1][0] + _GRAIN:
            self._runs.append((now, counter))
        self._last_sent = counter
        self._forget(now)

    def accept(self, counter: int, number: int, now: float) -> bool:
        """Judge an authentic frame, and remember it if it is accepted."""
        self._forget(now)
        if self._last_sent is None or not self._runs or not self._runs[0][1] <= counter <= self._last_sent:
            return False
        if (counter, number) <= self._accepted:
            return False
        self._accepted = (counter, number)
        return True

    def _forget(self, now: float) -> None:
        while self._runs and now - self._runs[0][0] > ANSWERABLE:
            self._runs.popleft()
