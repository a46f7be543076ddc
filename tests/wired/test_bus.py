"""A Modbus line on a pseudo-terminal with units that misbehave; what it tells, and what one dead unit costs."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, cast

from firmware_sim import modbus
from firmware_sim.pty import PseudoTerminal
from gateway.drivers.modbus import Master
from gateway.sensing.profile import Output, Point
from gateway.sensing.registers import Read
from gateway.sensing.reply import Answer, Exceptional, Fault, Gone, Reply
from gateway.tasks.bus import Bus, Station
from gateway.tasks.drivers import Driver, Drivers

TIMEOUT = 0.05
LOAD = Output("load", 5, 2)


class Heard:
    """What a bus handed on."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.values: dict[str, Mapping[str, Any]] = {}
        self.faults: list[tuple[str, Fault, bool]] = []
        self.told: list[str] = []

    def answered(self, unit: str, read: Read, values: Mapping[str, Any], now: float) -> None:
        assert (read.count, now > 0) == (1, True)
        self.answers[unit] += 1
        self.values[unit] = values

    def refused(self, unit: str, read: Read, fault: Exceptional, now: float) -> None:
        assert (read.count, now > 0) == (1, True)
        self.faults.append((unit, fault, False))

    def failed(self, unit: str, fault: Fault, now: float, *, lost: bool) -> None:
        assert now > 0
        self.faults.append((unit, fault, lost))


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # what is awaited has no event of its own
            await asyncio.sleep(0.005)


Story = Callable[[PseudoTerminal, list[modbus.Unit], Bus, Heard], Coroutine[Any, Any, None]]


def _live(path: Path, count: int, period: float, story: Story, *, driven: bool = False) -> None:
    async def life() -> None:
        heard = Heard()
        read = Read(4, 7, 1, period, (Point("x", 4, 7, "u16", quantity="current_a"),))
        units = [modbus.Unit(n, {4: {7: 100 + n}, 1: {2: 0}}) for n in range(1, count + 1)]
        async with PseudoTerminal(path) as line:
            modbus.Units(line, units, turnaround=0.001)
            bus = Bus(
                "bus",
                lambda: Master(str(path), 115_200, "none", 1, TIMEOUT),
                {f"u{unit.address}": Station(unit.address, (read,)) for unit in units},
                TIMEOUT,
                hearer=heard,
                lost=lambda reason: heard.told.append(f"lost: {reason}"),
                restored=lambda: heard.told.append("restored"),
                random=lambda: 0.1,
            )
            running = Drivers(lambda: 0.0).keep(Driver("bus", bus.run, bus.close)) if driven else bus.run()
            task = asyncio.create_task(running)
            try:
                await story(line, units, bus, heard)
            finally:
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled(), task.exception()

    asyncio.run(life())


def test_units_are_read_by_their_period_and_one_dead_unit_costs_the_others_less_than_a_tenth(tmp_path: Path) -> None:
    async def story(_line: PseudoTerminal, units: list[modbus.Unit], _bus: Bus, heard: Heard) -> None:
        await _until(lambda: len(heard.answers) == 4)
        await asyncio.sleep(2.0)
        whole = heard.answers["u1"] + heard.answers["u2"] + heard.answers["u4"]
        heard.answers.clear()
        units[2].fault = "mute"
        await asyncio.sleep(2.0)
        assert heard.answers["u1"] + heard.answers["u2"] + heard.answers["u4"] > 0.9 * whole
        assert units[2].asked < 20 + 60

    _live(tmp_path / "bus", 4, 0.1, story)


def test_what_is_wrong_with_each_unit_is_handed_on_and_the_others_are_read(tmp_path: Path) -> None:
    async def story(_line: PseudoTerminal, units: list[modbus.Unit], _bus: Bus, heard: Heard) -> None:
        await _until(lambda: len(heard.faults) >= 3 and heard.answers["u4"] > 2)
        assert {unit: type(fault).__name__ for unit, fault, _ in heard.faults} == {
            "u1": "Silent", "u2": "Garbled", "u3": "Exceptional",
        }  # fmt: skip
        assert heard.values == {"u4": {"x": 104.0}}
        for unit in units:
            unit.fault = "none"
        await _until(lambda: heard.answers["u1"] > 0 and heard.answers["u2"] > 0)

    async def broken(line: PseudoTerminal, units: list[modbus.Unit], bus: Bus, heard: Heard) -> None:
        units[0].fault, units[1].fault, units[2].fault = "mute", "damage", "refuse"
        await story(line, units, bus, heard)

    _live(tmp_path / "bus", 4, 0.05, broken)


def test_an_adapter_that_is_pulled_out_is_lost_once_and_back_once(tmp_path: Path) -> None:
    path = tmp_path / "bus"

    async def story(line: PseudoTerminal, _units: list[modbus.Unit], bus: Bus, heard: Heard) -> None:
        await _until(lambda: heard.answers["u1"] > 0)
        line.unplug()
        await _until(lambda: bus.trouble is not None)
        assert not bus.write("u1", LOAD, lambda _reply: None, on=True)
        await asyncio.sleep(0.3)
        heard.answers.clear()
        line.plug()
        await _until(lambda: heard.answers["u1"] > 0)
        assert [said.partition(":")[0] for said in heard.told] == ["lost", "restored"]
        assert str(path) in heard.told[0]

    _live(path, 1, 0.05, story)


def test_an_order_goes_between_two_questions_and_its_answer_comes_back(tmp_path: Path) -> None:
    async def story(_line: PseudoTerminal, units: list[modbus.Unit], bus: Bus, heard: Heard) -> None:
        await _until(lambda: heard.answers["u2"] > 0)
        replies: list[Reply] = []
        assert bus.write("u2", LOAD, replies.append, on=True)
        await _until(lambda: bool(replies))
        units[1].fault = "refuse"
        assert bus.write("u2", LOAD, replies.append, on=False)
        await _until(lambda: len(replies) == 2)
        assert replies == [Answer(()), Exceptional(2)]
        assert units[1].written == [(5, 2, 0xFF00)]
        assert units[0].written == []

    _live(tmp_path / "bus", 2, 30.0, story)


def test_a_run_that_is_abandoned_reaches_nobody_and_orders_that_wait_are_answered(tmp_path: Path) -> None:
    async def story(_line: PseudoTerminal, _units: list[modbus.Unit], bus: Bus, heard: Heard) -> None:
        await _until(lambda: heard.answers["u1"] > 0)
        replies: list[Reply] = []
        bus.write("u1", LOAD, replies.append, on=True)
        bus.close()  # as `Drivers` does with one that can't be cancelled
        heard.answers.clear()
        assert replies == [Gone("the line is lost")]
        await asyncio.sleep(0.2)
        assert heard.answers["u1"] == 0
        await _until(lambda: heard.answers["u1"] > 0)  # it ended, and was started again

    _live(tmp_path / "bus", 1, 0.02, story, driven=True)


class _Swallower:
    """A master whose library takes a cancellation for itself, and answers all the same."""

    async def open(self) -> str | None:
        return None

    async def read(self, *_asked: int) -> Reply:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return Answer((1,))

    def close(self) -> None:
        pass


def test_a_cancellation_that_the_library_swallows_ends_the_bus_all_the_same() -> None:
    async def life() -> bool:
        read = Read(4, 7, 1, 0.01, (Point("x", 4, 7, "u16", quantity="current_a"),))
        bus = Bus(
            "bus", lambda: cast("Master", _Swallower()), {"u1": Station(1, (read,))}, TIMEOUT,
            hearer=Heard(), lost=lambda _reason: None, restored=lambda: None, random=lambda: 0.1,
        )  # fmt: skip
        task = asyncio.create_task(bus.run())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        ended = task.cancelled()
        while not task.done():  # a loop that goes on can't be waited for
            task.cancel()
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(bus.close)
        return ended

    assert asyncio.run(life())
