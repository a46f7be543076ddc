"""A serial adapter is pulled out and comes back under another name; its stable name follows it."""

import asyncio
from pathlib import Path

from tests.support.world import Counted, World, until


def test_a_port_that_comes_back_under_another_name_is_told_once_and_the_presses_meanwhile_arrive(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(60), World(tmp_path, authority, boards=2) as world:
            await world.press()
            before = world.line.terminal
            world.line.unplug()
            await until(lambda: world.receiver.of_type("port.lost"), "port.lost at C5")
            for board in world.boards:
                await board.press()
            assert str(world.line.path) in await world.troubles()
            world.line.plug()
            assert world.line.terminal != before
            await until(lambda: world.receiver.of_type("port.restored"), "port.restored at C5")
            found = await world.judged()
            assert found["pressed"] == 3
            told = [line["type"] for line in world.receiver.lines() if line["type"].startswith("port.")]
            assert told == ["port.lost", "port.restored"]
            assert await world.troubles() == ""
            counted(found)

    asyncio.run(journey())
