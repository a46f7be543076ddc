"""When the outbox writes, and what becomes of a disk that fails while it does."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gateway import database
from gateway.delivery.item import After, DeviceState, Entry, Item, Run
from gateway.event import Lane
from gateway.outbox import measure, store
from gateway.outbox.budget import MB
from gateway.outbox.inspect import FILE
from gateway.outbox.pending import COUNTERS, GATHER
from gateway.outbox.store import Outbox
from tests.support.world import until

ALARM, STATUS, TELEMETRY = Lane
T = TypeVar("T")


def _entry(sequence: int, lane: Lane = ALARM, told: Callable[[int], None] | None = None) -> Entry:
    item = Item(lane, 1, sequence, f"{lane}/{sequence}".encode())
    device = DeviceState("0c500042", sequence, b"tag", 0, True, 0)
    return Entry(item, sequence.to_bytes(32, "big"), device, None, (lambda: told(sequence)) if told else None)


def _run(folder: Path, story: Callable[[Outbox], Coroutine[Any, Any, T]]) -> T:
    async def life() -> T:
        box = await Outbox.open(folder, b"abcd", b"chain")
        try:
            return await story(box)
        finally:
            await box.close()

    return asyncio.run(life())


def _records(folder: Path) -> list[tuple[int, int]]:
    looking = database.open_read_only(folder / FILE)
    try:
        return list(looking.execute("SELECT lane, sequence FROM record ORDER BY lane, sequence"))
    finally:
        looking.close()


class Failing:
    """The store's writing connection, on a disk that fails as it is told."""

    fault: str | None = None

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if Failing.fault is not None and sql.startswith(("INSERT", "COMMIT")):
            raise sqlite3.OperationalError(Failing.fault)
        return self._connection.execute(sql, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[Failing]:
    made = database.Database.__init__

    def wrapped(self: Any, path: Path, lock: int, writer: Any, reader: Any) -> None:
        made(self, path, lock, Failing(writer), reader)  # type: ignore[arg-type]  # a writer in all it does

    monkeypatch.setattr(database.Database, "__init__", wrapped)
    monkeypatch.setattr(store, "RETRY", 0.05)
    monkeypatch.setattr(Failing, "fault", None)
    return Failing


# When it writes.


def test_telemetry_waits_for_company_a_second_at_most_and_an_alarm_takes_it_along(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        loop = asyncio.get_running_loop()
        told: list[tuple[int, float]] = []
        signed_at = loop.time()
        for sequence in (1, 2):
            box.append(_entry(sequence, TELEMETRY, lambda n: told.append((n, loop.time()))))
        await asyncio.sleep(GATHER / 2)
        assert told == []
        await until(lambda: len(told) == 2, "telemetry to be stored", every=0.005)
        assert [number for number, _at in told] == [1, 2]
        assert told[0][1] - signed_at > GATHER - 0.1, "it waited for company"
        box.append(_entry(3, TELEMETRY, lambda n: told.append((n, loop.time()))))
        pressed_at = loop.time()
        box.append(_entry(1, ALARM, lambda n: told.append((-n, loop.time()))))
        await until(lambda: len(told) == 4, "the alarm to be stored", every=0.001)
        assert {number for number, _at in told[2:]} == {-1, 3}
        assert told[3][1] - pressed_at < GATHER / 2

    _run(tmp_path, story)


def test_counters_alone_are_stored_within_what_the_specification_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert COUNTERS + 10.0 < 30.0, "what intake waits, and what is waited here"
    monkeypatch.setattr("gateway.outbox.pending.COUNTERS", 0.2)

    async def story(box: Outbox) -> None:
        box.remember([DeviceState("0c500042", 9, b"t", 0, True, 0)])

        def stored() -> bool:
            looking = database.open_read_only(tmp_path / FILE)
            try:
                return bool(looking.execute("SELECT 1 FROM device WHERE counter = 9").fetchone())
            finally:
                looking.close()

        await asyncio.sleep(0.05)
        assert not stored()
        await until(stored, "the counter to be stored")

    _run(tmp_path, story)


def test_a_receipt_of_a_whole_backlog_holds_up_no_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.outbox.pending.FORGET_MAX", 50)

    async def story(box: Outbox) -> None:
        for sequence in range(1, 1001):
            box.append(_entry(sequence, TELEMETRY))
        order: list[str] = []
        box.append(_entry(1, ALARM, lambda _n: order.append("before")))
        await until(lambda: order, "the backlog to be stored")
        box.receipted([Run(TELEMETRY, 1, 1, 999)])
        box._pending.due = 0.0
        await asyncio.sleep(0)
        box.append(_entry(2, ALARM, lambda _n: order.append(f"{len(_records(tmp_path))} left")))
        await until(lambda: len(order) == 2, "the alarm to be stored")
        assert int(order[1].split()[0]) > 500, "it went between two pieces"
        await until(lambda: len(_records(tmp_path)) == 3, "the rest to be forgotten")

    _run(tmp_path, story)


# A disk that fails.


@pytest.mark.parametrize(
    "fault",
    [
        "database or disk is full",
        "attempt to write a readonly database",
        "disk I/O error",
        "unable to open database file",
    ],
)
def test_whatever_the_disk_says_alarms_go_on_and_are_stored_when_it_is_well_again(
    tmp_path: Path, failing: type[Failing], fault: str
) -> None:
    async def story(box: Outbox) -> list[str]:
        told: list[str] = []
        box.on_trouble = lambda trouble: told.append("restored" if trouble is None else "degraded")
        failing.fault = fault
        box.append(_entry(1, ALARM, lambda n: told.append(f"stored {n}")))
        await until(lambda: box.trouble is not None, "the trouble")
        assert fault in (box.trouble or "")
        for sequence in (2, 3):
            box.append(_entry(sequence, ALARM, lambda n: told.append(f"stored {n}")))
        await asyncio.sleep(0.15)
        items, complete = await box.read(After(ALARM, None))
        assert ([item.sequence for item in items], complete) == ([1, 2, 3], True), "delivery has them all the same"
        assert told == ["degraded"]
        failing.fault = None
        await until(lambda: box.trouble is None, "the disk to be well again")
        return told

    assert _run(tmp_path, story) == ["degraded", "stored 1", "stored 2", "stored 3", "restored"]
    assert _records(tmp_path) == [(ALARM, 1), (ALARM, 2), (ALARM, 3)]


def test_what_failed_to_be_forgotten_is_forgotten_later_and_counters_with_it(
    tmp_path: Path, failing: type[Failing]
) -> None:
    async def story(box: Outbox) -> None:
        told: list[int] = []
        for sequence in (1, 2, 3):
            box.append(_entry(sequence, ALARM, told.append))
        await until(lambda: told == [1, 2, 3], "three alarms")
        failing.fault = "disk I/O error"
        box.receipted([Run(ALARM, 1, 1, 2)])
        box.remember([DeviceState("0c500043", 7, b"t", 0, True, 0)])
        box._pending.due = 0.0
        await until(lambda: box.trouble is not None, "the trouble")
        failing.fault = None
        await until(lambda: box.trouble is None, "the disk to be well again")

    _run(tmp_path, story)
    assert _records(tmp_path) == [(ALARM, 3)]

    async def start(box: Outbox) -> dict[str, int]:
        return {name: state.counter for name, state in box.start.devices.items()}

    assert _run(tmp_path, start) == {"0c500042": 3, "0c500043": 7}


def test_what_memory_holds_of_the_alarms_does_not_wait_for_a_disk_that_stalls_a_reading(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        well_again = threading.Event()
        assert box._database is not None
        stalled = box._database.read(lambda _connection: well_again.wait(10))
        box.append(_entry(1))
        try:
            async with asyncio.timeout(3):
                assert await box.read(After(ALARM, None)) == ([_entry(1).item], None)
        finally:
            well_again.set()
            await stalled
        assert await box.read(After(ALARM, None)) == ([_entry(1).item], True)

    _run(tmp_path, story)


def test_closing_tries_a_disk_in_trouble_once_more(tmp_path: Path, failing: type[Failing]) -> None:
    async def story(box: Outbox) -> None:
        failing.fault = "disk I/O error"
        box.append(_entry(1))
        await until(lambda: box.trouble is not None, "the trouble")
        box._retry_at += 3600
        failing.fault = None
        box.append(_entry(1, TELEMETRY))

    _run(tmp_path, story)
    assert _records(tmp_path) == [(ALARM, 1), (TELEMETRY, 1)]


def test_closing_on_a_dead_disk_ends(tmp_path: Path, failing: type[Failing]) -> None:
    async def story(box: Outbox) -> None:
        failing.fault = "disk I/O error"
        box.append(_entry(1))

    _run(tmp_path, story)
    assert _records(tmp_path) == []


@pytest.mark.parametrize("deleted", [("",), ("-wal",), ("", "-wal", "-shm"), ("", "-wal", "-shm", ".lock")])
def test_a_store_deleted_underneath_comes_back_with_everything_that_was_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deleted: tuple[str, ...]
) -> None:
    monkeypatch.setattr(store, "RETRY", 0.05)

    async def story(box: Outbox) -> list[str]:
        told: list[str] = []
        for sequence in (1, 2):
            box.append(_entry(sequence, ALARM, lambda n: told.append(f"stored {n}")))
        await until(lambda: len(told) == 2, "the first two")
        for suffix in deleted:
            (tmp_path / f"{FILE}{suffix}").unlink()
        box.on_trouble = lambda trouble: told.append("restored" if trouble is None else "degraded")
        box.append(_entry(3, ALARM, lambda n: told.append(f"stored {n}")))
        await until(lambda: "restored" in told, "the store to be there again")
        box.append(_entry(4, ALARM, lambda n: told.append(f"stored {n}")))
        await until(lambda: "stored 4" in told, "the next")
        return told

    assert _run(tmp_path, story) == ["stored 1", "stored 2", "degraded", "stored 3", "restored", "stored 4"]
    assert _records(tmp_path) == [(ALARM, n) for n in (1, 2, 3, 4)]

    async def start(box: Outbox) -> tuple[int, int, dict[str, int]]:
        return box.start.ordinal, box.start.start_count, {k: v.counter for k, v in box.start.devices.items()}

    assert _run(tmp_path, start) == (2, 2, {"0c500042": 4})


def test_a_deleted_store_that_can_t_be_read_either_is_begun_anew_under_the_same_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RETRY", 0.01)
    monkeypatch.setattr(store, "GIVEN_UP", 3)

    def unreadable(_connection: sqlite3.Connection, path: Path) -> None:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(store, "put_back", unreadable)

    async def story(box: Outbox) -> None:
        told: list[int] = []
        box.append(_entry(1, ALARM, told.append))
        await until(lambda: told == [1], "the first")
        (tmp_path / FILE).unlink()
        box.append(_entry(2, ALARM, told.append))
        await until(lambda: told == [1, 2], "a new store")

    _run(tmp_path, story)
    assert _records(tmp_path) == [(ALARM, 2)]

    async def start(box: Outbox) -> int:
        return box.start.start_count

    assert _run(tmp_path, start) == 2


def test_a_mistake_of_ours_is_as_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RETRY", 0.05)
    right = measure.usage

    def wrong(_connection: sqlite3.Connection) -> Any:
        raise KeyError

    async def story(box: Outbox) -> None:
        told: list[int] = []
        await until(lambda: box._bound, "the start")
        monkeypatch.setattr("gateway.outbox.statements.usage", wrong)
        box.append(_entry(1, ALARM, told.append))
        await until(lambda: box.trouble is not None, "the trouble")
        monkeypatch.setattr("gateway.outbox.statements.usage", right)
        await until(lambda: told == [1], "the record to be stored")
        assert box.alive

    _run(tmp_path, story)


def test_a_file_system_that_is_nearly_full_is_told_once_and_its_room_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 65 * MB
    monkeypatch.setattr(measure, "room", lambda _connection: free)

    async def story(box: Outbox) -> None:
        nonlocal free
        told: list[tuple[int, bool]] = []
        box.on_low = lambda free_mb, low: told.append((free_mb, low))
        for free_mb, expected in (
            (65, []), (63, [(63, True)]), (10, [(63, True)]), (100, [(63, True)]),
            (128, [(63, True), (128, False)]), (127, [(63, True), (128, False)]),
        ):  # fmt: skip
            free = free_mb * MB
            looked = box._look_at
            box._look_at = 0.0
            box._sleep.look()
            await until(lambda looked=looked: box._look_at > max(looked, 1.0), "a look")  # type: ignore[misc]
            assert told == expected

    _run(tmp_path, story)
