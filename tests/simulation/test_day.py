"""A day with 32 devices on one line, and drivers that fail beside one that doesn't; both through the whole gateway."""

import asyncio
import logging
import re
from collections.abc import Callable

import pytest

from tests.simulation.field import SimulatedPort
from tests.simulation.scenario import Simulation
from tests.simulation.test_simulation import simulate
from tests.support.measured import Measured

pytestmark = pytest.mark.timeout(300)
TWO_LINES = 3  # a seed that draws them


def test_in_half_an_hour_of_32_devices_each_fault_is_told_once() -> None:
    ran = simulate("--day", "--hours", "0.5")
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_in_a_day_of_32_devices_each_fault_is_told_once(measured: Measured) -> None:
    ran = simulate("--day", "--hours", "24", within=3500)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    cost = re.search(r"^(\d+) s of CPU and (\d+) MB", ran.stdout, re.MULTILINE)
    assert cost is not None
    measured("a simulated day, 32 devices: CPU", "s", float(cost[1]), None)
    measured("a simulated day, 32 devices: memory", "MB", float(cost[2]), None)


class Contained(Simulation):
    """Two lines; the driver of one misbehaves when it is first run."""

    async def _life(self) -> None:
        self._build()
        assert len(self.buses) == 2, "another seed"
        self.centre.start()
        self.gateway.start()
        for device in self.devices:
            device.power_on(1)
        for _second in range(60):
            await asyncio.sleep(1)
            for device in self.devices[:2]:  # one on each line
                device.press(1)
        await self._settle()
        self.checker.finish()


async def _raises(_self: SimulatedPort, _beat: Callable[[], None]) -> None:
    await asyncio.sleep(2)
    raise ValueError("a bug in a driver")


async def _hangs(_self: SimulatedPort, _beat: Callable[[], None]) -> None:
    await asyncio.Event().wait()


async def _hangs_on(self: SimulatedPort, _beat: Callable[[], None]) -> None:
    while self.alive:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            if not self.alive:
                raise


@pytest.mark.parametrize(
    ("misbehave", "why", "abandoned"),
    [
        (_raises, "a mistake in this program ended it (a bug in a driver)", 0),
        (_hangs, "it hung and was cancelled", 0),
        (_hangs_on, "it hung, could not be cancelled, and was abandoned", 1),
    ],
)
def test_a_driver_that_fails_stops_no_other_and_is_back_by_itself(
    misbehave: Callable[..., object], why: str, abandoned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SimulatedPort.run
    failed: list[int] = []

    async def once(self: SimulatedPort, beat: Callable[[], None]) -> None:
        if self._bus.name == "radio-0" and not failed:
            failed.append(1)
            await misbehave(self, beat)  # type: ignore[misc]  # one of the coroutines above
        await run(self, beat)

    monkeypatch.setattr(SimulatedPort, "run", once)
    monkeypatch.setattr(logging.getLogger("gateway.tasks.drivers"), "disabled", True)  # its error is what is asked for
    site = Contained(TWO_LINES)
    outcome = site.run()
    assert outcome.broken is None, outcome.last
    assert outcome.presses > 100
    assert site.gateway.app is not None
    states = site.gateway.app.drivers.states
    assert (states["radio-0"].restarts, states["radio-0"].abandoned) == (1, abandoned)
    assert str(states["radio-0"].reason).startswith(why)
    assert (states["radio-1"].restarts, states["radio-1"].reason) == (0, None)
