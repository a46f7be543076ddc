"""A scenario of firmware_sim against real processes, and what C5 was told of it.

async with site(tmp_path, authority, "lobby") as (world, run):
    assert await run.play()
    await all_told(world, {("alarm", "panic.pressed", "0c500001"): 2})
"""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from firmware_sim import preload
from firmware_sim.labels import kept_label
from firmware_sim.play import Run
from firmware_sim.scenario import find, load
from gateway.event import LANE_NAMES
from tests.support.world import World, enrol, until

# What every site tells of itself, whatever happens in the field.
OF_ITSELF = {"gateway.started", "gateway.stopping", "device.joined", "measurement", "link.failed", "link.restored"}
BY_THE_MINUTE = {"device.unknown"}  # one record a minute, for as long as the stranger goes on

Told = dict[tuple[str, str, str], int]  # lane, type, source: how often


@contextlib.asynccontextmanager
async def site(
    folder: Path, authority: Path, name: str, *, tables: str = "", speed: float = 1.0
) -> AsyncIterator[tuple[World, Run]]:
    """A gateway on the lines of a scenario, its devices enrolled, and C5; nothing has happened yet.

    Each line is a Field Link of its own, unless the tables have ports.
    """
    world = World(folder, authority, boards=0, tables=tables)
    field = folder / "field"
    field.mkdir(exist_ok=True)
    async with Run(load(find(name)), field, gateway=world.gateway, speed=speed) as run:
        world.ledger = run.ledger
        if "[[port]]" not in tables:
            ports = {port: line.path for port, line in run.lines.items()}
            world.gateway.settings = replace(world.gateway.settings, ports=ports)
        else:
            world.gateway.settings = replace(world.gateway.settings, ports={})
        if run.chips:
            world.gateway.environment |= preload.environment(folder)
        world.gateway.state_dir.mkdir(parents=True)
        for device in run.boards.keys() - run.strangers:
            model = run.boards[device].machine.label.model
            enrol(world.gateway.state_dir, kept_label(field / f"{device}.label", device, model))
        async with world:
            await world.connected()
            yield world, run


def told(world: World) -> Told:
    """Return what C5 was told of the field, each happening once, on whichever lane it came."""
    return dict(
        Counter(
            (LANE_NAMES[held.lane], held.type, held.source)
            for held in world.receiver.held()
            if held.type not in OF_ITSELF | BY_THE_MINUTE and not held.repeated
        )
    )


def missing(world: World, expected: Told) -> Told:
    found = told(world)
    return {what: count for what, count in expected.items() if found.get(what, 0) < count}


async def all_told(world: World, expected: Told, within: float = 30.0) -> None:
    """Wait until C5 has all of it, and see that it has nothing else."""
    with contextlib.suppress(AssertionError):
        await until(lambda: not missing(world, expected), "every fault at C5", within, every=0.2)
    assert told(world) == expected
