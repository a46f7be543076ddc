"""A press while 50 000 telemetry records wait on a 16 kbit/s link with 200 ms each way: how long until C5 has it?

Three links of the same kind, side by side: ours, the naive script's with 50 000 lines behind it, and that of a
mosquitto bridge with 50 000 in its queue. A button is pressed at each of them every 1.3 s. A press that isn't there
60 s later counts as "more than 60 s". Ours is measured until it is verified, theirs until the subscriber has it.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

from benchmarks import drain
from benchmarks import site as sites
from benchmarks.figures import Figure, spread
from benchmarks.received import left_us, received
from benchmarks.site import GATEWAY, Site
from firmware_sim.broker import free_port
from firmware_sim.device import Board
from firmware_sim.labels import new_label
from firmware_sim.pty import PseudoTerminal
from tests.support.backlog import fill
from tests.support.shaping import Shaped

RATE: Final = 2000.0  # bytes a second: 16 kbit/s
DELAY: Final = 0.2  # seconds, each way
WAITING: Final = 50_000
PRESSES: Final = 200
EVERY: Final = 1.3  # seconds
SETTLE: Final = 10.0  # seconds until each link is full
AT_ONCE: Final = 500  # lines; a line of the simulator holds 256 KiB
PATIENCE: Final = 60.0  # seconds for a press to arrive
BRIDGED: Final = 1_000_000  # added to the numbers of the bridge's presses


async def measure(site: Site) -> list[Figure]:
    """Flood all three links, and press."""
    home = site.home / "flood"
    home.mkdir()
    ours_line, naive_line, bridge_line = (PseudoTerminal(home / name) for name in ("ours", "theirs", "bridged"))
    local_port = free_port()
    label = new_label("0c500042")
    pressed: dict[int, int] = {}
    async with (
        Shaped(site.broker.port, rate=RATE, delay=DELAY) as ours_link,
        Shaped(site.broker.port, rate=RATE, delay=DELAY) as naive_link,
        Shaped(site.broker.port, rate=RATE, delay=DELAY) as bridge_link,
        ours_line,
        naive_line,
        bridge_line,
    ):
        ours = sites.Ours(site, home / "ours-home", ours_line.path, ours_link.port)
        ours.enrol(label)
        await fill(site.authority, GATEWAY, ours.state_dir, WAITING)
        async with sites.bridge(site, home, local_port, fill=True, link=bridge_link.port):
            await sites.listening(local_port)
            await asyncio.to_thread(drain.publish, local_port, WAITING)
        async with (
            site.broker,
            sites.subscriber(site, home) as subscribed,
            ours.receiver("--output", "jsonl") as receiver,
            sites.naive(site, home, naive_line.path, naive_link.port) as naive,
        ):
            await naive.says("connected")
            await _flood(naive_line)
            async with (
                ours.gateway(),
                sites.bridge(site, home, local_port, link=bridge_link.port),
                sites.naive_to_bridge(home, bridge_line.path, local_port) as bridged,
                Board(ours_line, label) as board,
            ):
                await sites.listening(local_port)
                await bridged.says("connected")
                await asyncio.sleep(SETTLE)
                links = (ours_link, naive_link, bridge_link)
                began, carried = time.monotonic(), [link.carried for link in links]
                for number in range(WAITING, WAITING + PRESSES):
                    await board.press()
                    _press(naive_line, number, pressed)
                    _press(bridge_line, BRIDGED + number, pressed)
                    await asyncio.sleep(EVERY)
                whole = RATE * (time.monotonic() - began)
                busy = [(link.carried - before) / whole for link, before in zip(links, carried, strict=True)]
                await asyncio.sleep(PATIENCE)
            at_c5 = received(receiver.out)
            came = sites.arrivals(subscribed)
    ours_took = [
        (at_c5[press.event].verified_us - left_us(press)) / 1e6 if press.event in at_c5 else inf
        for press in board.ledger.presses
    ]
    theirs = {number: (came[number] - at) / 1e9 if number in came else inf for number, at in pressed.items()}
    naive_took = [took for number, took in theirs.items() if number < BRIDGED]
    bridge_took = [took for number, took in theirs.items() if number >= BRIDGED]
    return _figures(ours_took, naive_took, bridge_took, busy)


def _figures(
    ours: Sequence[float], naive: Sequence[float], bridge: Sequence[float], busy: Sequence[float]
) -> list[Figure]:
    said, naives, bridges = spread(ours), _said(naive), _said(bridge)
    late, naive_late, bridge_late = (sum(took > PATIENCE for took in all_) for all_ in (ours, naive, bridge))
    used = busy[0] * 100, busy[1] * 100, busy[2] * 100
    return [
        Figure("alarm under flood: press → C5, p50", "s", said["p50"], naives["p50"], bridges["p50"]),
        Figure("alarm under flood: press → C5, p99", "s", said["p99"], naives["p99"], bridges["p99"], 2, 2),
        Figure("alarm under flood: press → C5, max", "s", said["max"], naives["max"], bridges["max"]),
        Figure(f"… of {PRESSES}, not there after 60 s", "", late, naive_late, bridge_late, 0, 0),
        Figure("… share of the link in use meanwhile", "%", *used, 80, 90, better="more"),
    ]


def _said(took: Sequence[float]) -> Mapping[str, float | str]:
    return {share: seconds if seconds <= PATIENCE else "> 60" for share, seconds in spread(took).items()}


async def _flood(line: PseudoTerminal) -> None:
    """Give the naive script its backlog, as fast as it reads."""
    for first in range(0, WAITING, AT_ONCE):
        taken = asyncio.Event()
        lines = b"".join(drain.telemetry(number) + b"\n" for number in range(first, min(first + AT_ONCE, WAITING)))
        line.write(lines, taken.set)
        await taken.wait()


def _press(line: PseudoTerminal, number: int, pressed: dict[int, int]) -> None:
    said = {"d": "button-7", "n": number, "e": "panic.pressed", "battery_mv": 2980}

    def gone() -> None:
        pressed[number] = time.time_ns()

    line.write(json.dumps(said).encode() + b"\n", gone)
