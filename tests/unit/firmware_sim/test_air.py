"""An attacker and a jammer between boards and whoever listens: what each end gets, to the byte."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

from firmware_sim.air import DOWN, UP, Air, altered
from firmware_sim.jammer import jammed
from firmware_sim.pty import PseudoTerminal
from gateway.fieldlink import framing, seal

KEY = bytes(range(16))


def frame(direction: seal.Direction, counter: int, type_: int = 2) -> bytes:
    header = seal.Header(type_, direction, "0c500042", counter, 7 if direction is DOWN else 0)
    return b"\0" + framing.encode(seal.Cipher(KEY).seal(header, b"\xa0"))


class Far:
    """The gateway's end: what came, and a way to say something."""

    def __init__(self, line: PseudoTerminal) -> None:
        self._fd = os.open(line.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def came(self) -> bytes:
        try:
            return os.read(self._fd, 65536)
        except BlockingIOError:
            return b""

    def says(self, chunk: bytes) -> None:
        os.write(self._fd, chunk)


def on_a_line(story: Callable[[PseudoTerminal, Far, list[bytes]], Awaitable[None]], path: Path, **how: int) -> None:
    async def whole() -> None:
        async with asyncio.timeout(10), PseudoTerminal(path, **how) as line:  # type: ignore[arg-type]  # a rate alone
            heard: list[bytes] = []
            line.attach(heard.append)
            await story(line, Far(line), heard)

    asyncio.run(whole())


def test_all_is_heard_in_both_directions_and_passes_unchanged(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal, far: Far, heard: list[bytes]) -> None:
        air = Air(line)
        line.write(frame(UP, 1))
        far.says(frame(DOWN, 1, 8)[:7])
        await asyncio.sleep(0.05)
        assert heard == []
        far.says(frame(DOWN, 1, 8)[7:])
        await asyncio.sleep(0.05)
        assert far.came() == frame(UP, 1)
        assert heard == [frame(DOWN, 1, 8)]
        [caught] = air.heard(DOWN, device="0c500042", type=8)
        assert (caught.counter, caught.number, caught.wire) == (1, 7, frame(DOWN, 1, 8))
        assert air.heard(UP, type=3) == []
        assert air.heard(UP, device="0c500043") == []

    on_a_line(story, tmp_path / "port")


def test_what_was_heard_is_played_back_altered_withheld_and_repeated(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal, far: Far, heard: list[bytes]) -> None:
        air = Air(line)
        line.write(frame(UP, 1))
        far.says(frame(DOWN, 1, 8))
        await asyncio.sleep(0.05)
        far.came()
        heard.clear()
        [up], [down] = air.heard(UP), air.heard(DOWN)

        air.replay(up, down)
        await asyncio.sleep(0.02)
        assert (far.came(), heard) == (up.wire, [down.wire])

        heard.clear()
        air.replay(altered(down, 13))
        assert seal.Cipher(KEY).open(altered(down, 13).body) is None
        assert heard == [altered(down, 13).wire]

        heard.clear()
        with air.withholding(DOWN) as held:
            far.says(frame(DOWN, 2, 9))
            line.write(frame(UP, 2))
            await asyncio.sleep(0.05)
            assert (far.came(), heard, [caught.counter for caught in held]) == (frame(UP, 2), [], [2])
        with air.repeating(UP, 3):
            line.write(frame(UP, 3))
            await asyncio.sleep(0.02)
        assert far.came() == 3 * frame(UP, 3)

    on_a_line(story, tmp_path / "port")


def test_whoever_withholds_or_repeats_beside_others_ends_alone(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal, far: Far, _heard: list[bytes]) -> None:
        air = Air(line)

        async def passed() -> int:
            before = len(air.heard(UP))
            line.write(frame(UP, before + 1))
            await asyncio.sleep(0.02)
            return len(far.came()) // len(frame(UP, before + 1))

        with ExitStack() as long, ExitStack() as short:
            first = long.enter_context(air.withholding(UP))
            second = short.enter_context(air.withholding(UP))
            assert await passed() == 0
            long.close()
            assert await passed() == 0
            assert [len(first), len(second)] == [1, 2]
        with ExitStack() as long, ExitStack() as short:
            long.enter_context(air.repeating(UP, 2))
            short.enter_context(air.repeating(UP, 3))
            assert await passed() == 3
            long.close()
            assert await passed() == 3
        assert await passed() == 1

    on_a_line(story, tmp_path / "port")


def test_under_a_jammer_noise_arrives_and_no_frame_does_until_it_ends(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal, far: Far, _heard: list[bytes]) -> None:
        def read() -> tuple[int, int]:
            found = framing.Decoder().feed(far.came() + b"\0")
            return (
                sum(isinstance(one, framing.Frame) for one in found),
                sum(isinstance(one, framing.Garbled) for one in found),
            )

        async with jammed(line, rate=3000, seed=1):
            for counter in range(1, 21):
                line.write(frame(UP, counter))
                await asyncio.sleep(0.01)
            frames, garbled = read()
        assert (frames, garbled > 20) == (0, True)
        await asyncio.sleep(0.05)
        read()
        line.write(frame(UP, 21))
        await asyncio.sleep(0.02)
        assert far.came() == frame(UP, 21)

    on_a_line(story, tmp_path / "port")


def test_a_line_with_a_rate_takes_its_time_frame_after_frame(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal, far: Far, _heard: list[bytes]) -> None:
        left: list[float] = []
        began = time.monotonic()
        for _ in range(4):
            line.write(bytes(96), lambda: left.append(time.monotonic() - began))  # 0.1 s each at 9 600 baud
        await asyncio.sleep(0.25)
        assert 2 * 96 <= len(far.came()) < 4 * 96
        await asyncio.sleep(0.25)
        assert [round(at, 1) >= due for at, due in zip(left, (0.1, 0.2, 0.3, 0.4), strict=True)] == [True] * 4

    on_a_line(story, tmp_path / "port", baud=9600)
