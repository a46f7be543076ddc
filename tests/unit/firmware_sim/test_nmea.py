"""A GNSS receiver: its sentences as others read them, its way, and what can be wrong with it."""

import asyncio
import math
import os
import tty
from datetime import date, time
from itertools import pairwise
from pathlib import Path

import pynmea2
import pytest

from firmware_sim.nmea import BURST_BYTES, ROLLOVER_S, Receiver, Waypoint, sentence
from firmware_sim.play import Run
from firmware_sim.scenario import Scenario

NOON = 1_795_348_800.0  # 2026-11-22 12:00:00
YAVIZA = Waypoint(NOON, 8.157, -77.69)
METRES = 111_195.0  # in a degree of latitude


def read(receiver: Receiver, now: float) -> list[pynmea2.NMEASentence]:
    return [pynmea2.parse(one.decode().removesuffix("\r\n"), check=True) for one in receiver.burst(now)]


def told(receiver: Receiver, now: float, kind: str) -> pynmea2.NMEASentence:
    one = next(one for one in receiver.burst(now) if one[3:6] == kind.encode())
    return pynmea2.parse(one.decode().removesuffix("\r\n"), check=True)


def metres(receiver: Receiver, now: float) -> float:
    rmc = told(receiver, now, "RMC")
    return math.hypot((rmc.latitude - 8.157) * METRES, (rmc.longitude + 77.69) * METRES * math.cos(math.radians(8.157)))


def test_the_sum_is_that_of_a_known_sentence() -> None:
    known = b"$GPGLL,5300.97914,N,00259.98174,E,125926,A*28\r\n"  # gpsd, "NMEA Revealed"
    assert sentence("GPGLL,5300.97914,N,00259.98174,E,125926,A") == known


def test_another_implementation_reads_each_sentence() -> None:
    receiver = Receiver([YAVIZA], talkers=("GP", "GL", "GA"), noise_m=0)
    said = read(receiver, NOON + 0.2)
    assert [one.talker + one.sentence_type for one in said] == [
        *("GNRMC", "GNVTG", "GNGGA", "GNGSA", "GNGSA", "GNGSA"),
        *("GPGSV", "GPGSV", "GLGSV", "GLGSV", "GAGSV", "GAGSV", "GNZDA"),
    ]
    rmc, vtg, gga, zda = said[0], said[1], said[2], said[-1]
    moment = time(12, 0, 0, 200_000, tzinfo=rmc.timestamp.tzinfo)
    assert (rmc.timestamp, rmc.datestamp, rmc.status) == (moment, date(2026, 11, 22), "A")
    assert (round(rmc.latitude, 6), round(rmc.longitude, 6), rmc.spd_over_grnd) == (8.157, -77.69, 0.0)
    assert (gga.gps_qual, gga.num_sats, float(gga.horizontal_dil)) == (1, "12", 0.92)
    assert (vtg.spd_over_grnd_kmph, zda.day, zda.month, zda.year) == (0.0, 22, 11, 2026)
    assert sum(map(len, receiver.burst(NOON))) < BURST_BYTES


def test_one_system_alone_talks_under_its_own_name() -> None:
    assert {one.talker for one in read(Receiver([YAVIZA], talkers=("GP",)), NOON)} == {"GP"}


def test_it_stands_still_within_some_metres_that_wander() -> None:
    receiver = Receiver([YAVIZA], noise_m=2.0, seed=1)
    hour = [metres(receiver, NOON + second) for second in range(3600)]
    assert max(hour) < 12
    assert 1.5 < math.sqrt(sum(one**2 for one in hour) / len(hour)) < 4.5  # 2 m on each axis are 2.8 m
    assert max(abs(one - another) for one, another in pairwise(hour)) < 2


def test_it_goes_its_way_and_stands_at_its_end() -> None:
    receiver = Receiver([YAVIZA, Waypoint(NOON + 100, 8.166, -77.69)], noise_m=0)
    assert [round(metres(receiver, NOON + at)) for at in (-5, 0, 50, 100, 200)] == [0, 0, 500, 1001, 1001]
    half = told(receiver, NOON + 50, "RMC")
    assert (round(half.spd_over_grnd * 1852 / 3600, 1), half.true_course) == (10.0, 0.0)
    receiver.move(8.157, -77.69, now=NOON + 300, seconds=0)
    assert round(metres(receiver, NOON + 300)) == 0


def test_without_a_fix_it_gives_no_place() -> None:
    receiver = Receiver([YAVIZA])
    receiver.fault = "outage"
    assert receiver.burst(NOON)[0] == sentence("GNRMC,120000.00,V,,,,,,,221126,,,N,V")
    assert receiver.burst(NOON)[2] == sentence("GNGGA,120000.00,,,,,0,00,99.99,,,,,,")
    assert len(read(receiver, NOON)) == 8


def test_its_time_jumps_and_its_weeks_roll_over() -> None:
    receiver = Receiver([YAVIZA])
    receiver.off_s = 3600
    assert told(receiver, NOON, "ZDA").timestamp.hour == 13
    receiver.off_s = ROLLOVER_S
    assert told(receiver, NOON, "RMC").datestamp == date(2007, 4, 8)


def test_mute_is_nothing_and_garbage_is_nothing_that_makes_sense() -> None:
    receiver = Receiver([YAVIZA], seed=4)
    receiver.fault = "mute"
    assert receiver.burst(NOON) == []
    receiver.fault = "garbage"
    sound = {one for second in range(200) for one in receiver.burst(NOON + second) if _sums(one)}
    assert sound == {sentence("GNRMC,256161.00,A,9961.00000,N,18161.00000,W,x,,320013,,,A,V")}


def _sums(line: bytes) -> bool:
    body, star, _sum = line.partition(b"*")
    return bool(star) and line.startswith(b"$") and sentence(body[1:].decode("latin-1")) == line


def test_a_scenario_has_its_receiver_talk_on_a_line(tmp_path: Path) -> None:
    scenario = Scenario.model_validate(
        {
            "line": [{"name": "gnss", "baud": 115200}],
            "receiver": [
                {"name": "roof", "line": "gnss", "latitude": 8.157, "longitude": -77.69, "rate_hz": 10, "noise_m": 0}
            ],
            "step": [
                {"at": 0.7, "do": "move", "receiver": "roof", "latitude": 9.0, "longitude": -77.69},
                {"at": 1.0, "do": "outage", "receiver": "roof"},
                {"at": 1.4, "do": "heal", "receiver": "roof"},
                {"at": 1.4, "do": "jump", "receiver": "roof", "by_s": -60},
                {"at": 1.8, "do": "mute", "receiver": "roof"},
            ],
        }
    )

    async def play() -> tuple[bytes, Run]:
        async with Run(scenario, tmp_path) as run:
            port = os.open(run.lines["gnss"].path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
            tty.setraw(port)
            heard = bytearray()
            asyncio.get_running_loop().add_reader(port, lambda: heard.extend(os.read(port, 4096)))
            assert await run.play()
            await asyncio.sleep(0.3)
            asyncio.get_running_loop().remove_reader(port)
            os.close(port)
            return bytes(heard), run

    heard, run = asyncio.run(play())
    parts = [pynmea2.parse(line) for line in heard.decode().splitlines()]
    fixes = [(part.status, part.latitude) for part in parts if part.sentence_type == "RMC"]
    assert list(dict.fromkeys(fixes)) == [("A", 8.157), ("A", 9.0), ("V", 0.0)]
    assert (run.receivers["roof"].receiver.off_s, run.receivers["roof"].receiver.fault) == (-60, "mute")


def test_a_scenario_sends_its_receiver_on_a_way_from_where_it_stands(tmp_path: Path) -> None:
    roof = {"name": "roof", "line": "gnss", "latitude": 8.157, "longitude": -77.69, "way": [[10, 8.2, -77.7]]}
    scenario = Scenario.model_validate({"line": [{"name": "gnss"}], "receiver": [roof]})

    async def way() -> list[Waypoint]:
        async with Run(scenario, tmp_path) as run:
            return run.receivers["roof"].receiver.way

    start, end = asyncio.run(way())
    assert (start.latitude, round(end.at - start.at, 3), end.latitude, end.longitude) == (8.157, 10, 8.2, -77.7)


def test_a_line_that_is_too_slow_for_its_receiver_is_refused(tmp_path: Path) -> None:
    scenario = Scenario.model_validate(
        {
            "line": [{"name": "gnss", "baud": 9600}],
            "receiver": [{"name": "roof", "line": "gnss", "latitude": 8, "longitude": -77, "rate_hz": 5}],
        }
    )
    with pytest.raises(ValueError, match="9600 baud are too few for 5 Hz"):
        Run(scenario, tmp_path)
