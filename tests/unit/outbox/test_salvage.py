"""What comes back from a damaged store, and what never does."""

import asyncio
import contextlib
import random
import shutil
import sqlite3
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.delivery.item import Run
from gateway.errors import DamagedError
from gateway.event import Lane
from gateway.outbox import salvage, statements, store
from gateway.outbox.inspect import FILE
from gateway.outbox.pages import PAGE, Pages
from tests.support.storing import NOW_US, Life, live, live_on
from tests.support.world import until

ASIDE = "outbox-corrupt-20261122T010000Z.db"
SALVAGED = "outbox-salvaged-20261122T010000Z.db"
FIRST = "0000000161626364"
ALARM, STATUS, TELEMETRY = Lane


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage, "PAUSE", 0.0)
    monkeypatch.setattr(store, "RETRY", 0.01)


async def _history(life: Life) -> None:
    """Nine alarms of 0c500001, of which C5 has the first three; three of the status lane."""
    for number in range(1, 10):
        await life.record("panic.pressed", "0c500001", number, payload=bytes(1500 if number == 6 else 10))
    for _ in range(3):
        await life.record("door.opened", "door")
    life.box.receipted([Run(ALARM, 1, 1, 3)])


def _damage(folder: Path, page: int, content: bytes) -> None:
    """Overwrite a page, counted from 1; its tail if the content is shorter."""
    _fold(folder)
    data = bytearray((folder / FILE).read_bytes())
    data[page * PAGE - len(content) : page * PAGE] = content
    (folder / FILE).write_bytes(data)


def _fold(folder: Path) -> None:
    """Have no log beside the file: two connections that close at once may leave one."""
    with contextlib.closing(sqlite3.connect(folder / FILE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _root(folder: Path, table: str) -> int:
    connection = sqlite3.connect(folder / FILE)
    try:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    finally:
        connection.close()
    assert isinstance(root, int)
    return root


async def _here(life: Life) -> list[tuple[Lane, str, int]]:
    assert life.box._database is not None
    rows = await life.box._database.read(
        lambda c: c.execute("SELECT lane, hex(epoch), sequence FROM record JOIN epoch USING (ordinal)").fetchall()
    )
    return sorted((Lane(lane), epoch.lower(), sequence) for lane, epoch, sequence in rows)


def _part(data: bytes, _suffix: str, offset: int, length: int) -> bytes:
    return data[offset : offset + length]


def test_every_table_and_record_is_read_without_sqlite(tmp_path: Path) -> None:
    live(tmp_path, _history)
    _fold(tmp_path)
    data = (tmp_path / FILE).read_bytes()
    pages = Pages(lambda suffix, offset, length: b"" if suffix else data[offset : offset + length])
    connection = sqlite3.connect(tmp_path / FILE)
    for table, rowid in (("fact", 0), ("epoch", 1), ("record", 0), ("head", 1), ("device", 0), ("event", 0)):
        rows, whole = pages.table(_root(tmp_path, table))
        assert whole
        found = [(row[0], *row[2:]) if rowid else row for row in rows]
        assert sorted(found, key=str) == sorted(connection.execute(f"SELECT * FROM {table}"), key=str), table
    wires = {wire for (wire,) in connection.execute("SELECT cose FROM record")}
    connection.close()
    assert wires <= {wire for block in range(pages.blocks) for wire in pages.candidates(block)}


def test_noise_is_read_to_its_end_whatever_it_says() -> None:
    for seed in range(30):
        chance = random.Random(seed)
        data = b"".join(bytes([chance.choice((2, 5, 10, 13))]) + chance.randbytes(PAGE - 1) for _ in range(12))
        pages = Pages(partial(_part, data))
        for number in range(1, 13):
            rows, whole = pages.table(number)
            assert (rows, whole) == ([], False)
        for block in range(pages.blocks):
            list(pages.candidates(block))


def test_an_alarm_is_durable_before_the_salvage_and_everything_comes_back(tmp_path: Path) -> None:
    live(tmp_path, _history)
    before = live(tmp_path, _here, b"mid.")
    _damage(tmp_path, 1, bytes(PAGE))

    async def after(life: Life) -> Any:
        assert life.box.complaint is not None
        assert life.box.trouble is None
        assert life.box.salvager.busy
        await life.record("panic.pressed", "0c500001", 10)
        assert life.box.salvager.busy, "durable while the salvage has hardly begun"
        await life.salvaged()
        assert life.box.complaint is None
        assert (life.told, life.lost) == ([None], [])
        start = life.box.start
        return start, await _here(life)

    start, here = live_on(tmp_path, after)
    assert [place for place in here if place[1] != start.epoch.hex()] == before
    assert (start.start_count, start.unstored) == (3, False)
    assert {lane: (head.epoch.hex(), head.sequence) for lane, head in start.heads.items()} == {
        ALARM: (FIRST, 9), STATUS: (FIRST, 3),
    }  # fmt: skip
    assert start.receipted == (Run(ALARM, 1, 1, 3),)
    assert start.devices["0c500001"].counter == 9
    assert [(event.number, event.stage) for event in start.events] == [(1, 2), (2, 2), (3, 2)], "what C5 has"
    assert sorted(file.name for file in tmp_path.iterdir()) == [SALVAGED, FILE, f"{FILE}.lock"]
    assert (tmp_path / SALVAGED).stat().st_mode & 0o777 == 0o600


def test_telemetry_comes_back_last(tmp_path: Path) -> None:
    async def history(life: Life) -> None:
        await life.records(3 * ["measurement"], values={})
        await _history(life)

    live(tmp_path, history)
    _damage(tmp_path, 1, bytes(PAGE))
    lanes: list[Lane] = []

    async def after(life: Life) -> None:
        life.box.on_salvaged = lambda taken, _ordinals: lanes.extend(one.item.lane for one in taken)
        await life.salvaged()

    live_on(tmp_path, after)
    assert sorted(lanes[:-3]) == [*6 * [ALARM], *3 * [STATUS]]
    assert lanes[-3:] == 3 * [TELEMETRY]


def test_a_stored_record_that_no_longer_verifies_isn_t_there_for_who_asks_for_its_number(tmp_path: Path) -> None:
    live(tmp_path, _history)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        (wire,) = connection.execute("SELECT cose FROM record WHERE lane = 1 AND sequence = 2").fetchone()
        altered = wire.replace(b"door", b"roof")
        connection.execute("UPDATE record SET cose = ? WHERE lane = 1 AND sequence = 2", (altered,))

    async def asked(life: Life) -> Any:
        items, complete = await life.box.read(Run(STATUS, 1, 1, 3))
        return [item.sequence for item in items], complete

    assert live_on(tmp_path, asked) == ([1, 3], True)


def test_after_a_salvage_every_number_is_known_again(tmp_path: Path) -> None:
    live(tmp_path, _history)
    _damage(tmp_path, 1, bytes(PAGE))
    live_on(tmp_path, Life.salvaged)

    async def start(life: Life) -> Any:
        return [(event.number, event.stage) for event in life.box.start.events]

    assert live(tmp_path, start) == [*((n, 2) for n in (1, 2, 3)), *((n, 1) for n in range(4, 10))]


def test_what_can_t_be_read_is_lost_and_said_once_the_salvage_has_ended(tmp_path: Path) -> None:
    live(tmp_path, _history)
    _fold(tmp_path)
    data = (tmp_path / FILE).read_bytes()
    connection = sqlite3.connect(tmp_path / FILE)
    (wire,) = connection.execute("SELECT cose FROM record WHERE lane = 0 AND sequence = 5").fetchone()
    connection.close()
    place = data.index(wire) + 200
    (tmp_path / FILE).write_bytes(data[:place] + b"#" + data[place + 1 :])
    _damage(tmp_path, 1, bytes(PAGE))

    async def after(life: Life) -> Any:
        await life.salvaged()
        return life.lost, await _here(life)

    lost, here = live_on(tmp_path, after)
    assert lost == [(ALARM, FIRST, 5, 5)]
    assert here == [*((ALARM, FIRST, n) for n in (4, 6, 7, 8, 9)), *((STATUS, FIRST, n) for n in (1, 2, 3))]


def test_a_store_that_is_no_store_gives_nothing_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"this is no database at all" * 1000)

    async def after(life: Life) -> Any:
        await life.record("panic.pressed", "0c500001", 1)
        await life.salvaged()
        return life.box.start, life.lost, life.told

    start, lost, told = live(tmp_path, after)
    assert (start.start_count, start.heads, lost, told) == (1, {}, [], [None])


def test_a_store_that_can_t_be_opened_for_a_moment_is_tried_again_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(tmp_path, _history)
    _damage(tmp_path, 1, bytes(PAGE))

    async def after(life: Life) -> Any:
        await life.salvaged()
        return [place for place in await _here(life) if place[0] is ALARM]

    opened = Path.open

    def fails(path: Path, *given: Any, **named: Any) -> Any:
        if path.name == ASIDE:
            raise OSError(5, "Input/output error")
        return opened(path, *given, **named)

    monkeypatch.setattr(Path, "open", fails)
    assert live_on(tmp_path, after) == []
    monkeypatch.setattr(Path, "open", opened)
    assert live(tmp_path, after, b"next") == [(ALARM, FIRST, number) for number in range(4, 10)]
    assert not (tmp_path / ASIDE).exists()


def test_a_file_of_which_we_make_nothing_keeps_us_from_no_other(tmp_path: Path) -> None:
    live(tmp_path, _history)
    _damage(tmp_path, 1, bytes(PAGE))
    (tmp_path / "outbox-corrupt-20261121T010000Z.db").write_bytes(bytes(PAGE))

    async def after(life: Life) -> Any:
        def fails_once(*_: object) -> None:
            life.box.salvager.on_taken = lambda _taken, _ordinals: None
            raise KeyError("a mistake of ours")

        life.box.salvager.on_taken = fails_once
        await life.salvaged()
        return [place for place in await _here(life) if place[0] is ALARM]

    assert live_on(tmp_path, after) == [(ALARM, FIRST, number) for number in range(4, 10)]


def test_records_of_another_gateway_or_key_are_left_where_they_are(tmp_path: Path) -> None:
    live(tmp_path, _history)
    _fold(tmp_path)
    data = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(data.replace(b"gw-1", b"gw-2"))  # as a thief of the card would have it
    _damage(tmp_path, 1, bytes(PAGE))

    async def after(life: Life) -> Any:
        await life.salvaged()
        return await _here(life)

    assert live_on(tmp_path, after) == []


def test_a_device_whose_counter_is_damaged_is_heard_as_one_enrolled_anew(tmp_path: Path) -> None:
    live(tmp_path, _history)
    _damage(tmp_path, _root(tmp_path, "device"), random.Random(3).randbytes(30))
    _damage(tmp_path, 1, bytes(PAGE))

    async def after(life: Life) -> Any:
        return life.box.start.devices, life.box.start.start_count

    assert live_on(tmp_path, after) == ({}, 2)


def test_a_salvage_that_is_cut_short_begins_anew_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(tmp_path, _history)
    before = live(tmp_path, _here, b"mid.")
    _damage(tmp_path, 1, bytes(PAGE))
    monkeypatch.setattr(salvage, "PAUSE", 60.0)

    async def short(life: Life) -> None:
        await life.record("panic.pressed", "0c500001", 10)

    live_on(tmp_path, short)
    assert (tmp_path / ASIDE).exists()
    monkeypatch.setattr(salvage, "PAUSE", 0.0)

    async def after(life: Life) -> Any:
        assert life.box.complaint is not None
        await life.salvaged()
        return [place for place in await _here(life) if place[1] == FIRST], life.box.start.start_count

    assert live(tmp_path, after, b"more") == (before, 4)


def test_damage_that_a_running_store_meets_is_set_aside_without_a_restart(tmp_path: Path) -> None:
    async def story(life: Life) -> Any:
        await _history(life)
        assert life.box._database is not None
        await life.box._database.submit(lambda c: c.execute("PRAGMA wal_autocheckpoint = 1").fetchall())
        await life.record("panic.pressed", "0c500001", 10)
        for number in range(11, 20):
            await life.record("panic.pressed", "0c500001", number)
        log = tmp_path / f"{FILE}-wal"
        with log.open("r+b") as file, (tmp_path / FILE).open("r+b") as main:
            for target, size in ((file, log.stat().st_size), (main, (tmp_path / FILE).stat().st_size)):
                for page in range(2, size // PAGE):
                    target.seek(page * PAGE + 7)
                    target.write(b"\xff" * 40)
        alarm = None
        for number in range(20, 24):
            alarm = await life.record("panic.pressed", "0c500001", number)
            await life.box.waiting()
            await asyncio.sleep(0.05)
        await life.salvaged()
        assert life.told[0] is not None
        assert life.told[-1] is None
        assert alarm is not None
        return (ALARM, FIRST, alarm.record.sequence) in await _here(life)

    assert live(tmp_path, story)
    assert (tmp_path / SALVAGED).exists()


def test_a_file_of_another_card_is_salvaged_by_name_and_nothing_of_ours_changes(tmp_path: Path) -> None:
    theirs, ours, card = tmp_path / "old", tmp_path / "new", tmp_path / "card.db"
    theirs.mkdir()
    ours.mkdir()
    live(theirs, _history)
    _fold(theirs)
    shutil.copy(theirs / FILE, card)
    content = card.read_bytes()

    async def story(life: Life) -> Any:
        await life.record("panic.pressed", "0c500002", 1)
        life.box.salvager.begin(card)
        await life.salvaged()
        assert life.told == [], "no trouble of this store"
        return await _here(life)

    here = live_on(ours, story)
    assert here == [
        *((ALARM, FIRST, n) for n in range(4, 10)),
        (ALARM, "0000000165666768", 1),
        *((STATUS, FIRST, n) for n in (1, 2, 3)),
    ]  # fmt: skip
    assert card.read_bytes() == content

    async def next_start(life: Life) -> Any:
        return life.box.start.heads[ALARM].epoch.hex(), life.box.start.devices.keys(), life.box.start.start_count

    assert live(ours, next_start) == ("0000000165666768", {"0c500002"}, 2)


def test_a_log_that_has_lost_what_was_durable_is_no_power_cut(tmp_path: Path) -> None:
    home, cut = tmp_path / "home", tmp_path / "cut"
    home.mkdir()

    async def story(life: Life) -> None:
        await _history(life)
        shutil.copytree(home, cut)

    live(home, story)
    log = bytearray((cut / f"{FILE}-wal").read_bytes())
    place = 32 + len(log) // (24 + PAGE) // 3 * (24 + PAGE) + 2000  # in a commit with many behind it
    log[place : place + 100] = b"#" * 100
    (cut / f"{FILE}-wal").write_bytes(log)

    async def after(life: Life) -> Any:
        assert life.box.complaint is not None
        await life.salvaged()
        return life.lost, [place for place in await _here(life) if place[0] is ALARM]

    lost, here = live_on(cut, after)
    assert lost == []
    assert {(ALARM, FIRST, n) for n in range(4, 10)} <= set(here)


class Full:
    """A disk without room for what a new store begins with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
        self.full = True
        self._works = getattr(statements, function)
        monkeypatch.setattr(statements, function, self._tried)

    def _tried(self, *given: Any, **named: Any) -> Any:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        return self._works(*given, **named)


async def _asked(life: Life, run: Run) -> tuple[list[int], bool | None]:
    items, complete = await life.box.read(run)
    return [item.sequence for item in items], complete


def test_from_the_damage_to_the_end_of_the_salvage_nothing_that_was_asked_for_is_said_to_be_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(life: Life) -> None:
        await _history(life)
        disk = Full(monkeypatch, "resume")
        assert not life.box.unsure
        life.box._met(DamagedError("a reading met damage", ""))
        assert life.box.unsure, "from the moment of damage"
        await until((tmp_path / ASIDE).exists, "it is set aside")
        for _ in range(3):
            await asyncio.sleep(0.03)
            assert await _asked(life, Run(ALARM, 1, 4, 9)) == ([], None)
            assert life.box.unsure
        monkeypatch.setattr(salvage, "PAUSE", 0.1)
        disk.full = False
        await until(lambda: life.box.trouble is None, "there is a new store")
        assert (await _asked(life, Run(ALARM, 1, 4, 12)))[1] is None, "nor now"
        await life.salvaged()
        assert await _asked(life, Run(ALARM, 1, 4, 9)) == ([4, 5, 6, 7, 8, 9], True)
        assert await _asked(life, Run(ALARM, 1, 10, 12)) == ([], True)
        assert life.lost == []

    live(tmp_path, story)


def test_what_is_all_there_is_said_to_be_there_though_something_is_being_salvaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(tmp_path, _history)
    _damage(tmp_path, 1, bytes(PAGE))
    monkeypatch.setattr(salvage, "PAUSE", 60.0)

    async def story(life: Life) -> None:
        await life.record("panic.pressed", "0c500001", 10)
        ordinal = life.box.start.ordinal
        assert life.box.unsure
        assert await _asked(life, Run(ALARM, ordinal, 1, 1)) == ([1], True)
        assert await _asked(life, Run(ALARM, ordinal, 1, 2)) == ([1], None)

    live_on(tmp_path, story)


def test_a_store_that_was_set_aside_at_a_start_without_room_for_a_new_one_is_salvaged_once_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(tmp_path, _history)
    before = live(tmp_path, _here, b"mid.")
    _damage(tmp_path, 1, bytes(PAGE))
    disk = Full(monkeypatch, "begin")

    async def story(life: Life) -> Any:
        assert life.box.unsure
        assert await _asked(life, Run(ALARM, 1, 4, 9)) == ([], None)
        disk.full = False
        await life.salvaged()
        assert not life.box.unsure
        return [place for place in await _here(life) if place[1] == FIRST]

    assert live_on(tmp_path, story) == before
    assert (tmp_path / SALVAGED).exists()


def test_what_was_declared_lost_is_known_at_each_start_also_of_a_store_that_was_damaged(tmp_path: Path) -> None:
    async def story(life: Life) -> None:
        await _history(life)
        for runs in ((Run(ALARM, 1, 5, 6), Run(TELEMETRY, 1, 1, 9)), (Run(ALARM, 1, 7, 7),)):
            life.sign("records.unavailable", drops=runs, lost=True)
        signed = life.sign("records.unavailable", drops=(Run(TELEMETRY, 1, 10, 20),))
        await life.record("door.closed", "door")
        life.box.receipted([Run(STATUS, 1, 1, signed.record.sequence)])

    async def start(life: Life) -> Any:
        return set(life.box.start.lost), life.box.start.declared

    live(tmp_path, story)
    lost = {Run(ALARM, 1, 5, 7), Run(TELEMETRY, 1, 1, 9)}
    assert live(tmp_path, start, b"mid.") == (lost, ())
    _damage(tmp_path, 1, bytes(PAGE))
    assert live_on(tmp_path, start) == (lost, ())


@pytest.mark.parametrize("told", [True, False])
def test_what_was_declared_lost_and_is_found_after_all_waits_for_its_receipt_again(tmp_path: Path, told: bool) -> None:
    home, card = tmp_path / "home", tmp_path / "card.db"
    home.mkdir()
    live(home, _history)
    _fold(home)
    shutil.copy(home / FILE, card)

    async def story(life: Life) -> Any:
        signed = life.sign("records.unavailable", drops=(Run(ALARM, 1, 5, 8), Run(ALARM, 1, 11, 11)), lost=True)
        await life.record("panic.pressed", "0c500002", 1)
        if told:
            life.box.receipted([Run(STATUS, life.box.start.ordinal, 1, signed.record.sequence)])
        await life.record("panic.pressed", "0c500002", 2)
        before = await _here(life)
        life.box.salvager.begin(card)
        await life.salvaged()
        return before, await _here(life)

    before, after = live_on(home, story)
    alarms = [[place[2] for place in here if place[:2] == (ALARM, FIRST)] for here in (before, after)]
    assert alarms == [[4, 9], [4, 5, 6, 7, 8, 9]]

    async def start(life: Life) -> Any:
        start = life.box.start
        receipted = [run for run in start.receipted if (run.lane, run.ordinal) == (ALARM, 1)]
        life.box.receipted([Run(ALARM, 1, 5, 7)])  # C5 has them, by now
        await life.record("panic.pressed", "0c500002", 3)
        return start.lost, receipted, [entry.run for entry in start.declared]

    own, found = Run(ALARM, 1, 11, 11), Run(ALARM, 1, 5, 8)
    covered = [Run(ALARM, 1, 1, 3), own] if told else [Run(ALARM, 1, 1, 3)]
    assert live(home, start, b"mid.") == ((found, own), covered, [] if told else [own])
    assert live(home, start, b"next")[0] == (Run(ALARM, 1, 8, 8), own)


def test_what_one_store_lacks_is_not_lost_while_another_is_still_to_be_salvaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(life: Life) -> None:
        monkeypatch.setattr(salvage, "PAUSE", 60.0)
        await _history(life)
        for number in (10, 11):
            await life.record("panic.pressed", "0c500001", number)
            life.box._rescue = replace(life.box._rescue, now_us=partial(int, NOW_US + number * 1_000_000))
            life.box._met(DamagedError("a reading met damage", ""))
            await until(lambda: life.box.trouble is None, "there is a new store")
        await life.record("panic.pressed", "0c500001", 12)

    live(tmp_path, story)
    assert sorted(file.name for file in tmp_path.glob("outbox-corrupt-*.db")) == [
        "outbox-corrupt-20261122T010010Z.db", "outbox-corrupt-20261122T010011Z.db",
    ]  # fmt: skip
    monkeypatch.setattr(salvage, "PAUSE", 0.0)

    async def after(life: Life) -> Any:
        await life.salvaged()
        return life.lost, [place for place in await _here(life) if place[0] is ALARM]

    assert live_on(tmp_path, after) == ([], [(ALARM, FIRST, number) for number in range(4, 13)])
