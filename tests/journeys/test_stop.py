"""SIGTERM ends the gateway soon, whatever the broker does; what waited is delivered by the next start."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.world import Counted, World, until

SOON = 5.0  # seconds


@pytest.mark.parametrize("broker", ["there", "frozen", "down"])
def test_a_gateway_that_is_told_to_stop_does_within_five_seconds_and_loses_nothing(
    tmp_path: Path, authority: Path, counted: Counted, broker: str
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(90), World(tmp_path, authority, boards=2) as world:
            await world.press()
            if broker == "frozen":
                world.broker.pause()
            elif broker == "down":
                world.broker.kill()
            for board in world.boards:
                await world.press(board, stage=1)
            asked = time.monotonic()
            os.kill(world.gateway.pid, signal.SIGTERM)
            await until(lambda: not world.gateway.running, "the gateway to end")
            took = time.monotonic() - asked
            assert took < SOON
            if broker == "frozen":
                world.broker.resume()
            elif broker == "down":
                await world.broker.start()
            world.gateway.kill()  # it has ended; this takes note of it
            await world.gateway.start()
            found = await world.judged(stage=1)
            await world.nothing_waits()
            stopping = world.receiver.of_type("gateway.stopping")
            assert [line["data"]["cause"] for line in stopping] == ["stop"]
            assert "Traceback" not in world.gateway.log
            counted(found | {"took s": round(took, 2)})

    asyncio.run(journey())
