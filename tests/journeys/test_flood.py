"""A slow link with a backlog on it: an alarm passes all that waits."""

import asyncio
from dataclasses import replace
from datetime import datetime
from math import inf
from pathlib import Path

from firmware_sim.ledger import Press
from tests.support.backlog import fill
from tests.support.shaping import Shaped
from tests.support.world import GATEWAY, Counted, World

RATE = 2000.0  # bytes a second: 16 kbit/s
DELAY = 0.2  # seconds, each way
WAITING = 2000  # measurements: five minutes of this link
PRESSES = 15
EVERY = 1.2  # seconds
WITHIN = 2.0


def test_alarms_pass_a_backlog_of_telemetry_on_a_slow_link(tmp_path: Path, authority: Path, counted: Counted) -> None:
    async def journey() -> None:
        world = World(tmp_path, authority)
        async with asyncio.timeout(60), Shaped(world.broker.port, rate=RATE, delay=DELAY) as link:
            world.gateway.settings = replace(world.gateway.settings, broker_port=link.port)
            world.gateway.state_dir.mkdir(parents=True)
            await fill(authority, GATEWAY, world.gateway.state_dir, WAITING)
            async with world:
                await world.connected()
                await asyncio.sleep(2.0)
                carried = link.carried
                for _ in range(PRESSES):
                    await world.board.press()
                    await asyncio.sleep(EVERY)
                used = (link.carried - carried) / (PRESSES * EVERY * RATE)
                await asyncio.sleep(WITHIN)
                took = [_took(world, press) for press in world.ledger.presses]
                waiting = (await world.outbox())["telemetry"]
        counted(f"a press was at C5 after at most {max(took):.2f} s, with {waiting} measurements waiting")
        assert waiting > WAITING / 2
        assert used > 0.8, "an empty link would be fast"
        assert max(took) <= WITHIN

    asyncio.run(journey())


def _took(world: World, press: Press) -> float:
    """Return the seconds until C5 had verified it."""
    assert press.left_ns is not None
    for line in world.receiver.of_type("panic.pressed"):
        if line["event_number"] == press.event:
            return datetime.fromisoformat(line["verified"]).timestamp() - press.left_ns / 1e9
    return inf
