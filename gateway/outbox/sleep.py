"""Sleeps until something is due, and wakes earlier only where it became due earlier: most of what comes may wait."""

import asyncio
import contextlib
from collections.abc import Callable


class Sleep:
    """One sleeper's. `due` and `now` are the event loop's time."""

    def __init__(self, due: Callable[[], float], now: Callable[[], float]) -> None:
        self._due = due
        self._now = now
        self._until = 0.0
        self._awake = asyncio.Event()

    async def until_due(self) -> None:
        """Sleep; return at once if something is due."""
        while (left := (until := self._due()) - self._now()) > 0:
            self._until = until
            self._awake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._awake.wait()

    def look(self) -> None:
        """Something came: wake if it is due before the sleep ends."""
        if self._due() < self._until:
            self._awake.set()
