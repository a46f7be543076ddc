"""The scenarios of firmware_sim, against real processes: each fault is the right record, once, in the right lane."""

import asyncio
from pathlib import Path

import pytest

from tests.support.operator import Operator
from tests.support.scenes import all_told, site, told
from tests.support.world import GATEWAY, Counted, until

SHORT = """
[supervision]
jam_s = 5
jam_clear_s = 5
stuck_s = 10
"""

LIGHT = 18  # the GPIO line of the light at the bar


@pytest.mark.soak  # `make test` has the tower's
def test_each_fault_in_the_lobby_arrives_as_the_right_record_once_in_the_right_lane(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    tables = f"""{SHORT}
[delivery]
commanders = ["operator"]

[[input]]
name = "bar"
chip = "{tmp_path}/field/gpiochip0"
line = 17
on = "panic.pressed"
off = "panic.released"
active_low = true
bias = "pull-up"
debounce_ms = 30
indicator = "bar-light"

[[output]]
name = "bar-light"
chip = "{tmp_path}/field/gpiochip0"
line = {LIGHT}
kind = "led"
"""

    async def journey() -> None:
        async with asyncio.timeout(110), site(tmp_path, authority, "lobby", tables=tables) as (world, run):
            async with Operator(world, looks_at={"0c500003", "bar"}) as operator:
                assert await run.play()
                await until(lambda: len(operator.told) == 2, "two alarms acknowledged")
            (sleeper,) = (press for press in run.ledger.presses if (press.device, press.kind) == ("0c500003", 1))
            await run.boards["0c500003"].stage(sleeper.event, 3)  # at a heartbeat: its radio was off
            await all_told(
                world,
                {
                    ("alarm", "panic.pressed", "0c500001"): 2,
                    ("status", "panic.released", "0c500001"): 1,
                    ("status", "device.stuck", "0c500001"): 1,
                    ("status", "device.replayed", "0c500001"): 1,
                    ("status", "device.unauthenticated", "0c500001"): 1,
                    ("alarm", "panic.silent", "0c500002"): 3,
                    ("alarm", "tamper.opened", "0c500002"): 1,
                    ("status", "tamper.closed", "0c500002"): 1,
                    ("alarm", "panic.pressed", "0c500002"): 1,
                    ("alarm", "panic.pressed", "0c500003"): 1,
                    ("status", "battery.low", "0c500003"): 1,
                    ("status", "battery.restored", "0c500003"): 1,
                    ("status", "device.lost", "0c500003"): 1,
                    ("status", "device.restored", "0c500003"): 1,
                    ("status", "power.lost", "0c500004"): 1,
                    ("status", "power.restored", "0c500004"): 1,
                    ("status", "device.lost", "0c500004"): 1,
                    ("status", "device.restored", "0c500004"): 1,
                    ("alarm", "panic.pressed", "0c500005"): 70,
                    ("status", "device.chattering", "0c500005"): 1,
                    ("status", "port.lost", "radio"): 1,
                    ("status", "port.restored", "radio"): 1,
                    ("status", "radio.jammed", "radio"): 1,
                    ("status", "radio.cleared", "radio"): 1,
                    ("alarm", "panic.pressed", "bar"): 1,
                    ("status", "panic.released", "bar"): 1,
                    ("status", "alarm.acknowledged", "0c500003"): 1,
                    ("status", "alarm.acknowledged", "bar"): 1,
                    ("status", "command.executed", GATEWAY): 2,
                },
            )
            assert operator.wrong == []
            assert run.chips["gpiochip0"].outputs == {LIGHT: 1}, "C5 has it: the light at the bar is steady"
            (unknown, *_) = world.receiver.of_type("device.unknown")
            assert (unknown["device"], unknown["data"]["last_id"]) == (GATEWAY, "0c5fffff")
            assert run.boards["0c500001"].refused["replayed"] >= 1
            assert run.boards["0c500001"].refused["forged"] == 1
            counted(await world.intact())

    asyncio.run(journey())


def test_in_the_patrol_vehicle_no_press_is_lost_to_cables_brown_outs_and_the_main_switch(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(110), site(tmp_path, authority, "patrol") as (world, run):
            assert await run.play()
            await all_told(
                world,
                {
                    ("alarm", "panic.pressed", "0c500101"): 5,
                    ("alarm", "panic.pressed", "0c500102"): 3,
                    ("alarm", "panic.duress", "0c500102"): 1,
                    ("status", "port.lost", "cab"): 1,  # a plug that is loose is one trouble, until it has held for 3 s
                    ("status", "port.restored", "cab"): 1,
                },
            )
            starts = [line["data"]["start_count"] for line in world.receiver.of_type("gateway.started")]
            assert starts == [1, 2]
            joined = [line for line in world.receiver.of_type("device.joined") if line["device"] == "0c500101"]
            causes = {line["data"]["reset_cause"] for line in joined}
            assert causes <= {1, 2}, "power-on and brown-out, as far as a HELLO got through: it is said once"
            counted(await world.judged())

    asyncio.run(journey())


@pytest.mark.soak
def test_of_a_thousand_presses_in_a_storm_each_is_receipted_and_told(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(110), site(tmp_path, authority, "storm", speed=8) as (world, run):
            assert await run.play()
            found = await world.judged()
            assert (found["pressed"], found["at C5"], found["told received"]) == (1000, 1000, 1000)
            assert {lane for lane, _, _ in told(world)} == {"alarm"}
            counted(found)

    asyncio.run(journey())
