"""A serial line on a real pseudo-terminal, pulled out and put back under another name."""

import asyncio
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from firmware_sim.pty import PseudoTerminal
from gateway.drivers import serial_port
from gateway.drivers.field_link import FieldLink
from gateway.drivers.modbus import Master
from gateway.drivers.serial_port import WRITE_MAX, SerialPort, try_open
from gateway.fieldlink import framing


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line is back after 0.2 s."""
    monkeypatch.setattr(serial_port, "AROUND", 0.2)


class Watched:
    """A serial port and what it told."""

    def __init__(self, device: Path) -> None:
        self.got = bytearray()
        self.told: list[str] = []
        self.port = SerialPort(
            str(device),
            115_200,
            received=self.got.extend,
            lost=lambda reason: self.told.append(f"lost: {reason}"),
            restored=lambda: self.told.append("restored"),
            random=lambda: 0.1,
        )


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # what is awaited has no event of its own
            await asyncio.sleep(0.005)


def _live(path: Path, story: Callable[[PseudoTerminal, Watched], Coroutine[Any, Any, None]]) -> None:
    async def life() -> None:
        async with PseudoTerminal(path) as line:
            watched = Watched(path)
            task = asyncio.create_task(watched.port.run())
            try:
                await _until(lambda: watched.port._port is not None)
                await story(line, watched)
            finally:
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()

    asyncio.run(life())


def _far(line: PseudoTerminal, data: bytes) -> None:
    line.write(data)


def test_bytes_come_and_go(tmp_path: Path) -> None:
    heard = bytearray()

    async def story(line: PseudoTerminal, watched: Watched) -> None:
        line.attach(heard.extend)
        _far(line, b"hello")
        await _until(lambda: watched.got == b"hello")
        watched.port.write(b"answer")
        await _until(lambda: heard == b"answer")
        assert watched.told == []

    _live(tmp_path / "by-id", story)


def test_a_line_pulled_out_is_lost_once_and_back_under_another_name(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal, watched: Watched) -> None:
        for _ in range(2):
            line.unplug()
            await _until(lambda: watched.port._port is None)
            watched.port.write(b"nobody hears this")
            await asyncio.sleep(0.05)
            line.plug()
            await _until(lambda: watched.port.trouble is None)
            watched.got.clear()
            _far(line, b"again")
            await _until(lambda: watched.got == b"again")
        assert [told.partition(":")[0] for told in watched.told] == ["lost", "restored", "lost", "restored"]

    _live(tmp_path / "by-id", story)


def test_a_line_that_opens_and_ends_at_once_is_lost_once_and_not_back(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    class Ending:
        """An adapter that is there, and gives nothing."""

        def __init__(self, *_arguments: object, **_options: object) -> None:
            self._near, far = os.pipe()
            os.close(far)
            opened.append(self._near)

        def fileno(self) -> int:
            return self._near

        def close(self) -> None:
            os.close(self._near)

    async def life() -> None:
        watched = Watched(Path("/dev/flapping"))
        task = asyncio.create_task(watched.port.run())
        await _until(lambda: len(opened) >= 6)
        task.cancel()
        await asyncio.wait([task])
        assert watched.told == ["lost: /dev/flapping was unplugged"]
        assert watched.port._backoff.next() > serial_port.RETRY_MIN, "it is tried less and less often"

    monkeypatch.setattr("gateway.drivers.serial_port.serial.Serial", Ending)
    asyncio.run(life())


def test_a_line_that_was_never_there_is_lost_once_and_named(tmp_path: Path) -> None:
    async def life() -> None:
        watched = Watched(tmp_path / "missing")
        task = asyncio.create_task(watched.port.run())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        assert watched.told == [f"lost: {tmp_path / 'missing'} is not there: is the adapter plugged in?"]

    asyncio.run(life())


def test_the_trouble_that_status_shows_is_the_present_one(tmp_path: Path) -> None:
    async def life() -> None:
        device = tmp_path / "line"
        watched = Watched(device)
        task = asyncio.create_task(watched.port.run())
        await _until(lambda: watched.port.trouble is not None)
        device.write_bytes(b"a plain file, no line")
        await _until(lambda: "not there" not in str(watched.port.trouble))
        assert len(watched.told) == 1, "and lost is told once"
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(life())


def test_a_line_in_use_by_another_program_is_refused_by_name(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal, watched: Watched) -> None:
        del watched
        assert try_open(str(line.path), 115_200) == f"{line.path} is in use by another program"

    _live(tmp_path / "by-id", story)
    assert (
        try_open(str(tmp_path / "by-id"), 115_200) == f"{tmp_path / 'by-id'} is not there: is the adapter plugged in?"
    )


def test_a_line_that_takes_nothing_costs_bounded_memory(tmp_path: Path) -> None:
    async def life() -> None:
        near, far = os.openpty()
        path = tmp_path / "stuck"
        path.symlink_to(os.ttyname(far))
        watched = Watched(path)
        task = asyncio.create_task(watched.port.run())
        await _until(lambda: watched.port._port is not None)
        for _ in range(1000):
            watched.port.write(b"x" * 256)
            assert len(watched.port._unwritten) <= WRITE_MAX
        assert watched.port._unwritten
        task.cancel()
        await asyncio.wait([task])
        os.close(near)
        os.close(far)

    asyncio.run(life())


def test_what_was_heard_before_a_driver_was_started_again_is_answered_on_the_line_that_there_is_now(
    tmp_path: Path,
) -> None:
    heard, writes = bytearray(), list[Callable[[bytes], None]]()

    def take(_body: bytes, write: Callable[[bytes], None]) -> bool:
        writes.append(write)
        return True

    async def life() -> None:
        async with PseudoTerminal(tmp_path / "by-id") as line:
            line.attach(heard.extend)
            link = FieldLink(
                str(line.path), 115_200, frame=take, noise=lambda _count: None, lost=lambda _reason: None,
                restored=lambda: None, random=lambda: 0.1,
            )  # fmt: skip
            for answer in (b"one", b"two"):
                task = asyncio.create_task(link.run(lambda: None))
                await _until(lambda: link.port._port is not None)
                if not writes:
                    line.write(framing.encode(b"a frame"))
                    await _until(lambda: bool(writes))
                writes[0](answer)
                await _until(lambda answer=answer: heard.endswith(answer))  # type: ignore[misc]  # bound now
                task.cancel()
                await asyncio.wait([task])

    asyncio.run(life())


def test_half_a_frame_from_before_an_unplugging_is_not_completed_by_what_comes_after(tmp_path: Path) -> None:
    frames: list[bytes] = []

    def take(body: bytes, _write: Callable[[bytes], None]) -> bool:
        frames.append(body)
        return len(body) > 3

    async def life() -> None:
        async with PseudoTerminal(tmp_path / "by-id") as line:
            told: list[str] = []
            strange: list[int] = []
            link = FieldLink(
                str(line.path), 115_200, frame=take, noise=strange.append, lost=lambda _reason: told.append("lost"),
                restored=lambda: told.append("restored"), random=lambda: 0.1,
            )  # fmt: skip
            task = asyncio.create_task(link.run(lambda: None))
            await _until(lambda: link.port._port is not None)
            wire = framing.encode(b"whole frame")
            line.write(wire + b"\x05noise\x00" + framing.encode(b"abc") + wire[:6])
            await _until(lambda: link.noise == 2)
            assert (frames, link.frames) == ([b"whole frame", b"abc"], 1)
            assert sum(strange) in (13, 14), "7 of noise and 7 of the frame that was none; no byte is there twice"
            line.replug()
            await _until(lambda: told == ["lost", "restored"])
            line.write(wire[6:] + wire)
            await _until(lambda: link.frames == 2)
            assert frames == [b"whole frame", b"abc", b"whole frame"]
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(life())


def test_what_an_abandoned_run_still_does_reaches_nobody_and_the_new_one_tells_that_the_line_is_back() -> None:
    class Line:
        """A line that is told by hand."""

        def __init__(self, _device: str, _baud: int, **callbacks: Callable[..., None]) -> None:
            self.trouble: str | None = None
            self.told = callbacks
            lines.append(self)

        async def run(self, beat: Callable[[], None]) -> None:
            beat()

    async def life() -> None:
        link = FieldLink(
            "radio", 115_200, frame=lambda _body, _write: True, noise=noise.append, lost=told.append,
            restored=lambda: told.append("restored"), random=lambda: 0.1, line=cast("Any", Line),
        )  # fmt: skip
        await link.run(lambda: None)
        old = lines[-1]
        old.told["lost"]("pulled out")
        old.trouble = "pulled out"
        await link.run(lambda: None)
        new = lines[-1]
        assert new is cast("Any", link.port)
        assert new.trouble == "pulled out"
        old.told["received"](b"\x05noise\x00")
        old.told["restored"]()
        old.told["lost"]("too late")
        assert (told, noise, link.noise) == (["pulled out"], [], 0)
        new.told["restored"]()
        new.told["received"](b"\x05noise\x00")
        assert (told, noise, link.noise) == (["pulled out", "restored"], [7], 1)

    lines: list[Line] = []
    told: list[str] = []
    noise: list[int] = []
    asyncio.run(life())


def test_a_file_in_the_line_s_place_is_not_even_opened_for_closing_it_would_take_the_store_s_locks_away(
    tmp_path: Path,
) -> None:
    store = tmp_path / "outbox.db"
    store.touch()
    second = f"import fcntl; fcntl.lockf(open({str(store)!r}, 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"

    async def life() -> None:
        watched = Watched(store)
        task = asyncio.create_task(watched.port.run())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        assert watched.told == [f"lost: {store} is no serial port"]

    with store.open("r+") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        assert try_open(str(store), 115_200) == f"{store} is no serial port"
        asyncio.run(life())
        assert asyncio.run(Master(str(store), 9600, "none", 1, 0.3).open()) == f"{store} is no serial port"
        tried = subprocess.run([sys.executable, "-c", second], check=False, capture_output=True)
        assert b"BlockingIOError" in tried.stderr, "our lock holds still"
