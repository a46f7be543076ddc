"""One serial port at 921 600 baud, full for ten seconds: nothing lost, and what it costs.

A pseudo-terminal has no rate, so the writer keeps one: 92 160 bytes a second. Ours reads MEASUREMENT frames, and a
panic every half second among them; naive reads JSON lines that say the same. What either brings to its centre counts.
"""

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks import site as sites
from benchmarks.figures import Figure, spread
from benchmarks.process import until
from benchmarks.received import left_us, received
from benchmarks.site import Site
from firmware_sim.device import Board
from firmware_sim.labels import new_label
from firmware_sim.pty import PseudoTerminal
from gateway.fieldlink.message import Reading

SECONDS: Final = 10.0
BYTES_A_SECOND: Final = sites.BAUD / 10  # 8N1: ten bits a byte
PANIC_EVERY: Final = 0.5
CATCH_UP: Final = 60.0
NAIVE_CATCH_UP: Final = 10.0


class CountingTerminal(PseudoTerminal):
    """A line that counts what is written to it."""

    size = 0  # bytes

    def write(self, chunk: bytes, left: Callable[[], None] | None = None) -> None:
        self.size += len(chunk)
        super().write(chunk, left)


async def measure(site: Site) -> list[Figure]:
    """Fill one port, then the other."""
    home = site.home / "line"
    home.mkdir()
    ours_events, ours_cpu, lost, panic = await _ours(site, home)
    naive_events, naive_cpu, naive_lost = await _naive(site, home)
    return [
        Figure(
            "921 600 baud: events/s brought to C5", "/s", ours_events / SECONDS, naive_events / SECONDS, better="more"
        ),
        Figure("921 600 baud: lost", "events", lost, naive_lost, now=0, goal=0),
        Figure("921 600 baud: of one core", "%", 100 * ours_cpu / SECONDS, 100 * naive_cpu / SECONDS, goal=40),
        Figure(
            "921 600 baud: processor time an event", "µs", 1e6 * ours_cpu / ours_events, 1e6 * naive_cpu / naive_events
        ),
        Figure("921 600 baud: a panic among them, p50", "ms", panic["p50"]),
        Figure("921 600 baud: a panic among them, max", "ms", panic["max"]),
    ]


async def _ours(site: Site, home: Path) -> tuple[int, float, int, Mapping[str, float]]:
    line = CountingTerminal(home / "ours")
    ours = sites.Ours(site, home / "ours-home", line.path)
    label = new_label("0c500043")
    ours.enrol(label)
    async with site.broker, line, ours.receiver("--output", "jsonl") as receiver, ours.gateway() as gateway:
        await receiver.says("gateway.started")
        await asyncio.sleep(1.0)  # the port is opened beside it, and a HELLO is said once
        async with Board(line, label) as board:
            await receiver.says("device.joined")
            written = 0
            before, began, panic_at = gateway.cpu_seconds(), time.monotonic(), 0.0
            while (elapsed := time.monotonic() - began) < SECONDS:
                while line.size < elapsed * BYTES_A_SECOND:
                    await board.measure(_readings(written))
                    written += 1
                if elapsed >= panic_at:
                    await board.press()
                    panic_at += PANIC_EVERY
                await asyncio.sleep(0.002)
            cpu = gateway.cpu_seconds() - before
            presses = board.ledger.presses
        arrived = await _caught_up(ours, written)
        at_c5 = received(receiver.out)
    delays = [(at_c5[press.event].verified_us - left_us(press)) / 1000 for press in presses if press.event in at_c5]
    lost = written - arrived + len(presses) - len(delays)
    return arrived + len(delays), cpu, lost, spread(delays)


async def _caught_up(ours: sites.Ours, expected: int) -> int:
    """Wait until C5 has committed as many measurements, for a while; return how many it has."""

    def arrived() -> int:
        with contextlib.closing(sqlite3.connect(f"{ours.ledger.as_uri()}?mode=ro", uri=True)) as ledger:
            return int(ledger.execute("SELECT count(*) FROM records WHERE type = 'measurement'").fetchone()[0])

    await until(lambda: arrived() >= expected, CATCH_UP)
    return arrived()


async def _naive(site: Site, home: Path) -> tuple[int, float, int]:
    line = CountingTerminal(home / "theirs")
    async with (
        site.broker,
        line,
        sites.subscriber(site, home) as subscribed,
        sites.naive(site, home, line.path) as naive,
    ):
        await naive.says("connected")
        await naive.says("opened")
        written = 0
        before, began = naive.cpu_seconds(), time.monotonic()
        while (elapsed := time.monotonic() - began) < SECONDS:
            while line.size < elapsed * BYTES_A_SECOND:
                wire = (
                    json.dumps(
                        {"d": "sensor-7", "n": written, "t": 21.5, "h": 70.0 + written % 50 / 10, "v": 12.61}
                    ).encode()
                    + b"\n"
                )
                line.write(wire)
                written += 1
            await asyncio.sleep(0.002)
        cpu = naive.cpu_seconds() - before
        await until(lambda: len(sites.arrivals(subscribed)) == written, NAIVE_CATCH_UP)
        arrived = len(sites.arrivals(subscribed))
    return arrived, cpu, written - arrived


def _readings(number: int) -> list[Reading]:
    """Temperature, humidity and supply of a tower."""
    return [Reading(1, 215, -1), Reading(7, 700 + number % 50, -1), Reading(2, 1261, -2)]
