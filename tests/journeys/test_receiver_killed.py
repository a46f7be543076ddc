"""The receiver is killed (SIGKILL) under load: what it has receipted is in its ledger, and nothing is lost."""

import asyncio
import random
from pathlib import Path

from tests.support.world import Counted, World, happening

KILLS = 4


def test_a_receiver_killed_under_load_has_all_that_it_receipted_and_misses_nothing(
    tmp_path: Path, authority: Path, seed: int, counted: Counted
) -> None:
    async def journey() -> None:
        chance = random.Random(seed)
        async with asyncio.timeout(110), World(tmp_path, authority, boards=4) as world:
            receipted: list[int] = []
            async with world.pressing(every=0.02, seed=seed):
                await world.connected()
                for _ in range(KILLS):
                    await asyncio.sleep(chance.uniform(0.2, 1.0))
                    world.receiver.kill()
                    await asyncio.sleep(0.2)  # a receipt that left before the kill arrives
                    told = {happening(press) for press in world.ledger.reached(2)}
                    assert told <= world.told(), "receipted and not in the ledger"
                    receipted.append(len(told))
                    await world.receiver.start()
                    await world.press()
            found = await world.judged()
            await world.nothing_waits()
            counted(found | {"receipted at each kill": receipted})

    asyncio.run(journey())
