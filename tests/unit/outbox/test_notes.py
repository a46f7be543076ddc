"""What supervision notes is durable with its record, and outlives a restart and a damaged store."""

import asyncio
import contextlib
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

from gateway.database import Disk
from gateway.delivery.item import Entry, Item, Note, Run
from gateway.event import Lane
from gateway.outbox import statements, wreck
from gateway.outbox.inspect import FILE
from gateway.outbox.migrate import MIGRATIONS
from gateway.outbox.pages import PAGE
from gateway.outbox.pending import Pending
from gateway.sensing.contact import Contact
from gateway.tasks.inputs import told
from tests.support.storing import Life

LOST, JAMMED, INTERVAL = (
    Note("0c500042", "device.lost", 180),
    Note("radio", "radio.jammed", 0),
    Note("b", "interval", 9),
)


def noted(folder: Path) -> tuple[Note, ...]:
    async def look() -> tuple[Note, ...]:
        async with Life(folder, b"look") as life:
            return life.box.start.notes

    return asyncio.run(look())


def test_a_note_of_settings_is_no_damage_at_the_next_start(tmp_path: Path) -> None:
    applied = Note("gw-1", "config.changed", 2**48 - 1)  # twelve digits of a SHA-256

    async def first() -> None:
        async with Life(tmp_path) as life:
            life.sign("config.changed", notes=(applied,))

    async def second() -> tuple[tuple[Note, ...], str | None]:
        async with Life(tmp_path, b"efgh") as life:
            return life.box.start.notes, life.box.complaint

    asyncio.run(first())
    assert asyncio.run(second()) == ((applied,), None)


def test_a_note_is_there_after_a_restart_until_its_end_is_told(tmp_path: Path) -> None:
    async def first() -> None:
        async with Life(tmp_path) as life:
            life.sign("device.lost", "0c500042", notes=(LOST,))
            life.sign("radio.jammed", "radio", notes=(JAMMED,))
            life.box.remember((), (INTERVAL,))

    async def second() -> None:
        async with Life(tmp_path, b"efgh") as life:
            life.sign("device.restored", "0c500042", notes=(Note("0c500042", "device.lost", None),))

    asyncio.run(first())
    assert noted(tmp_path) == (LOST, INTERVAL, JAMMED)
    asyncio.run(second())
    assert noted(tmp_path) == (INTERVAL, JAMMED)


def test_a_device_that_is_forgotten_leaves_no_note(tmp_path: Path) -> None:
    async def life_() -> None:
        async with Life(tmp_path) as life:
            life.sign("device.lost", "0c500042", notes=(LOST,))
            life.box.remember((), (Note("0c500042", "interval", 60), INTERVAL))
            life.box.forget("0c500042")

    asyncio.run(life_())
    assert noted(tmp_path) == (INTERVAL,)


def test_what_c5_has_before_a_dead_disk_took_it_leaves_its_note(tmp_path: Path) -> None:
    async def life_() -> None:
        async with Life(tmp_path) as life:
            life.sign("device.lost", "0c500042", notes=(LOST,))
            life.box._pending.free((Run(Lane.STATUS, 1, 1, 1),), 1)
            assert not life.box._pending.waiting

    asyncio.run(life_())
    assert noted(tmp_path) == (LOST,)


def test_a_damaged_store_still_says_what_was_told(tmp_path: Path) -> None:
    async def life_() -> None:
        async with Life(tmp_path) as life:
            life.sign("device.lost", "0c500042", notes=(LOST,))

    asyncio.run(life_())
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection:  # two that close at once may leave a log
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    data = bytearray((tmp_path / FILE).read_bytes())
    data[16:18] = bytes(2)  # a page size that can't be
    (tmp_path / FILE).write_bytes(data)
    assert len(data) > PAGE
    assert noted(tmp_path) == (LOST,)


# Of two notes of one thing the later counts, in whatever order their records become durable: a stale ACTIVE would keep
# the alarm of a button that is held at the next start from being told.

HELD, FREE = Note("desk", "panic.silent", 1), Note("desk", "panic.silent", None)


def test_a_tap_that_ended_before_its_record_was_taken_leaves_no_note(tmp_path: Path) -> None:
    async def life_() -> None:
        async with Life(tmp_path) as life:
            life.sign("panic.silent", "desk", notes=(HELD,))
            life.box.remember((), (FREE,))

    asyncio.run(life_())
    assert noted(tmp_path) == ()


def test_pressed_released_and_pressed_again_in_one_transaction_is_pressed(tmp_path: Path) -> None:
    async def life_() -> None:
        async with Life(tmp_path) as life:
            for type_, value in (("panic.pressed", 1), ("panic.released", None), ("panic.pressed", 1)):
                life.sign(type_, "desk", notes=(Note("desk", "panic.pressed", value),))

    asyncio.run(life_())
    assert noted(tmp_path) == (Note("desk", "panic.pressed", 1),)


def test_what_c5_has_before_a_dead_disk_took_it_leaves_no_note_that_is_older_than_what_is_known(tmp_path: Path) -> None:
    async def life_() -> None:
        async with Life(tmp_path) as life:
            life.sign("panic.silent", "desk", notes=(HELD,))
            life.box.remember((), (FREE,))
            life.box._pending.free((Run(Lane.ALARM, 1, 1, 1),), 1)

    asyncio.run(life_())
    assert noted(tmp_path) == ()


def test_a_record_that_waits_in_memory_writes_no_note_over_a_newer_one() -> None:
    """The press finds no room on the disk, the release does; then the disk has room again."""
    now = [0.0]
    pending = Pending(lambda: now[0])
    opened = Note("door", "door.opened", 1)
    pending.add(Entry(Item(Lane.STATUS, 1, 1, b"opened"), b"", notes=(opened,)))
    pending.remember((), (Note("door", "door.opened", None),))
    write = pending.take(shared=False)
    assert write is not None
    assert (write.entries, [note.value for note in write.notes]) == ((), [None])
    pending.failed(write)
    write = pending.take(shared=False)
    assert write is not None
    assert [note.value for note in write.notes] == [None], "what failed is still owed"
    pending.done(write)
    write = pending.take(shared=True)
    assert write is not None
    assert ([entry.notes for entry in write.entries], write.notes) == ([(opened,)], ())


def test_a_note_is_never_durable_before_the_record_that_carries_it() -> None:
    """Else a power cut would leave a press that was told to nobody and is told no more."""
    pending = Pending(lambda: 0.0)
    pending.add(Entry(Item(Lane.STATUS, 1, 1, b"opened"), b"", notes=(HELD,)))
    write = pending.take(shared=True)
    assert write is not None
    pending.failed(write)
    assert pending.take(shared=False) is None


def test_back_to_idle_is_durable_at_once(tmp_path: Path) -> None:
    async def life_() -> None:
        async with Life(tmp_path) as life:
            done = asyncio.Event()
            life.sign("panic.silent", "desk", stored=done.set, notes=(HELD,))
            await done.wait()
            life.box.remember((), (FREE,))
            async with asyncio.timeout(1):
                while await asyncio.to_thread(on_disk, tmp_path):  # noqa: ASYNC110  # another process's view has no event
                    await asyncio.sleep(0.01)

    asyncio.run(life_())


def on_disk(folder: Path) -> list[tuple[str, str, int]]:
    """What a power cut now would leave."""
    with contextlib.closing(sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT * FROM note").fetchall()


def test_what_a_commit_under_way_leaves_behind_is_no_stale_press(tmp_path: Path) -> None:
    """A silent button tapped while a commit is under way, a power cut, and the button is held at the next start."""
    cut = tmp_path / "cut"
    (tmp_path / "life").mkdir()

    async def life_() -> None:
        async with Life(tmp_path / "life") as life:
            life.sign("door.opened", "hall")
            await asyncio.sleep(0)
            life.sign("panic.silent", "desk", notes=(HELD,))
            life.box.remember((), (FREE,))
            await life.record("door.closed", "hall")
            async with asyncio.timeout(1):
                while await asyncio.to_thread(on_disk, tmp_path / "life"):  # noqa: ASYNC110  # the same
                    await asyncio.sleep(0.01)
            shutil.copytree(tmp_path / "life", cut)

    asyncio.run(life_())
    contact = Contact(
        "desk", "panic.silent", None, debounce=0.03, stuck_s=600, state=told("desk", "panic.silent", noted(cut))
    )
    assert [event.type for event in contact.level(1.0, active=True)] == ["panic.silent"]


def test_a_device_that_is_enrolled_anew_before_the_commit_is_not_forgotten_with_the_one_before(tmp_path: Path) -> None:
    async def life_() -> None:
        async with Life(tmp_path) as life:
            await life.record("panic.pressed", "0c500042", 1)
            life.sign(
                "panic.pressed", "0c500042", 2, notes=(LOST,)
            )  # of the one before: still waits when it is revoked
            life.box.forget("0c500042")
            life.sign("panic.pressed", "0c500042", 9)

    async def look() -> tuple[list[int], list[int], tuple[Note, ...]]:
        async with Life(tmp_path, b"look") as life:
            start = life.box.start
            events = [event.number for event in start.events]
            return [state.counter for state in start.devices.values()], events, start.notes

    asyncio.run(life_())
    assert asyncio.run(look()) == ([9], [9], ())


def test_an_acknowledgement_that_c5_has_before_a_dead_disk_took_it_is_kept(tmp_path: Path) -> None:
    async def life_() -> None:
        async with Life(tmp_path) as life:
            await life.record("panic.pressed", "0c500042", 1)
            signed = life.sign("alarm.acknowledged")
            entry = life.box._pending.waiting[Lane.STATUS, 1]
            life.box._pending.waiting[Lane.STATUS, 1] = replace(entry, acknowledges=("0c500042", 1))
            life.box._pending.free((Run(Lane.STATUS, 1, 1, 1),), 1)
            assert signed.record.sequence == 1

    async def look() -> list[int]:
        async with Life(tmp_path, b"look") as life:
            return [event.stage for event in life.box.start.events]

    asyncio.run(life_())
    assert asyncio.run(look()) == [3]


def test_a_note_that_has_ended_stays_ended_while_a_store_that_was_set_aside_is_not_salvaged(tmp_path: Path) -> None:
    class Slow(Disk):
        """A salvage that is cut short each time."""

        async def salvaged(self, path: Path) -> None:
            pass

    async def first() -> None:
        async with Life(tmp_path) as life:
            life.sign("device.lost", "0c500042", notes=(LOST,))
            life.sign("panic.silent", "desk", notes=(HELD,))

    async def second() -> tuple[Note, ...]:
        async with Life(tmp_path, b"efgh", Slow()) as life:
            life.sign("device.restored", "0c500042", notes=(Note("0c500042", "device.lost", None),))
            life.box.remember((), (FREE,))
            return life.box.start.notes

    async def third() -> tuple[Note, ...]:
        async with Life(tmp_path, b"ijkl", Slow()) as life:
            assert life.box.complaint == "a store was set aside before"
            return life.box.start.notes

    asyncio.run(first())
    data = bytearray((tmp_path / FILE).read_bytes())
    data[16:18] = bytes(2)
    (tmp_path / FILE).write_bytes(data)
    assert asyncio.run(second()) == (LOST, HELD)
    assert asyncio.run(third()) == ()


def test_an_older_store_that_cannot_be_written_is_read_all_the_same() -> None:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for script in MIGRATIONS[:2]:
            connection.executescript(script)
        wreck.check(connection)
        assert statements.look(connection, b"abcd", b"").start_count == 1


def test_what_is_noted_of_a_point_of_a_unit_is_no_damage(tmp_path: Path) -> None:
    exceeded = Note("tower", "threshold.exceeded/wind_speed/above/0", 1)

    async def life_() -> None:
        async with Life(tmp_path) as life:
            life.box.remember((), (exceeded,))

    asyncio.run(life_())
    assert noted(tmp_path) == (exceeded,)
