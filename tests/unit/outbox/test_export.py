"""What an outbox exports: everything it holds, with the chains that it was signed under."""

import asyncio
import sqlite3
from contextlib import closing
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest

from gateway.delivery.item import Entry, Item, Run
from gateway.errors import StoreError
from gateway.event import Lane
from gateway.outbox.export import ROWS, parts
from gateway.outbox.inspect import FILE
from gateway.outbox.store import Outbox
from gateway.signing import export
from gateway.signing.chains import encode_chain, encode_chains
from gateway.signing.export import End, Header
from gateway.topics import Route

ROUTE = Route("senafront", "yaviza", "gw-1")
ALARM, STATUS, TELEMETRY = Lane
FIRST, SECOND = (b"first certificate", b"issuer"), (b"second certificate", b"issuer")


def wire(lane: Lane, ordinal: int, sequence: int) -> bytes:
    """A record in its form alone: an export cuts them, and looks at nothing else."""
    payload = f"{lane.value}/{ordinal}/{sequence}".encode().ljust(40, b".")
    return b"\xd2\x84\x41\xa0\xa0\x58" + bytes([len(payload)]) + payload + b"\x58\x40" + bytes(64)


async def _started(folder: Path, chain: tuple[bytes, ...]) -> Outbox:
    return await Outbox.open(folder, bytes(4), encode_chain(chain))


async def _store(box: Outbox, lane: Lane, first: int, last: int) -> list[bytes]:
    wires = [wire(lane, box.start.ordinal, sequence) for sequence in range(first, last + 1)]
    done = asyncio.Event()
    for sequence, content in enumerate(wires, first):
        item = Item(lane, box.start.ordinal, sequence, content)
        box.append(Entry(item, sha256(content).digest(), stored=done.set if sequence == last else None))
    async with asyncio.timeout(10):
        await done.wait()
    return wires


def _exported(folder: Path) -> list[bytes]:
    found = list(export.items(BytesIO(b"".join(piece for piece, _count in parts(folder, ROUTE))).read))
    return [item for item in found if isinstance(item, bytes)]


def test_everything_is_exported_by_lane_in_its_order_under_all_its_chains(tmp_path: Path) -> None:
    async def life() -> tuple[list[bytes], list[bytes], list[bytes], list[bytes]]:
        box = await _started(tmp_path, FIRST)
        old = await _store(box, ALARM, 1, 2)
        await box.close()
        box = await _started(tmp_path, SECOND)
        alarms = await _store(box, ALARM, 1, 3)
        status = await _store(box, STATUS, 1, 1)
        telemetry = await _store(box, TELEMETRY, 1, 2 * ROWS + 5)
        beside = _exported(tmp_path)  # while the service has it open
        await box.close()
        return beside, old + alarms, status, telemetry

    beside, alarms, status, telemetry = asyncio.run(life())
    expected = [
        *export.headers(ROUTE, [FIRST, SECOND]),
        *(export.lane(ALARM), *alarms, export.lane(STATUS), *status, export.lane(TELEMETRY), *telemetry),
        export.end(len(alarms + status + telemetry)),
    ]
    assert beside == expected
    assert _exported(tmp_path) == expected, "at rest"


def test_what_c5_has_is_not_exported_but_for_each_lane_s_last_and_nor_is_its_chain(tmp_path: Path) -> None:
    async def life() -> list[bytes]:
        box = await _started(tmp_path, FIRST)
        await _store(box, ALARM, 1, 2)
        await box.close()
        box = await _started(tmp_path, SECOND)
        wires = await _store(box, ALARM, 1, 3)
        box.receipted([Run(ALARM, 1, 1, 2), Run(ALARM, 2, 1, 3)])
        await box.close()
        return wires

    wires = asyncio.run(life())
    header, *rest = _exported(tmp_path)
    assert export.part(header) == Header(ROUTE, encode_chains([SECOND]))
    assert rest == [export.lane(ALARM), wires[-1], export.end(1)]


def test_what_is_recorded_while_it_is_exported_comes_with_the_next(tmp_path: Path) -> None:
    async def life() -> tuple[list[int], list[bytes]]:
        box = await _started(tmp_path, FIRST)
        await _store(box, STATUS, 1, ROWS + 1)
        counts: list[int] = []
        for _piece, count in parts(tmp_path, ROUTE):
            counts.append(count)
            await _store(box, STATUS, ROWS + 1 + len(counts), ROWS + 1 + len(counts))
        await box.close()
        return counts, _exported(tmp_path)

    counts, after = asyncio.run(life())
    assert counts == [0, 0, ROWS, 1, 0]
    assert export.part(after[-1]) == End(ROWS + 1 + len(counts))


def test_a_reading_that_takes_long_holds_up_no_checkpoint(tmp_path: Path) -> None:
    async def life() -> tuple[int, int, int]:
        box = await _started(tmp_path, FIRST)
        await _store(box, STATUS, 1, 2 * ROWS)
        pieces = parts(tmp_path, ROUTE)
        for _ in range(3):
            next(pieces)
        with closing(sqlite3.connect(tmp_path / FILE)) as other:
            found: tuple[int, int, int] = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        await box.close()
        return found

    assert asyncio.run(life()) == (0, 0, 0), "not busy, and nothing left in the log"


def test_an_outbox_that_holds_nothing_exports_an_end_and_one_that_is_not_there_says_so(tmp_path: Path) -> None:
    async def life() -> None:
        await (await _started(tmp_path, FIRST)).close()

    asyncio.run(life())
    assert _exported(tmp_path) == [export.end(0)]
    with pytest.raises(StoreError, match="can't be read"):
        _exported(tmp_path / "elsewhere")
