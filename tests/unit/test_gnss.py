"""A GNSS receiver as the settings have it, and the gateway's time by it."""

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.cli import gnss as shown
from gateway.clock import EpochClock, FieldClock
from gateway.event import Lane
from gateway.gnss import Gnss
from gateway.sensing.fix import Said
from gateway.signing.record import Clock
from gateway.world import World
from tests.support.memory import NOW_US, Store
from tests.support.memory import Clock as FakeClock
from tests.unit.test_config import WHOLE, _load, _refusal

PORT = '[[port]]\nname = "gps"\ndriver = "nmea"\ndevice = "/dev/ttyACM0"\n'
LEAST = datetime(2026, 11, 21, tzinfo=UTC)
MOST = datetime(2030, 1, 1, tzinfo=UTC)
UNKNOWN = 2**32 - 1


def test_a_receiver_is_what_the_settings_say_and_9600_baud_where_they_say_nothing(tmp_path: Path) -> None:
    settings = _load(tmp_path, WHOLE + PORT + "[gnss]\nmoved_m = 30\n")
    (port,), gnss = settings.port, settings.gnss
    assert (port.driver, port.baud) == ("nmea", 9600)
    assert (gnss.mobile, gnss.moved_m, gnss.moved_s, gnss.clock) == (False, 30, 60, True)
    assert _load(tmp_path, WHOLE + PORT + "baud = 38400\n").port[0].baud == 38_400
    assert _load(tmp_path, WHOLE + PORT.replace("nmea", "field-link")).port[0].baud == 115_200


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ("[gnss]\n", "gnss: there is no receiver"),
        (PORT + PORT.replace("gps", "other").replace("ACM0", "ACM1"),
         "port[1].driver: there is one GNSS receiver already: gps"),
        (PORT + "[gnss]\nmobile = true\nmoved_m = 100\n", "gnss.moved_m: only without mobile = true"),
        (PORT + "[gnss]\nmoved_m = 5\n", "gnss.moved_m: Input should be greater than or equal to 10"),
        (PORT + "[gnss]\nmoved_s = 0\n", "gnss.moved_s: Input should be greater than or equal to 10"),
        (PORT + "[gnss]\nclock = 1\n", "gnss.clock: Input should be true or false"),
        (PORT + "[gnss]\nradius = 1\n", "gnss.radius: no such setting; allowed here: mobile, moved_m, moved_s, clock"),
        (PORT + 'parity = "even"\n', 'port[0].parity: only with driver = "modbus"'),
        (PORT.replace("nmea", "gps"), "port[0].driver: "),
        (PORT.replace('"nmea"', "[1]"), "port[0].driver: "),
        (PORT + "baud = 300\n", "port[0].baud: one of 1200, "),
    ],
)  # fmt: skip
def test_a_receiver_that_can_not_be_is_refused_with_its_key(tmp_path: Path, tables: str, told: str) -> None:
    assert _refusal(tmp_path, WHOLE + tables).startswith(told)


class Unset(FakeClock):
    """The fake clock in 1970, until somebody sets it."""

    off_us = -NOW_US

    def now_us(self) -> int:
        return super().now_us() + self.off_us


class Site:
    """A gateway's receiver and clock."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        self.machine = Unset(source=0)
        self.field = FieldClock(self.machine, NOW_US - 86_400_000_000, LEAST, MOST)
        self.gnss = Gnss(_load(folder, WHOLE + PORT + extra), World(clock=self.machine))
        self.gnss.tell(self.field)
        recorder: Any = SimpleNamespace(position=None, ordinal=2)
        self.gnss.wire(recorder, cast("Any", Store()), cast("Any", None), ())

    def says(self, seconds: int, off_s: int = 0, day: date = date(2027, 1, 15)) -> None:
        """A second each; the time of the first is the fake clock's."""
        for _ in range(seconds):
            second = self.machine.now - 1000.0 + 28_800.0 + off_s
            self.gnss._said(Said(8.157, -77.69, valid=True, hdop=1.0, satellites=8, second=second, day=day))
            self.machine.now += 1.0


def test_records_of_a_gateway_that_wakes_up_in_1970_carry_the_time_of_satellites(tmp_path: Path) -> None:
    site = Site(tmp_path)
    occurred = EpochClock(site.field).occurred
    site.says(30)
    assert occurred(0) == (NOW_US - 86_400_000_000 + 30_000_000, Clock(1, UNKNOWN, 30_000))
    site.says(10)
    assert occurred(500) == (NOW_US + 39_500_000, Clock(3, 1341, 39_500))
    assert site.field.instead() == datetime(2027, 1, 14, 8, 0, 40, tzinfo=UTC), "TLS goes by the floor"
    site.machine.now += 3600
    assert occurred(0) == (NOW_US + 3_640_000_000, Clock(3, 1701, 3_640_000))
    site.machine.off_us, site.machine.source = 0, 2
    assert occurred(0) == (NOW_US + 3_640_000_000, Clock(2, 5, 3_640_000))
    assert site.gnss.troubles == [
        "receiver gps: nothing that can be read for 3601 s: baud rate, wires, the receiver's supply"
    ]


def test_a_receiver_whose_time_is_not_wanted_tells_none(tmp_path: Path) -> None:
    site = Site(tmp_path, "[gnss]\nclock = false\n")
    site.says(100)
    assert site.field.quality() == (1, UNKNOWN)
    assert site.gnss.glance()["gnss"][0]["clock"] is None


@pytest.mark.parametrize(
    ("day", "told"),
    [
        (
            date(2007, 6, 1),
            (
                "it shows a time that is over: its firmware may be too old to count the weeks (rollover), "
                "or it is deceived"
            ),
        ),
        (
            date(2031, 1, 15),
            (
                "it shows a time after the end of this gateway's certificates: have these expired, "
                "or is it deceived (spoofing)?"
            ),
        ),
    ],
)
def test_a_time_that_can_not_be_is_a_trouble_and_no_record_s_time(tmp_path: Path, day: date, told: str) -> None:
    site = Site(tmp_path)
    site.says(40, day=day)
    assert site.field.quality() == (1, UNKNOWN)
    assert site.gnss.troubles == [f"the time of receiver gps is not believed: {told}"]


def test_a_receiver_that_disagrees_with_a_time_server_is_a_trouble_and_the_server_is_believed(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.machine.off_us, site.machine.source = 0, 2
    site.says(40, off_s=3600)
    assert (site.field.now_us(), site.field.quality()) == (NOW_US + 40_000_000, (2, 5))
    apart = "it shows another time than the clock that was synchronised: is it deceived (spoofing)?"
    assert site.gnss.troubles == [f"the time of receiver gps is not believed: {apart}"]
    assert site.gnss.glance()["gnss"][0]["clock"] == {
        "time": "2027-01-15T09:00:40Z", "uncertainty_ms": 1341, "machine_ahead_ms": -3_600_000, "jumps": 0,
        "unbelieved": apart,
    }  # fmt: skip


def test_a_jump_is_a_trouble_and_the_time_goes_on(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.says(40)
    site.says(40, off_s=7200)
    assert (site.field.now_us(), site.field.quality()) == (NOW_US + 80_000_000, (3, 1345))
    jumped = "it jumped to another time, and time does not: is it deceived (spoofing) or disturbed?"
    assert site.gnss.troubles == [f"the time of receiver gps is not believed: {jumped}"]


def test_the_leap_seconds_that_a_cold_receiver_learns_late_correct_the_time(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for _ in range(700):
        site.says(1, off_s=18)
        site.field.judged()
    assert (site.field.now_us(), site.field.quality()) == (NOW_US + 718_000_000, (3, 1341))
    for _ in range(40):
        site.says(1)
        site.field.judged()
    assert (site.field.now_us(), site.field.quality(), site.gnss.troubles) == (NOW_US + 740_000_000, (3, 1341), [])


@pytest.mark.parametrize("day", [date(2007, 6, 1), date(2031, 1, 15)])
def test_a_receiver_that_is_first_wrong_and_then_right_is_believed(tmp_path: Path, day: date) -> None:
    site = Site(tmp_path)
    for second in range(80):
        site.says(1, day=day if second < 40 else date(2027, 1, 15))
        site.field.judged()
    assert (site.field.now_us(), site.field.quality(), site.gnss.troubles) == (NOW_US + 80_000_000, (3, 1341), [])


def test_a_receiver_that_a_time_server_contradicted_is_believed_when_it_agrees(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.machine.off_us, site.machine.source = 0, 2
    for second in range(80):
        site.says(1, off_s=3600 if second < 40 else 0)
        site.field.judged()
    site.machine.off_us, site.machine.source = -NOW_US, 0
    assert (site.field.now_us(), site.field.quality(), site.gnss.troubles) == (NOW_US + 80_000_000, (3, 1341), [])


def test_an_operator_has_seen_an_alarm_or_there_is_nothing_to_be_seen(tmp_path: Path) -> None:
    gnss = Site(tmp_path).gnss
    assert gnss.acknowledged("gps", None) == "nothing"
    newest = (Lane.ALARM, 2, 7)
    stands: Any = SimpleNamespace(acknowledged=lambda record, now: (record, now) == (newest, 1000.0))
    gnss.whereabouts = stands
    assert gnss.acknowledged("gps", newest) == "now"
    assert gnss.acknowledged("gps", (Lane.ALARM, 2, 6)) == "nothing"


def test_status_shows_a_line_of_the_receiver(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert list(shown.shown(dict(site.gnss.glance()))) == ["gps        not heard yet"]
    site.says(40)
    assert site.gnss.line is not None
    site.gnss.line.sentences.feed(b"$GP\r\n$GPGGA,1*00\r\n")
    place = "gps        8.15700, -77.69000 ±5 m, 8 satellites, 1.0 s ago"
    ahead = "the machine's clock is -1800000000.0 s ahead of it"
    refused = "(0 sentences; refused: malformed 1, checksum 1)"
    assert list(shown.shown(dict(site.gnss.glance()))) == [f"{place}, {ahead} {refused}"]
    assert next(iter(shown.beside(dict(site.gnss.glance()))))[:2] == ("receiver gps", None)


def test_a_gateway_without_a_receiver_starts_without_pynmea2() -> None:
    code = "import sys, gateway.app, gateway.cli.main; sys.exit('pynmea2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
