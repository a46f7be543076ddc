"""100 000 telemetry records wait in the outbox: how fast are they verified and committed at C5, and the memory after.

The outbox is filled by the gateway's own recorder and store, in this process, as an outage would. The clock runs from
the first commit of the ledger to the last, seen from outside. The bridge gets as many messages into its persistent
queue, and is then started as it is configured; it has 60 s.
"""

import asyncio
import contextlib
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import site as sites
from benchmarks.figures import Figure
from benchmarks.process import until
from benchmarks.site import GATEWAY, Site
from firmware_sim.broker import free_port
from firmware_sim.labels import new_label
from firmware_sim.pty import PseudoTerminal
from gateway.clock import EpochClock, SystemClock
from gateway.event import Lane
from gateway.fieldlink.message import Measurement, Reading
from gateway.identity.keystore import load_anchors, load_identity
from gateway.outbox.store import Outbox
from gateway.sensing.interpret import interpret
from gateway.signing.chain import Chain
from gateway.signing.chains import encode_chain
from gateway.signing.cose import Signer
from gateway.tasks.recorder import Recorder

RECORDS: Final = 100_000
WITHIN: Final = 60.0
OF_THE_START: Final = 16  # records that the gateway makes when it starts, at most
_POLL: Final = 0.01


async def measure(site: Site) -> list[Figure]:
    """Drain ours, then the bridge."""
    home = site.home / "drain"
    home.mkdir()
    rate, memory, cpu = await _ours(site, home)
    bridged = await _bridge(site, home)
    return [
        Figure("drain of 100 000 records: records/s", "/s", rate, None, bridged, 15_000, 50_000, better="more"),
        Figure("drain: gateway's processor time a record", "µs", 1e6 * cpu["gateway"] / RECORDS),
        Figure("drain: receiver's processor time a record", "µs", 1e6 * cpu["receiver"] / RECORDS),
        Figure("memory after the drain", "MB", memory, now=60, goal=60),
    ]


async def _ours(site: Site, home: Path) -> tuple[float, float, dict[str, float]]:
    line = PseudoTerminal(home / "ours")
    ours = sites.Ours(site, home / "ours-home", line.path)
    ours.enrol(new_label("0c500045"))
    await fill(site, ours.state_dir)
    async with site.broker, line, ours.receiver() as receiver:
        before = receiver.cpu_seconds()
        async with ours.gateway() as gateway:
            began, ended = await _drained(ours.ledger)
            cpu = {"gateway": gateway.cpu_seconds(), "receiver": receiver.cpu_seconds() - before}
            await asyncio.sleep(2.0)
            memory = gateway.memory_mb()
    return RECORDS / (ended - began), memory, cpu


async def fill(site: Site, state_dir: Path) -> None:
    """Record 100 000 measurements and close the outbox: the gateway's next start finds them."""
    signing = site.authority / "gateway" / GATEWAY
    anchors = load_anchors(site.authority / "trust-anchors.pem")
    at = datetime.now(UTC)
    own = load_identity(signing / "signing.pem", signing / "signing.key", role="gateway", anchors=anchors, at=at)
    signer = Signer(own.key, own.identity.thumbprint)
    outbox = await Outbox.open(state_dir, b"\1\2\3\4", encode_chain(own.chain))
    start = outbox.start
    chains = {lane: Chain(GATEWAY, start.epoch, lane, start.heads.get(lane), signer) for lane in Lane}
    recorder = Recorder(chains, start.ordinal, outbox, EpochClock(SystemClock()).occurred, None)
    for number in range(RECORDS):
        said = Measurement((Reading(1, 215, -1), Reading(7, 700 + number % 50, -1), Reading(2, 1261, -2)), age_ms=0)
        event = interpret("0c500045", said, unproven=False)
        assert event is not None
        while recorder.record(event) is None:  # noqa: ASYNC110  # memory is full: the store's thread must come round
            await asyncio.sleep(0.002)
    await outbox.close()


async def _drained(path: Path) -> tuple[float, float]:
    """Watch the ledger's commits; return when the first and the last of the measurements was there."""
    deadline = time.monotonic() + WITHIN
    newest = began = 0.0
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as ledger:
        while newest < RECORDS or _measurements(ledger) < RECORDS:
            (newest,) = ledger.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()
            if not began and newest > OF_THE_START:
                began = time.monotonic()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{newest} records in {WITHIN:.0f} s")
            await asyncio.sleep(_POLL)
    return began, time.monotonic()


def _measurements(ledger: sqlite3.Connection) -> int:
    return int(ledger.execute("SELECT count(*) FROM records WHERE type = 'measurement'").fetchone()[0])


async def _bridge(site: Site, home: Path) -> float | str:
    local_port = free_port()
    async with sites.bridge(site, home, local_port, fill=True):
        await sites.listening(local_port)
        await asyncio.to_thread(_publish, local_port)
    async with site.broker, sites.subscriber(site, home) as subscribed, sites.bridge(site, home, local_port):
        await until(lambda: subscribed.out.read_bytes().count(b"\n") > RECORDS, WITHIN)
        came = sorted(sites.arrivals(subscribed).values())
    if len(came) < RECORDS:
        return f"{len(came)} in {WITHIN:.0f} s"
    return RECORDS / ((came[-1] - came[0]) / 1e9)


def _publish(port: int) -> None:
    """Fill the local mosquitto's queue, as naive.py would, but as fast as it goes."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "bench-filler")
    client.max_inflight_messages = 100
    client.connect(sites.HOST, port)
    client.loop_start()
    for number in range(RECORDS):
        told = client.publish(
            "events/sensor-7", b'{"d": "sensor-7", "n": %d, "t": 21.5, "h": 70.2, "v": 12.61}' % number, 1
        )
        if number % 1000 == 999:  # what waits in paho slows it
            told.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()
