"""What is left of a damaged store, back into a sound one: in the background, in small steps, each record proven.

Rules:

1. A record goes into the store only if it proves itself: the signature of this gateway, under a chain that leads to a
   trust anchor. So nothing is invented, whatever stands in the file, and whoever wrote it.
2. Alarms and status first, then telemetry. A step is a few pages, read and verified on a thread beside the event loop,
   and one short transaction; between two steps the machine is left alone for as long.
3. What C5 has is not taken in again; what it was told to be lost is. What is taken in waits for its receipt like any
   other record.
4. At the end it is known what is `lost`: what must have existed (a head, a receipt, an event or a later record names
   it) and is neither here nor receipted. Before the end of all files nothing is: what one lacks, the next may have.

Every step may be repeated: a salvage that a power cut ends begins anew.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from gateway.database import Disk, Work
from gateway.delivery.item import Entry, EventState, Item, Run
from gateway.errors import Refused, StoreError
from gateway.event import Lane
from gateway.outbox import spans, statements, wreck
from gateway.outbox.pages import Pages, Read
from gateway.outbox.wreck import Known
from gateway.ranges import RangeSet
from gateway.signing import record
from gateway.signing.certificate import thumbprint
from gateway.signing.chains import Chain, decode_chain
from gateway.signing.cose import VerifyingKey, parse
from gateway.signing.record import Record

log = logging.getLogger(__name__)

STEP: Final = 16  # pages: some 10 ms of work
PAUSE: Final = 0.02  # seconds between two steps
RETRY: Final = 1.0  # seconds before what the disk did not take is tried again
SEEN_MAX: Final = 50_000  # that are remembered as looked at: a log holds the same page many times
PASSES: Final = (frozenset({Lane.ALARM, Lane.STATUS}), frozenset({Lane.TELEMETRY}))

_SEQUENCES: Final = "SELECT sequence FROM record WHERE lane = ? AND ordinal = ? ORDER BY sequence"


class Lost(NamedTuple):
    """What must have existed; the ordinal of its epoch is this store's."""

    run: Run
    epoch: bytes


@dataclass(slots=True)
class Reckoning:
    """What must have existed, as the files say that were salvaged: their epochs, and how far each lane had come.

    `told`: whether they say all that C5 has.
    """

    epochs: set[bytes] = field(default_factory=set)
    reached: dict[tuple[Lane, bytes], int] = field(default_factory=dict)
    told: bool = True

    def add(self, epochs: Iterable[bytes], reached: Mapping[tuple[Lane, bytes], int], *, told: bool) -> None:
        """Take in what one more file says."""
        self.epochs.update(epochs)
        for place, sequence in reached.items():
            self.reached[place] = max(sequence, self.reached.get(place, 0))
        self.told = self.told and told


class Found(NamedTuple):
    """A record that has proven itself."""

    said: Record
    wire: bytes
    digest: bytes
    chain: bytes


class Taken(NamedTuple):
    """A record that was taken in, and the event of a device that it tells of."""

    item: Item
    event: EventState | None


class Prover:
    """Whether a record is this gateway's own. `key_of` judges a chain; None: it is not ours."""

    def __init__(self, gateway: str, key_of: Callable[[Chain], VerifyingKey | None]) -> None:
        self._gateway = gateway
        self._key_of = key_of
        self._keys: dict[bytes, tuple[VerifyingKey, bytes]] = {}

    def introduce(self, chain: bytes) -> None:
        """Take a chain into account, if it is one of ours."""
        certificates = decode_chain(chain)
        if not isinstance(certificates, Refused) and (key := self._key_of(certificates)) is not None:
            self._keys[thumbprint(certificates[0])] = key, chain

    def fails(self, wire: bytes) -> bool:
        """Whether what was one of our records is none any more; False where its certificate isn't known here."""
        envelope = parse(wire, "record")
        if isinstance(envelope, Refused):
            return bool(self._keys)
        known = self._keys.get(envelope.thumbprint)
        return known is not None and not known[0].verify(envelope)

    def prove(self, wire: bytes, lanes: frozenset[Lane]) -> Found | None:
        """Return a record of one of these lanes, if these bytes are one of ours."""
        envelope = parse(wire, "record")
        if isinstance(envelope, Refused) or (known := self._keys.get(envelope.thumbprint)) is None:
            return None
        said = record.decode(envelope.payload)
        if isinstance(said, Refused) or said.lane not in lanes or said.gateway != self._gateway:
            return None
        return Found(said, wire, envelope.digest, known[1]) if known[0].verify(envelope) else None


@dataclass(slots=True)
class Progress:
    """How far a salvage is: parts of the file looked at, records taken in by lane, and at the end what is lost."""

    name: str
    looked: int = 0
    parts: int = 1
    taken: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(Lane, 0))
    had: int = 0  # records that were here already, or that C5 has
    lost: list[Lost] | None = None
    error: str | None = None  # there was nothing to read


class Into(Protocol):
    """The store that takes in what is found."""

    def change(self, work: Work[Any]) -> Awaitable[Any]:
        """Run `work` in a transaction; raises `StoreError`."""

    def look(self, work: Work[Any]) -> Awaitable[Any]:
        """Run `work` on what was committed last; raises `StoreError`."""

    def taken(self, taken: Sequence[Taken], ordinals: dict[bytes, int]) -> None:
        """Note what was taken in, and the ordinals of its epochs."""


async def salvage(
    disk: Disk, path: Path, prover: Prover, into: Into, progress: Progress, *, reckoning: Reckoning, whole: bool
) -> None:
    """Take everything readable from a file into a store, and what must have existed into the reckoning.

    `whole`: the store takes the file's place, else the file is another one's. Raises `StoreError` only if there is
    nothing to read at all; a store that fails meanwhile is waited for.
    """
    pages = await disk.examine(path, Pages)
    if not pages.blocks:
        raise StoreError(f"{path}: nothing there")
    known = await disk.examine(path, partial(_known, pages))
    for chain in known.chains:
        prover.introduce(chain)
    ordinals: dict[int, int] = await _insist(into.change, partial(wreck.adopt, found=known, whole=whole))
    epochs = known.ordinals(ordinals)
    into.taken((), epochs)
    progress.parts = pages.blocks * len(PASSES)
    for lanes in PASSES:
        seen: set[int] = set()
        for first in range(0, pages.blocks, STEP):
            prove = partial(prover.prove, lanes=lanes)
            found = await disk.examine(path, partial(_search, pages=pages, first=first, prove=prove, seen=seen))
            if found:
                taken, places = await _insist(into.change, partial(_take_in, found=found))
                epochs |= places
                progress.had += len(found) - len(taken)
                for one in taken:
                    progress.taken[one.item.lane] += 1
                into.taken(taken, places)
            progress.looked += min(STEP, pages.blocks - first)
            await asyncio.sleep(PAUSE)
    reached = {(lane, known.names[ordinal]): sequence for (lane, ordinal), sequence in known.reached.items()}
    reckoning.add(epochs, reached, told=known.told)


async def reckon(into: Into, reckoning: Reckoning) -> list[Lost]:
    """Return what is lost; a store that fails meanwhile is waited for."""
    found: list[Lost] = await _insist(into.look, partial(_lost, reckoning=reckoning))
    return found


async def _insist(ask: Callable[[Work[Any]], Awaitable[Any]], work: Work[Any]) -> Any:
    while True:
        with suppress(StoreError):
            return await ask(work)
        await asyncio.sleep(RETRY)


def _known(pages: Pages, read: Read) -> Known:
    pages.read = read
    return wreck.known(pages)


def _search(
    read: Read, pages: Pages, first: int, prove: Callable[[bytes], Found | None], seen: set[int]
) -> list[Found]:
    """Return the records of a few pages, without those that were found lately."""
    pages.read = read
    found: list[Found] = []
    for block in range(first, min(first + STEP, pages.blocks)):
        for wire in pages.candidates(block):
            if hash(wire) in seen:
                continue
            if len(seen) >= SEEN_MAX:
                seen.clear()
            seen.add(hash(wire))
            if (proven := prove(wire)) is not None:
                found.append(proven)
    return found


def _take_in(connection: sqlite3.Connection, found: Sequence[Found]) -> tuple[list[Taken], dict[bytes, int]]:
    """Store what is not here and not receipted; return that, and the ordinals of all epochs that were met."""
    taken: list[Taken] = []
    epochs: dict[bytes, int] = {}
    for said, wire, digest, chain in found:
        count = int.from_bytes(said.epoch[:4], "big")
        ordinal = epochs.setdefault(said.epoch, wreck.place(connection, said.epoch, count, chain, None))
        held = connection.execute(
            "SELECT 1 FROM record WHERE (lane, ordinal, sequence) = (?1, ?2, ?3) UNION ALL"
            " SELECT 1 FROM receipted WHERE lane = ?1 AND ordinal = ?2 AND ?3 BETWEEN first AND last AND NOT EXISTS"
            " (SELECT 1 FROM lost WHERE lane = ?1 AND ordinal = ?2 AND ?3 BETWEEN first AND last)",
            (said.lane, ordinal, said.sequence),
        ).fetchone()
        if held:
            continue
        # No declaration holds of what is here, nor a receipt that has covered it for that reason. In `lost` it stays
        # until C5 has it: `delivery.coverage` goes by that.
        for table in ("receipted", "declared"):
            spans.take_out(connection, table, Run(said.lane, ordinal, said.sequence, said.sequence))
        item = Item(said.lane, ordinal, said.sequence, wire)
        statements.insert(connection, (Entry(item, digest),))
        event: EventState | None = None
        if said.event_number is not None:
            event = EventState(said.source, said.event_number, said.lane, ordinal, said.sequence, 1)
            connection.execute(
                "INSERT OR IGNORE INTO event SELECT device, ?, ?, ?, ?, 1 FROM device"
                " WHERE device = ? AND highest_event - ? < ?",
                (event.number, said.lane, ordinal, said.sequence, said.source, statements.EVENTS_KEPT, event.number),
            )
        taken.append(Taken(item, event))
    connection.execute(  # an epoch that only its records told of
        "UPDATE fact SET value = max(value, (SELECT max(start_count) FROM epoch)) WHERE name = 'start_count'"
    )
    return taken, epochs


def runs(taken: Sequence[Taken]) -> list[Run]:
    """Return what was taken in as runs."""
    found: dict[tuple[Lane, int], RangeSet] = {}
    for item, _event in taken:
        found.setdefault((item.lane, item.ordinal), RangeSet()).add(item.sequence, item.sequence)
    return [Run(*place, *span) for place, held in found.items() for span in held]


def _lost(connection: sqlite3.Connection, reckoning: Reckoning) -> list[Lost]:
    """Return what of these epochs must have existed, and is neither here, nor receipted, nor declared.

    Without word of what C5 has, only what is missing between records that are here: C5 asks for the rest.
    """
    lost: list[Lost] = []
    told = reckoning.told
    for epoch, ordinal in statements.ordinals(connection).items():
        if epoch not in reckoning.epochs:
            continue
        for lane in Lane:
            held = RangeSet()
            place = (lane, ordinal)
            begin = end = 0
            for (sequence,) in connection.execute(_SEQUENCES, place):
                if end and sequence != end + 1:
                    held.add(begin, end)
                    begin = 0
                begin, end = begin or sequence, sequence
            if end:
                held.add(begin, end)
            lowest = 1 if told or not len(held) else next(iter(held))[0]
            for table in ("receipted", "declared"):
                covered = f"SELECT first, last FROM {table} WHERE lane = ? AND ordinal = ?"  # noqa: S608  # a constant
                for span in connection.execute(covered, place):
                    held.add(*span)
            highest = max(held.highest, reckoning.reached.get((lane, epoch), 0) if told else 0)
            if lowest <= highest:
                lost += [Lost(Run(lane, ordinal, *hole), epoch) for hole in held.missing(lowest, highest)]
    return lost
