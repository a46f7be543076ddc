"""A store that can't be read at the start: the next alarm is at C5 within a second, and what waited comes after it."""

import asyncio
import json
import random
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from gateway.outbox.inspect import FILE
from gateway.outbox.pages import PAGE
from tests.support.measured import Measured
from tests.support.world import HONEST, Counted, World, until

WAITING = 4  # presses in the outage before


@pytest.mark.parametrize("page", ["first", "record", "device", "everywhere"])
def test_a_press_on_a_damaged_store_is_at_c5_within_a_second_and_what_waited_follows(
    tmp_path: Path, authority: Path, counted: Counted, measured: Measured, page: str
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(90), World(tmp_path, authority) as world:
            await world.press(stage=2)
            await world.broker.stop()
            for _ in range(WAITING):
                await world.press(stage=1)
            world.gateway.kill()
            _damage(world.gateway.state_dir / FILE, page)
            await world.broker.restart()
            await world.gateway.start()
            await world.connected()
            happened = time.monotonic()
            number = await world.board.press()
            await until(lambda: any(held.event_number == number for held in world.receiver.held()), "the press at C5")
            took = round(time.monotonic() - happened, 3)
            assert took < 1.0
            measured(f"damaged store ({page}), at the next start: press to C5", "s", took, 1)
            await world.board.stage(number, 1, 10)
            await until(lambda: world.receiver.of_type("storage.degraded"), "storage.degraded at C5")
            await until(lambda: world.receiver.of_type("storage.restored"), "storage.restored at C5")
            assert await world.troubles() == ""
            kept = [file.name for file in world.gateway.state_dir.glob("outbox-salvaged-*.db")]
            assert len(kept) == 1
            if page == "everywhere":
                lost = [record for record in world.receiver.held() if record.type == "records.unavailable"]
                counted({"press to C5, s": took, "declared": len(lost)})
            else:
                counted(await world.judged(reports=HONEST) | {"press to C5, s": took})

    asyncio.run(journey())


def test_a_technician_salvages_a_file_beside_the_service_and_without_it(tmp_path: Path, authority: Path) -> None:
    async def journey() -> None:
        async with asyncio.timeout(60), World(tmp_path, authority) as world:
            await world.broker.stop()
            for _ in range(WAITING):
                await world.press(stage=1)
            world.gateway.kill()
            card = tmp_path / "card.db"
            store = world.gateway.state_dir / FILE
            _take_out(store, card)
            await world.gateway.start()
            assert await _salvaged(world, card) == (0, WAITING, [])
            assert await _salvaged(world, card) == (0, 0, [])
            (tmp_path / "notes.txt").write_text("the wrong file")
            assert (await _salvaged(world, tmp_path / "notes.txt"))[0] == 1
            world.gateway.kill()
            _take_out(store, tmp_path / "away.db")
            assert await _salvaged(world, card) == (0, WAITING, [])
            await world.broker.restart()
            await world.gateway.start()
            truth = {press.event for press in world.ledger.presses}
            await until(lambda: truth <= {held.event_number for held in world.receiver.held()}, "every press at C5")

    asyncio.run(journey())


def _take_out(store: Path, card: Path) -> None:
    for suffix in ("", "-wal"):
        shutil.move(f"{store}{suffix}", f"{card}{suffix}")


async def _salvaged(world: World, file: Path) -> tuple[int, int, object]:
    status, printed, said = await world.gateway.command("outbox", "salvage", str(file), "--json")
    assert printed, said
    told = json.loads(printed)
    return status, told["taken"]["alarm"], told["lost"]


def _damage(path: Path, page: str) -> None:
    """Write the log into the file, as a stop does, then zeros over one page, or noise over all."""
    connection = sqlite3.connect(path)
    roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"))
    connection.close()
    data = bytearray(path.read_bytes())
    if page == "everywhere":
        data = bytearray(random.Random(1).randbytes(len(data)))
    else:
        number = 1 if page == "first" else roots[page]
        begin = (number - 1) * PAGE
        length = PAGE if page == "first" else 100  # of a table its page's head: the rows stay
        data[begin : begin + length] = bytes(length)
    path.write_bytes(data)
