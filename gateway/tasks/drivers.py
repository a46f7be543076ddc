"""Drivers, each on its own: one that raises, hangs or loses its port never stops another, and is back by itself.

A driver is a coroutine that is called again for as long as the gateway runs. It calls `beat` whenever it comes round:
that is progress, never that the other side answered (an outage or a line that isn't there is no hang). One that does
not beat for `HANG` is cancelled and started again, alone. One that swallows its cancellation is abandoned: it is told
to let go of what it holds (`close`), and another is started beside it; what it still does must reach nobody, which is
the driver's to see to.

Restarts back off. A driver that has been well for `STEADY` says so, one that ran for long begins from the shortest
pause again.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from gateway.delivery.backoff import Backoff
from gateway.text import _

log = logging.getLogger(__name__)

HANG: Final = 15.0  # seconds without a beat; drivers beat every few
LATE: Final = (
    2.0  # seconds that our own waking may be late; if it is later, nobody came round, and no driver is to blame
)
GIVE_UP: Final = 5.0  # seconds that a cancelled driver is given to end
STEADY: Final = 10.0  # seconds after which a driver that was started and still beats is well
LONG: Final = 600.0  # seconds for which a failure is a trouble, and after which the next one counts as the first
PAUSE_MIN: Final = 1.0  # seconds before a driver is started again
PAUSE_MAX: Final = 60.0

Beat = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Driver:
    """One driver: `run` serves until it is cancelled, `close` lets go of what an abandoned run holds."""

    name: str
    run: Callable[[Beat], Coroutine[Any, Any, None]]
    close: Callable[[], None] = lambda: None


@dataclass(slots=True)
class State:
    """How a driver has fared since the gateway's start."""

    restarts: int = 0
    reason: str | None = None  # of the last one
    failed_at: float | None = None
    abandoned: int = 0


class Drivers:
    """Keeps drivers running. `on_failed` gets a name and why, `on_steady` the name of one that is well."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._abandoned: set[asyncio.Task[None]] = set()
        self.states: dict[str, State] = {}
        self.on_failed: Callable[[str, str], None] = lambda _name, _reason: None
        self.on_steady: Callable[[str], None] = lambda _name: None

    async def keep(self, driver: Driver) -> None:
        """Run a driver for ever; ends only when cancelled."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(PAUSE_MIN, PAUSE_MAX, self._random)
        state = self.states.setdefault(driver.name, State())
        while True:
            began = loop.time()
            reason = await self._run(driver, state)
            state.restarts, state.reason, state.failed_at = state.restarts + 1, reason, loop.time()
            self.on_failed(driver.name, reason)
            if loop.time() >= began + LONG:
                backoff.reset()
            await asyncio.sleep(PAUSE_MIN + backoff.next())

    async def _run(self, driver: Driver, state: State) -> str:
        """Run it once; return why it ended."""
        loop = asyncio.get_running_loop()
        beaten = began = loop.time()
        steady = hangs = False  # one that was given up is never well again

        def beat() -> None:
            nonlocal beaten, steady
            beaten = loop.time()
            if not steady and not hangs and beaten >= began + STEADY:
                steady = True
                self.on_steady(driver.name)

        task = loop.create_task(driver.run(beat), name=f"driver-{driver.name}")
        try:
            while True:
                due = beaten + HANG
                await asyncio.wait({task}, timeout=max(0.0, due - loop.time()))
                now = loop.time()
                if task.done():
                    return _reason(driver.name, task)
                if now >= due + LATE:
                    beaten = now
                elif now >= beaten + HANG:
                    hangs = True
                    log.error("the driver of %s hangs and is started again", driver.name)
                    return await self._cancelled(driver, task, state)
        finally:
            if not task.done() and task not in self._abandoned:
                await self._cancelled(driver, task, state)

    async def _cancelled(self, driver: Driver, task: asyncio.Task[None], state: State) -> str:
        task.cancel()
        await asyncio.wait({task}, timeout=GIVE_UP)
        if task.done():
            self._ended(task)
            return _("it hung and was cancelled")
        log.error("the driver of %s does not end either, and is abandoned", driver.name)
        state.abandoned += 1
        self._abandoned.add(task)
        task.add_done_callback(self._ended)
        driver.close()
        return _("it hung, could not be cancelled, and was abandoned")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("a driver that was cancelled failed: %r", error)

    @property
    def troubles(self) -> list[str]:
        """Return which drivers have failed lately, how often since the start, and why."""
        now = asyncio.get_running_loop().time()
        text = _("the driver of {name} failed and was started again, {count} times since the start: {reason}")
        return [
            text.format(name=name, count=state.restarts, reason=state.reason)
            for name, state in self.states.items()
            if state.failed_at is not None and now < state.failed_at + LONG
        ]


def _reason(name: str, task: asyncio.Task[None]) -> str:
    """Return why a driver ended: nobody asked it to."""
    error = None if task.cancelled() else task.exception()
    if error is None:
        log.warning("the driver of %s ended", name)
        return _("it ended")
    log.error("the driver of %s failed", name, exc_info=error)
    return _(
        "a mistake in this program ended it ({error}): it is started again by itself. If that comes again, send the "
        "log to whoever maintains this program"
    ).format(error=error)
