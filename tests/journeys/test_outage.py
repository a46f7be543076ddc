"""The broker goes away under load and comes back: nothing is lost, nothing comes twice, no gap stays."""

import asyncio
from pathlib import Path

import pytest

from tests.support.world import Counted, World


@pytest.mark.parametrize("how", [pytest.param("stopped", marks=pytest.mark.soak), "killed"])
def test_a_broker_that_goes_away_under_load_costs_nothing(
    tmp_path: Path, authority: Path, seed: int, counted: Counted, how: str
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(100), World(tmp_path, authority, boards=4) as world:
            async with world.pressing(every=0.03, seed=seed):
                await world.connected()
                for _ in range(2):
                    await asyncio.sleep(0.5)
                    if how == "stopped":
                        await world.broker.stop()
                    else:
                        world.broker.kill()
                    await asyncio.sleep(1.5)
                    await world.broker.start()
                    await world.press()  # a killed broker forgot C5's session: this shows C5 what it missed
            for board in world.boards:
                await world.press(board)
            # Beyond 64 presses of one board that wait for C5, the gateway forgets to tell it of the oldest.
            found = await world.judged(stage=1)
            await world.nothing_waits("alarm")  # of the other lanes, what went to nobody waits for a minute
            counted(found)
            assert found["epochs"] == 1
            assert found["pressed"] >= 50
            assert not {"records.undurable", "record.tampered"} & set(found["reported"])

    asyncio.run(journey())


def test_an_alarm_that_the_broker_could_give_to_nobody_reaches_c5_soon_after_it_is_there(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(60), World(tmp_path, authority) as world:
            world.receiver.kill()
            world.broker.kill()  # and with it goes C5's session
            await world.broker.start()
            press = await world.press(stage=1)
            await world.connected()
            assert press.stage == 1
            await world.receiver.start()
            found = await world.judged()
            counted(found)

    asyncio.run(journey())
