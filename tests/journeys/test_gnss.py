"""A mast with a receiver: carried away it is an alarm, once; and what time it is a gateway knows without a time server.

The receiver is firmware_sim's, on a pty, with a position that wanders by metres as real ones do.
"""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import pytest

from firmware_sim.nmea import Gnss, Receiver, Waypoint
from firmware_sim.pty import PseudoTerminal
from gateway.c5.watch import read as ledger
from gateway.event import LANE_NAMES
from tests.support.clocks import WallClock, boot, seconds
from tests.support.operator import Operator
from tests.support.world import GATEWAY, HONEST, Counted, World, until

MODULE = "tests.support.synchronised_gateway"
NEAR: Final = 5.0  # seconds between two clocks that are read by two busy processes
SETTINGS = """
[gateway.position]
latitude = 8.157
longitude = -77.69
[delivery]
commanders = ["operator"]

[[port]]
name = "gps"
driver = "nmea"
device = "{device}"
[gnss]
moved_m = 30
moved_s = 10
"""
LATITUDE, LONGITUDE = 8.157, -77.69
NORTH_M = 1 / 111_195  # degrees
OF_THE_FIELD = {"port.lost", "device.lost"}


async def row(world: World) -> dict[str, Any]:
    (found,) = (await world.ask())["gnss"]
    assert isinstance(found, dict)
    return found


async def refused(world: World) -> bool:
    """Whether something of each kind that a bad line brings was refused."""
    counts = (await row(world))["refused"]
    return all(counts[kind] for kind in ("checksum", "partial", "range"))


async def placed(world: World) -> bool:
    return (await row(world))["fix_s"] is not None and (await row(world))["fix_s"] < 2


@pytest.mark.soak  # `make test` has the tower's mast
def test_a_mast_that_is_carried_away_is_an_alarm_at_c5_once_whatever_else_the_line_brings(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    receiver = Receiver([Waypoint(0.0, LATITUDE, LONGITUDE)])

    async def journey() -> None:
        async with (
            asyncio.timeout(90),
            PseudoTerminal(tmp_path / "gps", baud=9600) as line,
            World(tmp_path, authority, boards=1, tables=SETTINGS.format(device=line.path)) as world,
            Operator(world, looks_at=set()),
        ):
            told = world.receiver.of_type
            await world.connected()
            async with Gnss(line, receiver, rate_hz=2.0) as gnss:
                receiver.fault = "garbage"
                await until(lambda: refused(world), "sentences that are refused")
                receiver.fault = "none"
                await until(lambda: placed(world), "a position in status")
                assert await world.troubles() == ""
                gnss.move(LATITUDE + 200 * NORTH_M, LONGITUDE)
                await until(lambda: told("position.moved"), "the alarm")
                (alarm,) = told("position.moved")
                assert (alarm["lane"], alarm["device"]) == ("alarm", "gps")
                assert 180 <= alarm["data"]["distance_m"] <= 220
                assert alarm["position"]["latitude"] == pytest.approx(LATITUDE + 200 * NORTH_M, abs=20 * NORTH_M)
                await world.press()
                line.write(b"\xff" * 3000 + b"$" * 100)
                line.unplug()
                await until(lambda: told("port.lost"), "the receiver pulled out")
                line.plug()
                await until(lambda: told("port.restored"), "the receiver put back")
                await until(lambda: placed(world), "a position again")
                assert "the gateway is" in await world.troubles()
                order = ("alarm.acknowledge", f"record={alarm['identity']}", "device=gps", "status=resolved")
                config = str(world.receiver.home / "operator.toml")
                sent = await world.receiver.command(
                    "command", GATEWAY, *order, "operator=ana", "--wait", "10", "--config", config
                )
                assert sent[0] == 0, sent
                assert await world.troubles() == ""
                of_it = [(one.type, LANE_NAMES[one.lane]) for one in world.receiver.held() if one.source == "gps"]
                assert sorted(of_it) == [
                    ("alarm.acknowledged", "status"), ("port.lost", "status"), ("port.restored", "status"),
                    ("position.moved", "alarm"),
                ]  # fmt: skip
            counted(await world.judged(reports=HONEST | OF_THE_FIELD))

    asyncio.run(journey())


@pytest.mark.soak  # a receiver is believed after half a minute
def test_a_gateway_that_boots_in_1970_without_a_time_server_has_the_time_of_satellites_and_c5_corrects_what_was_before(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    receiver = Receiver([Waypoint(0.0, LATITUDE, LONGITUDE)])

    async def journey() -> None:
        clock = WallClock(tmp_path)
        clock.set(boot())
        async with (
            asyncio.timeout(150),
            PseudoTerminal(tmp_path / "gps", baud=9600) as line,
            World(
                tmp_path, authority, boards=1, module=MODULE, environment=clock.environment,
                tables=SETTINGS.format(device=line.path),
            ) as world,
            Gnss(line, receiver),
        ):  # fmt: skip
            await world.press(stage=1)
            pressed_at = time.time()
            await until(lambda: world.receiver.of_type("clock.stepped"), "the time of satellites at C5", 90)
            (step,) = world.receiver.of_type("clock.stepped")
            assert step["clock"] == {"source": 3, "uncertainty_ms": 1341}
            assert abs(step["data"]["to_us"] / 1e6 - time.time()) < NEAR
            newest = ledger(world.receiver.home / "state" / "ledger.db", time.time_ns() // 1000).newest
            (alarm,) = [held for held in newest if held.record.type == "panic.pressed"]
            assert abs(alarm.corrected_us / 1e6 - pressed_at) < NEAR
            await world.press()
            second = world.receiver.of_type("panic.pressed")[1]
            assert second["clock"]["source"] == 3
            assert abs(seconds(second["occurred"]) - time.time()) < NEAR
            receiver.off_s = 86_400.0  # a spoofer
            await until(lambda: said(world, "it jumped to another time"), "the jump among the troubles")
            await world.press()
            third = world.receiver.of_type("panic.pressed")[2]
            assert third["clock"]["source"] == 3
            assert abs(seconds(third["occurred"]) - time.time()) < NEAR
            counted(await world.judged())
            assert len(world.receiver.of_type("clock.stepped")) == 1

    asyncio.run(journey())


async def said(world: World, text: str) -> bool:
    return text in await world.troubles()
