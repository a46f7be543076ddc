"""Press → verified at C5, at 20 events a second, in turns of two seconds; and memory before the first press.

Then the same once more while every core is busy: as many processes that do nothing but count, at the same priority.

Ours: from the moment the last byte of the frame left the device to `verified` in the receiver's line (`committed`:
stored there too); stages 1 and 2 as the device hears them, from the same moment. Theirs: from the last byte of the JSON
line to the subscriber's callback.
"""

import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from typing import Any, Final

from benchmarks import site as sites
from benchmarks.figures import Figure, spread
from benchmarks.process import Child
from benchmarks.received import left_us, received
from benchmarks.site import Site
from firmware_sim.broker import free_port
from firmware_sim.device import Board
from firmware_sim.labels import new_label
from firmware_sim.ledger import Press
from firmware_sim.pty import PseudoTerminal

INTERVAL: Final = 0.05  # seconds
TURN: Final = 40  # presses
TURNS: Final = 8
BUSY: Final = "while True: pass"
SETTLE: Final = 3.0  # seconds before memory counts as idle


async def measure(site: Site) -> list[Figure]:
    """Press at all three, in turns."""
    home = site.home / "latency"
    home.mkdir()
    ours_line, naive_line, bridge_line = (PseudoTerminal(home / name) for name in ("ours", "theirs", "bridged"))
    ours = sites.Ours(site, home / "ours-home", ours_line.path)
    label = new_label("0c500042")
    ours.enrol(label)
    local_port = free_port()
    async with (
        site.broker,
        ours_line,
        naive_line,
        bridge_line,
        sites.subscriber(site, home) as subscribed,
        ours.receiver("--output", "jsonl") as receiver,
        ours.gateway() as gateway,
        sites.bridge(site, home, local_port),
        sites.naive(site, home, naive_line.path) as naive,
    ):
        await sites.listening(local_port)
        async with (
            sites.naive_to_bridge(home, bridge_line.path, local_port) as bridged,
            Board(ours_line, label) as board,
        ):
            await naive.says("connected")
            await bridged.says("connected")
            await asyncio.sleep(SETTLE)
            memory = [child.memory_mb() for child in (gateway, naive, bridged)]
            left: dict[int, int] = {}
            await _take_turns(board, naive_line, bridge_line, left)
            quiet = len(board.ledger.presses), len(left)
            async with AsyncExitStack() as stack:
                for core in range(os.cpu_count() or 1):
                    await stack.enter_async_context(Child(f"busy-{core}", [sys.executable, "-c", BUSY], home))
                await _take_turns(board, naive_line, bridge_line, left)
            await asyncio.sleep(1.0)
        presses = {press.event: press for press in board.ledger.presses}
        at_c5 = received(receiver.out)
        came = sites.arrivals(subscribed)
    lost = len(presses) - len(at_c5.keys() & presses.keys()), len(left) - len(came)
    assert lost == (0, 0), lost
    figures: list[Figure] = []
    for while_busy in (False, True):
        some = {n: press for n, press in presses.items() if (n > quiet[0]) is while_busy}
        theirs = [n for n in left if (n > quiet[1]) is while_busy]
        suffix = ", every core busy" if while_busy else ""
        figures += _verified(
            suffix,
            [(at_c5[n].verified_us - left_us(press)) / 1000 for n, press in some.items()],
            [(came[n] - left[n]) / 1e6 for n in theirs if _in_naives_turn(n)],
            [(came[n] - left[n]) / 1e6 for n in theirs if not _in_naives_turn(n)],
        )
        committed = [(at_c5[n].committed_us - left_us(press)) / 1000 for n, press in some.items()]
        figures += _spread(f"press → committed at C5{suffix}", committed)
        for stage in (1, 2):
            told = [_told_ms(press, stage) for press in some.values()]
            figures += _spread(f"press → stage {stage} at the device{suffix}", told)
    return [*figures, Figure("memory, idle", "MB", memory[0], memory[1], memory[2], 60, 45)]


async def _take_turns(
    board: Board, naive_line: PseudoTerminal, bridge_line: PseudoTerminal, left: dict[int, int]
) -> None:
    for _turn in range(TURNS):
        for _press in range(TURN):
            await board.press()
            await asyncio.sleep(INTERVAL)
        for line in (naive_line, bridge_line):
            for _press in range(TURN):
                _write(line, len(left) + 1, left)
                await asyncio.sleep(INTERVAL)


def _in_naives_turn(number: int) -> bool:
    return (number - 1) // TURN % 2 == 0


def _verified(suffix: str, ours: list[float], naive: list[float], bridge: list[float]) -> list[Figure]:
    mine, theirs, bridged = (spread(values) for values in (ours, naive, bridge))
    limits: dict[str, dict[str, Any]] = {"p50": {"now": 2, "goal": 1, "of_naive": True}, "p99": {"goal": 5}, "max": {}}
    if suffix:
        limits["p99"] = {}
    return [
        Figure(
            f"press → verified at C5, {share}{suffix}",
            "ms",
            mine[share],
            theirs[share],
            bridged[share],
            **limits[share],
        )
        for share in ("p50", "p99", "max")
    ]


def _spread(name: str, values: list[float]) -> list[Figure]:
    return [Figure(f"{name}, {share}", "ms", value) for share, value in spread(values).items()]


def _write(line: PseudoTerminal, number: int, left: dict[int, int]) -> None:
    said = {"d": "button-7", "n": number, "e": "panic.pressed", "battery_mv": 2980}

    def gone() -> None:
        left[number] = time.time_ns()

    left[number] = 0  # taken, and not gone yet
    line.write(json.dumps(said).encode() + b"\n", gone)


def _told_ms(press: Press, stage: int) -> float:
    """How long after the frame left the device heard this stage; a higher one says it too."""
    assert press.left_at is not None
    return 1000 * (min(at for told, at in press.told.items() if told >= stage) - press.left_at)
