"""The power is cut at every point of a store's life: what was promised is there, in order, and the store is sound.

`C5_SEED=n` repeats a run. The red control is the same life on a disk that lies about its barriers: it must lose.
"""

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.event import Lane
from gateway.outbox.inspect import FILE
from gateway.signing import record as records
from gateway.signing.cose import Envelope, parse
from gateway.signing.record import Record
from tests.power.lab import CachedDisk, Call, record
from tests.support.measured import Measured
from tests.support.storing import VERIFYING, Life

CUTS = 250  # in `make test`; a cut costs some 20 ms
SOAK = 10_000
Counted = Callable[[str, object], None]
Place = tuple[Lane, str, int]  # lane, epoch, sequence


@dataclass
class Promised:
    """What the store had said before the cut."""

    epochs: list[str] = field(default_factory=list)
    stored: dict[Place, str] = field(default_factory=dict)  # the record's SHA-256
    counters: dict[str, int] = field(default_factory=dict)
    receipted: dict[tuple[Lane, str], int] = field(default_factory=dict)

    def hear(self, said: str) -> None:
        match said.split():
            case ["start", epoch]:
                self.epochs.append(epoch)
            case ["stored", lane, epoch, sequence, digest]:
                self.stored[Lane(int(lane)), epoch, int(sequence)] = digest
            case ["counter", device, counter]:
                self.counters[device] = max(self.counters.get(device, 0), int(counter))
            case ["receipted", lane, epoch, up_to]:
                self.receipted[Lane(int(lane)), epoch] = int(up_to)


@pytest.fixture(scope="module")
def seed() -> int:
    return int(os.environ.get("C5_SEED") or random.SystemRandom().randrange(2**32))


@pytest.fixture(scope="module")
def life(seed: int, tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    folder = tmp_path_factory.mktemp("life").resolve()
    home = folder / "home"
    home.mkdir()
    return record(home, [sys.executable, "-m", "tests.power.workload", str(home), str(seed)], folder / "strace")


def test_whatever_the_power_cut_leaves_every_promise_holds(
    life: list[Call], seed: int, tmp_path: Path, record_property: Counted, measured: Measured
) -> None:
    found = _cuts(life, seed, tmp_path, CUTS, lies=False)
    record_property("counted", f"C5_SEED={seed} {dict(found)}")
    measured(f"{CUTS} power cuts: promises broken", "", found["broken"], 0)
    assert found["broken"] == 0
    assert found["cuts"] == CUTS
    assert found["promises"] > 10 * CUTS


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_ten_thousand_power_cuts_break_no_promise(
    life: list[Call], seed: int, tmp_path: Path, record_property: Counted, measured: Measured
) -> None:
    found = _cuts(life, seed, tmp_path, SOAK, lies=False)
    record_property("counted", f"C5_SEED={seed} {dict(found)}")
    measured(f"{SOAK} power cuts: promises broken", "", found["broken"], 0)
    assert found["broken"] == 0


def test_on_a_disk_that_lies_the_same_cuts_break_promises(life: list[Call], seed: int, tmp_path: Path) -> None:
    assert _cuts(life, seed, tmp_path, 25, lies=True)["broken"] >= 5


def _cuts(life: list[Call], seed: int, folder: Path, count: int, *, lies: bool) -> Counter[str]:
    """Cut the power at points drawn from the whole life; return what was counted. A broken promise is printed."""
    chance = random.Random(f"{seed}/{lies}")
    points = sorted(chance.randrange(len(life) + 1) for _ in range(count))
    disk, promised = CachedDisk(lies=lies), Promised()
    counts: Counter[str] = Counter()
    at = 0
    for number, point in enumerate(points):
        for call in life[at:point]:
            if call.name == "say":
                promised.hear(call.path)
            else:
                disk.do(call)
        at = point
        home = folder / f"cut-{number}"
        home.mkdir()
        disk.cut(home, random.Random(f"{seed}/{number}"))
        counts["cuts"] += 1
        counts["promises"] += len(promised.stored)
        try:
            asyncio.run(_judge(home, promised))
        except (AssertionError, sqlite3.DatabaseError) as broken:  # damaged behind its own check
            counts["broken"] += 1
            if not lies:
                sys.stdout.write(f"C5_SEED={seed}, cut {number} after {point} of {len(life)} calls: {broken}\n")
        shutil.rmtree(home)
    return counts


async def _judge(home: Path, promised: Promised) -> None:
    async with Life(home, b"last") as life:
        start = life.box.start
        assert life.box.complaint is None, life.box.complaint
        assert not start.unstored
        assert start.start_count > len(promised.epochs) - 1, "a start count given twice"
        assert set(promised.epochs) <= {epoch.hex() for epoch in start.epochs}, "an epoch is gone"
        for device, counter in promised.counters.items():
            assert device in start.devices, "a counter is gone"
            assert start.devices[device].counter >= counter, "a counter went back"
    with contextlib.closing(sqlite3.connect(home / FILE)) as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        here = _read(store)
    for place, digest in promised.stored.items():
        lane, epoch, sequence = place
        if sequence <= promised.receipted.get((lane, epoch), 0):
            continue
        assert place in here, f"{place} was promised"
        assert here[place][1] == digest, place
    for (lane, epoch, sequence), (said, _digest) in here.items():
        before = here.get((lane, epoch, sequence - 1))
        assert before is None or said.previous.hex() == before[1], "a chain is broken"


def _read(store: sqlite3.Connection) -> dict[Place, Any]:
    here: dict[Place, tuple[Record, str]] = {}
    for (wire,) in store.execute("SELECT cose FROM record"):
        envelope = parse(wire, "record")
        assert isinstance(envelope, Envelope)
        assert VERIFYING.verify(envelope)
        said = records.decode(envelope.payload)
        assert isinstance(said, Record)
        here[said.lane, said.epoch.hex(), said.sequence] = said, envelope.digest.hex()
    return here
