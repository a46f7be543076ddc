"""How much of the event loop one GPIO chip may take.

A line is looked at and moved by system calls, and the loop stands still in each. On the SoC's own chip they take
microseconds; on an expander behind I²C or USB whose bus hangs, a second, and then they fail: with a few lines, each
trying on its own, nothing else would come round. So a chip's lines take turns: after calls that took long the chip is
left alone for `PAUSES` times as long, by all its lines together.

Moving an output asks nobody: a siren doesn't wait for its turn.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

LONG: Final = 0.1  # seconds: much longer than a bus that works needs for one call
PAUSES: Final = 20  # so that a chip whose bus hangs has a twentieth of the loop
PAUSE_MAX: Final = 60.0  # seconds
SLICE: Final = 2.0  # seconds between two beats of who waits


class Pace:
    """The turns of one chip's lines."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._free_at = float("-inf")

    @property
    def free(self) -> bool:
        """Whether the chip may be asked now."""
        return self._monotonic() >= self._free_at

    async def turn(self, beat: Callable[[], None]) -> None:
        """Wait until the chip may be asked."""
        while (left := self._free_at - self._monotonic()) > 0:
            beat()
            await asyncio.sleep(min(left, SLICE))

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Take the time of what is done in here."""
        began = self._monotonic()
        try:
            yield
        finally:
            now = self._monotonic()
            if now - began > LONG:
                self._free_at = max(self._free_at, now + min(PAUSE_MAX, PAUSES * (now - began)))
