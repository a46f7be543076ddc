"""Watches the clock: a step becomes a record, and the floor on disk follows the time that is sure.

What is watched is the machine's clock, as it is: that somebody set it is news even where the gateway knew better. So
is the time that the gateway signs by when satellites begin to tell it, or another than before. The record of a step
that made the clock right is the one by which C5 corrects those before it. One without room waits for it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.wall import GNSS, NTP, STEP_US, Steps

if TYPE_CHECKING:
    from gateway.clock import FieldClock

log = logging.getLogger(__name__)

LOOK: Final = 1.0  # seconds between two looks
BLUR: Final = 0.25  # seconds: two clocks that were read further apart than this can't be compared
KEEP: Final = 3600.0  # seconds between two writings of the floor: some 100 KB a day on a card
UNTOLD_MAX: Final = 16  # steps that wait for room; of more, the newest are told


class ClockWatch:
    """One gateway's. `keep` writes the floor (µs since 1970), `record` makes a record of this type if there is room."""

    def __init__(
        self,
        clock: "FieldClock",
        keep: Callable[[int], Awaitable[None]],
        record: Callable[[str, dict[str, Any]], bool],
    ) -> None:
        self._clock = clock
        self._keep = keep
        self._record = record
        self._steps = Steps(clock.machine.now_us(), clock.monotonic())
        self._kept_at = clock.monotonic()
        self._judged, self._judged_at = clock.judged(), clock.monotonic()
        self._sure = False  # a synchronised clock has set the floor on disk
        self._untold: deque[dict[str, Any]] = deque(maxlen=UNTOLD_MAX)

    async def run(self) -> None:
        """Watch for ever; at the end the floor is written once more."""
        try:
            while True:
                self._look()
                if self._due():
                    await self._write()
                await asyncio.sleep(LOOK)
        finally:
            await self._write()

    def _look(self) -> None:
        self._look_up()
        self._look_at_machine()
        while self._untold and self._record("clock.stepped", self._untold[0]):
            self._untold.popleft()

    def _look_at_machine(self) -> None:
        before, wall_us, now = self._clock.monotonic(), self._clock.machine.now_us(), self._clock.monotonic()
        if now - before > BLUR:
            return
        if (stepped := self._steps.look(wall_us, now)) is not None:
            log.warning("the clock was set, by %+.1f s", (stepped.to_us - stepped.from_us) / 1e6)
            self._untold.append({"from_us": stepped.from_us, "to_us": stepped.to_us})

    def _look_up(self) -> None:
        """Tell of a time that came from satellites, where another was gone by before."""
        before, at = self._judged, self._judged_at
        began, judged, now = self._clock.monotonic(), self._clock.judged(), self._clock.monotonic()
        if now - began > BLUR:
            return
        self._judged, self._judged_at = judged, now
        shown_us = before.us + round((now - at) * 1e6)
        if judged.source == GNSS and before.source != NTP and abs(judged.us - shown_us) > STEP_US:
            log.warning("satellites tell the time: it was off by %+.1f s", (judged.us - shown_us) / 1e6)
            self._untold.append({"from_us": shown_us, "to_us": judged.us})

    def _due(self) -> bool:
        sure = self._clock.firm()[1]
        return (sure and not self._sure) or self._clock.monotonic() >= self._kept_at + KEEP

    async def _write(self) -> None:
        self._sure = self._sure or self._clock.firm()[1]
        self._kept_at = self._clock.monotonic()
        await self._keep(self._clock.floor_us())
