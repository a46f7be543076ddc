"""A GPIO output that is off unless it is told otherwise: a siren, a strobe, a light, a buzzer.

It is off from the moment that the line is ours, and off when we end. Nothing is on for longer than `max_on_s`,
whatever was asked: the time is kept here, beside the line; a light alone may have no such limit. A process that is
killed can keep nothing, so a new one takes its outputs, off, before it does anything else; what the pin does in between
is up to the chip (docs/operate/gpio.md).

A write may be lost without an error (an expander's, before Linux 6.15): what was wanted last is put again at each look.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from gateway.control.feedback import PULSES, Pattern
from gateway.delivery.backoff import Backoff
from gateway.drivers.gpio import CHECKED_EVERY, RETRY_MAX, RETRY_MIN, STEADY, Beat, explained
from gateway.drivers.gpiochip import Chip, Output
from gateway.drivers.pace import Pace
from gateway.text import _

log = logging.getLogger(__name__)


class OutputLine:
    """One output line by its chip and its number or name.

    `rhythm`: what it drives can follow pulses; a siren or a strobe has a rhythm of its own and is just on. A trouble
    and its end are told once each.
    """

    def __init__(
        self,
        chip: Chip,
        path: str,
        line: int | str,
        *,
        active_low: bool,
        rhythm: bool,
        max_on_s: float | None,
        taken: Callable[[], None],
        lost: Callable[[str], None],
        restored: Callable[[], None],
        pace: Pace,
        random: Callable[[], float],
    ) -> None:
        self._chip = chip
        self._path = path
        self._line = line
        self._active_low = active_low
        self._rhythm = rhythm
        self.max_on_s = max_on_s
        self._lost = lost
        self._taken = taken
        self._restored = restored
        self._pace = pace
        self._backoff = Backoff(RETRY_MIN, RETRY_MAX, random)
        self._held: Output | None = None
        self._ended: asyncio.Future[OSError] | None = None
        self._end: asyncio.TimerHandle | None = None
        self._change: asyncio.TimerHandle | None = None
        self._on = False  # what was wanted last
        self.trouble: str | None = None
        self.pattern = Pattern.OFF

    def begin(self) -> None:
        """Take the line, and with that set it off, before there is anybody to tell of a trouble: `run` tries again."""
        with contextlib.suppress(OSError):
            self._take()

    async def run(self, beat: Beat = lambda: None) -> None:
        """Keep the line; ends, with the line off, only when cancelled. `beat` is called each time it comes round."""
        while True:
            beat()
            await self._pace.turn(beat)
            try:
                held = self._held or self._take()
                try:
                    await self._serve(held, beat)
                finally:
                    if self._held is held:
                        self.close()
            except OSError as error:
                self._fail(explained(self._path, self._line, error))
            await asyncio.sleep(self._backoff.next())

    def show(self, pattern: Pattern, seconds: float | None = None) -> bool:
        """Move the output, for `max_on_s` at most if there is such a limit; False if there is no line to move."""
        self._forget()
        if not self._put(active=pattern is not Pattern.OFF):
            return False
        self.pattern = pattern
        if pattern is not Pattern.OFF:
            limits = [limit for limit in (seconds, self.max_on_s) if limit is not None]
            if limits:
                self._end = asyncio.get_running_loop().call_later(min(limits), self.show, Pattern.OFF)
            if self._rhythm and pattern in PULSES:
                self._pulse(PULSES[pattern], active=False)
        return True

    def close(self) -> None:
        """Set it off and let go of the line, whatever the run that has it does."""
        self._forget()
        held, self._held = self._held, None
        if held is not None:
            with self._pace.asking():
                with contextlib.suppress(OSError):  # a chip that was removed drives nothing
                    held.put(False)
                held.close()

    def _take(self) -> Output:
        self._on = False
        with self._pace.asking():
            self._held = self._chip.output(self._path, self._line, active_low=self._active_low)
        return self._held

    async def _serve(self, held: Output, beat: Beat) -> None:
        loop = asyncio.get_running_loop()
        self._ended = ended = loop.create_future()
        steady_at = loop.time() + STEADY
        self._taken()
        while True:
            await asyncio.wait((ended,), timeout=CHECKED_EVERY)
            if ended.done():
                raise ended.result()
            beat()
            if not self._pace.free:
                continue
            with self._pace.asking():
                held.check()
                held.put(self._on)
            if loop.time() < steady_at:
                continue
            self._backoff.reset()
            if self.trouble is not None:
                self.trouble = None
                log.info("line %s of %s is back", self._line, self._path)
                self._restored()

    def _pulse(self, length: float, *, active: bool) -> None:
        """Have the level change after this time, and so on."""

        def change() -> None:
            if self._put(active=active):
                self._pulse(length, active=not active)

        self._change = asyncio.get_running_loop().call_later(length, change)

    def _put(self, *, active: bool) -> bool:
        if self._held is None:
            return False
        self._on = active
        try:
            with self._pace.asking():
                self._held.put(active)
        except OSError as error:
            if self._ended is not None and not self._ended.done():
                self._ended.set_result(error)
            return False
        return True

    def _forget(self) -> None:
        for timer in (self._end, self._change):
            if timer is not None:
                timer.cancel()
        self.pattern = Pattern.OFF

    def _fail(self, reason: str) -> None:
        if self.trouble is None:
            log.warning("an output is lost, what is connected to it can't be moved: %s", reason)
            self._lost(_("what it drives can't be moved: {reason}").format(reason=reason))
        self.trouble = reason
