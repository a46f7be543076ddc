"""A cabinet on RS-485: a charger, a door and a meter that dies: each happening is the right record, once."""

import asyncio
from pathlib import Path

import pytest

from firmware_sim.modbus import Unit, Units
from firmware_sim.pty import PseudoTerminal
from gateway.event import LANE_NAMES
from tests.support.operator import Operator
from tests.support.world import GATEWAY, HONEST, Counted, World, until

# What C5 shows as a trouble for as long as it lasts, and that it has ended.
OF_THE_FIELD = {"battery.low", "threshold.exceeded", "device.lost", "port.lost", "power.lost", "door.opened"}
SETTINGS = """
[delivery]
commanders = ["operator"]

[[port]]
name = "cabinet"
driver = "modbus"
device = "{bus}"
baud = 19200
timeout_ms = 100

[modbus]
profiles_dir = "{profiles}"

[[unit]]
name = "charger"
port = "cabinet"
address = 1
profile = "epever-tracer"
report_s = 3600

[[unit]]
name = "door"
port = "cabinet"
address = 2
profile = "waveshare-io-8ch"
report_s = 3600

[[unit]]
name = "meter"
port = "cabinet"
address = 3
profile = "meter"
report_s = 3600
"""
METER = """
title = "A meter of this site"
source = "this journey"
poll_s = 0.2
[[point]]
quantity = "supply_v"
function = 3
register = 0
type = "u16"
[[point.threshold]]
below = 90
hysteresis = 5
on = "power.lost"
off = "power.restored"
"""
CHARGER = {0x3100: 1850, 0x3101: 210, 0x3102: 3885, 0x3103: 0, 0x3104: 1260, 0x310D: 100, 0x310E: 1260, 0x310F: 0,
           0x3110: 2500, 0x3111: 3100, 0x311A: 87}  # fmt: skip


@pytest.mark.soak  # the tower has units on a bus in `make test`
def test_units_on_a_bus_are_measured_watched_and_switched(tmp_path: Path, authority: Path, counted: Counted) -> None:
    bus, profiles = tmp_path / "bus", tmp_path / "profiles"
    profiles.mkdir()
    (profiles / "meter.toml").write_text(METER)
    charger = Unit(1, {4: CHARGER, 1: {2: 0}})
    door = Unit(2, {2: dict.fromkeys(range(8), 1)})
    meter = Unit(3, {3: {0: 121}})

    async def journey() -> None:
        tables = SETTINGS.format(bus=bus, profiles=profiles)
        async with asyncio.timeout(90), PseudoTerminal(bus) as line:
            Units(line, [charger, door, meter])
            async with World(tmp_path, authority, boards=1, tables=tables) as world, Operator(world, looks_at=set()):
                told = world.receiver.of_type
                await until(lambda: len(told("measurement")) == 3, "each unit's measurement")
                assert {one["device"]: one["data"]["values"] for one in told("measurement")} == {
                    "charger": {"supply_v": 18.5, "current_a_1": 2.1, "power_w_1": 38.85, "battery_v": 12.6,
                                "current_a": 1.0, "power_w": 12.6, "temperature_c_1": 25.0, "temperature_c": 31.0,
                                "charge_pct": 87.0},
                    "door": {"door_open": 0.0},
                    "meter": {"supply_v": 121.0},
                }  # fmt: skip
                assert await world.troubles() == ""
                door.registers[2][0] = 0
                meter.registers[3][0] = 80
                await until(lambda: told("door.opened") and told("power.lost"), "an open door without mains")
                order = ("output.set", "device=charger", "output=load", "on=true", "--wait", "10")
                config = str(world.receiver.home / "operator.toml")
                assert (await world.receiver.command("command", GATEWAY, *order, "--config", config))[0] == 0
                assert charger.written == [(5, 2, 0xFF00)]
                meter.fault = "mute"
                await until(lambda: told("device.lost"), "the meter lost")
                assert "unit meter (address 3 on cabinet): no answer" in await world.troubles()
                line.unplug()
                await until(lambda: told("port.lost"), "the adapter pulled out")
                await world.press()
                meter.fault, meter.registers[3][0], door.registers[2][0] = "none", 121, 1
                line.plug()
                await until(lambda: told("port.restored"), "the adapter put back")
                ends = ("door.closed", "power.restored", "device.restored")
                await until(lambda: all(told(end) for end in ends), "everything restored")
                happened = [
                    (held.type, held.source, LANE_NAMES[held.lane])
                    for held in world.receiver.held()
                    if held.source in ("charger", "door", "meter", "cabinet") and held.type != "measurement"
                ]
                assert sorted(happened) == sorted(
                    (type_, source, "status")
                    for type_, source in (
                        ("door.opened", "door"), ("door.closed", "door"), ("power.lost", "meter"),
                        ("power.restored", "meter"), ("device.lost", "meter"), ("device.restored", "meter"),
                        ("port.lost", "cabinet"), ("port.restored", "cabinet"),
                    )
                )  # fmt: skip
                counted(await world.judged(reports=HONEST | OF_THE_FIELD))

    asyncio.run(journey())
