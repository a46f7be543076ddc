"""A budget that is used up: what leaves, that it is said, and what is left for the alarms."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.c5.chains import Chains
from gateway.delivery.coverage import Coverage
from gateway.delivery.item import After, Item, Run
from gateway.event import Event, Lane
from gateway.outbox import budget, gauge, measure, pending, store
from gateway.outbox.budget import Budget
from gateway.outbox.inspect import FILE
from gateway.outbox.store import Outbox
from gateway.signing import deterministic
from gateway.signing.chain import Chain
from gateway.signing.cose import Signer
from gateway.signing.record import Clock, Record
from gateway.tasks.recorder import Recorder
from gateway.tasks.storage import Storage
from tests.support.memory import NOW_US, read
from tests.support.world import until

ALARM, STATUS, TELEMETRY = Lane
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), b"thumb678")
MB = 64 * 1024  # a megabyte of this test: everything is sixteen times smaller
SMALL = Budget(max_mb=16, alarm_reserve_mb=8)  # 12 MB of store, of which 4 are for all lanes
WIRE = 800  # bytes of a record here
T = TypeVar("T")


@pytest.fixture(autouse=True)
def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (budget, "MB"), (budget, "LOG_MAX"), (budget, "DROP"), (budget, "HEADROOM"), (measure, "CHECKPOINT"),
        (pending, "WRITE_MAX"), (pending, "FORGET_MAX"), (pending, "MEMORY_MAX"), (pending, "MEMORY_ALARMS_ONLY"),
        (store, "LOG_MAX"), (gauge, "LOG_MAX"), (gauge, "MB"), (gauge, "FREE_KEPT"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, getattr(module, name) // 16)
    monkeypatch.setattr(store, "RETRY", 0.1)  # seconds
    monkeypatch.setattr(store, "SHRINK_PAUSE", 0.01)


class Gateway:
    """An outbox with what signs for it, and the coverage that delivery goes by."""

    def __init__(self, box: Outbox) -> None:
        self.box = box
        start = box.start
        self.ordinals = {**start.epochs, start.epoch: start.ordinal}
        chains = {lane: Chain("gw-1", start.epoch, lane, start.heads.get(lane), SIGNER) for lane in Lane}
        self.recorder = Recorder(chains, start.ordinal, box, lambda _age, _at_ns: (NOW_US, Clock(2, 5, 0)), None)
        self.coverage = Coverage(start.receipted, start.declared)
        self.storage = Storage("gw-1", self.recorder, self.coverage, self.ordinals)
        self.told: list[str] = []
        box.on_drop = self.storage.drop
        box.on_trouble = lambda trouble: self.told.append("degraded" if trouble else "restored")

    def say(self, type_: str, size: int = 560) -> bool:
        """Record an event; False if there is no room for it."""
        return self.recorder.record(Event(type_, "0c500042", data={"text": "x" * size})) is not None

    async def fill(self, type_: str, size: int) -> int:
        """Record so many bytes, at the disk's pace; return how many records that were."""
        count = 0
        for count in range(1, size // WIRE + 1):
            await until(partial(self.say, type_), "room for a record", every=0.005)
            if count % 20 == 0:
                await self.settled()
        await self.settled()
        return count

    async def settled(self) -> None:
        """Wait until everything is written and nothing is about to leave."""
        box = self.box
        async with asyncio.timeout(20):
            while box._pending.waiting or box._pending._covered or self._dropping:
                box._pending.due = 0.0
                box._sleep.look()
                await asyncio.sleep(0.002)

    @property
    def _dropping(self) -> bool:
        box = self.box
        full = box.gauge.usage.used > box.gauge.budget.start
        return full and box._plan_at <= asyncio.get_running_loop().time()

    async def held(self, lane: Lane) -> list[Record]:
        """Return what the store holds of a lane."""
        found: list[Item] = []
        complete: bool | None = False
        while complete is False:
            place = (found[-1].ordinal, found[-1].sequence) if found else None
            items, complete = await self.box.read(After(lane, place))
            found += items
        return [read(item.wire) for item in found]

    async def missing(self) -> dict[tuple[Lane, bytes], list[tuple[int, int]]]:
        """Let C5 have all that is held and nothing else; return what it misses then."""
        chains = Chains()
        for lane in Lane:
            for record in await self.held(lane):
                chains.hold(lane, record.epoch, [(record.sequence, record.sequence)])
                if record.type == "records.unavailable":
                    assert record.data is not None
                    assert record.data["reason"] == "dropped"
                    for epoch, first, last in record.data["ranges"]:
                        chains.forgo(Lane(record.data["lane"]), epoch, [(first, last)])
        for lane, head in self.recorder.heads.items():
            chains[lane, head.epoch].head(head.sequence, -100.0)
        return chains.tick(0.0)


def _run(folder: Path, story: Callable[[Gateway], Coroutine[Any, Any, T]], budget: Budget = SMALL) -> T:
    async def life() -> T:
        box = await Outbox.open(folder, b"abcd", b"chain", budget=budget)
        try:
            return await story(Gateway(box))
        finally:
            await box.close()

    return asyncio.run(life())


def _on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob(f"{FILE}*") if path.suffix != ".lock")


def test_the_oldest_telemetry_leaves_and_is_declared_and_no_alarm_or_status_does(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> None:
        alarms = await gateway.fill("panic.pressed", MB // 4)
        status = await gateway.fill("power.lost", MB // 4)
        signed = await gateway.fill("measurement", 6 * MB)
        assert len(await gateway.held(ALARM)) == alarms
        assert len([r for r in await gateway.held(STATUS) if r.type == "power.lost"]) == status
        kept = [record.sequence for record in await gateway.held(TELEMETRY)]
        assert kept == list(range(kept[0], signed + 1)), "the newest are kept, without a hole"
        assert MB < len(kept) * WIRE < 4 * MB
        assert gateway.box.gauge.dropped == kept[0] - 1
        assert await gateway.missing() == {}
        assert gateway.told == []

    _run(tmp_path, story)


def test_the_files_stay_within_the_budget_whatever_is_thrown_at_them(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> int:
        most = 0
        for _ in range(3):
            await gateway.fill("measurement", 3 * MB)
            await gateway.fill("power.lost", MB)
            await gateway.fill("panic.pressed", MB // 2)
            most = max(most, _on_disk(tmp_path))
            assert gateway.box.gauge.usage.used < SMALL.shared
        assert await gateway.missing() == {}
        return most

    assert _run(tmp_path, story) <= 16 * MB


def test_status_leaves_when_no_telemetry_is_left_and_declarations_never_do(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> list[int]:
        await gateway.fill("measurement", MB)
        await gateway.fill("power.lost", 9 * MB)
        kept = await gateway.held(TELEMETRY)
        assert len(kept) == 1, "each lane's last stays: the next epoch points to it"
        (head,) = (Run(TELEMETRY, 1, record.sequence, record.sequence) for record in kept)
        assert gateway.coverage.left_of(head) == [head], "and isn't declared"
        assert await gateway.missing() == {}
        declarations = [record for record in await gateway.held(STATUS) if record.type == "records.unavailable"]
        return [len(record.data["ranges"]) for record in declarations if record.data]

    assert _run(tmp_path, story) != []


def test_declarations_stay_few_however_long_the_outage(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> tuple[int, int]:
        for _ in range(30):
            await gateway.fill("measurement", MB // 3)
            gateway.say("power.lost")  # so that declarations don't stand side by side
        records = await gateway.held(STATUS)
        declarations = [record for record in records if record.type == "records.unavailable"]
        assert await gateway.missing() == {}
        assert gateway.box.gauge.dropped > 500
        return len(declarations), len(records)

    declarations, records = _run(tmp_path, story)
    assert declarations <= 12
    assert records == declarations + 30, "and of what is no declaration nothing has left"


def test_what_was_dropped_is_neither_sent_nor_missed_nor_declared_twice_also_after_a_start(tmp_path: Path) -> None:
    async def before(gateway: Gateway) -> tuple[int, int]:
        await gateway.fill("measurement", 6 * MB)
        return gateway.box.gauge.dropped, gateway.recorder.sequence(STATUS)

    async def after(gateway: Gateway) -> tuple[list[Run], list[Run]]:
        dropped = Run(TELEMETRY, 1, 1, count)
        assert gateway.coverage.left_of(dropped) == []
        first = gateway.coverage.untold(dropped)
        gateway.coverage.add([Run(STATUS, 1, 1, declared)])
        gateway.box.receipted([Run(STATUS, 1, 1, declared)])
        return first, gateway.coverage.untold(dropped)

    async def later(gateway: Gateway) -> tuple[Any, list[Run]]:
        return gateway.box.start.declared, gateway.coverage.left_of(Run(TELEMETRY, 1, 1, count))

    count, declared = _run(tmp_path, before)
    assert count > 200
    assert _run(tmp_path, after) == ([], [Run(TELEMETRY, 1, 1, count)]), "told, until C5 has been told"
    assert _run(tmp_path, later) == ((), []), "then as good as receipted"


def test_a_reserve_full_of_alarms_is_as_no_disk_and_receipts_heal_it(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> None:
        box = gateway.box
        stored: list[int] = []
        count = 0
        async with asyncio.timeout(30):
            while box.trouble is None:
                event = Event("panic.pressed", "0c500042", data={"text": "x" * 560})
                count += 1
                gateway.recorder.record(event, stored=partial(stored.append, count))
                await asyncio.sleep(0 if count % 5 else 0.005)
        assert "full" in box.trouble
        assert 600 < len(stored) < count, "what was told to be stored is on the disk, the rest was not told"
        assert not gateway.told or gateway.told == ["degraded"]
        assert _on_disk(tmp_path) <= 16 * MB
        assert len(await gateway.held(ALARM)) == count, "offered and waiting for C5, whether stored or not"
        assert box.start.ordinal == 1
        box.receipted([Run(ALARM, 1, 1, 550)])
        async with asyncio.timeout(10):
            await until(lambda: box.trouble is None, "the disk to be well again", every=0.01)
        assert gateway.told == ["degraded", "restored"]
        assert stored == list(range(1, count + 1))

    _run(tmp_path, story)


def test_space_returns_when_a_receipt_comes(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> tuple[int, int]:
        await gateway.fill("measurement", 12 * MB)
        full = _on_disk(tmp_path)
        gateway.box.receipted([Run(TELEMETRY, 1, 1, gateway.recorder.sequence(TELEMETRY))])
        async with asyncio.timeout(20):
            pending, gauge = gateway.box._pending, gateway.box.gauge
            await until(lambda: pending.due > 1e9 and not gauge.wasteful, "nothing to be done", every=0.01)
        gateway.say("measurement")
        await gateway.settled()
        return full, _on_disk(tmp_path)

    full, after = _run(tmp_path, story, Budget(max_mb=64, alarm_reserve_mb=8))
    assert full > 12 * MB
    assert after < 5 * MB


def test_its_health_says_how_full_it_is_and_how_long_each_lane_keeps_everything(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> None:
        gauge = gateway.box.gauge
        await gateway.fill("measurement", MB)
        health = gauge.health()
        assert (health["max_mb"], health["dropped"]) == (16, 0)
        assert 1 < health["used_mb"] < 3
        assert health["used_mb"] <= health["file_mb"] <= 16
        assert health["hours"] == {"alarm": None, "status": None, "telemetry": health["hours"]["telemetry"]}
        assert health["hours"]["telemetry"] >= 0.0
        await gateway.fill("measurement", 4 * MB)
        assert gauge.health()["hours"]["telemetry"] == 0.0, "it has begun to lose"
        assert gauge.health()["dropped"] > 0
        brief = gauge.brief()
        assert deterministic.decode(deterministic.encode(brief)) == brief, "a state can carry it"
        assert all(type(value) is int for value in (*brief["hours"].values(), brief["used_mb"], brief["dropped"]))

    _run(tmp_path, story)


def test_a_receipt_for_what_is_not_stored_yet_leaves_no_more_than_the_head(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> list[int]:
        for _ in range(30):
            gateway.say("measurement")
        gateway.box.receipted([Run(TELEMETRY, 1, 1, 30)])
        gateway.box._pending.due = 0.0
        gateway.say("power.lost")
        await gateway.settled()
        return [record.sequence for record in await gateway.held(TELEMETRY)]

    assert _run(tmp_path, story) == [30]


def test_into_the_reserve_go_alarms_alone_and_status_waits_in_memory_for_room(tmp_path: Path) -> None:
    async def story(gateway: Gateway) -> None:
        box = gateway.box
        alarms = await gateway.fill("panic.pressed", 5 * MB)
        assert box.gauge.usage.used > SMALL.shared
        for _ in range(3):
            gateway.say("power.lost")
        gateway.say("panic.pressed")
        await until(lambda: len(box._pending.waiting) == 3, "the alarm to be stored")
        assert gateway.told == []
        box.receipted([Run(STATUS, 1, 1, 2)])  # they were on their way all the same
        box.receipted([Run(ALARM, 1, 1, alarms)])
        await gateway.settled()

        async def left() -> bool:
            held = [[record.sequence for record in await gateway.held(lane)] for lane in (ALARM, STATUS)]
            return held == [[alarms + 1], [3]]

        await until(left, "what C5 had before it was stored to leave again")

    _run(tmp_path, story)
