"""The broker's access list forbids the gateway its alarm topic: a refusal is seen, and is never a delivery."""

import asyncio
import json
from pathlib import Path

from firmware_sim.broker import Mosquitto
from gateway.fieldlink.message import KIND_TEST
from tests.support.world import ALLOWED, GATEWAY, TOPIC, Counted, World, until

FORBIDDEN = ALLOWED.replace(
    f"topic write c5/v1/+/+/{GATEWAY}/event/#",
    f"topic write c5/v1/+/+/{GATEWAY}/event/status\ntopic write c5/v1/+/+/{GATEWAY}/event/telemetry",
)


async def check(world: World) -> tuple[int, str]:
    """Return the exit status of `check`, and all that failed."""
    status, printed, _ = await world.gateway.command("check", "--json")
    findings = json.loads(printed)["findings"]
    return status, " ".join(finding["text"] for finding in findings if finding["result"] == "failed")


def test_a_forbidden_alarm_topic_is_seen_everywhere_and_counts_nothing_as_delivered(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(100), World(tmp_path, authority, access=FORBIDDEN) as world:
            press = await world.press(stage=1)
            await until(lambda: f"refuses {TOPIC}/event/alarm" in world.gateway.log, "the refusal in the log")
            assert f"doesn't allow {TOPIC}/event/alarm" in await world.troubles()
            status, failed = await check(world)
            assert (status, f"doesn't allow {TOPIC}/event/alarm" in failed) == (1, True)
            status, printed, _ = await world.gateway.command("status")
            assert (status, f"doesn't allow {TOPIC}/event/alarm" in printed) == (1, True)

            await world.board.press(KIND_TEST)
            await until(lambda: world.receiver.of_type("test.pressed"), "the status lane to go on")
            assert world.receiver.of_type("panic.pressed") == []
            assert (await world.outbox())["alarm"] == 1
            assert press.stage == 1

            await world.gateway.stop()
            status, failed = await check(world)
            assert (status, f"refuses {TOPIC}/event/alarm" in failed) == (1, True), failed
            await world.gateway.start()

            assert isinstance(world.broker, Mosquitto)
            await world.broker.set_access(ALLOWED)
            await until(lambda: world.receiver.of_type("panic.pressed"), "the alarm, once it is allowed", within=45)
            found = await world.judged(stage=1)  # the rest is told with the device's next frame
            await world.nothing_waits()
            assert await world.troubles() == ""
            assert (await check(world))[0] == 0
            counted(found)

    asyncio.run(journey())
