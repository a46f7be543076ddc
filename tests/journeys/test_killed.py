"""The gateway is killed (SIGKILL) while presses go on, at seeded points around every promise that it makes.

Points come from tests/support/killed_gateway.py; `random` is a kill from outside, at any time. What a device was
told is stored must be at C5 exactly once after deduplication, and every chain whole.
"""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from firmware_sim.board import SILENT
from tests.support.killed_gateway import POINTS
from tests.support.measured import Measured
from tests.support.world import Counted, World, until

MODULE = "tests.support.killed_gateway"
AT_THE_START = {"epoch", "wired", "started"}
RANDOM = "random"
ALL = sorted({*POINTS, RANDOM})
ALWAYS = ["committed", "published", "signed", "uncommitted", "unpublished", "untold"]  # also in the short run
OCCURRENCE_MAX = 6  # of a point that a press reaches: the kill falls on one of the first presses after a start
RANDOM_MAX = 1.5  # seconds
REACHED_WITHIN = 20.0


def plan(kills: int, chance: random.Random) -> list[str]:
    """Return the points of a run: all of them, as far as there is room, those of the two commits first."""
    rest = [point for point in ALL if point not in ALWAYS]
    chance.shuffle(rest)
    points = (ALWAYS + rest)[:kills]
    points += [chance.choice(ALL) for _ in range(kills - len(points))]
    chance.shuffle(points)
    return points


async def killed(world: World, point: str, chance: random.Random) -> str:
    """Start the gateway, have it killed at the point, and return where it was."""
    told = world.folder / "told"
    told.unlink(missing_ok=True)
    occurrence = 1 if point in AT_THE_START else chance.randint(1, OCCURRENCE_MAX)
    at = {} if point == RANDOM else {"C5_KILL_AT": f"{point}:{occurrence}", "C5_KILL_TOLD": str(told)}
    base = {name: value for name, value in world.gateway.environment.items() if not name.startswith("C5_KILL")}
    world.gateway.environment = base | at
    world.gateway.launch()
    if point == RANDOM:
        await asyncio.sleep(chance.uniform(0, RANDOM_MAX))
    else:
        await until(lambda: not world.gateway.running, f"{point}:{occurrence} reached", REACHED_WITHIN)
    world.gateway.kill()
    return told.read_text() if told.exists() else RANDOM


async def journey(folder: Path, authority: Path, seed: int, kills: int, counted: Counted) -> int:
    """Return how many presses more were told as stored than are at C5, after all that is judged."""
    chance = random.Random(seed)
    hits: Counter[str] = Counter()
    async with World(folder, authority, boards=4, module=MODULE) as world:
        async with world.pressing(every=0.05, seed=seed):
            world.gateway.kill()
            for point in plan(kills, chance):
                hits[await killed(world, point, chance)] += 1
            world.gateway.environment = {
                name: value for name, value in world.gateway.environment.items() if not name.startswith("C5_KILL")
            }
            await world.gateway.start()
            await asyncio.sleep(0.5)
        found = await world.judged(stage=1, within=60)
        await world.nothing_waits()
    counted(dict(sorted(hits.items())))
    counted(found)
    assert hits.total() == kills
    return int(found["told"]) - int(found["at C5"])


def test_what_a_device_was_told_is_stored_outlives_ten_kills(
    tmp_path: Path, authority: Path, seed: int, counted: Counted
) -> None:
    asyncio.run(asyncio.wait_for(journey(tmp_path, authority, seed, 10, counted), 110))


@pytest.fixture
def world(tmp_path: Path, authority: Path) -> tuple[Path, Path]:
    return tmp_path, authority


@pytest.mark.soak
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("turn", range(5))
def test_what_a_device_was_told_is_stored_outlives_a_thousand_kills_in_five_turns(
    world: tuple[Path, Path], seed: int, counted: Counted, measured: Measured, turn: int
) -> None:
    lost = asyncio.run(asyncio.wait_for(journey(*world, seed + turn, 200, counted), 1450))
    measured(f"200 kills, turn {turn + 1} of 5: told as stored and not at C5", "presses", max(0, lost), 0)


def test_a_press_shows_that_c5_has_it_although_the_gateway_was_killed_before_it_could_say_so(
    tmp_path: Path, authority: Path
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(60), World(tmp_path, authority, module=MODULE) as world:
            world.broker.kill()
            press = await world.press(stage=1)
            world.gateway.kill()
            await world.broker.start()
            # The receipt comes while the device, which has nothing to say, hasn't been heard since the start.
            world.gateway.environment |= {"C5_KILL_AT": "forgotten:1", "C5_KILL_TOLD": str(tmp_path / "told")}
            world.gateway.launch()
            await until(lambda: not world.gateway.running, "killed with the receipt stored")
            world.gateway.kill()
            del world.gateway.environment["C5_KILL_AT"]
            await world.gateway.start()
            assert world.board.indicator == 1
            await world.board.press(SILENT)
            await world.board.stage(press.event, 2)
            assert world.board.indicator == 2
            await world.judged()

    asyncio.run(journey())
