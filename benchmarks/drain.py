"""1 000 000 telemetry records wait in the outbox: how fast are they verified and committed at C5, and at what cost.

The outbox is filled by the gateway's own recorder and store, in this process, as an outage would; the first and the
last 100 000 are timed. The clock of the drain runs from the first commit of the ledger to the last, seen from outside,
and the gateway's memory is sampled meanwhile; idle is the same gateway with an empty outbox. The bridge gets 100 000
messages into its persistent queue, and is then started as it is configured; it has 60 s. `C5_BENCH_RECORDS` makes it
shorter.
"""

import asyncio
import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Final, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import site as sites
from benchmarks.figures import Figure
from benchmarks.process import Child, until
from benchmarks.report import number
from benchmarks.site import GATEWAY, Site
from firmware_sim.broker import free_port
from firmware_sim.labels import new_label
from firmware_sim.pty import PseudoTerminal
from gateway.event import Lane
from tests.support.backlog import fill

RECORDS: Final = int(os.environ.get("C5_BENCH_RECORDS", "1_000_000"))
TIMED: Final = min(100_000, RECORDS // 4)  # at the beginning and at the end of the filling
BRIDGED: Final = min(100_000, RECORDS)
WITHIN: Final = 60.0  # seconds, for 100 000
LATEST: Final = 240.0
SETTLE: Final = 3.0  # seconds until memory counts as idle
_POLL: Final = 0.05


class Drained(NamedTuple):
    """What was measured of ours: seconds, megabytes."""

    seconds: float
    cpu: dict[str, float]
    idle: float
    peak: float
    after: float


async def measure(site: Site) -> list[Figure]:
    """Drain ours, then the bridge."""
    home = site.home / "drain"
    home.mkdir()
    first, last, drained = await _ours(site, home)
    bridged = await _bridge(site, home)
    count = number(RECORDS)
    return [
        Figure(f"drain of {count} records: records/s", "/s", RECORDS / drained.seconds, None, bridged, 20_000, 50_000,
               better="more"),
        Figure("drain: gateway's processor time a record", "µs", 1e6 * drained.cpu["gateway"] / RECORDS),
        Figure("drain: receiver's processor time a record", "µs", 1e6 * drained.cpu["receiver"] / RECORDS),
        Figure("drain: gateway's memory above idle, at most", "MB", drained.peak - drained.idle, now=20, goal=20),
        Figure("memory after the drain", "MB", drained.after, now=60, goal=60),
        Figure(f"insertion: a record of the first {number(TIMED)}", "µs", first),
        Figure(f"insertion: a record of the last {number(TIMED)}", "µs", last),
        Figure("insertion: the last as a multiple of the first", "", last / first, now=1.25, goal=1.1),
    ]  # fmt: skip


async def _ours(site: Site, home: Path) -> tuple[float, float, Drained]:
    line = PseudoTerminal(home / "ours")
    ours = sites.Ours(site, home / "ours-home", line.path)
    ours.enrol(new_label("0c500045"))
    async with site.broker, line, ours.receiver() as receiver:
        async with ours.gateway() as gateway:
            await asyncio.sleep(SETTLE)
            idle = gateway.memory_mb()
        times: dict[int, float] = {0: time.monotonic()}

        def passed(count: int) -> None:
            if count in {TIMED, RECORDS - TIMED, RECORDS}:
                times[count] = time.monotonic()

        await fill(site.authority, GATEWAY, ours.state_dir, RECORDS, passed)
        before = receiver.cpu_seconds()
        async with ours.gateway() as gateway:
            seconds, peak = await _drained(ours.ledger, gateway)
            cpu = {"gateway": gateway.cpu_seconds(), "receiver": receiver.cpu_seconds() - before}
            await asyncio.sleep(SETTLE)
            drained = Drained(seconds, cpu, idle, peak, gateway.memory_mb())
    first, last = times[TIMED] - times[0], times[RECORDS] - times[RECORDS - TIMED]
    return 1e6 * first / TIMED, 1e6 * last / TIMED, drained


async def _drained(path: Path, gateway: Child) -> tuple[float, float]:
    """Watch the ledger's commits and the gateway; return how long the measurements took, and its memory at most."""
    deadline = time.monotonic() + LATEST
    held, began, peak = 0, 0.0, 0.0
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as ledger:
        while held < RECORDS:
            (held,) = ledger.execute(
                "SELECT coalesce(sum(last - first + 1), 0) FROM spans JOIN chains ON chains.id = chain"
                " WHERE held AND lane = ?",
                (int(Lane.TELEMETRY),),
            ).fetchone()
            began = began or (time.monotonic() if held else 0.0)
            peak = max(peak, gateway.memory_mb())
            if time.monotonic() > deadline:
                raise RuntimeError(f"{held} records in {LATEST:.0f} s")
            await asyncio.sleep(_POLL)
    return time.monotonic() - began, peak


async def _bridge(site: Site, home: Path) -> float | str:
    local_port = free_port()
    async with sites.bridge(site, home, local_port, fill=True):
        await sites.listening(local_port)
        await asyncio.to_thread(publish, local_port, BRIDGED)
    async with site.broker, sites.subscriber(site, home) as subscribed, sites.bridge(site, home, local_port):
        await until(lambda: subscribed.out.read_bytes().count(b"\n") > BRIDGED, WITHIN)
        came = sorted(sites.arrivals(subscribed).values())
    if len(came) < BRIDGED:
        return f"{len(came)} in {WITHIN:.0f} s"
    return BRIDGED / ((came[-1] - came[0]) / 1e9)


def telemetry(number: int) -> bytes:
    """Return the peers' line of one measurement."""
    return b'{"d": "sensor-7", "n": %d, "t": 21.5, "h": 70.2, "v": 12.61}' % number


def publish(port: int, count: int) -> None:
    """Fill the local mosquitto's queue, as naive.py would, but as fast as it goes."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "bench-filler")
    client.max_inflight_messages = 100
    client.connect(sites.HOST, port)
    client.loop_start()
    for index in range(count):
        told = client.publish("events/sensor-7", telemetry(index), 1)
        if index % 1000 == 999:  # what waits in paho slows it
            told.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()
