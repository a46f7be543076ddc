"""32 devices on one port for an hour, compressed: sixty intervals of heartbeats, presses among them, nothing missed."""

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from firmware_sim.device import Board
from firmware_sim.labels import new_label
from tests.support.measured import Measured
from tests.support.world import GATEWAY, Counted, World, until

DEVICES = 32
INTERVALS = 60  # an hour of the usual minute; here each is a second
PRESSES = 320
GROWTH = 8.0  # MB: an hour of 32 devices leaves nothing behind but windows and counters
CORE = 25.0  # % of one core for 32 heartbeats and 5 presses a second, sixty times what a site has


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_of_32_devices_on_one_port_nothing_is_missed_for_an_hour_of_intervals(
    tmp_path: Path, authority: Path, seed: int, counted: Counted, measured: Measured
) -> None:
    chance = random.Random(seed)

    async def journey() -> None:
        world = World(tmp_path, authority, boards=0)
        world.line.baud = 115_200
        world.labels = [new_label(f"0c52{number:04x}") for number in range(1, DEVICES + 1)]
        # They start together, and so do their heartbeats: a site whose mains came back.
        world.boards = [
            Board(world.line, label, seed=number, ledger=world.ledger, heartbeat=1.0, awake=0.5)
            for number, label in enumerate(world.labels)
        ]
        async with asyncio.timeout(220), world:
            await world.connected()
            pid = world.gateway.pid
            await asyncio.sleep(2.0)

            before, cpu, began = memory_mb(pid), cpu_seconds(pid), time.monotonic()
            for _press in range(PRESSES):
                await chance.choice(world.boards).press()
                await asyncio.sleep(INTERVALS / PRESSES * chance.uniform(0.5, 1.5))
            lasted = time.monotonic() - began
            share, grown = 100 * (cpu_seconds(pid) - cpu) / lasted, memory_mb(pid) - before

            found = await world.judged()
            sent = sum(board.machine.sent for board in world.boards)
            await until(lambda: _read(world, sent), "each frame read")
            told = Counter(held.type for held in world.receiver.held() if held.source != GATEWAY)
            assert told == {"device.joined": DEVICES, "panic.pressed": PRESSES}, "nobody was lost, nothing was refused"
            assert world.line.lost == 0
            measured(
                f"{DEVICES} devices on one port, {INTERVALS} intervals: presses not at C5, or not told so",
                "presses",
                PRESSES - int(found["told received"]),
                0,
            )
            measured("… gateway's share of one core", "%", round(share, 1), CORE)
            measured("… gateway's memory, at its end", "MB", round(memory_mb(pid), 1), None)
            measured("… gateway's memory, grown by", "MB", round(grown, 2), GROWTH)
            counted(found | {"frames, each read": sent, "core %": round(share, 1), "grown MB": round(grown, 2)})
            assert share < CORE
            assert grown < GROWTH

    asyncio.run(journey())


async def _read(world: World, sent: int) -> bool:
    (port,) = (await world.ask())["ports"]
    return bool(port["frames"] >= sent)
