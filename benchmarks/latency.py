"""Press → verified at C5, at 20 events a second, in turns of two seconds; and memory before the first press.

Ours: from the moment the last byte of the frame left the device to `verified` in the receiver's line (`committed`:
stored there too); stages 1 and 2 as the device hears them, from the same moment. Theirs: from the last byte of the JSON
line to the subscriber's callback.
"""

import asyncio
import json
import time
from typing import Final

from benchmarks import site as sites
from benchmarks.figures import Figure, spread
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
            number = 0
            for _turn in range(TURNS):
                for _press in range(TURN):
                    await board.press()
                    await asyncio.sleep(INTERVAL)
                for line in (naive_line, bridge_line):
                    for _press in range(TURN):
                        number += 1
                        _write(line, number, left)
                        await asyncio.sleep(INTERVAL)
            await asyncio.sleep(1.0)
        presses = {press.event: press for press in board.ledger.presses}
        at_c5 = received(receiver.out)
        came = sites.arrivals(subscribed)
    lost = len(presses) - len(at_c5.keys() & presses.keys()), len(left) - len(came)
    assert lost == (0, 0), lost
    told = {stage: [_told_ms(press, stage) for press in presses.values()] for stage in (1, 2)}
    ours_ms = spread([(at_c5[n].verified_us - left_us(p)) / 1000 for n, p in presses.items()])
    committed_ms = spread([(at_c5[n].committed_us - left_us(p)) / 1000 for n, p in presses.items()])
    in_naives_turn = {n: (n - 1) // TURN % 2 == 0 for n in left}
    naive_ms, bridge_ms = (
        spread([(came[n] - left[n]) / 1e6 for n in left if in_naives_turn[n] is theirs]) for theirs in (True, False)
    )
    figures = [
        Figure(
            "press → verified at C5, p50", "ms", ours_ms["p50"], naive_ms["p50"], bridge_ms["p50"], 2, 1, of_naive=True
        ),
        Figure("press → verified at C5, p99", "ms", ours_ms["p99"], naive_ms["p99"], bridge_ms["p99"], goal=5),
        Figure("press → verified at C5, max", "ms", ours_ms["max"], naive_ms["max"], bridge_ms["max"]),
    ]
    for name, values in (
        ("committed at C5", committed_ms),
        *((f"stage {s} at the device", spread(told[s])) for s in (1, 2)),
    ):
        figures += [Figure(f"press → {name}, {share}", "ms", values[share]) for share in ("p50", "p99", "max")]
    return [*figures, Figure("memory, idle", "MB", memory[0], memory[1], memory[2], 60, 45)]


def _write(line: PseudoTerminal, number: int, left: dict[int, int]) -> None:
    said = {"d": "button-7", "n": number, "e": "panic.pressed", "battery_mv": 2980}

    def gone() -> None:
        left[number] = time.time_ns()

    line.write(json.dumps(said).encode() + b"\n", gone)


def _told_ms(press: Press, stage: int) -> float:
    """How long after the frame left the device heard this stage; a higher one says it too."""
    assert press.left_at is not None
    return 1000 * (min(at for told, at in press.told.items() if told >= stage) - press.left_at)
