"""`c5-gateway ports` in a cabinet of folders and pseudo-terminals: what it says of each port, what it doesn't touch."""

import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from firmware_sim.modbus import Unit, Units
from firmware_sim.pty import PseudoTerminal
from gateway.cli import ports
from gateway.cli.commands import app
from gateway.config import load
from gateway.drivers import listening, probing
from gateway.drivers.probing import ModbusUnits
from gateway.errors import C5Error
from tests.support.cabinet import Cabinet, talker

GGA = b"$GNGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*59\r\n"
SECONDS = 0.6  # of listening: a tenth of one at each rate


@pytest.fixture
def cabinet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cabinet:
    monkeypatch.setenv("C5_GATEWAY_CONFIG", str(tmp_path / "none.toml"))
    return Cabinet(tmp_path / "machine")


@contextmanager
def units(path: Path, *addresses: int) -> Iterator[str]:
    """Yield the name of a terminal with Modbus units at its far end."""
    ready = threading.Event()
    name: list[str] = []
    stops: list[Callable[[], object]] = []

    async def live() -> None:
        async with PseudoTerminal(path) as line:
            Units(line, [Unit(address, {3: {0: 1}}) for address in addresses])
            name.append(line.terminal or "")
            stop = asyncio.Event()
            stops.append(functools.partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    assert ready.wait(5)
    try:
        yield name[0]
    finally:
        stops[0]()
        thread.join()


AIS = b"!AIVDM,1,1,,A,13u?etPv2;0n:dDPwUM1U1Cb069D,0*24\r\n"
ACK = bytes.fromhex("5385080004400e8f")  # of the OSDP peripheral with address 5


@contextmanager
def peripheral() -> Iterator[str]:
    """Yield the name of a terminal whose far end answers each poll of OSDP."""
    near, far = os.openpty()
    tty.setraw(far)
    stop = threading.Event()

    def answer() -> None:
        os.set_blocking(near, False)
        while not stop.wait(0.01):
            with suppress(BlockingIOError):
                if os.read(near, 999)[1:2] == b"\x53":
                    os.write(near, ACK)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield os.ttyname(far)
    finally:
        stop.set()
        thread.join()
        os.close(near)
        os.close(far)


def run(
    cabinet: Cabinet, capsys: pytest.CaptureFixture[str], *devices: str, path: Path | None = None, probe: bool = False
) -> tuple[bool, dict[str, Any]]:
    right = ports.run(path, devices, probe=probe, seconds=SECONDS, as_json=True, root=cabinet.root)
    return right, json.loads(capsys.readouterr().out)


def said(
    cabinet: Cabinet, capsys: pytest.CaptureFixture[str], *devices: str, path: Path | None = None, probe: bool = False
) -> str:
    ports.run(path, devices, probe=probe, seconds=SECONDS, as_json=False, root=cabinet.root)
    return capsys.readouterr().out


def test_a_gnss_receiver_and_modbus_units_are_found_and_their_settings_can_be_pasted(
    cabinet: Cabinet, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "MODBUS_FIRST", range(3, 4))
    monkeypatch.setattr(probing, "MODBUS_ALL", range(2, 6))
    with talker(GGA) as gnss, units(tmp_path / "bus", 3, 5) as bus:
        cabinet.usb("ttyUSB0", gnss, socket="1-1.1", product="GNSS", serial="7")
        cabinet.usb("ttyUSB1", bus, socket="1-1.2", serial="A10K2XYZ")
        right, found = run(cabinet, capsys, "ttyUSB0", "ttyUSB1", probe=True)
    by_id = cabinet.root / "dev/serial/by-id"
    first, second = found["ports"]
    assert right
    assert (first["heard"]["what"], first["heard"]["kinds"], first["modbus"]) == ("nmea", ["GNGGA"], None)
    assert (second["heard"]["what"], second["modbus"]) == (
        "silence",
        {"baud": 9600, "parity": "none", "addresses": [3, 5], "damaged": [], "echo": False, "lost": None},
    )
    assert tomllib.loads(found["settings"]) == {
        "port": [
            {"name": "nmea", "driver": "nmea", "device": str(by_id / "usb-FTDI_GNSS_7-if00-port0"), "baud": 115_200},
            {"name": "modbus", "driver": "modbus", "baud": 9600, "parity": "none",
             "device": str(by_id / "usb-FTDI_FT232R_USB_UART_A10K2XYZ-if00-port0")},
        ]
    }  # fmt: skip
    assert "# a [[unit]] for each address: 3, 5 (docs/operate/modbus.md)" in found["settings"]


def test_what_is_printed_for_the_settings_lets_the_gateway_start_when_it_is_pasted(
    cabinet: Cabinet, settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "ask", lambda *_: None)
    for name, value in {
        "MODBUS_LINES": ((9600, "none"),), "MODBUS_FIRST": range(3, 4), "MODBUS_ALL": range(3, 4),
        "OSDP_FIRST": range(1), "OSDP_ALL": range(5, 6),
    }.items():  # fmt: skip
        monkeypatch.setattr(probing, name, value)
    with (
        talker(GGA) as first,
        talker(GGA) as second,
        talker(AIS) as ais,
        peripheral() as osdp,
        units(settings.parent / "bus", 3) as bus,
    ):
        for number, line in enumerate((first, second, ais, osdp, bus)):
            cabinet.usb(f"ttyUSB{number}", line, socket=f"1-1.{number + 1}", serial=f"A{number}")
        named = [f"ttyUSB{number}" for number in range(5)]
        printed = run(cabinet, capsys, *named, path=settings, probe=True)[1]["settings"]
        settings.write_text(settings.read_text() + printed)
        again = said(cabinet, capsys, path=settings)
    assert [(port.name, port.driver, port.device[-13:]) for port in load(settings).port] == [
        ("nmea", "nmea", "A0-if00-port0"), ("osdp", "osdp", "A3-if00-port0"), ("modbus", "modbus", "A4-if00-port0"),
    ]  # fmt: skip
    assert "[[port]]" not in again
    assert "no GNSS receiver (AIS, weather, a compass)" in again


def test_what_is_printed_comes_with_the_word_to_check_it_first(
    cabinet: Cabinet, capsys: pytest.CaptureFixture[str]
) -> None:
    with talker(GGA) as gnss:
        cabinet.usb("ttyUSB0", gnss)
        text = said(cabinet, capsys)
    assert "then: sudo c5-gateway check, and only then restart: sudo systemctl restart c5-gateway" in text


def test_without_probe_nothing_is_written_and_what_that_leaves_open_is_told(
    cabinet: Cabinet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with units(tmp_path / "bus", 1) as bus:
        cabinet.usb("ttyUSB0", bus)
        text = said(cabinet, capsys)
    assert "silence: 0.1 s at 115200, 0.1 s at 9600, " in text
    assert "A button speaks when it is pressed" in text
    assert "only at 115200 is every press heard" in text
    assert "c5-gateway ports --probe DEVICE. That writes to what is connected there" in text
    assert "[[port]]" not in text


def test_where_something_talks_nothing_is_asked(cabinet: Cabinet, capsys: pytest.CaptureFixture[str]) -> None:
    with talker(b"\x80\xfe") as foreign:
        cabinet.usb("ttyUSB0", foreign)
        _right, found = run(cabinet, capsys, "ttyUSB0", probe=True)
        text = said(cabinet, capsys, "ttyUSB0", probe=True)
    (port,) = found["ports"]
    assert (port["heard"]["what"], port["modbus"], port["osdp"]) == ("noise", None, None)
    assert "not asked: something talks there" in text
    assert "Perhaps your press of a button" in text


def test_asking_wants_a_port_that_is_named() -> None:
    refused = CliRunner().invoke(app, ["ports", "--probe"])
    assert (refused.exit_code, "name the port that is asked" in refused.output) == (2, True)


def test_a_port_that_is_named_twice_is_looked_at_once(cabinet: Cabinet, capsys: pytest.CaptureFixture[str]) -> None:
    with talker(GGA) as gnss:
        cabinet.usb("ttyUSB0", gnss)
        by_path = next((cabinet.root / "dev/serial/by-path").iterdir())
        right, found = run(cabinet, capsys, "ttyUSB0", str(by_path), gnss)
    assert (right, [port["heard"]["what"] for port in found["ports"]]) == (True, ["nmea"])


def test_a_unit_that_was_found_is_told_beside_the_adapter_s_loss(
    cabinet: Cabinet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(*_: object) -> ModbusUnits:
        return ModbusUnits(9600, "none", (3,), lost="it was unplugged")

    monkeypatch.setattr(ports, "modbus_units", asked)
    with talker() as bus:
        cabinet.usb("ttyUSB0", bus)
        right, found = run(cabinet, capsys, "ttyUSB0", probe=True)
        text = said(cabinet, capsys, "ttyUSB0", probe=True)
    assert (right, found["ports"][0]["trouble"], found["ports"][0]["modbus"]["addresses"]) == (
        False, "it was unplugged", [3],
    )  # fmt: skip
    assert "Modbus units at 9600, no parity: address 3\n    it was unplugged\n" in text


def test_what_others_have_open_is_not_touched_and_its_remedy_is_told(
    cabinet: Cabinet, capsys: pytest.CaptureFixture[str]
) -> None:
    with talker(GGA) as modem, talker(GGA) as console, talker(GGA) as bluetooth:
        cabinet.usb("ttyUSB0", modem)
        cabinet.process(812, "ModemManager", modem)
        cabinet.uart("ttyS0", "bcm2835-aux-uart", console)
        cabinet.write("sys/class/tty/console/active", "tty1 ttyS0\n")
        cabinet.uart("ttyAMA0", "uart-pl011", bluetooth)
        cabinet.link("dev/serial1", "dev/ttyAMA0")
        found = run(cabinet, capsys)[1]["ports"]
        text = said(cabinet, capsys)
    assert [(Path(port["device"]).name, port["untouched"], port["heard"]) for port in found] == [
        ("ttyAMA0", "bluetooth", None), ("ttyS0", "console", None), ("ttyUSB0", "held", None),
    ]  # fmt: skip
    assert "not touched: ModemManager (812) has it open" in text
    assert "without a modem here: sudo systemctl disable --now ModemManager" in text
    assert "to have it: raspi-config" in text
    assert "The one for cables is /dev/serial0" in text


def test_where_holders_can_t_be_seen_only_what_is_named_is_listened_to(
    cabinet: Cabinet, capsys: pytest.CaptureFixture[str]
) -> None:
    (cabinet.root / "proc/1/comm").unlink()
    (cabinet.root / "proc/1/fd").rmdir()
    with talker(GGA) as gnss:
        cabinet.usb("ttyUSB0", gnss)
        _right, all_ = run(cabinet, capsys)
        _right, named = run(cabinet, capsys, str(cabinet.root / "dev/ttyUSB0"))
    assert (all_["ports"][0]["untouched"], all_["ports"][0]["heard"]) == ("unseen", None)
    assert "without sudo" in all_["notes"][1]
    assert named["ports"][0]["heard"]["what"] == "nmea"


def test_what_the_running_service_has_is_asked_from_the_service(
    cabinet: Cabinet, settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    status: dict[str, Any] = {
        "ports": [{"name": "lobby", "open": True, "frames": 12, "noise": 0, "trouble": None}],
        "buses": [{"name": "nmea", "trouble": "it was unplugged"}],
    }

    def ask(_folder: Path, request: Any) -> dict[str, Any]:
        asked.append(request)
        return status

    monkeypatch.setattr(ports, "ask", ask)
    with talker(GGA) as lobby, talker(GGA) as bus, talker(GGA) as new:
        cabinet.usb("ttyUSB0", lobby, socket="1-1.1", serial="1")
        cabinet.usb("ttyUSB1", bus, socket="1-1.2", serial="2")
        cabinet.usb("ttyUSB2", new, socket="1-1.3", serial="3")
        dev = cabinet.root / "dev"
        by_id = dev / "serial/by-id/usb-FTDI_FT232R_USB_UART_2-if00-port0"
        tables = f'[[port]]\nname = "lobby"\ndevice = "{dev / "ttyUSB0"}"\n'
        tables += f'[[port]]\nname = "nmea"\ndriver = "modbus"\nbaud = 9600\ndevice = "{by_id}"\n'
        settings.write_text(settings.read_text() + tables)
        _right, found = run(cabinet, capsys, path=settings)
        text = said(cabinet, capsys, path=settings)
    first, second, third = found["ports"]
    assert asked == [{"do": "status"}] * 2
    assert (first["untouched"], first["setting"], first["service"]["frames"]) == ("service", "lobby", 12)
    assert (second["untouched"], second["setting"], second["service"]) == (
        "service", "nmea", {"name": "nmea", "trouble": "it was unplugged"},
    )  # fmt: skip
    assert (third["untouched"], third["heard"]["what"]) == (None, "nmea")
    assert "the settings name it " + str(dev / "ttyUSB0") + ", which may be another one" in text
    assert "the running service has it open\n    12 Field Link frames, 0 of noise" in text
    assert "the running service says of it: it was unplugged" in text
    assert 'name = "nmea-2"' in found["settings"]


def test_who_has_the_service_s_port_is_told_with_the_remedy(
    cabinet: Cabinet, settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "/dev/ttyUSB0 is in use by another program"
    row = {"name": "lobby", "open": False, "frames": 0, "noise": 0, "trouble": wrong}
    monkeypatch.setattr(ports, "ask", lambda *_: {"ports": [row]})
    with talker() as lobby:
        cabinet.usb("ttyUSB0", lobby, serial="1")
        cabinet.process(812, "ModemManager", lobby)
        by_id = next((cabinet.root / "dev/serial/by-id").iterdir())
        settings.write_text(settings.read_text() + f'[[port]]\nname = "lobby"\ndevice = "{by_id}"\n')
        text = said(cabinet, capsys, path=settings)
    assert f"the running service says of it: {wrong}\n    not touched: ModemManager (812) has it open\n" in text
    assert "install the gateway's udev rule" in text
    assert "has it: " not in text


def test_a_port_that_was_put_into_the_settings_after_the_service_s_start_wants_a_restart(
    cabinet: Cabinet, settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "ask", lambda *_: {"ports": [], "buses": []})
    with talker(GGA) as lobby:
        cabinet.usb("ttyUSB0", lobby)
        table = f'[[port]]\nname = "lobby"\ndevice = "{cabinet.root / "dev/ttyUSB0"}"\n'
        settings.write_text(settings.read_text() + table)
        found = run(cabinet, capsys, path=settings)[1]
        text = said(cabinet, capsys, path=settings)
    assert (found["ports"][0]["untouched"], found["ports"][0]["service"]) == ("restart", None)
    assert "the running service was started before this was in the settings: restart it" in text


def test_a_service_that_is_started_meanwhile_has_its_port_at_once(
    cabinet: Cabinet, settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def ask(_folder: Path, request: Any) -> dict[str, Any] | None:
        asked.append(request)
        return {"ports": []} if len(asked) > 3 else None

    monkeypatch.setattr(ports, "ask", ask)
    monkeypatch.setattr(listening, "SLOT", 0.1)
    with talker() as lobby:
        cabinet.usb("ttyUSB0", lobby)
        table = f'[[port]]\nname = "lobby"\ndevice = "{cabinet.root / "dev/ttyUSB0"}"\n'
        settings.write_text(settings.read_text() + table)
        began = time.monotonic()
        ports.run(settings, [], probe=False, seconds=60, as_json=False, root=cabinet.root)
    assert time.monotonic() - began < 30
    assert "the service was started meanwhile, and has this port now: run this again" in capsys.readouterr().out


def test_a_name_in_the_settings_that_another_adapter_may_get_is_told(
    cabinet: Cabinet, settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "ask", lambda *_: None)
    with talker() as lobby:
        cabinet.usb("ttyUSB0", lobby, usb="1a86:7523", product="USB Serial")
        by_id = next((cabinet.root / "dev/serial/by-id").iterdir())
        by_path = next((cabinet.root / "dev/serial/by-path").iterdir())
        settings.write_text(settings.read_text() + f'[[port]]\nname = "lobby"\ndevice = "{by_id}"\n')
        text = said(cabinet, capsys, path=settings)
    told = f'the settings name it {by_id}, which may be another one after the next start: device = "{by_path}"'
    assert told in text


def test_the_system_s_console_is_not_touched_under_its_own_name_and_no_line_is_empty(
    cabinet: Cabinet, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(cabinet, capsys, "/dev/console")
    assert "/dev/console\n    not touched: the system's console is on it\n" in text
    assert [line for line in text.splitlines() if line.isspace()] == []


def test_a_port_that_can_t_be_opened_is_told_with_why(cabinet: Cabinet, capsys: pytest.CaptureFixture[str]) -> None:
    gone = str(cabinet.root / "dev/ttyUSB9")
    right, found = run(cabinet, capsys, "ttyUSB9")
    assert (right, found["ports"][0]["trouble"]) == (False, f"{gone} is not there: is the adapter plugged in?")


def test_no_port_at_all_is_told_with_what_to_look_at(cabinet: Cabinet, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cabinet, capsys)[0] is False
    assert "there is no serial port here\n    Plug the adapter in" in said(cabinet, capsys)
    cabinet.usb("", usb="1a86:7523", product="USB Serial")
    text = said(cabinet, capsys)
    assert (
        "USB device 1a86:7523 USB Serial is plugged in, and the kernel has no driver bound to it: sudo modprobe ch341"
        in text
    )
    cabinet.take("1-1.2")
    assert "a program has taken it from the kernel, mostly brltty: sudo apt remove brltty" in said(cabinet, capsys)


def test_settings_that_can_t_be_read_are_no_reason_not_to_look(
    cabinet: Cabinet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "gateway.toml"
    wrong.write_text("[gateway\n")
    with talker(GGA) as gnss:
        cabinet.usb("ttyUSB0", gnss)
        right, found = run(cabinet, capsys, path=wrong)
    assert (right, found["ports"][0]["heard"]["what"]) == (True, "nmea")
    assert found["notes"][0].startswith("which port is whose isn't known: ")


def test_a_service_that_runs_and_can_t_be_asked_keeps_its_ports_and_the_others_are_looked_at(
    cabinet: Cabinet, settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_folder: Path, _request: Any) -> None:
        raise C5Error("the service can't be asked", "Run this with sudo.")

    monkeypatch.setattr(ports, "ask", refuse)
    with talker(GGA) as lobby, talker(GGA) as new:
        cabinet.usb("ttyUSB0", lobby, socket="1-1.1", serial="A1")
        cabinet.usb("ttyUSB1", new, socket="1-1.2", serial="A2")
        table = f'[[port]]\nname = "lobby"\ndevice = "{cabinet.root / "dev/ttyUSB0"}"\n'
        settings.write_text(settings.read_text() + table)
        _right, found = run(cabinet, capsys, path=settings)
        text = said(cabinet, capsys, path=settings)
    first, second = found["ports"]
    assert found["notes"][0] == "the service can't be asked. Run this with sudo."
    assert (first["untouched"], first["heard"], second["heard"]["what"]) == ("unanswered", None, "nmea")
    assert "not touched: it is the running service's, which has not answered" in text


@pytest.mark.parametrize("options", [("--seconds", "60"), ("--seconds", "1", "--probe")])
def test_ctrl_c_ends_it_without_a_traceback(tmp_path: Path, options: tuple[str, ...]) -> None:
    near, far = os.openpty()
    tty.setraw(far)
    name = os.ttyname(far)
    os.close(far)
    command = [sys.executable, "-m", "gateway.cli.main", "ports", *options, name]
    environment = os.environ | {"C5_GATEWAY_CONFIG": str(tmp_path / "none.toml")}
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # in the background it is ignored
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 20
    os.set_blocking(near, False)

    def begun() -> bool:
        if "--probe" not in options:
            return any(os.path.realpath(path) == name for path in Path(f"/proc/{process.pid}/fd").iterdir())
        with suppress(OSError):  # nothing yet, or the other end is not open yet
            return os.read(near, 99) != b""
        return False

    while not begun():
        assert time.monotonic() < deadline, "it never listened, or never asked"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
        os.close(near)
    assert (process.returncode, out, err) == (130, b"", b"")
