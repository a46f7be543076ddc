"""A GPIO input that is taken again for ever: a button, a door, a charger's contact.

The kernel's edges are handed on as they come, with its times and numbers. Where the numbers show that some were lost,
and every `CHECKED_EVERY` seconds in any case, the line's level is read and handed on as the truth: a chip that was
removed says nothing by itself on older kernels. A line that another process holds, or a chip that is pulled out, is
lost once, and tried again until it is back.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Sequence
from typing import Final

from gateway.delivery.backoff import Backoff
from gateway.drivers.gpiochip import BiasName, Chip, Edge, Input, holder
from gateway.drivers.pace import Pace
from gateway.text import _

log = logging.getLogger(__name__)

RETRY_MIN: Final = 0.1  # seconds between tries to take the line
RETRY_MAX: Final = 5.0
CHECKED_EVERY: Final = 2.0  # seconds
STEADY: Final = 3.0  # seconds until a line that was lost counts as back: one that fails at once is none

Beat = Callable[[], None]


class InputLine:
    """One input line by its chip and its number or name.

    `taken` is told that the line is ours and its edges are numbered anew; then `edges` what happens, and `level` what
    is so. `edges` says whether some were lost. A trouble and its end are told once each, over any number of runs.
    """

    def __init__(
        self,
        chip: Chip,
        path: str,
        line: int | str,
        *,
        active_low: bool,
        bias: BiasName,
        debounce_ms: int,
        taken: Callable[[], None],
        edges: Callable[[Sequence[Edge]], bool],
        level: Callable[[bool], None],
        lost: Callable[[str], None],
        restored: Callable[[], None],
        pace: Pace,
        random: Callable[[], float],
    ) -> None:
        self._chip = chip
        self._path = path
        self._line = line
        self._active_low = active_low
        self._bias = bias
        self._debounce_ms = debounce_ms
        self._taken = taken
        self._told_edges = edges
        self._told_level = level
        self._lost = lost
        self._restored = restored
        self._pace = pace
        self._backoff = Backoff(RETRY_MIN, RETRY_MAX, random)
        self._held: Input | None = None
        self._ended: asyncio.Future[OSError] | None = None
        self.trouble: str | None = None
        self.active: bool | None = None  # as last seen; None while the line isn't ours

    async def run(self, beat: Beat = lambda: None) -> None:
        """Keep the line; ends only when cancelled. `beat` is called each time that this comes round."""
        while True:
            beat()
            await self._pace.turn(beat)
            try:
                self._ended = asyncio.get_running_loop().create_future()
                with self._pace.asking():
                    self._held = held = self._chip.input(
                        self._path,
                        self._line,
                        active_low=self._active_low,
                        bias=self._bias,
                        debounce_ms=self._debounce_ms,
                        edges=self._edges,
                        failed=self._failed,
                    )
                try:
                    await self._serve(held, self._ended, beat)
                finally:
                    with self._pace.asking():
                        held.close()
                    if self._held is held:
                        self._held = self.active = None
            except OSError as error:
                self._fail(explained(self._path, self._line, error))
            await asyncio.sleep(self._backoff.next())

    def close(self) -> None:
        """Let go of the line, whatever the run that has it does."""
        if self._held is not None:
            self._held.close()
            self._held = self.active = None

    async def _serve(self, held: Input, ended: asyncio.Future[OSError], beat: Beat) -> None:
        """Serve the line until it fails, which is raised."""
        self._taken()
        self._check(held)
        loop = asyncio.get_running_loop()
        steady_at = loop.time() + STEADY
        while True:
            await asyncio.wait((ended,), timeout=CHECKED_EVERY)
            if ended.done():
                raise ended.result()
            beat()
            if not self._pace.free:
                continue
            self._check(held)
            if loop.time() < steady_at:
                continue
            self._backoff.reset()
            if self.trouble is not None:
                self.trouble = None
                log.info("line %s of %s is back", self._line, self._path)
                self._restored()

    def _check(self, held: Input) -> None:
        with self._pace.asking():
            self.active = held.level()
        self._told_level(self.active)

    def _edges(self, edges: Sequence[Edge]) -> None:
        self.active = edges[-1][1]
        if self._told_edges(edges) and self._held is not None:
            self._check(self._held)

    def _failed(self, error: OSError) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(error)

    def _fail(self, reason: str) -> None:
        if self.trouble is None:
            log.warning("an input is lost, what is connected to it is not heard: %s", reason)
            self._lost(reason)
        self.trouble = reason


def explained(path: str, line: int | str, error: OSError) -> str:
    """Say to a technician why a line can't be had."""
    match error.errno:
        case errno.ENOENT:
            text = _("{chip} is not there: gpiodetect lists the GPIO chips of this machine")
        case errno.EACCES | errno.EPERM:
            text = _("{chip} may not be opened: the service's user must be in the group gpio")
        case errno.EBUSY if error.strerror:
            text = _("line {line} of {chip} is held by {holder}: stop that, or take another line")
        case errno.EBUSY:
            text = _("line {line} of {chip} is held by another program or driver: gpioinfo shows it")
        case errno.ECHRNG:
            text = _("{chip} has no line {line}: gpioinfo lists its lines and their names")
        case errno.ENODEV | errno.EIO | errno.EREMOTEIO:
            text = _("{chip} does not answer: was it removed, is it a GPIO chip at all?")
        case errno.ENXIO:
            text = _("line {line} of {chip} can't notice edges: take one that can cause interrupts")
        case errno.ENOTTY | errno.EINVAL:
            text = _(
                "line {line} of {chip} can't be had like this: is it a GPIO chip, can it do what the settings ask?"
            )
        case None:
            return f"{path}, {line}: {error}"
        case number:
            return f"{path}, {line}: {os.strerror(number)}"
    return text.format(chip=path, line=line, holder=error.strerror)


def try_line(path: str, line: int | str) -> tuple[int | None, str | None]:
    """Look at a line without touching it, for `check`; return its number, and why it can't be had, or None."""
    try:
        number, held_by = holder(path, line)
    except OSError as error:
        return None, explained(path, line, error)
    return number, None if held_by is None else explained(path, line, OSError(errno.EBUSY, held_by))
