"""A simulated GPIO chip, used by the real gpiod in a process of its own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from firmware_sim import preload
from firmware_sim.contact import Contact
from firmware_sim.gpiochip import GpioChip

HEAD = """
import errno, sys, time
from datetime import timedelta
import gpiod
from gpiod.line import Bias, Direction, Edge, Value
PATH = sys.argv[1]
def say(*words): print(*words, flush=True)
def button(chip, line=5, ms=0, **more):
    settings = gpiod.LineSettings(edge_detection=Edge.BOTH, bias=Bias.PULL_UP, active_low=True,
                                  debounce_period=timedelta(milliseconds=ms))
    return chip.request_lines({line: settings}, consumer="the-test", **more)
def edges(request):
    return [(e.event_type.name, e.line_offset, e.line_seqno) for e in request.read_edge_events()]
def wait():
    assert sys.stdin.readline()
chip = gpiod.Chip(PATH)
"""


class Program:
    """A program with gpiod in it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def says(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")


@asynccontextmanager
async def program(chip: GpioChip, library: Path, text: str) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HEAD + text, str(chip.path)),
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


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preload")
    preload.built(folder)
    return folder


def story(tmp_path: Path, tell: Callable[[GpioChip], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(20), GpioChip(tmp_path / "gpiochip0", lines=8, names={5: "BUTTON"}) as chip:
            await tell(chip)

    asyncio.run(whole())


def test_a_chip_and_its_lines_are_found_by_number_and_name_and_who_holds_one_is_told(
    tmp_path: Path, library: Path
) -> None:
    text = """
info = chip.get_info()
say(gpiod.is_gpiochip_device(PATH), info.label, info.num_lines, chip.line_offset_from_id("BUTTON"))
held = button(chip, ms=20)
info = chip.get_line_info(5)
say(info.name, info.consumer, info.used, info.active_low, info.bias.name, info.debounce_period.total_seconds())
try: button(chip)
except OSError as error: say(errno.errorcode[error.errno])
try: button(chip, line=8)
except ValueError as error: say("no such line")
held.release()
say(chip.get_line_info(5).used)
"""

    async def tell(chip: GpioChip) -> None:
        async with program(chip, library, text) as running:
            assert [await running.says() for _ in range(5)] == [
                "True firmware-sim 8 5",
                "BUTTON the-test True True PULL_UP 0.02",
                "EBUSY",
                "no such line",
                "False",
            ]
        assert chip.holder(5) is None

    story(tmp_path, tell)


def test_a_contact_that_bounces_is_one_edge_once_it_is_debounced_and_eleven_if_not(
    tmp_path: Path, library: Path
) -> None:
    text = """
calm, raw = button(chip, 5, ms=30), button(chip, 6)
say("ready")
wait()
say(edges(calm), calm.get_value(5).name, len(edges(raw)))
"""

    async def tell(chip: GpioChip) -> None:
        async with program(chip, library, text) as running:
            assert await running.says() == "ready"
            await asyncio.gather(Contact(chip, 5).move(True, 11), Contact(chip, 6).move(True, 11))
            await asyncio.sleep(0.1)
            running.go_on()
            assert await running.says() == "[('RISING_EDGE', 5, 1)] ACTIVE 11"

    story(tmp_path, tell)


def test_a_contact_that_is_touched_closes_and_opens_and_one_that_sticks_does_not(tmp_path: Path) -> None:
    async def tell(chip: GpioChip) -> None:
        contact = Contact(chip, 5, closes_to=1)
        touch = asyncio.create_task(contact.touch(0.05))
        await asyncio.sleep(0.02)
        assert (contact.closed, chip.level(5)) == (True, 1)
        await touch
        assert (contact.closed, chip.level(5)) == (False, 0)
        await contact.move(True)
        assert chip.level(5) == 1

    story(tmp_path, tell)


def test_of_an_unread_buffer_the_oldest_edges_go_and_only_the_numbers_tell(tmp_path: Path, library: Path) -> None:
    text = """
held = button(chip, event_buffer_size=4)
say("ready")
wait()
say(edges(held))
"""

    async def tell(chip: GpioChip) -> None:
        async with program(chip, library, text) as running:
            assert await running.says() == "ready"
            for turn in range(10):
                chip.drive(5, turn % 2)
            running.go_on()
            numbers = [
                (name, number) for number in range(7, 11) for name in ["RISING_EDGE" if number % 2 else "FALLING_EDGE"]
            ]
            assert await running.says() == str([(name, 5, number) for name, number in numbers])

    story(tmp_path, tell)


def test_an_output_drives_its_line_and_stays_as_it_was_when_its_program_dies(tmp_path: Path, library: Path) -> None:
    text = """
settings = gpiod.LineSettings(direction=Direction.OUTPUT, active_low=True, output_value=Value.INACTIVE)
lamp = chip.request_lines({3: settings}, consumer="the-test")
say("ready")
wait()
lamp.set_value(3, Value.ACTIVE)
say(lamp.get_value(3).name)
wait()
"""

    async def tell(chip: GpioChip) -> None:
        async with program(chip, library, text) as running:
            assert await running.says() == "ready"
            assert (chip.outputs, chip.level(3)) == ({3: 1}, 1)
            running.go_on()
            assert await running.says() == "ACTIVE"
            assert chip.outputs == {3: 0}
            assert chip.holder(3) == "the-test"
        await asyncio.sleep(0.05)
        assert (chip.holder(3), chip.level(3)) == (None, 0)
        assert [(line, level) for line, level, _ in chip.changes] == [(3, 1), (3, 0)]

    story(tmp_path, tell)


def test_a_chip_that_is_unplugged_is_an_error_to_whoever_holds_a_line_and_can_come_back(
    tmp_path: Path, library: Path
) -> None:
    text = """
held = button(chip)
say("ready")
held.wait_edge_events(10)
for ask in (held.read_edge_events, lambda: held.get_value(5), lambda: gpiod.Chip(PATH)):
    try: ask()
    except OSError as error: say(errno.errorcode[error.errno])
wait()
say(button(gpiod.Chip(PATH)).get_value(5).name)
"""

    async def tell(chip: GpioChip) -> None:
        async with program(chip, library, text) as running:
            assert await running.says() == "ready"
            chip.unplug()
            assert [await running.says() for _ in range(3)] == ["EIO", "ENODEV", "ENOENT"]
            chip.plug()
            running.go_on()
            assert await running.says() == "INACTIVE"

    story(tmp_path, tell)


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(preload.NoCompilerError, match="apt-get install gcc"):
        preload.built(tmp_path)


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(preload.NoCompilerError, match="could not build gpiochip"):
        preload.built(tmp_path)
