"""A push button's contact on a GPIO line: it bounces when it is moved, is held, sticks."""

import asyncio
from typing import Final

from firmware_sim.gpiochip import GpioChip

BOUNCES: Final = 0.02  # seconds from the first edge to the last


class Contact:
    """Closed, it connects `line` to ground (0) or supply (1); open, the line floats and its bias decides."""

    def __init__(self, chip: GpioChip, line: int, closes_to: int = 0) -> None:
        self.closed = False
        self._chip = chip
        self._line = line
        self._closes_to = closes_to

    async def move(self, closed: bool, edges: int = 1) -> None:
        """Move it, with so many edges on the way; the last of them is where it stays."""
        for left in range(edges - 1, -1, -1):
            self._put(closed != bool(left % 2))
            if left:
                await asyncio.sleep(BOUNCES / edges)
        self.closed = closed

    async def touch(self, seconds: float, edges: int = 1) -> None:
        """Press and let go."""
        await self.move(True, edges)
        await asyncio.sleep(seconds)
        await self.move(False, edges)

    def _put(self, closed: bool) -> None:
        self._chip.drive(self._line, self._closes_to if closed else None)
