"""Our end of an OSDP line, with libosdp's own peripheral at the other, and what we must not leave to libosdp."""

import asyncio
import ctypes
import gc
import os
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import osdp_sys
import pytest

from firmware_sim.osdp import Peripheral
from firmware_sim.pty import PseudoTerminal
from gateway.drivers.osdp import OsdpLine, Panel, hearer
from gateway.drivers.osdp_keys import FOLDER, KeyFiles
from gateway.errors import StoreError
from gateway.sensing.osdp import (
    AskInputs,
    AskLocal,
    Broken,
    Frames,
    Heard,
    Idle,
    InputsReport,
    Keys,
    Lamp,
    LocalReport,
    Report,
    SetOutput,
    Show,
    Sound,
)
from gateway.sensing.reply import Garbled, Gone, Silent
from tests.unit.sensing.test_osdp import reply

KEY, OTHER = bytes(range(16)), bytes(range(1, 17))


class Bench:
    """A panel, a line and a peripheral."""

    def __init__(self, terminal: PseudoTerminal, peripheral: Peripheral, key: bytes, *, install: bool) -> None:
        self.terminal = terminal
        self.peripheral = peripheral
        self.line = OsdpLine(str(terminal.path), 9600)
        self.panel = Panel(peripheral.address, key, install=install, random=os.urandom)

    async def connected(self, most: int = 20) -> bool:
        """Exchange until the connection is live."""
        for _turn in range(most):
            await self.line.exchange(self.panel)
            if self.panel.live:
                return True
        return False

    async def polled(self) -> Heard | Idle | Broken | Silent | Garbled | Gone:
        """Exchange once, when there is something to ask."""
        await asyncio.sleep(0.052)
        return await self.line.exchange(self.panel)


def on_a_line(
    folder: Path,
    check: Callable[[Bench], Coroutine[None, None, None]],
    *,
    key: bytes = KEY,
    its: bytes | None = KEY,
    install: bool = False,
) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), PseudoTerminal(folder / "bus") as terminal:
            bench = Bench(terminal, Peripheral(terminal, 1, key=its), key, install=install)
            bench.peripheral.start()
            assert bench.line.open() is None
            try:
                await check(bench)
            finally:
                bench.line.close()

    asyncio.run(run())


def test_a_peripheral_reports_and_is_told_over_its_secure_channel(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert await bench.connected()
        gate, panel = bench.peripheral, bench.panel
        orders = (AskInputs(), AskLocal(), SetOutput(0, on=True), Show(Lamp.SLOW), Sound(on=True))
        assert [panel.count(order) for order in orders] == [2, 1, 1, 1, 1]
        gate.set_input(1, active=True)
        gate.tamper(opened=True)
        for order in orders:
            assert panel.submit(order)
            assert await bench.polled() == Heard(order.code, {0x65: 0x49, 0x64: 0x48}.get(order.code, 0x40), True)
        assert list(panel.reports) == [InputsReport((False, True)), LocalReport(tampered=True, unpowered=False)]
        assert (gate.outputs, gate.led, gate.buzzes) == ([True], ("amber", 5, 5), 1)
        panel.reports.clear()
        assert [await bench.polled(), await bench.polled(), await bench.polled()] == [
            Heard(0x60, 0x49, True), Heard(0x60, 0x48, True), Heard(0x60, 0x40, True),
        ]  # fmt: skip
        assert await bench.line.exchange(panel) == Idle()

    on_a_line(tmp_path, check)


@pytest.mark.parametrize("its", [None, OTHER], ids=["the default key", "another key"])
def test_one_without_our_key_is_not_connected(tmp_path: Path, its: bytes | None) -> None:
    async def check(bench: Bench) -> None:
        assert not await bench.connected()
        assert bench.peripheral.keys_set == 0
        assert not bench.panel.reports

    on_a_line(tmp_path, check, its=its)


def test_only_in_install_mode_the_default_key_is_accepted_and_a_new_one_is_set(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert await bench.connected()
        assert (bench.peripheral.key, bench.peripheral.keys_set) == (OTHER, 1)

    on_a_line(tmp_path, check, key=OTHER, its=None, install=True)


def test_in_install_mode_one_with_a_key_that_we_do_not_know_is_not_live(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert not await bench.connected()

    on_a_line(tmp_path, check, key=OTHER, its=KEY, install=True)


def test_a_forged_answer_without_a_mac_reaches_libosdp_not_which_would_believe_it(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert await bench.connected()
        bench.peripheral.mute()
        await asyncio.sleep(0.052)
        exchange = asyncio.ensure_future(bench.line.exchange(bench.panel))
        await asyncio.sleep(0.02)
        forged = [reply(0x49, 0x12, b"\x01\x01", sequence) for sequence in range(4)]
        for frame in forged:
            bench.terminal.to_gateway(frame)
        assert await exchange == Silent()
        assert (bench.line.forged[1], list(bench.panel.reports), bench.panel.live) == (4, [], True)

        bench.peripheral.heal()
        await asyncio.sleep(0.81)
        assert await bench.line.exchange(bench.panel) == Heard(0x60, 0x40, True)
        await asyncio.sleep(0.052)
        asked = Frames().feed(bench.panel.ask())[0]
        bench.panel.answer(forged[asked.raw[4] & 3])
        assert list(bench.panel.reports) == [InputsReport((True, True))], "mended in libosdp? Then say so in 0042"

    on_a_line(tmp_path, check)


def test_the_challenge_is_another_whatever_state_the_machines_rand_is_in() -> None:
    def challenge(sown: int) -> bytes:
        ctypes.CDLL(None).srand(sown)
        panel = Panel(1, KEY, random=os.urandom)
        for code, data in ((0x45, bytes(12)), (0x46, bytes((9, 1, 1)))):
            asked = Frames().feed(panel.ask())[0]
            panel.answer(reply(code, None, data, asked.raw[4] & 3))
        asked = Frames().feed(panel.ask())[0]
        assert asked.code == 0x76
        return asked.raw[9:17]

    assert len({challenge(1) for _start in range(8)}) == 8


def test_silence_damage_and_a_second_answer_are_told_apart(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert await bench.connected()
        twin = Peripheral(bench.terminal, 1, key=KEY)
        twin.start()
        await bench.polled()
        await asyncio.sleep(0.01)
        assert bench.line.doubled[1] == 1
        twin.stop()
        bench.peripheral.mute()
        assert await bench.polled() == Silent()
        await asyncio.sleep(0.81)
        exchange = asyncio.ensure_future(bench.line.exchange(bench.panel))
        await asyncio.sleep(0.02)
        bench.terminal.to_gateway(reply(0x40)[:-1] + b"\x00")
        assert await exchange == Garbled()

    on_a_line(tmp_path, check)


def test_a_line_that_is_pulled_out_is_gone_within_a_question_too(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert await bench.connected()
        bench.peripheral.mute()
        await asyncio.sleep(0.052)
        exchange = asyncio.ensure_future(bench.line.exchange(bench.panel))
        await asyncio.sleep(0.02)
        bench.terminal.unplug()
        assert isinstance(await exchange, Gone)
        assert isinstance(await bench.line.exchange(bench.panel), Gone)
        assert bench.line.open() == f"{bench.line.device} is not there: is the adapter plugged in?"

    on_a_line(tmp_path, check)


def test_a_thousand_panels_and_their_events_leave_nothing_of_ours_behind() -> None:
    def panels() -> int:
        gc.collect()
        return sum(isinstance(one, Panel) for one in gc.get_objects())

    before = panels()
    for _start in range(1000):
        Panel(1, KEY, random=os.urandom)
    assert panels() == before


def test_an_event_is_emptied_for_it_is_never_freed_and_nothing_strange_in_one_raises() -> None:
    reports: deque[Report] = deque()
    hear = hearer(reports)
    events: list[dict[str, Any]] = [
        {"event": osdp_sys.EVENT_STATUS, "type": osdp_sys.STATUS_REPORT_INPUT, "report": b"\x01\x00"},
        {"event": osdp_sys.EVENT_STATUS, "type": osdp_sys.STATUS_REPORT_LOCAL, "report": b"\x01"},
        {"event": osdp_sys.EVENT_CARDREAD, "data": b"1234"},
        {"event": osdp_sys.EVENT_STATUS},
        {},
    ]
    assert [hear(0, event) for event in events] == [0] * 5
    assert events == [{}] * 5
    assert list(reports) == [InputsReport((True, False))]


# Keys.


def test_a_key_is_kept_for_its_owner_alone_and_read_as_it_was_written(tmp_path: Path) -> None:
    files = KeyFiles(tmp_path)
    assert files.read("gate") == Keys()
    for keys in (Keys(KEY, OTHER), Keys(None, OTHER), Keys(KEY), Keys()):
        files.write("gate", keys)
        assert files.read("gate") == keys
    assert (tmp_path / FOLDER / "gate").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "00\n\n", "zz\n\n", f"{KEY.hex()}", "\xff\n\n", f"{KEY.hex()}00\n\n"])
def test_a_file_that_is_damaged_is_not_the_same_as_none_and_is_not_lost(tmp_path: Path, text: str) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "gate").write_text(text, encoding="latin-1")
    files = KeyFiles(tmp_path)
    with pytest.raises(StoreError, match="the key of gate can't be read: it is damaged"):
        files.read("gate")
    files.put_aside("gate")
    files.write("gate", Keys(KEY))
    assert files.read("gate") == Keys(KEY)
    assert (tmp_path / FOLDER / "gate.unreadable").read_text(encoding="latin-1") == text


def test_a_file_that_can_not_be_read_is_not_the_same_as_none(tmp_path: Path) -> None:
    (tmp_path / FOLDER / "gate").mkdir(parents=True)
    with pytest.raises(StoreError, match="the key of gate can't be read: Is a directory"):
        KeyFiles(tmp_path).read("gate")


def test_a_key_that_can_not_be_stored_is_said_so(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("in its place")
    with pytest.raises(StoreError, match="the key of gate can't be stored"):
        KeyFiles(tmp_path).write("gate", Keys(KEY))
