"""How long to wait before trying again: exponential, with full jitter.

Every wait is drawn from 0 to a ceiling that doubles: gateways that lost one broker at the same moment don't come back
at the same moment.

Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from collections.abc import Callable


class Backoff:
    """Waits in seconds between tries; `reset` once one has worked."""

    def __init__(self, base: float, cap: float, random: Callable[[], float]) -> None:
        self._base = base
        self._cap = cap
        self._random = random
        self._tries = 0

    def next(self, cap: float | None = None) -> float:
        """Return the next wait: uniform between 0 and min(cap, base × 2^tries); `cap` counts for this wait alone."""
        ceiling = min(self._cap if cap is None else cap, self._base * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return self._random() * ceiling

    def reset(self) -> None:
        """It worked: the next trouble starts from the base again."""
        self._tries = 0
