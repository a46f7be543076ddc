"""An OSDP line with peripherals of libosdp's own: who is believed, in what order, and how long a change waits."""

import asyncio
import os
import random
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

import pytest

from firmware_sim.osdp import Peripheral
from firmware_sim.pty import PseudoTerminal
from gateway.drivers.osdp import OsdpLine, Panel
from gateway.drivers.osdp_keys import KeyFiles
from gateway.errors import C5Error, StoreError
from gateway.sensing.osdp import AskLocal, InputsReport, Keys, LinkFault, Report, SetOutput, Sound
from gateway.tasks.osdp import OsdpBus

KEY = bytes(range(16))


class Heard:
    """What the peripherals said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self.reports: list[tuple[float, Report]] = []
        self.at: list[float] = []

    def live(self, name: str, _now: float) -> None:
        self.said.append((name, "live"))

    def settled(self, name: str) -> None:
        self.said.append((name, "settled"))

    def heard(self, _name: str, _now: float) -> None:
        self.at.append(time.monotonic())

    def reported(self, _name: str, report: Report) -> None:
        self.reports.append((time.monotonic(), report))

    def failed(self, name: str, fault: LinkFault, _now: float, *, lost: bool) -> None:
        if lost:
            self.said.append((name, fault))


class Keeping(KeyFiles):
    """Keys in a folder that may fail."""

    broken = False

    def write(self, name: str, keys: Keys) -> None:
        if self.broken:
            raise StoreError("the disk is gone", "mend it")
        super().write(name, keys)


class Bench:
    """A bus and what is on it."""

    def __init__(self, folder: Path, terminal: PseudoTerminal, *names: str) -> None:
        self.heard, self.keys = Heard(), Keeping(folder)
        self.lost: list[str] = []
        self.peripherals = {name: Peripheral(terminal, address) for address, name in enumerate(names, 1)}
        self.terminal = terminal
        self.folder = folder
        self.bus = self.made()

    def made(self) -> OsdpBus:
        return OsdpBus(
            "bus", partial(OsdpLine, str(self.terminal.path), 9600), partial(Panel, random=os.urandom),
            [(name, one.address) for name, one in self.peripherals.items()], keys=self.keys, beside=asyncio.to_thread,
            random_bytes=os.urandom, hearer=self.heard, lost=self.lost.append,
            restored=lambda: self.lost.append("back"), random=lambda: 0.5,
        )  # fmt: skip

    def known(self, name: str, keys: Keys, its: bytes | None) -> None:
        """Have a peripheral's keys be these, and its own this."""
        self.bus.links[name].keys = keys
        self.peripherals[name].key = its
        self.peripherals[name].start()

    async def until(self, holds: Callable[[], object], within: float = 8.0) -> None:
        async with asyncio.timeout(within):
            while not holds():  # noqa: ASYNC110  # what is awaited is in the devices
                await asyncio.sleep(0.005)


def on_a_bus(folder: Path, check: Callable[[Bench], Coroutine[None, None, None]], *names: str) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), PseudoTerminal(folder / "bus") as terminal:
            bench = Bench(folder, terminal, *names)
            running = asyncio.create_task(bench.bus.run())
            try:
                await check(bench)
            finally:
                running.cancel()
                await asyncio.wait([running])

    asyncio.run(run())


def test_nothing_is_said_to_one_without_a_key_until_a_technician_installs_it(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        gate = bench.peripherals["gate"]
        gate.start()
        await asyncio.sleep(0.2)
        assert (bench.heard.said, gate.commands) == ([], 0)
        assert not bench.bus.order("gate", AskLocal())
        bench.keys.broken = True
        with pytest.raises(StoreError):
            await bench.bus.install("gate")
        await asyncio.sleep(0.2)
        assert gate.commands == 0, "a key that could not be stored is not sent"
        bench.keys.broken = False
        await bench.bus.install("gate")
        await bench.until(lambda: bench.heard.said == [("gate", "live"), ("gate", "settled")])
        await bench.until(lambda: bench.keys.read("gate") == Keys(gate.key))
        with pytest.raises(C5Error, match="gate has its own key and is connected by it"):
            await bench.bus.install("gate")

    on_a_bus(tmp_path, check, "gate")


@pytest.mark.parametrize("arrived", [True, False], ids=["the new key arrived", "it did not"])
def test_after_a_kill_both_keys_are_tried_and_the_one_it_has_is_kept(tmp_path: Path, arrived: bool) -> None:
    async def check(bench: Bench) -> None:
        old, new = bytes(16), KEY
        its = new if arrived else old
        bench.known("gate", Keys(old, new), its)
        await bench.until(lambda: ("gate", "settled") in bench.heard.said)
        await bench.until(lambda: bench.keys.read("gate") == Keys(its))
        assert bench.peripherals["gate"].keys_set == 0

    on_a_bus(tmp_path, check, "gate")


def test_one_with_another_key_is_lost_and_what_it_says_reaches_nobody(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        bench.known("gate", Keys(KEY), None)
        bench.peripherals["gate"].set_input(0, active=True)
        await bench.until(lambda: bench.heard.said)
        assert (bench.heard.said[0], bench.heard.reports) == (("gate", "key"), [])
        assert bench.peripherals["gate"].keys_set == 0

    on_a_bus(tmp_path, check, "gate")


def test_an_order_that_it_refuses_is_told_and_not_repeated_and_it_is_connected_again(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        bench.known("gate", Keys(KEY), KEY)
        gate, said = bench.peripherals["gate"], list[str | None]()
        gate.refuses.add(3)  # the buzzer
        await bench.until(lambda: ("gate", "settled") in bench.heard.said)
        assert bench.bus.order("gate", SetOutput(5, on=True), said.append)
        assert bench.bus.order("gate", Sound(on=True), said.append)
        await bench.until(lambda: bench.heard.said.count(("gate", "live")) == 2)
        assert bench.bus.order("gate", Sound(on=True), said.append)
        assert bench.bus.order("gate", SetOutput(0, on=True), said.append)
        await bench.until(lambda: len(said) == 4)
        none = "this peripheral has none, or not so many"
        assert said == [none, "it refuses that", none, None]
        assert (gate.outputs, [one for one in bench.heard.said if one[1] == "key"]) == ([True], [])

    on_a_bus(tmp_path, check, "gate")


def test_an_order_to_one_that_dies_is_answered_and_the_line_is_lost_and_back_once(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        bench.known("gate", Keys(KEY), KEY)
        said = list[str | None]()
        await bench.until(lambda: ("gate", "settled") in bench.heard.said)
        bench.peripherals["gate"].mute()
        assert bench.bus.order("gate", SetOutput(0, on=True), said.append)
        await bench.until(lambda: ("gate", "silent") in bench.heard.said)
        assert said == ["no answer: is it powered, are its address and baud rate right, are A and B swapped?"]
        bench.terminal.unplug()
        await bench.until(lambda: len(bench.lost) == 1)
        bench.peripherals["gate"].heal()
        bench.terminal.plug()
        await bench.until(lambda: len(bench.lost) == 2)
        await bench.until(lambda: bench.heard.said.count(("gate", "live")) == 2)

    on_a_bus(tmp_path, check, "gate")


def test_a_change_waits_for_one_poll_at_most_and_one_more_where_another_is_dead(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        for name in bench.peripherals:
            bench.known(name, Keys(KEY), KEY)
        await bench.until(lambda: bench.heard.said.count(("b", "settled")) == 1)
        gate, chance = bench.peripherals["a"], random.Random(1)

        async def waits(count: int) -> list[float]:
            found = list[float]()
            for turn in range(count):
                await asyncio.sleep(chance.uniform(0.06, 0.12))
                changed, seen = time.monotonic(), len(bench.heard.reports)
                gate.set_input(0, active=turn % 2 == 0)
                await bench.until(lambda seen=seen: len(bench.heard.reports) > seen)  # type: ignore[misc]
                found.append(bench.heard.reports[-1][0] - changed)
            return sorted(found)

        alone = await waits(16)
        polls = sorted(b - a for a, b in zip(bench.heard.at, bench.heard.at[2:], strict=False))  # there are two
        period = polls[len(polls) // 2]
        assert period > 0.05
        assert alone[len(alone) // 2] < period
        assert alone[-2] < 2 * period, "of 16, but for a machine that stalls"
        bench.peripherals["b"].stop()
        beside_a_dead_one = await waits(8)
        assert beside_a_dead_one[4] < 2 * period
        assert isinstance(bench.heard.reports[-1][1], InputsReport)

    on_a_bus(tmp_path, check, "a", "b")
