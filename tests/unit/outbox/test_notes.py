"""What supervision notes is durable with its record, and outlives a restart and a damaged store."""

import asyncio
from pathlib import Path

from gateway.delivery.item import Note, Run
from gateway.event import Lane
from gateway.outbox.inspect import FILE
from gateway.outbox.pages import PAGE
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
    data = bytearray((tmp_path / FILE).read_bytes())
    data[16:18] = bytes(2)  # a page size that can't be
    (tmp_path / FILE).write_bytes(data)
    assert len(data) > PAGE
    assert noted(tmp_path) == (LOST,)
