"""What `check` hears of a receiver on a line, or doesn't."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from firmware_sim.nmea import Receiver, Waypoint
from firmware_sim.pty import PseudoTerminal
from gateway import config
from gateway.cli import gnss
from gateway.drivers.nmea import Nmea

TABLE = '[[port]]\nname = "gps"\ndriver = "nmea"\ndevice = "{device}"\nbaud = 4800\n'


def finding(settings: Path, says: Callable[[float], bytes], monkeypatch: pytest.MonkeyPatch) -> gnss.Finding:
    device = settings.parent / "gps"
    settings.write_text(settings.read_text() + TABLE.format(device=device))
    monkeypatch.setattr(gnss, "LISTEN", 0.1)
    monkeypatch.setattr(gnss, "LISTEN_MAX", 2.0)
    monkeypatch.setattr(gnss, "BURST", 0.2)

    async def listened() -> gnss.Finding:
        async with PseudoTerminal(device) as line:
            for number in range(5):  # what came before the line was opened is nobody's
                asyncio.get_running_loop().call_later(number / 10, line.write, says(1_800_000_000.0 + number))
            (port,) = config.load(settings).port
            return await gnss._listened(port)

    return asyncio.run(listened())


def test_a_receiver_that_has_a_position_says_where_it_is(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver([Waypoint(0.0, 8.157, -77.69)], noise_m=0.0)
    heard = finding(settings, lambda now: b"".join(receiver.burst(now)), monkeypatch)
    assert heard == ("receiver gps", None, "8.15700, -77.69000 ±5 m")


def test_a_receiver_without_a_position_speaks_all_the_same(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver([Waypoint(0.0, 8.157, -77.69)])
    receiver.fault = "outage"
    heard = finding(settings, lambda now: b"".join(receiver.burst(now)), monkeypatch)
    assert heard == ("receiver gps", None, "it speaks, and has no position yet: does the antenna see the sky?")


def test_a_line_that_brings_nothing_readable_is_told_with_its_rate(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = finding(settings, lambda _now: b"\xff\x00" * 50, monkeypatch)
    wrong = "nothing that can be read at 4800 baud: another rate, the wires, the receiver's supply"
    assert heard == ("receiver gps", wrong, "")


def test_a_receiver_that_is_not_there_is_told_as_any_line(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.write_text(settings.read_text() + TABLE.format(device="/dev/nothing"))
    monkeypatch.setattr(gnss, "LISTEN", 0.3)
    (heard,) = gnss.looked(config.load(settings))
    assert heard == ("receiver gps", "/dev/nothing is not there: is the adapter plugged in?", "")


def test_a_receiver_that_speaks_seldom_is_waited_for(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver([Waypoint(0.0, 8.157, -77.69)], noise_m=0.0)
    late = 1_800_000_004.0
    heard = finding(settings, lambda now: b"".join(receiver.burst(now)) if now == late else b"", monkeypatch)
    assert heard == ("receiver gps", None, "8.15700, -77.69000")


def test_a_mistake_in_the_line_is_no_silence(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wrong(_line: Nmea, _beat: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(Nmea, "run", wrong)
    settings.write_text(settings.read_text() + TABLE.format(device="/dev/nothing"))
    with pytest.raises(RuntimeError, match="a mistake"):
        list(gnss.looked(config.load(settings)))
