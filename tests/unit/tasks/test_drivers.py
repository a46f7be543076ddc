"""Drivers that raise, end, hang, and hang on: each is back by itself, and no other notices."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from gateway.tasks import drivers
from gateway.tasks.drivers import Beat, Driver, Drivers, State

Run = Callable[[Beat], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become hundredths."""
    for name in ("HANG", "LATE", "GIVE_UP", "STEADY", "LONG", "PAUSE_MIN", "PAUSE_MAX"):
        monkeypatch.setattr(drivers, name, getattr(drivers, name) / 100)


async def beating(beat: Beat) -> None:
    """Come round for ever."""
    while True:
        beat()
        await asyncio.sleep(0.01)


class Bench:
    """Some drivers, kept for a while, and what was told of them."""

    def __init__(self) -> None:
        self.drivers = Drivers(lambda: 0.0)
        self.told: list[tuple[str, ...]] = []
        self.drivers.on_failed = lambda name, reason: self.told.append((name, reason))
        self.drivers.on_steady = lambda name: self.told.append((name,))

    def keep(self, until: Callable[[], bool], **runs: Run | Driver) -> None:
        async def life() -> None:
            kept = [run if isinstance(run, Driver) else Driver(name, run) for name, run in runs.items()]
            tasks = [asyncio.create_task(self.drivers.keep(driver)) for driver in kept]
            async with asyncio.timeout(20):
                while not until():  # noqa: ASYNC110  # what is awaited has no event of its own
                    await asyncio.sleep(0.005)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert all(task.cancelled() for task in tasks)

        asyncio.run(life())


def test_a_driver_that_raises_is_started_again_and_no_other_notices(caplog: pytest.LogCaptureFixture) -> None:
    bench, starts = Bench(), []

    async def raising(_beat: Beat) -> None:
        starts.append(1)
        raise ValueError("a bug")

    bench.keep(lambda: len(starts) > 2 and ("well",) in bench.told, broken=raising, well=beating)
    reason = (
        "a mistake in this program ended it (a bug): it is started again by itself. If that comes again, send the log "
        "to whoever maintains this program"
    )
    assert ("broken", reason) in bench.told
    assert [told for told in bench.told if told[0] == "well"] == [("well",)]
    assert bench.drivers.states["well"] == State()
    assert bench.drivers.states["broken"].restarts >= 2
    assert "the driver of broken failed" in caplog.text


def test_a_driver_that_ends_is_started_again() -> None:
    bench, starts = Bench(), []

    async def ending(_beat: Beat) -> None:
        starts.append(1)

    bench.keep(lambda: len(starts) > 1, short=ending)
    assert bench.told[0] == ("short", "it ended")


def test_a_driver_that_hangs_is_cancelled_and_started_again_alone() -> None:
    bench, starts = Bench(), []

    async def hanging(beat: Beat) -> None:
        starts.append(1)
        if len(starts) > 1:
            await beating(beat)
        await asyncio.Event().wait()

    bench.keep(lambda: ("hangs",) in bench.told, hangs=hanging, well=beating)
    assert [told for told in bench.told if told[0] == "hangs"] == [
        ("hangs", "it hung and was cancelled"), ("hangs",),
    ]  # fmt: skip
    assert bench.drivers.states["well"] == State()


def test_a_driver_that_swallows_its_cancellation_is_abandoned_and_another_is_started() -> None:
    bench, starts, closed = Bench(), [], []
    let_go = asyncio.Event()

    async def stubborn(beat: Beat) -> None:
        starts.append(1)
        if len(starts) > 1:
            await beating(beat)
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                beat()
        raise ValueError("at last")

    def until() -> bool:
        if ("stubborn",) in bench.told:
            let_go.set()
            return not bench.drivers._abandoned
        return False

    bench.keep(until, stubborn=Driver("stubborn", stubborn, lambda: closed.append(1)))
    assert bench.told == [
        ("stubborn", "it hung, could not be cancelled, and was abandoned"), ("stubborn",),
    ]  # fmt: skip
    assert (closed, bench.drivers.states["stubborn"].abandoned) == ([1], 1)


def test_a_driver_that_beats_is_left_alone_however_long_the_other_side_is_silent() -> None:
    bench, began = Bench(), []

    def until() -> bool:
        began.append(asyncio.get_running_loop().time())
        return began[-1] - began[0] > 3 * drivers.HANG

    bench.keep(until, silent=beating)
    assert bench.told == [("silent",)]


def test_a_process_that_was_stopped_blames_no_driver() -> None:
    bench = Bench()
    ended: list[int] = []

    async def slow(beat: Beat) -> None:
        while True:
            await asyncio.sleep(0.01)
            for _turn in range(5):
                await asyncio.sleep(0)
            beat()

    def until() -> bool:
        if ("slow",) in bench.told and not ended:
            time.sleep(3 * drivers.HANG)
        if ("slow",) in bench.told:
            ended.append(1)
        return len(ended) > 20

    bench.keep(until, slow=slow)
    assert bench.told == [("slow",)]


def test_restarts_back_off_and_status_says_how_often_and_why() -> None:
    bench = Bench()
    bench.drivers = Drivers(lambda: 1.0)
    starts: list[float] = []
    troubles: list[str] = []

    async def raising(_beat: Beat) -> None:
        starts.append(asyncio.get_running_loop().time())
        raise OSError("gone")

    def until() -> bool:
        if bench.drivers.states["port"].restarts == 4:
            troubles[:] = bench.drivers.troubles
        return len(starts) > 4

    bench.drivers.states["port"] = State()
    bench.keep(until, port=raising)
    pauses = [after - before for before, after in pairwise(starts)]
    assert all(pause >= least for pause, least in zip(pauses, (0.019, 0.029, 0.049, 0.089), strict=False)), pauses
    (trouble,) = troubles
    assert trouble.startswith(
        "the driver of port failed and was started again, 4 times since the start: "
        "a mistake in this program ended it (gone): "
    )
