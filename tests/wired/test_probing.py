"""Hearing and asking over real pseudo-terminals: a Field Link board, a GNSS receiver's bytes, Modbus, OSDP, nobody."""

import asyncio
import fcntl
import os
import struct
import termios
import tty
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import osdp_sys
import pytest

from firmware_sim.device import Board
from firmware_sim.labels import new_label
from firmware_sim.line import Line
from firmware_sim.modbus import Unit, Units, crc16
from firmware_sim.pty import PseudoTerminal
from gateway.drivers import listening, probing
from gateway.drivers.listening import RATES, Closed, Listened, listen, rates
from gateway.drivers.probing import ModbusUnits, OsdpPeripherals, modbus_units, osdp_peripherals
from gateway.fieldlink import framing
from gateway.sensing.recognise import FieldLinkHeard, NmeaHeard, Noise, Silence

GGA = b"$GNGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*59\r\n"
Story = Callable[[PseudoTerminal], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pseudo-terminal has no rate and no distance: fewer rates and addresses show the same."""
    monkeypatch.setattr(probing, "MODBUS_LINES", ((9600, "none"), (19_200, "even"), (2400, "none")))
    monkeypatch.setattr(probing, "MODBUS_FIRST", range(1, 4))
    monkeypatch.setattr(probing, "MODBUS_ALL", range(1, 5))
    monkeypatch.setattr(probing, "MODBUS_PATIENCE", 0.06)
    monkeypatch.setattr(probing, "OSDP_RATES", (9600, 115_200))
    monkeypatch.setattr(probing, "OSDP_FIRST", range(1))
    monkeypatch.setattr(probing, "OSDP_ALL", range(4, 7))
    monkeypatch.setattr(probing, "OSDP_PATIENCE", 0.1)


def on_a_port(path: Path, story: Story) -> None:
    async def life() -> None:
        async with asyncio.timeout(30), PseudoTerminal(path) as line:
            await story(line)

    asyncio.run(life())


async def _again(line: Line, data: bytes, every: float = 0.05) -> None:
    while True:
        line.to_gateway(data)
        await asyncio.sleep(every)


def test_a_board_that_is_pressed_is_heard_with_its_id(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal) -> None:
        label = new_label("0c500042")
        async with asyncio.TaskGroup() as group, Board(line, label) as board:
            hearing = group.create_task(listen(str(line.path), (115_200,), 0.6))
            await asyncio.sleep(0.3)
            await board.press()
            match await hearing:
                case Listened(FieldLinkHeard(frames, devices), 115_200):
                    assert (frames >= 1, devices) == (True, (label.device,))
                case other:
                    pytest.fail(str(other))

    on_a_port(tmp_path / "port", story)


def test_a_gnss_receiver_is_heard_at_the_first_rate_that_fits(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal) -> None:
        talking = asyncio.create_task(_again(line, GGA))
        doing: list[str] = []
        match await listen(str(line.path), (4800, 9600), 0.6, doing.append):
            case Listened(NmeaHeard(sentences, kinds), 4800):
                assert (sentences > 2, kinds) == (True, ("GNGGA",))
            case other:
                pytest.fail(str(other))
        assert doing == ["listening at 4800"]
        talking.cancel()

    on_a_port(tmp_path / "port", story)


def test_noise_is_counted_silence_is_silence_and_the_time_is_kept(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal) -> None:
        began = asyncio.get_running_loop().time()
        assert await listen(str(line.path), (9600, 4800), 0.4) == Listened(Silence(), 9600, ((9600, 0.2), (4800, 0.2)))
        assert asyncio.get_running_loop().time() - began < 2
        talking = asyncio.create_task(_again(line, b"\x80\xfe\x11"))
        match await listen(str(line.path), (9600,), 0.4):
            case Listened(Noise(count), 9600, _at):
                assert count >= 3
            case other:
                pytest.fail(str(other))
        talking.cancel()

    on_a_port(tmp_path / "port", story)


def test_a_button_that_was_pressed_while_another_rate_was_listened_at_is_heard_after_the_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "SLOT", 0.1)
    press = framing.encode(bytes.fromhex("13000c500042000000070000000000") + bytes(15))
    doing: list[str] = []

    async def story(line: PseudoTerminal) -> None:
        loop = asyncio.get_running_loop()

        def pressed(at: float = 0.0) -> None:  # a pseudo-terminal has no rate
            line.to_gateway(press if doing[-1] == "listening at 115200" else b"\x80\xfe")
            if at < 0.6:
                loop.call_later(0.05 + at, pressed, 0.05 + 2 * at)

        def told(text: str) -> None:
            doing.append(text)
            if len(doing) == 2:
                loop.call_later(0.02, pressed)

        assert await listen(str(line.path), RATES, 2.0, told) == Listened(FieldLinkHeard(1, ("0c500042",)), 115_200)
        assert doing[:6] == [f"listening at {rate}" for rate in RATES]
        assert set(doing[6:]) == {"listening at 115200"}

    on_a_port(tmp_path / "port", story)


def test_it_listens_for_as_long_as_it_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "SLOT", 0.2)

    async def story(line: PseudoTerminal) -> None:
        listened = await listen(str(line.path), (9600, 4800), 0.5)
        assert listened == Listened(Silence(), 9600, ((9600, 0.3), (4800, 0.2)))

    on_a_port(tmp_path / "port", story)


def test_rts_is_lowered_and_dtr_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {termios.TIOCM_DTR: True, termios.TIOCM_RTS: True}  # as the kernel opens it
    ioctl = fcntl.ioctl

    def remembered(descriptor: int, request: int, *rest: Any) -> Any:
        if request in (termios.TIOCMBIS, termios.TIOCMBIC):
            lines[struct.unpack("I", rest[0])[0]] = request == termios.TIOCMBIS
            return rest[0]
        return ioctl(descriptor, request, *rest)

    monkeypatch.setattr(fcntl, "ioctl", remembered)

    async def story(line: PseudoTerminal) -> None:
        listening.Ear(str(line.path), 9600).close()
        assert lines == {termios.TIOCM_DTR: True, termios.TIOCM_RTS: False}

    on_a_port(tmp_path / "port", story)


def test_a_user_who_may_not_open_a_port_is_told_what_he_can_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_device: str, _baud: int) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(listening, "opened", refuse)
    refused = asyncio.run(listen(str(tmp_path), (9600,), 0.1))
    assert refused == Closed(
        f'you may not open {tmp_path}: sudo; for good: sudo usermod -aG dialout "$USER", then log in again'
    )


def test_a_line_that_takes_no_bytes_is_told_and_let_go_of_at_once() -> None:
    near, far = os.openpty()
    tty.setraw(far)
    ear = listening.Ear(os.ttyname(far), 9600)
    termios.tcflow(far, termios.TCOOFF)
    with pytest.raises(OSError, match="takes no bytes"):
        ear.say(b"x" * 9)
    ear.close()
    os.close(near)
    os.close(far)


def test_a_port_s_own_rate_is_listened_at_first_and_once() -> None:
    assert rates(None) == RATES
    assert rates(9600) == (9600, 115_200, 4800, 38_400, 19_200, 57_600)


def test_why_a_port_can_t_be_listened_to_is_told(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal) -> None:
        held = listening.Ear(str(line.path), 9600)
        refused = Closed(f"{line.path} is in use by another program")
        assert await listen(str(line.path), (9600,), 0.1) == refused
        assert await osdp_peripherals(str(line.path)) == refused
        held.close()
        gone = f"{tmp_path / 'gone'} is not there: is the adapter plugged in?"
        assert await listen(str(tmp_path / "gone"), (9600,), 0.1) == Closed(gone)
        assert await modbus_units(str(tmp_path / "gone")) == Closed(gone)
        hearing = asyncio.create_task(listen(str(line.path), (9600,), 5))
        await asyncio.sleep(0.1)
        line.unplug()
        assert isinstance(await hearing, Closed)

    on_a_port(tmp_path / "port", story)


def test_listening_writes_nothing(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal) -> None:
        written: list[bytes] = []
        line.attach(written.append)
        await listen(str(line.path), (9600, 4800), 0.4)
        assert written == []

    on_a_port(tmp_path / "port", story)


def test_every_unit_is_found_and_an_exception_is_an_answer(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal) -> None:
        Units(line, [Unit(2, {3: {0: 7}}), Unit(4, {4: {5: 1}})])
        doing: list[str] = []
        assert await modbus_units(str(line.path), doing.append) == ModbusUnits(9600, "none", (2, 4))
        assert doing[0] == "asking for Modbus at 9600, address 1"

    on_a_port(tmp_path / "port", story)


def test_a_unit_at_a_slow_rate_has_the_time_that_its_bytes_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "MODBUS_PATIENCE", 0.15)
    monkeypatch.setattr(probing, "MODBUS_LINES", ((2400, "none"),))

    async def story(line: PseudoTerminal) -> None:
        def said(data: bytes) -> None:
            answer = bytes((data[0], 3, 2, 0, 7))
            answer += crc16(answer)
            asyncio.get_running_loop().call_later(0.1 + 15 * 10 / 2400, line.to_gateway, answer)

        line.attach(said)
        assert await modbus_units(str(line.path)) == ModbusUnits(2400, "none", (1, 2, 3, 4))

    on_a_port(tmp_path / "port", story)


def test_units_and_peripherals_that_were_found_before_the_adapter_was_unplugged_are_kept(tmp_path: Path) -> None:
    async def units(line: PseudoTerminal) -> None:
        Units(line, [Unit(2, {3: {0: 7}})])

        def told(text: str) -> None:
            if text.endswith("address 4"):
                line.unplug()

        match await modbus_units(str(line.path), told):
            case ModbusUnits(9600, "none", (2,), lost=str(lost)):
                assert lost
            case other:
                pytest.fail(str(other))

    async def peripherals(line: PseudoTerminal) -> None:
        ack = bytes.fromhex("5385080004400e8f")  # of address 5

        def said(data: bytes) -> None:
            if data[2] == 6:
                line.unplug()
            elif data[2] == 5 or data[2] == 0x7F:
                line.to_gateway(ack)

        line.attach(said)
        match await osdp_peripherals(str(line.path)):
            case OsdpPeripherals(9600, (5,), False, str(lost)):
                assert lost
            case other:
                pytest.fail(str(other))

    on_a_port(tmp_path / "units", units)
    on_a_port(tmp_path / "peripherals", peripherals)


def test_damaged_answers_and_an_echo_are_told_and_nobody_is_none(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal) -> None:
        assert await modbus_units(str(line.path)) is None
        units = Units(line, [Unit(3, fault="damage")])
        assert await modbus_units(str(line.path)) == ModbusUnits(9600, "none", (), (3,))
        units.units.clear()
        line.attach(line.to_gateway)
        assert await modbus_units(str(line.path)) == ModbusUnits(9600, "none", (), (), echo=True)
        assert await osdp_peripherals(str(line.path)) is None

    on_a_port(tmp_path / "port", story)


class Channel:
    """The two directions of a line, as libosdp has them."""

    def __init__(self, line: Line) -> None:
        self.id = 1
        self._line = line
        self._heard = bytearray()
        line.attach(self._heard.extend)

    def read(self, most: int) -> bytes:
        data = bytes(self._heard[:most])
        del self._heard[:most]
        return data

    def write(self, data: bytes) -> int:
        self._line.to_gateway(data)
        return len(data)

    def flush(self) -> None:
        pass


def _peripheral(line: Line, *, secure: bool) -> Any:
    osdp_sys.set_loglevel(0)
    info = {
        "name": "PD", "address": 5, "channel": Channel(line), "version": 1, "model": 1, "vendor_code": 1,
        "serial_number": 1, "firmware_version": 1, "flags": osdp_sys.FLAG_ENFORCE_SECURE if secure else 0,
        "scbk": bytes(range(16)) if secure else None,
    }  # fmt: skip
    peripheral = osdp_sys.PeripheralDevice(info, capabilities=[])
    peripheral.set_command_callback(lambda _command: (0, None))
    return peripheral


@pytest.mark.parametrize("secure", [False, True])
def test_libosdp_s_own_peripheral_is_found_at_its_address(tmp_path: Path, *, secure: bool) -> None:
    async def story(line: PseudoTerminal) -> None:
        peripheral = _peripheral(line, secure=secure)

        async def live() -> None:
            while True:
                peripheral.refresh()
                await asyncio.sleep(0.005)

        living = asyncio.create_task(live())
        doing: list[str] = []
        assert await osdp_peripherals(str(line.path), doing.append) == OsdpPeripherals(9600, (5,), secure)
        assert list(dict.fromkeys(doing)) == [
            "asking for OSDP at 9600", "asking for OSDP at 9600, address by address"
        ]  # fmt: skip
        assert len(doing) == 2 + 3  # before each question: a service that is started meanwhile gets the port
        living.cancel()

    on_a_port(tmp_path / "port", story)


def test_a_port_whose_far_end_is_closed_is_told_as_unplugged() -> None:
    near, far = os.openpty()
    tty.setraw(far)
    ear = listening.Ear(os.ttyname(far), 9600)
    os.close(near)
    os.close(far)

    async def story() -> None:
        with pytest.raises(OSError, match=r"unplugged|Input/output"):
            await ear.hear(5.0)

    asyncio.run(story())
    ear.close()
