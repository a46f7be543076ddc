"""Our drivers on libgpiod itself, in a process of their own, with a chip of firmware_sim in the kernel's place."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from firmware_sim import preload
from firmware_sim.gpiochip import GpioChip

PROGRAM = """
import asyncio, sys, time
from gateway.drivers import gpio, output
for one in (gpio, output):
    one.RETRY_MAX = one.STEADY = one.CHECKED_EVERY = 0.5  # seconds: nobody needs to wait for more here
from gateway.control.feedback import Pattern
from gateway.drivers.gpio import InputLine
from gateway.drivers.gpiochip import Gpiod
from gateway.drivers.output import OutputLine
from gateway.drivers.pace import Pace

def say(*words):
    print(*words, flush=True)

number = 0
def edges(seen):
    global number
    first, number = seen[0][2] - number, seen[-1][2]
    say("edges", *(f"{active:d}" for _at, active, _number in seen), "late", round(time.monotonic() - seen[-1][0] / 1e9))
    if first > 1:
        say("lost", first - 1)
        asyncio.get_running_loop().call_soon(say, "next turn")
    return first > 1

def hear():
    for word in sys.stdin.readline().split():
        if word == "stall": say("stalled"), time.sleep(0.5)
        elif word == "show": say("shown", siren.show(Pattern.STEADY))
        else: say(word)

async def main():
    asyncio.get_running_loop().add_reader(sys.stdin, hear)
    await asyncio.gather(button.run(), siren.run())

told = dict(lost=lambda reason: say("lost", reason), restored=lambda: say("restored"), random=lambda: 0.1,
            pace=Pace(time.monotonic))
button = InputLine(Gpiod(), sys.argv[1], "BUTTON", active_low=True, bias="pull-up", debounce_ms=int(sys.argv[2]),
                   taken=lambda: say("taken"), edges=edges, level=lambda active: say("level", active), **told)
siren = OutputLine(Gpiod(), sys.argv[1], 6, active_low=False, rhythm=False, max_on_s=60, taken=lambda: None, **told)
siren.begin()
asyncio.run(main())
"""


class Program:
    """A process with our drivers in it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def says(self, wanted: str) -> list[str]:
        """Read on until it says this, and return all that it said."""
        assert self._process.stdout is not None
        said: list[str] = []
        while not said or said[-1] != wanted:
            line = (await self._process.stdout.readline()).decode().strip()
            said.append(line)
            assert line or not self._process.stdout.at_eof(), said
        return said

    def hears(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(word.encode() + b"\n")

    async def killed(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preload")
    preload.built(folder)
    return folder


@asynccontextmanager
async def program(chip: GpioChip, library: Path, debounce_ms: int = 20) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(chip.path), str(debounce_ms)),
        env={**os.environ, **preload.environment(library)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def story(tmp_path: Path, tell: Callable[[GpioChip], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(40), GpioChip(tmp_path / "gpiochip0", lines=8, names={5: "BUTTON"}) as chip:
            await tell(chip)

    asyncio.run(whole())


def test_a_press_is_one_edge_with_the_time_of_our_own_clock(tmp_path: Path, library: Path) -> None:
    async def tell(chip: GpioChip) -> None:
        async with program(chip, library) as drivers:
            await drivers.says("level False")
            assert (chip.holder(5), chip.holder(6)) == ("c5-gateway", "c5-gateway")
            for _ in range(5):
                chip.drive(5, 0)
                chip.drive(5, None)
            chip.drive(5, 0)
            await drivers.says("edges 1 late 0")
            chip.drive(5, None)
            await drivers.says("edges 0 late 0")

    story(tmp_path, tell)


def test_edges_that_nobody_read_in_time_show_in_the_numbers_and_the_level_is_read_again(
    tmp_path: Path, library: Path
) -> None:
    async def tell(chip: GpioChip) -> None:
        async with program(chip, library, debounce_ms=0) as drivers:
            await drivers.says("level False")
            drivers.hears("stall")
            await drivers.says("stalled")
            for _ in range(200):  # 401 edges; the kernel keeps 256 for us
                chip.drive(5, 0)
                chip.drive(5, None)
            chip.drive(5, 0)
            edges, *others = await drivers.says("next turn")
            kept = "".join(f" {number % 2}" for number in range(146, 402))
            assert edges.startswith(f"edges{kept} late")
            assert others == ["lost 145", "level True", "next turn"], "at once, not when the line is looked at next"

    story(tmp_path, tell)


def test_a_line_that_another_program_holds_and_a_chip_that_goes_and_comes(tmp_path: Path, library: Path) -> None:
    async def tell(chip: GpioChip) -> None:
        async with program(chip, library) as first:
            await first.says("level False")
            async with program(chip, library) as second:
                held = f"lost line BUTTON of {chip.path} is held by c5-gateway: stop that, or take another line"
                await second.says(held)
                await first.killed()
                await second.says("restored")
                chip.unplug()
                await second.says(f"lost {chip.path} does not answer: was it removed, is it a GPIO chip at all?")
                chip.plug()
                await second.says("restored")

    story(tmp_path, tell)


def test_an_output_that_a_killed_gateway_left_on_is_off_before_the_next_has_begun(
    tmp_path: Path, library: Path
) -> None:
    async def tell(chip: GpioChip) -> None:
        async with program(chip, library) as first:
            await first.says("level False")
            first.hears("show")
            await first.says("shown True")
            await first.killed()
        assert chip.outputs == {6: 1}, "what was driven last stays: a chip without a mind of its own"
        began = time.monotonic_ns()
        async with program(chip, library) as second:
            await second.says("taken")
            assert [(line, level) for line, level, at in chip.changes if at > began] == [(6, 0)]

    story(tmp_path, tell)
