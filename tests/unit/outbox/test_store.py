"""The outbox on a real file: what is durable, what a receipt takes away, and what becomes of a disk that fails."""

import asyncio
import contextlib
import hashlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gateway.database import open_read_only
from gateway.delivery.item import After, DeviceState, Entry, EventState, Item, Run
from gateway.errors import StoreError
from gateway.event import Lane
from gateway.outbox import statements, store
from gateway.outbox.inspect import FILE, Waiting
from gateway.outbox.pending import MEMORY_ALARMS_ONLY, MEMORY_MAX
from gateway.outbox.statements import READ_ROWS
from gateway.outbox.store import Outbox
from gateway.signing.message import Head

ALARM, STATUS, TELEMETRY = Lane
CHAIN = b"chain"
T = TypeVar("T")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that failed is tried again twenty times a second: nothing here is about how long that takes."""
    monkeypatch.setattr(store, "RETRY", 0.05)


def _digest(wire: bytes) -> bytes:
    return hashlib.sha256(wire).digest()


def _entry(box: Outbox, sequence: int, lane: Lane = ALARM, size: int = 300, **more: Any) -> Entry:
    wire = f"{lane}/{box.start.ordinal}/{sequence}.".encode().ljust(size, b".")
    return Entry(Item(lane, box.start.ordinal, sequence, wire), _digest(wire), **more)


def _device(counter: int, highest: int = 0) -> DeviceState:
    return DeviceState("0c500042", counter, counter.to_bytes(8, "big"), 0b101, True, highest)


async def _stored(box: Outbox, sequences: Iterable[int], lane: Lane = ALARM, **more: Any) -> None:
    """Append records and wait until each says that it is durable."""
    told = [asyncio.Event() for _ in sequences]
    for sequence, event in zip(sequences, told, strict=True):
        box.append(_entry(box, sequence, lane, stored=event.set, **more))
    async with asyncio.timeout(10):
        for event in told:
            await event.wait()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # what is awaited has no event of its own
            await asyncio.sleep(0.005)


def _run(folder: Path, story: Callable[[Outbox], Coroutine[Any, Any, T]], random4: bytes = b"abcd") -> T:
    """Open the outbox, live through the story, close it."""

    async def life() -> T:
        box = await Outbox.open(folder, random4, CHAIN)
        try:
            return await story(box)
        finally:
            await box.close()

    return asyncio.run(life())


async def _start(box: Outbox) -> Any:
    return box.start


def _looked(folder: Path, question: str) -> list[tuple[Any, ...]]:
    store = open_read_only(folder / FILE)
    try:
        return list(store.execute(question))
    finally:
        store.close()


def _records(folder: Path) -> list[tuple[Any, ...]]:
    return _looked(folder, "SELECT lane, ordinal, sequence FROM record ORDER BY lane, ordinal, sequence")


def _wait(_connection: sqlite3.Connection, gate: threading.Event) -> None:
    gate.wait()


# Starts.


def test_each_start_is_a_new_epoch_and_its_count_grows(tmp_path: Path) -> None:
    first = _run(tmp_path, _start, b"\x01\x02\x03\x04")
    assert (first.ordinal, first.epoch.hex(), first.start_count, first.unstored) == (1, "0000000101020304", 1, False)
    second = _run(tmp_path, _start, b"\x05\x06\x07\x08")
    assert (second.ordinal, second.epoch.hex(), second.start_count) == (2, "0000000205060708", 2)
    assert second.heads == {}


def test_the_epoch_is_durable_before_its_first_record(tmp_path: Path) -> None:
    async def story(_box: Outbox) -> list[tuple[Any, ...]]:
        return _looked(tmp_path, "SELECT ordinal, start_count FROM epoch UNION SELECT 0, value FROM fact")

    assert _run(tmp_path, story) == [(0, 1), (1, 1)]


def test_an_old_epoch_of_which_nothing_is_left_is_forgotten_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "EPOCHS_KEPT", 2)

    async def one(box: Outbox) -> None:
        await _stored(box, [1])

    _run(tmp_path, one)
    for _ in range(3):
        _run(tmp_path, _start)

    async def next_record(box: Outbox) -> None:
        box.receipted([Run(ALARM, 1, 1, 1)])
        await _stored(box, [1])

    _run(tmp_path, next_record)
    start = _run(tmp_path, _start)
    assert sorted(start.epochs.values()) == [4, 5], "the head's, and the newest"
    assert start.receipted == ()


def test_a_second_gateway_on_one_store_is_refused(tmp_path: Path) -> None:
    async def story(_box: Outbox) -> None:
        with pytest.raises(StoreError, match="in use by another process"):
            await Outbox.open(tmp_path, b"abcd", CHAIN)

    _run(tmp_path, story)


def test_a_store_of_newer_software_is_left_alone(tmp_path: Path) -> None:
    _run(tmp_path, _start)
    store = sqlite3.connect(tmp_path / FILE)
    store.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreError, match="newer software"):
        _run(tmp_path, _start)


# Records.


def test_a_record_is_told_durable_only_when_another_process_can_see_it(tmp_path: Path) -> None:
    async def story(box: Outbox) -> list[list[tuple[Any, ...]]]:
        seen: list[list[tuple[Any, ...]]] = []
        for sequence in (1, 2):
            box.append(_entry(box, sequence, stored=lambda: seen.append(_records(tmp_path))))
        await _until(lambda: len(seen) == 2)
        return seen

    both = [(ALARM, 1, 1), (ALARM, 1, 2)]
    assert _run(tmp_path, story) in ([both[:1], both], [both, both])


def test_a_burst_shares_commits(tmp_path: Path) -> None:
    async def story(box: Outbox) -> int:
        assert box._database is not None
        gate, commits = threading.Event(), []
        box._database.submit(lambda _connection: gate.wait())
        box._database.submit(lambda c: c.set_trace_callback(lambda said: commits.append(said == "COMMIT")))
        for sequence in range(1, 1001):
            box.append(_entry(box, sequence))
        gate.set()
        await _stored(box, [1001])
        return sum(commits)

    assert _run(tmp_path, story) <= 4


def test_records_of_earlier_epochs_are_read_first_each_lane_for_itself(tmp_path: Path) -> None:
    async def first(box: Outbox) -> None:
        await _stored(box, [1, 2])
        await _stored(box, [1], STATUS)

    async def second(box: Outbox) -> list[list[tuple[int, int]]]:
        await _stored(box, [1, 2])
        return [
            [(item.ordinal, item.sequence) for item in (await box.read(want))[0]]
            for want in (After(ALARM, None), After(ALARM, (1, 2)), After(STATUS, None), Run(ALARM, 1, 2, 9))
        ]

    _run(tmp_path, first)
    assert _run(tmp_path, second) == [[(1, 1), (1, 2), (2, 1), (2, 2)], [(2, 1), (2, 2)], [(1, 1)], [(1, 2)]]


def test_a_long_backlog_is_read_in_pieces_without_hole_or_repeat(tmp_path: Path) -> None:
    count = READ_ROWS + 100

    async def story(box: Outbox) -> list[int]:
        await _stored(box, range(1, count + 1), TELEMETRY)
        read: list[int] = []
        position: tuple[int, int] | None = None
        complete: bool | None = False
        while not complete:
            items, complete = await box.read(After(TELEMETRY, position))
            assert len(items) <= READ_ROWS
            read += [item.sequence for item in items]
            position = (items[-1].ordinal, items[-1].sequence)
        return read

    assert _run(tmp_path, story) == list(range(1, count + 1))


def test_what_is_not_durable_yet_is_read_from_memory_whatever_commits_meanwhile(tmp_path: Path) -> None:
    async def story(box: Outbox) -> list[list[int]]:
        assert box._database is not None
        found: list[list[int]] = []
        await _stored(box, [1, 2])
        for sequence in range(3, 60):
            gate = threading.Event()
            box._database.submit(partial(_wait, gate=gate))
            box.append(_entry(box, sequence))
            reading = asyncio.ensure_future(box.read(After(ALARM, (1, sequence - 2))))
            if sequence % 3 == 0:
                await asyncio.sleep(0)
            gate.set()
            if sequence % 2 == 0:
                await asyncio.sleep(0.001)
            found.append([item.sequence for item in (await reading)[0]])
        return found

    assert _run(tmp_path, story) == [[sequence - 1, sequence] for sequence in range(3, 60)]


def test_a_device_s_counters_and_event_are_in_its_record_s_transaction(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        await _stored(box, [1], device=_device(7, 3), event_number=3)

    _run(tmp_path, story)
    start = _run(tmp_path, _start)
    assert start.devices == {"0c500042": _device(7, 3)}
    assert start.events == (EventState("0c500042", 3, ALARM, 1, 1, 1),)


def test_that_an_operator_has_seen_an_event_is_in_its_record_s_transaction_and_no_receipt_lowers_it(
    tmp_path: Path,
) -> None:
    async def story(box: Outbox) -> None:
        await _stored(box, [1, 2], device=_device(7, 3), event_number=3)
        await _stored(box, [1], STATUS, acknowledges=("0c500042", 3))
        box.receipted([Run(ALARM, 1, 1, 1)])

    _run(tmp_path, story)
    assert _run(tmp_path, _start).events == (EventState("0c500042", 3, ALARM, 1, 1, 3),)


def test_an_event_and_its_acknowledgement_in_one_transaction_are_both_there(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        box.append(_entry(box, 1, STATUS, acknowledges=("0c500042", 3)))
        box.append(_entry(box, 1, device=_device(7, 3), event_number=3))

    _run(tmp_path, story)
    assert _run(tmp_path, _start).events == (EventState("0c500042", 3, ALARM, 1, 1, 3),)


def test_the_window_of_event_numbers_is_the_highest_and_64_below_and_outlives_the_records(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        for number in range(1, 81):
            await _stored(box, [number], device=_device(number, number), event_number=number)
        box.receipted([Run(ALARM, 1, 1, 79)])

    _run(tmp_path, story)
    assert _records(tmp_path) == [(ALARM, 1, 80)]
    events = _run(tmp_path, _start).events
    assert [(event.number, event.stage) for event in events] == [*((n, 2) for n in range(16, 80)), (80, 1)]


def test_counters_that_no_record_carried_are_remembered_and_never_go_back(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        box.remember([_device(9)])
        box.remember([_device(8)])

    _run(tmp_path, story)
    assert _run(tmp_path, _start).devices == {"0c500042": _device(9)}


def test_a_revoked_device_is_forgotten_and_its_records_stay(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        await _stored(box, [1], device=_device(7, 3), event_number=3)
        box.forget("0c500042")

    _run(tmp_path, story)
    start = _run(tmp_path, _start)
    assert (start.devices, start.events) == ({}, ())
    assert _records(tmp_path) == [(ALARM, 1, 1)]


# Retention.


def test_only_what_a_receipt_covers_is_forgotten(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        await _stored(box, range(1, 7))
        await _stored(box, range(1, 4), STATUS)
        box.receipted([Run(ALARM, 1, 2, 3), Run(ALARM, 1, 5, 5), Run(STATUS, 7, 1, 3)])

    _run(tmp_path, story)
    assert _records(tmp_path) == [(ALARM, 1, n) for n in (1, 4, 6)] + [(STATUS, 1, n) for n in (1, 2, 3)]


def test_a_lane_s_last_record_is_kept_until_the_next_is_stored(tmp_path: Path) -> None:
    async def receipt(box: Outbox) -> list[tuple[Any, ...]]:
        await _stored(box, [1, 2, 3])
        box.receipted([Run(ALARM, 1, 1, 3)])
        await _stored(box, [1], STATUS)
        return _records(tmp_path)

    assert _run(tmp_path, receipt) == [(ALARM, 1, 3), (STATUS, 1, 1)]
    head = _digest(f"{ALARM}/1/3.".encode().ljust(300, b"."))
    start = _run(tmp_path, _start, b"efgh")
    assert start.heads[ALARM] == Head(bytes.fromhex("00000001") + b"abcd", 3, head)
    assert start.receipted == (Run(ALARM, 1, 1, 3),), "merged; the head is not sent again"

    async def following(box: Outbox) -> None:
        await _stored(box, [1])

    _run(tmp_path, following)
    assert _records(tmp_path) == [(ALARM, 3, 1), (STATUS, 1, 1)]
    assert _run(tmp_path, _start).receipted == (Run(ALARM, 1, 1, 3),), "should C5 ask for it, it is told the truth"


def test_a_receipt_that_comes_before_the_commit_still_leaves_nothing_but_the_head(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        assert box._database is not None
        gate = threading.Event()
        box._database.submit(lambda _connection: gate.wait())
        for sequence in (1, 2, 3):
            box.append(_entry(box, sequence))
        box.receipted([Run(ALARM, 1, 1, 3)])
        assert (await box.read(After(ALARM, None)))[0] == []
        gate.set()

    _run(tmp_path, story)
    assert _records(tmp_path) == [(ALARM, 1, 3)]
    assert _run(tmp_path, _start).receipted == (Run(ALARM, 1, 1, 3),)


# A disk that doesn't work.


async def _fill(box: Outbox) -> None:
    """Let the disk have no more room: SQLite says so from here on, as on ENOSPC."""
    assert box._database is not None
    await _until(lambda: box._bound)
    await box._database.submit(lambda c: c.execute("PRAGMA max_page_count = 1").fetchall())


async def _make_room(box: Outbox) -> None:
    assert box._database is not None
    await box._database.submit(lambda c: c.execute("PRAGMA max_page_count = 1073741823").fetchall())


def test_a_full_disk_is_a_trouble_and_nothing_is_told_stored_until_it_heals(tmp_path: Path) -> None:
    async def story(box: Outbox) -> list[str]:
        told: list[str] = []
        box.on_trouble = lambda trouble: told.append("trouble" if trouble else "healed")
        await _stored(box, [1])
        await _fill(box)
        for sequence in range(2, 40):
            box.append(
                _entry(
                    box, sequence, device=_device(sequence, sequence), event_number=sequence,
                    stored=lambda sequence=sequence: told.append(f"stored {sequence}"),
                )
            )  # fmt: skip
        await _until(lambda: box.trouble is not None)
        assert box.trouble is not None
        assert "full" in box.trouble
        assert told == ["trouble"]
        items, complete = await box.read(After(ALARM, None))
        assert ([item.sequence for item in items], complete) == (list(range(1, 40)), True)
        await _make_room(box)
        await _until(lambda: box.trouble is None)
        return told

    assert _run(tmp_path, story) == ["trouble", *(f"stored {n}" for n in range(2, 40)), "healed"]
    assert _records(tmp_path) == [(ALARM, 1, n) for n in range(1, 40)]
    start = _run(tmp_path, _start)
    assert start.heads[ALARM].sequence == 39
    assert start.devices == {"0c500042": _device(39, 39)}


def test_what_is_signed_while_the_disk_heals_is_stored_too(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        await _fill(box)
        for sequence in range(1, 30):
            box.append(_entry(box, sequence))
        await _until(lambda: box.trouble is not None)
        await _make_room(box)
        sequence = 30
        told: list[int] = []
        while box.trouble is not None:
            box.append(_entry(box, sequence, stored=lambda sequence=sequence: told.append(sequence)))
            sequence += 1
            await asyncio.sleep(0.02)
        await _stored(box, [sequence])
        assert told == list(range(30, sequence))

    _run(tmp_path, story)
    records = [sequence for _lane, _ordinal, sequence in _records(tmp_path)]
    assert records == list(range(1, len(records) + 1))
    assert _run(tmp_path, _start).heads[ALARM].sequence == len(records)


def test_an_older_record_that_is_stored_late_is_no_head(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        for sequence in (1, 2, 5):
            await _stored(box, [sequence], device=_device(sequence))
        box.receipted([Run(ALARM, 1, 5, 5)])
        for sequence in (3, 4):
            await _stored(box, [sequence], device=_device(sequence))

    _run(tmp_path, story)
    assert _records(tmp_path) == [(ALARM, 1, n) for n in (1, 2, 3, 4, 5)]
    start = _run(tmp_path, _start)
    assert start.heads[ALARM].sequence == 5
    assert start.receipted == (Run(ALARM, 1, 5, 5),)
    assert start.devices["0c500042"].counter == 5


def test_what_c5_receipts_while_the_disk_fails_leaves_memory_but_its_counters_are_kept(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        await _fill(box)
        for sequence in range(1, 30):
            box.append(_entry(box, sequence, device=_device(sequence, sequence), event_number=sequence))
        await _until(lambda: box.trouble is not None)
        box.receipted([Run(ALARM, 1, 1, 29)])
        assert box._pending.size == 0
        box.remember([DeviceState("0c500043", 4, b"t", 0, False, 0)])
        await _make_room(box)
        await _until(lambda: box.trouble is None)

    _run(tmp_path, story)
    assert _records(tmp_path) == []
    assert {name: state.counter for name, state in _run(tmp_path, _start).devices.items()} == {
        "0c500042": 29,
        "0c500043": 4,
    }


def test_what_c5_receipts_while_the_disk_fails_is_forgotten_when_it_heals(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        await _stored(box, range(1, 6))
        await _fill(box)
        for sequence in range(6, 36):
            box.append(_entry(box, sequence))
        await _until(lambda: box.trouble is not None)
        box.receipted([Run(ALARM, 1, 1, 2)])
        box.receipted([Run(ALARM, 1, 3, 4)])
        await _make_room(box)
        await _until(lambda: box.trouble is None)

    _run(tmp_path, story)
    assert _records(tmp_path) == [(ALARM, 1, n) for n in range(5, 36)]


def test_memory_that_stands_in_for_a_disk_is_bounded_and_its_last_half_is_for_alarms(tmp_path: Path) -> None:
    async def story(box: Outbox) -> None:
        await _fill(box)
        box.append(_entry(box, 1, size=4000))
        await _until(lambda: box.trouble is not None)
        sequence = 1
        while box.room(STATUS):
            sequence += 1
            box.append(_entry(box, sequence, size=4000))
        assert MEMORY_ALARMS_ONLY <= box._pending.size < MEMORY_ALARMS_ONLY + 4000
        assert not box.room(TELEMETRY)
        while box.room(ALARM):
            sequence += 1
            box.append(_entry(box, sequence, size=4000))
        assert MEMORY_MAX <= box._pending.size < MEMORY_MAX + 4000
        box.receipted([Run(ALARM, 1, 1, sequence)])
        assert box.room(STATUS)
        assert box._pending.size == 0

    _run(tmp_path, story)


def test_a_store_that_can_t_be_opened_leaves_a_gateway_without_a_disk_until_it_can(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()

    async def story(box: Outbox) -> Any:
        assert box.trouble is not None
        assert box.start.unstored
        told: list[int] = []
        for sequence in (1, 2):
            box.append(_entry(box, sequence, stored=lambda sequence=sequence: told.append(sequence)))
        assert [item.sequence for item in (await box.read(After(ALARM, None)))[0]] == [1, 2]
        assert told == []
        (tmp_path / FILE).rmdir()
        await _until(lambda: box.trouble is None)
        assert told == [1, 2]
        return box.start

    start = _run(tmp_path, story)
    assert _records(tmp_path) == [(ALARM, start.ordinal, 1), (ALARM, start.ordinal, 2)]
    after = _run(tmp_path, _start)
    assert (after.start_count, after.ordinal) == (start.start_count + 1, start.ordinal + 1)
    assert after.heads[ALARM].epoch == start.epoch


def test_without_a_disk_what_memory_holds_is_what_waits(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()

    async def story(box: Outbox) -> None:
        none = Waiting(0, 0, None)
        assert await box.waiting() == {"alarm": none, "status": none, "telemetry": none}
        for sequence, lane in ((1, ALARM), (2, ALARM), (1, STATUS)):
            box.append(_entry(box, sequence, lane))
        assert await box.waiting() == {
            "alarm": Waiting(2, 600, None),
            "status": Waiting(1, 300, None),
            "telemetry": none,
        }
        box.receipted([Run(ALARM, box.start.ordinal, 1, 1)])
        assert (await box.waiting())["alarm"] == Waiting(1, 300, None)

    _run(tmp_path, story)


def test_a_store_that_couldn_t_be_read_at_the_start_tells_its_epochs_once_it_can(tmp_path: Path) -> None:
    before = _run(tmp_path, _start)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as store:
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # all of it in the one file that goes away
    (tmp_path / FILE).rename(tmp_path / "away")
    (tmp_path / FILE).mkdir()

    async def story(box: Outbox) -> dict[bytes, int]:
        learnt: dict[bytes, int] = {}
        box.on_salvaged = lambda _taken, ordinals: learnt.update(ordinals)
        assert box.start.epochs == {}
        (tmp_path / FILE).rmdir()
        (tmp_path / "away").rename(tmp_path / FILE)
        await _until(lambda: box.trouble is None)
        return learnt

    learnt = _run(tmp_path, story)
    assert learnt[before.epoch] == before.ordinal, "receipts speak of it by its name"


def test_a_full_disk_at_the_start_still_gives_an_epoch_with_the_old_heads(tmp_path: Path) -> None:
    """In a process of its own, in which no file may grow."""

    async def before(box: Outbox) -> None:
        await _stored(box, [1, 2], device=_device(7, 3), event_number=3)

    _run(tmp_path, before)
    story = """
import asyncio, resource, signal, sys
from pathlib import Path
from gateway.delivery.item import After
from gateway.event import Lane
from gateway.outbox.store import Outbox
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
async def main():
    box = await Outbox.open(Path(sys.argv[1]), b"efgh", b"chain")
    start = box.start
    read = await box.read(After(Lane.ALARM, None))
    print(start.unstored, start.start_count, start.ordinal, start.heads[Lane.ALARM].sequence, sorted(start.devices),
          len(read[0]), box.trouble is not None)
    await box.close()
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", story, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.split() == ["True", "2", "2", "2", "['0c500042']", "0", "True"], done.stderr
    assert _run(tmp_path, _start).start_count == 2, "nothing was stored"
