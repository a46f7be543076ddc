"""A jammer: noise on a line for a time, and frames that don't get through it.

Source: wire.md, "radio.jammed"; EN 50131-5-3 asks a receiver to notice interference.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Final

from firmware_sim.faults import Carrier
from firmware_sim.line import Line

RATE: Final = 2000  # bytes of noise a second: a sixth of 115 200 baud
_EVERY: Final = 0.02  # seconds between two bursts


class _Hit:
    """A direction of a jammed line: this share of the frames has a byte turned over."""

    def __init__(self, beyond: Carrier | None, share: float, random: Random) -> None:
        self.beyond = beyond
        self._share = share
        self._random = random

    def apply(self, chunk: bytes) -> list[tuple[float, bytes]]:
        if chunk.strip(b"\0") and self._random.random() < self._share:
            at = self._random.randrange(1, len(chunk) - 1)
            chunk = chunk[:at] + bytes([chunk[at] ^ 0x55]) + chunk[at + 1 :]
        return [(0.0, chunk)] if self.beyond is None else self.beyond.apply(chunk)


@asynccontextmanager
async def jammed(line: Line, *, rate: int = RATE, share: float = 1.0, seed: int = 0) -> AsyncIterator[None]:
    """Jam a line while inside: `rate` bytes a second reach the gateway, and `share` of the boards' frames don't."""
    random = Random(seed)
    line.up = hit = _Hit(line.up, share, random)

    async def noise() -> None:
        owed = 0.0
        while True:
            owed += rate * _EVERY
            line.to_gateway(random.randbytes(int(owed)))
            owed %= 1
            await asyncio.sleep(_EVERY)

    making = asyncio.create_task(noise())
    try:
        yield
    finally:
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)
        assert line.up is hit, "jammers end in the order in which they began"
        line.up = hit.beyond
