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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.modbus import Unit, Units
from firmware_sim.pty import PseudoTerminal
from gateway.cli import ports
from gateway.cli.said import ended
from gateway.config import PortTable
from gateway.drivers import probing
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


def run(
    cabinet: Cabinet, capsys: pytest.CaptureFixture[str], *devices: str, path: Path | None = None, probe: bool = False
) -> tuple[bool, dict[str, Any]]:
    right = ports.run(path, devices, probe=probe, seconds=SECONDS, as_json=True, root=cabinet.root)
    return right, json.loads(capsys.readouterr().out)


def said(cabinet: Cabinet, capsys: pytest.CaptureFixture[str], *devices: str, path: Path | None = None) -> str:
    ports.run(path, devices, probe=False, seconds=SECONDS, as_json=False, root=cabinet.root)
    return capsys.readouterr().out


def test_a_gnss_receiver_and_modbus_units_are_found_and_their_settings_can_be_pasted(
    cabinet: Cabinet, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "MODBUS_FIRST", range(3, 4))
    monkeypatch.setattr(probing, "MODBUS_ALL", range(2, 6))
    with talker(GGA) as gnss, units(tmp_path / "bus", 3, 5) as bus:
        cabinet.usb("ttyUSB0", gnss, socket="1-1.1", product="GNSS", serial="7")
        cabinet.usb("ttyUSB1", bus, socket="1-1.2", serial="A10K2XYZ")
        right, found = run(cabinet, capsys, probe=True)
    by_id = cabinet.root / "dev/serial/by-id"
    first, second = found["ports"]
    assert right
    assert (first["heard"]["what"], first["heard"]["kinds"], first["modbus"]) == ("nmea", ["GNGGA"], None)
    assert (second["heard"]["what"], second["modbus"]) == (
        "silence",
        {"baud": 9600, "parity": "none", "addresses": [3, 5], "damaged": [], "echo": False},
    )
    assert tomllib.loads(found["settings"]) == {
        "port": [
            {"name": "nmea", "driver": "nmea", "device": str(by_id / "usb-FTDI_GNSS_7-if00-port0"), "baud": 115_200},
            {"name": "modbus", "driver": "modbus", "baud": 9600, "parity": "none",
             "device": str(by_id / "usb-FTDI_FT232R_USB_UART_A10K2XYZ-if00-port0")},
        ]
    }  # fmt: skip
    assert "# a [[unit]] for each address: 3, 5 (docs/operate/modbus.md)" in found["settings"]
    for table in tomllib.loads(found["settings"])["port"]:
        PortTable.model_validate(table)


def test_without_probe_nothing_is_written_and_what_that_leaves_open_is_told(
    cabinet: Cabinet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with units(tmp_path / "bus", 1) as bus:
        cabinet.usb("ttyUSB0", bus)
        text = said(cabinet, capsys)
    assert "silence. A button speaks when it is pressed" in text
    assert "c5-gateway ports --probe DEVICE. That writes to what is connected there" in text
    assert "[[port]]" not in text


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
    assert "the running service has it: open\n    12 Field Link frames, 0 of noise" in text
    assert "the running service has it: it was unplugged" in text
    assert 'name = "nmea-2"' in found["settings"]


def test_a_port_that_can_t_be_opened_is_told_with_why(cabinet: Cabinet, capsys: pytest.CaptureFixture[str]) -> None:
    gone = str(cabinet.root / "dev/ttyUSB9")
    right, found = run(cabinet, capsys, gone)
    assert (right, found["ports"][0]["trouble"]) == (False, f"{gone} is not there: is the adapter plugged in?")


def test_no_port_at_all_is_told_with_what_to_look_at(cabinet: Cabinet, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cabinet, capsys)[0] is False
    assert "there is no serial port here\n    Plug the adapter in" in said(cabinet, capsys)
    cabinet.usb("", usb="1a86:7523", product="USB Serial")
    text = said(cabinet, capsys)
    assert (
        "USB device 1a86:7523 USB Serial is plugged in, and the kernel has no driver bound to it: modprobe ch341"
        in text
    )


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


def test_a_service_that_runs_and_can_t_be_asked_ends_it(
    cabinet: Cabinet, settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_folder: Path, _request: Any) -> None:
        raise C5Error("the service can't be asked", "sudo")

    monkeypatch.setattr(ports, "ask", refuse)
    with pytest.raises(SystemExit) as end:
        ended(ports.run, settings, [], probe=False, seconds=1, as_json=False, root=cabinet.root)
    assert end.value.code == 1
    assert capsys.readouterr().err == "error: the service can't be asked\nwhat to do: sudo\n"


@pytest.mark.parametrize(("options", "after"), [(("--seconds", "60"), 0.0), (("--seconds", "1", "--probe"), 1.3)])
def test_ctrl_c_ends_it_without_a_traceback(tmp_path: Path, options: tuple[str, ...], after: float) -> None:
    with talker() as silent:
        command = [sys.executable, "-m", "gateway.cli.main", "ports", *options, silent]
        environment = os.environ | {"C5_GATEWAY_CONFIG": str(tmp_path / "none.toml")}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        deadline = time.monotonic() + 20
        while not any(os.path.realpath(path) == silent for path in Path(f"/proc/{process.pid}/fd").iterdir()):
            assert time.monotonic() < deadline, "it never listened"
            time.sleep(0.05)
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, b"", b"")
