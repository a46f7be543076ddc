"""Boards on pseudo-terminals, heard by the gateway's own session at the other end."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.device import Board, NotHeardError, NotKeptError
from firmware_sim.faults import Faults, Likelihoods
from firmware_sim.labels import new_label
from firmware_sim.ledger import Ledger
from firmware_sim.pty import PseudoTerminal
from gateway.fieldlink import framing, seal
from gateway.fieldlink.actions import NewEvent, Send
from gateway.fieldlink.label import Label
from gateway.fieldlink.session import DeviceSession

LABEL = Label("0c500042", "PB-1", bytes(range(16)))


class Ear:
    """The smallest gateway: opens a port, records what it hears and says that it is stored."""

    def __init__(self, path: Path, *labels: Label) -> None:
        self.path = path
        self.recorded: list[tuple[str, int]] = []
        self.gone = asyncio.Event()
        self._sessions = {
            label.device: DeviceSession(
                label.device,
                label.key,
                counters=None,
                events={},
                highest_event=0,
                first_number=1,
                challenge=lambda: os.urandom(8),
            )
            for label in labels
        }
        self.open()

    def open(self) -> None:
        self._decoder = framing.Decoder()
        self._fd = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _readable(self) -> None:
        try:
            chunk = os.read(self._fd, 4096)
        except OSError:
            chunk = b""
        if not chunk:
            self.close()
            self.gone.set()
        for frame in self._decoder.feed(chunk):
            header = seal.read_header(frame.body) if isinstance(frame, framing.Frame) else None
            if isinstance(header, seal.Header) and isinstance(frame, framing.Frame):
                self._perform(
                    header.device, self._sessions[header.device].receive(header, frame.body, time.monotonic())
                )

    def _perform(self, device: str, actions: Iterable[Any]) -> None:
        for action in actions:
            if isinstance(action, Send):
                os.write(self._fd, action.wire)
            elif isinstance(action, NewEvent):
                self.recorded.append((device, action.message.number))
                self._sessions[device].recorded(action.message.number)
                self.stage(device, action.message.number, 1)

    def stage(self, device: str, number: int, stage: int) -> None:
        self._perform(device, self._sessions[device].stage(number, stage))


def run(journey: Callable[[PseudoTerminal], Awaitable[None]], path: Path, **faults: Any) -> None:
    async def whole() -> None:
        async with asyncio.timeout(20), PseudoTerminal(path, **faults) as line:
            await journey(line)

    asyncio.run(whole())


def test_a_press_is_heard_and_the_board_is_told(tmp_path: Path) -> None:
    async def journey(line: PseudoTerminal) -> None:
        ear = Ear(line.path, LABEL)
        async with Board(line, LABEL) as board:
            number = await board.press(kind=1)
            await board.stage(number, 1)
            ear.stage(LABEL.device, number, 2)
            await board.stage(number, 2)
            assert (number, board.indicator) == (1, 2)
            press = board.ledger.press(LABEL.device, number)
            assert press.left_at is not None
            assert press.left_ns is not None
            assert press.pressed_at <= press.left_at <= press.told[1] <= press.told[2]
            assert board.ledger.reached(2) == [press]
            assert board.ledger.reached(3) == []
        ear.close()

    run(journey, tmp_path / "port")


def test_a_board_that_nobody_hears_is_not_told(tmp_path: Path) -> None:
    async def journey(line: PseudoTerminal) -> None:
        async with Board(line, LABEL) as board:
            number = await board.press()
            with pytest.raises(NotHeardError, match="event 1 is at stage 0, not 1"):
                await board.stage(number, 1, timeout=0.05)

    run(journey, tmp_path / "port")


def test_a_bad_line_delays_and_loses_nothing(tmp_path: Path) -> None:
    odds = Likelihoods(noise=0.2, cut=0.1, flip=0.1, repeat=0.3, delay=0.2, delay_s=0.05)

    async def journey(line: PseudoTerminal) -> None:
        ear = Ear(line.path, LABEL)
        async with Board(line, LABEL, seed=3) as board:
            numbers = [await board.press() for _ in range(20)]
            for number in numbers:
                await board.stage(number, 1)
            assert sorted(ear.recorded) == [(LABEL.device, number) for number in numbers]
        ear.close()

    run(journey, tmp_path / "port", up=Faults(odds, 1), down=Faults(Likelihoods(flip=0.1), 2))


def test_a_port_pulled_out_comes_back_under_another_name(tmp_path: Path) -> None:
    async def journey(line: PseudoTerminal) -> None:
        ear = Ear(line.path, LABEL)
        async with Board(line, LABEL) as board:
            before = line.terminal
            line.unplug()
            await ear.gone.wait()
            assert not line.path.is_symlink()
            number = await board.press()
            line.plug()
            assert line.terminal is not None
            assert line.terminal != before
            assert str(line.path.readlink()) == line.terminal
            ear.open()
            await board.stage(number, 1)
        ear.close()

    run(journey, tmp_path / "port")


def test_several_boards_share_a_concentrator_and_a_ledger(tmp_path: Path) -> None:
    async def journey(line: PseudoTerminal) -> None:
        labels = [new_label(f"0c50000{number}") for number in range(1, 4)]
        ear = Ear(line.path, *labels)
        ledger = Ledger()
        async with (
            Board(line, labels[0], ledger=ledger) as one,
            Board(line, labels[1], ledger=ledger) as two,
            Board(line, labels[2], ledger=ledger) as three,
        ):
            for board in (one, two, three, one):
                await board.stage(await board.press(), 1)
        assert ear.recorded == [("0c500001", 1), ("0c500002", 1), ("0c500003", 1), ("0c500001", 2)]
        assert [(press.device, press.event) for press in ledger.presses] == ear.recorded
        ear.close()

    run(journey, tmp_path / "port")


def test_a_power_cut_leaves_only_flash(tmp_path: Path) -> None:
    async def journey(line: PseudoTerminal) -> None:
        ear = Ear(line.path, LABEL)
        async with Board(line, LABEL, flash=tmp_path / "flash") as board:
            await board.stage(await board.press(), 1)
            board.power_cut()
            with pytest.raises(NotKeptError):
                await board.press()
            board.power_on()
            number = await board.press()
            await board.stage(number, 1)
            assert number == 2
        assert ear.recorded == [(LABEL.device, 1), (LABEL.device, 2)]
        ear.close()

    run(journey, tmp_path / "port")


def test_more_than_the_far_end_takes_is_lost_and_counted_and_never_piles_up(tmp_path: Path) -> None:
    async def journey(line: PseudoTerminal) -> None:
        for _ in range(400):
            line.write(bytes(4096))
        await asyncio.sleep(0)
        assert 400 * 4096 - line.lost < 400_000

    run(journey, tmp_path / "port")
