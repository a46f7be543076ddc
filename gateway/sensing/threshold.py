"""Thresholds: when a value is beyond its limit, and when it is back for good.

Beyond the limit it is exceeded; it is restored only when it is back by the hysteresis, so that a value that trembles at
the limit is told once. A rate is the change in a minute between now and the oldest value of the last `over_s` seconds,
and known only once these have been seen.
"""

from collections import deque

from gateway.sensing.profile import Limit


class Threshold:
    """One threshold of one value; `exceeded` may be known from before the start."""

    def __init__(self, limit: Limit, *, exceeded: bool = False) -> None:
        self.limit = limit
        self.exceeded = exceeded
        self._values: deque[tuple[float, float]] = deque()  # bounded by over_s and how often a value is read

    def judge(self, value: float, now: float) -> float | None:
        """Take a value; return what was compared with the limit (the value, or its rate), None while not known."""
        limit = self.limit
        measured: float | None = value
        if limit.side in ("rising", "falling"):
            measured = self._rate(value, now)
        if measured is None:
            return None
        sign = -1 if limit.side in ("below", "falling") else 1
        bound = -limit.limit if limit.side == "falling" else limit.limit
        beyond = (measured - bound) * sign
        if beyond > 0:
            self.exceeded = True
        elif beyond <= -limit.hysteresis:
            self.exceeded = False
        return measured

    def _rate(self, value: float, now: float) -> float | None:
        over = self.limit.over_s
        self._values.append((now, value))
        while len(self._values) > 1 and self._values[1][0] <= now - over:
            self._values.popleft()
        at, before = self._values[0]
        return None if at > now - over else (value - before) * 60 / (now - at)

    def forget(self) -> None:
        """What was seen is too old to go by: the unit was silent."""
        self._values.clear()
