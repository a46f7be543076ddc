"""An event loop on virtual time: it never waits, it sets its clock to the next timer.

There is no selector, no thread and no real clock: `run_in_executor` and sockets raise, so that what the gateway takes
from outside past `World` is found. Timers that are due at the same moment run in an order drawn from the seed, as on a
machine nobody can rely on theirs; what `call_soon` was given runs in order, as asyncio promises.

A `Process` is what dies together. Its tasks carry it in their context, and so does whatever they call later; the
simulated shells do nothing for a process that is dead. Killing it cancels its tasks: what their `finally` still does
reaches nobody.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, Final, Never, TypeVarTuple

RESTLESS: Final = 100_000  # callbacks in a virtual second: somebody runs in a circle
TURN: Final = 1e-6  # seconds that each turn takes: a deadline that is a rounding error away must come
PROCESS: ContextVar["Process | None"] = ContextVar("PROCESS", default=None)


Ts = TypeVarTuple("Ts")


class Broken(Exception):  # noqa: N818  # what is broken is a promise
    """A promise was broken, or the program failed."""


class Process:
    """A program that runs until its main coroutine ends, or until it is killed."""

    def __init__(self, name: str, loop: "VirtualLoop", main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.name = name
        self.alive = True
        self.at_death: list[Callable[[], None]] = []
        self._loop = loop
        self._context = copy_context()
        self._context.run(PROCESS.set, self)
        self.task = loop.create_task(self._context.run(main), name=name, context=self._context)

    def kill(self) -> None:
        """End it at once, without a word to anybody."""
        if not self.alive:
            return
        self.alive = False
        for act in self.at_death:
            act()
        for task in self._loop.tasks_of(self):
            task.cancel()

    async def stop(self) -> None:
        """End it as SIGTERM does: it says goodbye."""
        self.task.cancel()
        await asyncio.wait([self.task])
        self.kill()


class _Handle(asyncio.TimerHandle):
    """What is to be called: asyncio's own handles ask for debugging at every turn, and there are very many."""

    __slots__ = ()

    def __init__(
        self, loop: "VirtualLoop", when: float, callback: Callable[..., object], args: Any, context: Context | None
    ) -> None:
        self._loop = loop
        self._when = when
        self._callback = callback
        self._args = args
        self._context = copy_context() if context is None else context
        self._cancelled = False

    def cancel(self) -> None:
        """Don't call it; let go of what it holds."""
        if not self._cancelled:
            self._cancelled = True
            self._callback, self._args = _nothing, ()
            self._loop.handle_cancelled()


def _nothing() -> None:
    """Stand for what was cancelled."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs until a coroutine is done; `broken` ends it at once."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.broken: str | None = None
        self.turns = 0
        self._random = random
        self._now = 0.0
        self._soon: deque[_Handle] = deque()
        self._later: list[tuple[float, float, int, _Handle]] = []
        self._cancelled = 0
        self._owned: dict[asyncio.Task[Any], Process] = {}

    # Time.

    def time(self) -> float:
        """Return virtual seconds since the beginning."""
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call after what has been asked for before."""
        handle = _Handle(self, self._now, callback, args, context)
        self._soon.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call when this much virtual time has passed."""
        return self.call_at(self._now + delay if delay > 0 else self._now, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call at this virtual time."""
        handle = _Handle(self, when, callback, args, context)
        self.turns += 1
        heapq.heappush(self._later, (when, self._random.random(), self.turns, handle))
        return handle

    def handle_cancelled(self) -> None:
        """Take note that one thing less is to be called."""
        self._cancelled += 1
        if self._cancelled > 100 and 2 * self._cancelled > len(self._later):
            self._later[:] = [entry for entry in self._later if not entry[3]._cancelled]
            heapq.heapify(self._later)
            self._cancelled = 0

    # Running.

    def run_until_complete(self, future: Any) -> Any:
        """Run a coroutine to its end. Raises `Broken` as soon as something is."""
        task = self.create_task(future)
        asyncio.events._set_running_loop(self)
        try:
            self._run_until(task.done)
            return task.result()
        finally:
            asyncio.events._set_running_loop(None)

    def _run_until(self, done: Callable[[], bool]) -> None:
        """Turn after turn: what is to be called soon, and what has become due."""
        later, soon, pop = self._later, self._soon, heapq.heappop
        called, counted_at = 0, 0.0
        while not done():
            while later and later[0][3]._cancelled:
                pop(later)
            now = self._now + TURN
            if not soon:
                if not later:
                    raise Broken("nothing will ever happen again")
                now = max(now, later[0][0])
            self._now = now
            while later and later[0][0] <= now:
                soon.append(pop(later)[3])
            if now >= counted_at + 1.0:
                called, counted_at = 0, now
            for _ in range(len(soon)):
                handle = soon.popleft()
                if not handle._cancelled:
                    called += 1
                    try:
                        handle._context.run(handle._callback, *handle._args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:  # noqa: BLE001  # as asyncio does
                        self._failed(handle, error)
                    if self.broken is not None:
                        raise Broken(self.broken)
            if called > RESTLESS:
                raise Broken(f"{RESTLESS} callbacks in a second, and no end: {handle._callback}")

    def _failed(self, handle: _Handle, error: BaseException) -> None:
        said = {"message": f"Exception in callback {handle._callback}", "exception": error, "handle": handle}
        self.call_exception_handler(said)

    def end(self) -> None:
        """Cancel all that is left, let it end, and close."""
        self.broken = None
        for process in set(self._owned.values()):
            process.alive = False
        asyncio.events._set_running_loop(self)
        try:
            for _attempt in range(50):
                left = asyncio.all_tasks(self)
                if not left:
                    break
                for task in left:
                    task.cancel()
                while self._soon:
                    handle = self._soon.popleft()
                    if not handle._cancelled:
                        handle._run()
        finally:
            asyncio.events._set_running_loop(None)
        self._later.clear()
        self.close()

    # Tasks and their mistakes.

    def create_task(  # type: ignore[override]  # the context is keyword-only in asyncio, and object in typeshed
        self, coro: Coroutine[Any, Any, Any], *, name: object = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        """Make a task that belongs to the process that makes it."""
        task: asyncio.Task[Any] = super().create_task(coro, name=name, context=context)
        owner = PROCESS.get() if context is None else context.get(PROCESS)
        if owner is not None:
            self._owned[task] = owner
            task.add_done_callback(self._forget, context=context)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._owned.pop(task, None)

    def tasks_of(self, process: Process) -> list[asyncio.Task[Any]]:
        """Return the tasks of a process that have not ended."""
        return [task for task, owner in self._owned.items() if owner is process]

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Take what a callback or a forgotten task raised: a living program's failure ends the run."""
        owner = None
        for key in ("task", "future"):
            owner = owner or self._owned.get(context.get(key))  # type: ignore[arg-type]
        handle = context.get("handle")
        if owner is None and handle is not None:
            owner = handle._context.get(PROCESS)
        if (owner is not None and not owner.alive) or self.is_closed():
            return
        error = context.get("exception")
        if self.broken is None:
            self.broken = f"{context.get('message')}: {error!r}" + place(error)

    # What a simulation must not do.

    def run_in_executor(self, *_: Any) -> Never:  # type: ignore[override]  # whatever is asked
        """Refuse: a thread would not repeat."""
        raise Broken("a thread was asked for: this belongs into World")

    def call_soon_threadsafe(self, *_: Any, **__: Any) -> Never:  # type: ignore[override]  # as above
        """Refuse: nobody else is there."""
        raise Broken("a thread calls: this belongs into World")


def place(error: object) -> str:
    """Return where an exception came from, innermost first."""
    trace = error.__traceback__ if isinstance(error, BaseException) else None
    places = []
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f" ({' < '.join(reversed(places))})" if places else ""
