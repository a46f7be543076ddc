"""From the start of the process to the first record accepted, five times in turns with the naive script's `connected`.

A device presses every 20 ms from the start on, until it is told that the gateway has stored one; and C5 has the
gateway's own first record. The outbox exists, as after a power cut.
"""

import asyncio
import json
import statistics
import time
from datetime import datetime
from typing import Final

from benchmarks import site as sites
from benchmarks.figures import Figure
from benchmarks.site import Site
from firmware_sim.device import Board
from firmware_sim.labels import new_label
from firmware_sim.pty import PseudoTerminal
from gateway.fieldlink.message import KIND_TEST

RUNS: Final = 5
EVERY: Final = 0.02
WITHIN: Final = 20.0


async def measure(site: Site) -> list[Figure]:
    """Start each, five times."""
    home = site.home / "start"
    home.mkdir()
    line, naive_line = PseudoTerminal(home / "ours"), PseudoTerminal(home / "theirs")
    ours = sites.Ours(site, home / "ours-home", line.path)
    label = new_label("0c500044")
    ours.enrol(label)
    accepted, arrived, connected = [], [], []
    flash = home / "flash"
    async with site.broker, line, naive_line, ours.receiver("--output", "jsonl") as receiver:
        async with ours.gateway():  # the first start makes the outbox
            await receiver.says("gateway.started")
        for _run in range(RUNS):
            seen = len(receiver.out.read_text().splitlines())
            async with ours.gateway() as gateway, Board(line, label, flash=flash) as board:
                told = asyncio.get_running_loop().create_future()
                board.when_told = lambda _event, _stage, told=told: told.done() or told.set_result(time.monotonic())  # type: ignore[misc]
                began_ns = time.time_ns() - round((time.monotonic() - gateway.started_at) * 1e9)
                deadline = time.monotonic() + WITHIN
                while not told.done():
                    await board.press(KIND_TEST)
                    await asyncio.sleep(EVERY)
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"the gateway took no press: {gateway.log.read_text()[-2000:]}")
                accepted.append(told.result() - gateway.started_at)
                await asyncio.sleep(0.5)
                said = [json.loads(text) for text in receiver.out.read_text().splitlines()[seen:]]
                first = next(one["committed"] for one in said if one["type"] == "gateway.started")
                arrived.append(datetime.fromisoformat(first).timestamp() - began_ns / 1e9)
            async with sites.naive(site, home, naive_line.path) as naive:
                connected.append(await naive.says("connected") - naive.started_at)
    return [
        Figure(
            "start → first press stored",
            "s",
            statistics.median(accepted),
            statistics.median(connected),
            now=1.0,
            goal=0.5,
        ),
        Figure("start → first record committed at C5", "s", statistics.median(arrived), statistics.median(connected)),
    ]
