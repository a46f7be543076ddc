import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.c5.ledger import LEDGER, Ledger, reading
from gateway.c5.overview import overview
from gateway.c5.reports import Tally
from gateway.c5.values import (
    Batch,
    Declared,
    Keep,
    Kept,
    KeptRecord,
    Learn,
    Outcome,
    Remember,
    Report,
    Snapshot,
    Span,
)
from gateway.c5.verifier import UnknownSigner, Unproven, Verified
from gateway.errors import StoreError
from gateway.event import Lane
from gateway.signing import cose, record
from gateway.signing.record import INT_MAX, Clock, Record
from gateway.topics import Route
from tests.unit.c5.kit import (
    EPOCH,
    NEXT_EPOCH,
    NOON_US,
    Gateway,
    Site,
    give,
    learn,
    receipts,
    tell,
)

T = TypeVar("T")
ROUTE = Route("senafront", "yaviza-tower-3", "pa-dar-0017")


def with_ledger(folder: Path, work: Callable[[Ledger], Awaitable[T]]) -> T:
    async def run() -> T:
        ledger = await Ledger.open(folder)
        try:
            return await work(ledger)
        finally:
            await ledger.close()

    return asyncio.run(run())


def believed(wire: bytes) -> Verified:
    envelope = cose.parse(wire, "record")
    assert isinstance(envelope, cose.Envelope)
    content = record.decode(envelope.payload)
    assert isinstance(content, Record)
    return Verified(content, envelope, envelope.digest)


def batch(lane: Lane, wires: Sequence[bytes], *, declared: Sequence[Declared] = ()) -> Batch:
    return Batch("pa-dar-0017", lane, NOON_US, [believed(wire) for wire in wires], declared)


def store(folder: Path, *batches: Batch) -> list[Outcome]:
    async def work(ledger: Ledger) -> list[Outcome]:
        return await asyncio.gather(*(ledger.store(entry) for entry in batches))

    return with_ledger(folder, work)


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(folder / LEDGER)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_records_are_kept_as_they_came(tmp_path: Path, gateway: Gateway) -> None:
    wires = gateway.measurements(3)
    assert store(tmp_path, batch(Lane.TELEMETRY, wires)) == [Outcome()]
    assert rows(tmp_path, "SELECT sequence, wire FROM records") == [(1, wires[0]), (2, wires[1]), (3, wires[2])]
    assert rows(tmp_path, "SELECT held, first, last FROM spans") == [(1, 1, 3)]


def test_a_repeated_record_is_stored_once(tmp_path: Path, gateway: Gateway) -> None:
    first, second = gateway.measurements(2)
    outcomes = store(tmp_path, batch(Lane.TELEMETRY, [first]), batch(Lane.TELEMETRY, [first, second, second]))
    assert outcomes == [Outcome(), Outcome(known=frozenset({0, 2}))]
    assert rows(tmp_path, "SELECT sequence FROM records") == [(1,), (2,)]


def test_two_records_of_one_identity_are_both_kept_and_told_once(tmp_path: Path, gateway: Gateway) -> None:
    other = Gateway(gateway.own)
    first, contradiction = gateway.record(), other.record(type_="fire.reported")
    outcomes = store(tmp_path, *(batch(Lane.ALARM, [wire]) for wire in (first, contradiction, contradiction, first)))
    assert outcomes == [
        Outcome(),
        Outcome(contradicting=frozenset({0})),
        Outcome(known=frozenset({0})),
        Outcome(known=frozenset({0})),
    ]
    assert rows(tmp_path, "SELECT wire FROM records") == [(first,)]
    assert rows(tmp_path, "SELECT wire FROM contradictions") == [(contradiction,)]


def test_a_happening_that_was_told_before_is_marked_whatever_the_epoch_and_the_gateway(
    tmp_path: Path, site: Site, gateway: Gateway
) -> None:
    other = Gateway(site.own("gateway", "pa-dar-0018"), NEXT_EPOCH)
    first = gateway.record(event_number=7)
    again, released = other.record(event_number=7), other.record(type_="tamper.opened", event_number=7)
    other_batch = Batch("pa-dar-0018", Lane.ALARM, NOON_US, [believed(again), believed(released)])
    outcomes = store(tmp_path, batch(Lane.ALARM, [first]), other_batch)
    assert outcomes == [Outcome(), Outcome(repeats={0: f"pa-dar-0017/{EPOCH.hex()}/alarm/1"})]


def test_a_record_that_does_not_follow_the_one_before_it_is_told_wherever_it_arrives(
    tmp_path: Path, gateway: Gateway
) -> None:
    other = Gateway(gateway.own)
    theirs = [other.record(Lane.STATUS, "door.closed") for _ in range(3)]
    ours = [gateway.record(Lane.STATUS, "door.opened") for _ in range(3)]
    told: list[list[list[str]]] = []
    for number, order in enumerate(([[ours[0], theirs[1]]], [[ours[0]], theirs[1:]], [[theirs[1]], [ours[0]]])):
        folder = tmp_path / str(number)
        folder.mkdir()
        outcomes = store(folder, *(batch(Lane.STATUS, wires) for wires in order))
        told.append([list(outcome.broken) for outcome in outcomes])
    broken = [f"pa-dar-0017/{EPOCH.hex()}/status/2"]
    assert told == [[broken], [[], broken], [[], broken]]


def test_a_new_epochs_first_record_must_follow_the_old_epochs_last(tmp_path: Path, gateway: Gateway) -> None:
    liar = Gateway(gateway.own, NEXT_EPOCH)
    liar.record()
    gateway.record()
    wire = gateway.record()
    good = Gateway(gateway.own, NEXT_EPOCH, before=gateway)
    gateway_again = Gateway(gateway.own)
    contradiction = [gateway_again.record(type_="fire.reported") for _ in range(2)]
    followed, contradicted = tmp_path / "followed", tmp_path / "contradicted"
    followed.mkdir()
    contradicted.mkdir()
    after = good.record()
    assert [
        list(outcome.broken) for outcome in store(followed, batch(Lane.ALARM, [wire]), batch(Lane.ALARM, [after]))
    ] == [
        [],
        [],
    ]
    outcomes = store(contradicted, batch(Lane.ALARM, contradiction[1:]), batch(Lane.ALARM, [after]))
    assert [list(outcome.broken) for outcome in outcomes] == [[], [f"pa-dar-0017/{NEXT_EPOCH.hex()}/alarm/1"]]


def test_spans_merge_in_any_order(tmp_path: Path, gateway: Gateway) -> None:
    wires = gateway.measurements(9)
    order = [[6], [0], [8], [2, 3], [1], [7], [4, 5]]
    store(tmp_path, *(batch(Lane.TELEMETRY, [wires[index] for index in indexes]) for indexes in order[:5]))
    assert rows(tmp_path, "SELECT first, last FROM spans") == [(1, 4), (7, 7), (9, 9)]
    store(tmp_path, *(batch(Lane.TELEMETRY, [wires[index] for index in indexes]) for indexes in order[5:]))
    assert rows(tmp_path, "SELECT first, last FROM spans") == [(1, 9)]


def test_a_synchronised_clock_fixes_the_time_of_all_records_of_its_epoch(tmp_path: Path, gateway: Gateway) -> None:
    before = gateway.record(clock=Clock(0, 2**32 - 1, 2_000), occurred_us=77)
    fixed = gateway.record(clock=Clock(2, 50, 60_000), occurred_us=NOON_US)
    better = gateway.record(clock=Clock(3, 1, 70_000), occurred_us=NOON_US + 10_000_500)
    floor = gateway.record(clock=Clock(1, 2**32 - 1, 90_000), occurred_us=78)
    for wire in (before, fixed, better, floor):
        store(tmp_path, batch(Lane.ALARM, [wire]))
    connection = sqlite3.connect(tmp_path / LEDGER)
    newest = reading.read_newest(connection, 10)
    connection.close()
    began_us = NOON_US + 10_000_500 - 70_000_000
    assert [held.corrected_us for held in newest] == [
        began_us + 90_000_000,
        NOON_US + 10_000_500,
        NOON_US,
        began_us + 2_000_000,
    ]
    assert [held.record.occurred_us for held in newest] == [78, NOON_US + 10_000_500, NOON_US, 77]


def test_what_is_stored_tells_when_its_epoch_began_where_a_record_needs_to_know_it(
    tmp_path: Path, gateway: Gateway
) -> None:
    unset = Clock(0, 2**32 - 1, 2_000)
    early, fixed, late = (
        gateway.record(clock=unset),
        gateway.record(clock=Clock(2, 50, 60_000), occurred_us=NOON_US),
        gateway.record(clock=unset),
    )
    began_us = {EPOCH: NOON_US - 60_000_000}
    told = [store(tmp_path, batch(Lane.ALARM, [wire]))[0].began_us for wire in (early, fixed, late)]
    assert told == [{}, {}, began_us]
    together = [
        gateway.record(clock=unset),
        gateway.record(clock=Clock(2, 50, 90_000), occurred_us=NOON_US + 30_000_000),
    ]
    assert store(tmp_path, batch(Lane.ALARM, together))[0].began_us == began_us


def test_a_centre_knows_everything_again_after_a_restart(tmp_path: Path, site: Site, gateway: Gateway) -> None:
    centre = site.centre()
    (learned,) = centre.receive(gateway.topic("certificates"), gateway.certificates, NOON_US, 0.0)
    assert isinstance(learned, Learn)
    first, _missing, third = gateway.measurements(3)
    status = [gateway.started()]
    batches = [give(centre, gateway, Lane.TELEMETRY, [first, third])[0], give(centre, gateway, Lane.STATUS, status)[0]]
    (remember,) = tell(centre, gateway, gateway.state(), 0.0)
    assert isinstance(remember, Remember)

    async def work(ledger: Ledger) -> None:
        await ledger.learn(learned.signer)
        for entry in batches:
            assert entry is not None
            await ledger.store(entry)
        assert await ledger.remember(remember) == []
        centre.tick(1.0)
        centre.tick(6.0)
        await ledger.report(centre.reports.drain(), NOON_US)

    with_ledger(tmp_path, work)
    snapshot = with_ledger(tmp_path, lambda ledger: ledger.load())
    again = site.centre()
    again.restore(snapshot, 1000.0)
    assert again.accounts["pa-dar-0017"].epochs.known == centre.accounts["pa-dar-0017"].epochs.known
    assert again.accounts["pa-dar-0017"].epochs.present == EPOCH
    batch_, _ = give(again, gateway, Lane.TELEMETRY, gateway.measurements(1), now=1000.0)
    assert batch_ is not None
    (receipt,) = receipts(again, 1000.0)
    assert receipt.up_to == {Lane.TELEMETRY: [(EPOCH, 4)]}
    assert receipt.missing == {Lane.TELEMETRY: [(EPOCH, 2, 2)]}
    assert [told.type for told in snapshot.reports] == ["records.missing"]
    (view,) = overview(snapshot, {"pa-dar-0017": 3}, {}, NOON_US)
    assert (view.gateway, view.records, [gap.ranges for gap in view.missing]) == ("pa-dar-0017", 3, [[(2, 2)]])


def test_declared_ranges_are_remembered(tmp_path: Path, gateway: Gateway) -> None:
    declared = [Declared(Lane.TELEMETRY, EPOCH, 3, 9), Declared(Lane.TELEMETRY, EPOCH, 10, 12)]
    store(tmp_path, batch(Lane.STATUS, [gateway.started()], declared=declared))
    snapshot = with_ledger(tmp_path, lambda ledger: ledger.load())
    assert Span("pa-dar-0017", Lane.TELEMETRY, EPOCH, held=False, first=3, last=12) in snapshot.spans


def test_kept_records_are_bounded_and_taken_out_once(
    tmp_path: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.c5.ledger.store.KEPT_OF_ONE", 3)
    wires = [gateway.record() for _ in range(5)]
    thumbprint = gateway.own.identity.thumbprint

    async def work(ledger: Ledger) -> list[KeptRecord]:
        for wire in wires:
            entry = believed(wire)
            unknown = UnknownSigner(entry.record, entry.envelope, entry.digest)
            assert await ledger.keep(Kept(ROUTE, Lane.ALARM, NOON_US, [unknown])) == []
        taken = await ledger.take_kept("pa-dar-0017", thumbprint)
        assert await ledger.take_kept("pa-dar-0017", thumbprint) == []
        return taken

    assert with_ledger(tmp_path, work) == [KeptRecord(ROUTE, Lane.ALARM, NOON_US, wire) for wire in wires[:3]]


def held(gateway: Gateway, count: int = 1, arrived_us: int = NOON_US) -> Kept:
    route = Route("senafront", "yaviza-tower-3", gateway.name)
    entries = [believed(gateway.record()) for _ in range(count)]
    unknown = [UnknownSigner(entry.record, entry.envelope, entry.digest) for entry in entries]
    return Kept(route, Lane.ALARM, arrived_us, unknown)


def test_what_is_held_of_invented_gateways_gives_way_to_what_comes_after(
    tmp_path: Path, site: Site, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.c5.ledger.store.KEPT_IN_ALL", 6)
    monkeypatch.setattr("gateway.c5.ledger.store.GIVE_WAY", 2)
    proven = site.own("gateway", "pa-dar-0019")
    centre = site.centre()
    (learned,) = centre.receive(Gateway(proven).topic("certificates"), Gateway(proven).certificates, NOON_US, 0.0)
    assert isinstance(learned, Learn)
    forger = Gateway(site.own("gateway", "pa-dar-0018"))

    async def work(ledger: Ledger) -> dict[str, int]:
        await ledger.learn(learned.signer)
        await ledger.keep(held(Gateway(proven), 3))
        await ledger.keep(held(forger, 3))
        await ledger.keep(held(gateway))
        return await ledger._database.read(reading.read_kept_counts)

    assert with_ledger(tmp_path, work) == {"pa-dar-0019": 3, "pa-dar-0018": 1, "pa-dar-0017": 1}


def test_what_is_held_is_forgotten_after_a_day_and_what_is_unproven_is_not(tmp_path: Path, gateway: Gateway) -> None:
    day_us = 86_400_000_000
    entry = believed(gateway.record())
    unproven = Kept(ROUTE, Lane.ALARM, NOON_US, [Unproven(entry.record, entry.envelope, entry.digest)])

    async def work(ledger: Ledger) -> list[int]:
        await ledger.keep(unproven)
        await ledger.keep(held(gateway, 2))
        await ledger.keep(held(gateway, 1, NOON_US + 1))
        counts: list[int] = []
        for now_us in (NOON_US + day_us, NOON_US + day_us + 1, NOON_US + day_us + 2):
            await ledger.forget(now_us)
            counts.append((await ledger._database.read(reading.read_kept_counts))["pa-dar-0017"])
        return counts

    assert with_ledger(tmp_path, work) == [4, 2, 1]


def test_records_that_are_held_leave_room_for_unproven_ones(
    tmp_path: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.c5.ledger.store.KEPT_OF_ONE", 2)
    entry = believed(gateway.record())
    unproven = Kept(ROUTE, Lane.ALARM, NOON_US, [Unproven(entry.record, entry.envelope, entry.digest)])

    async def work(ledger: Ledger) -> int:
        await ledger.keep(held(gateway, 5))
        await ledger.keep(unproven)
        return (await ledger._database.read(reading.read_kept_counts))["pa-dar-0017"]

    assert with_ledger(tmp_path, work) == 3


def test_reports_of_held_records_end_after_a_restart_too(tmp_path: Path, site: Site, gateway: Gateway) -> None:
    centre = site.centre()
    (keep,) = centre.receive(gateway.event_topic(Lane.ALARM), gateway.record(), NOON_US, 0.0)
    assert isinstance(keep, Keep)

    async def work(ledger: Ledger) -> tuple[Snapshot, Snapshot]:
        await ledger.keep(keep.kept)
        await ledger.report(centre.reports.drain(), NOON_US)
        waiting = await ledger.load()
        await ledger.forget(NOON_US + 2 * 86_400_000_000)
        return waiting, await ledger.load()

    waiting, forgotten = with_ledger(tmp_path, work)
    assert waiting.held == [("pa-dar-0017", gateway.own.identity.thumbprint)]
    again = site.centre()
    again.restore(waiting, 0.0)
    assert again.reports.drain() == []
    learn(again, gateway)
    assert [(tally.report.type, tally.report.open) for tally in again.reports.drain()] == [("record.held", False)]
    again = site.centre()
    again.restore(forgotten, 0.0)
    assert [(tally.report.type, tally.report.open) for tally in again.reports.drain()] == [("record.held", False)]


def test_a_gateway_that_was_online_is_not_reported_as_offline_when_a_receiver_starts_without_its_broker(
    tmp_path: Path, site: Site, gateway: Gateway
) -> None:
    centre = site.centre()
    (learned,) = centre.receive(gateway.topic("certificates"), gateway.certificates, NOON_US, 0.0)
    assert isinstance(learned, Learn)
    (remember,) = tell(centre, gateway, gateway.state(), 0.0)
    assert isinstance(remember, Remember)

    async def work(ledger: Ledger) -> Snapshot:
        await ledger.learn(learned.signer)
        await ledger.remember(remember)
        return await ledger.load()

    snapshot = with_ledger(tmp_path, work)
    again = site.centre()
    again.restore(snapshot, 1000.0)
    assert again.tick(1089.9) == []
    assert again.reports.drain() == []
    (silent,) = again.tick(1090.0)
    assert isinstance(silent, Remember)
    assert [(tally.report.type, tally.report.open) for tally in again.reports.drain()] == [("gateway.offline", True)]


def test_the_largest_numbers_that_a_record_may_carry_can_be_stored(tmp_path: Path, gateway: Gateway) -> None:
    odd = believed(gateway.record(Lane.STATUS, "x")).record._replace(
        sequence=INT_MAX,
        previous=bytes([1]) * 32,
        event_number=INT_MAX,
    )
    clocks = [
        (INT_MAX, Clock(2, INT_MAX, -INT_MAX)),
        (-INT_MAX, Clock(2, 0, INT_MAX)),
        (-INT_MAX, Clock(0, 0, INT_MAX)),
    ]
    wires = [
        gateway.signer.sign(
            "record", record.encode(odd._replace(occurred_us=at, clock=clock, sequence=INT_MAX - number))
        )
        for number, (at, clock) in enumerate(clocks)
    ]
    declared = [Declared(Lane.TELEMETRY, EPOCH, 1, INT_MAX), Declared(Lane.TELEMETRY, EPOCH, INT_MAX, INT_MAX)]
    (outcome,) = store(tmp_path, batch(Lane.STATUS, wires, declared=declared))
    assert outcome.known == frozenset()
    connection = sqlite3.connect(tmp_path / LEDGER)
    seen = reading.look(connection, 10, 3)
    connection.close()
    assert [entry.record.sequence for entry in seen.newest] == [INT_MAX - 2, INT_MAX - 1, INT_MAX]
    assert Span("pa-dar-0017", Lane.TELEMETRY, EPOCH, held=False, first=1, last=INT_MAX) in seen.snapshot.spans
    assert overview(seen.snapshot, seen.records, seen.kept, NOON_US)


def test_a_head_that_contradicts_a_held_record_is_told(tmp_path: Path, site: Site, gateway: Gateway) -> None:
    centre = site.centre()
    learn(centre, gateway)
    store(tmp_path, batch(Lane.ALARM, [gateway.record()]))
    liar = Gateway(gateway.own)
    liar.record(type_="fire.reported")
    truth, lie = tell(centre, gateway, gateway.state(number=1), 0.0), tell(centre, liar, liar.state(number=2), 1.0)

    async def work(ledger: Ledger) -> list[list[str]]:
        return [await ledger.remember(action) for action in (*truth, *lie) if isinstance(action, Remember)]

    assert with_ledger(tmp_path, work) == [[], [f"pa-dar-0017/{EPOCH.hex()}/alarm/1"]]


def test_reports_are_counted_and_end(tmp_path: Path) -> None:
    opened = Report("records.missing", "pa-dar-0017", "alarm/00", "3 records missing")
    ended = Report("records.missing", "pa-dar-0017", "alarm/00", "everything has come", open=False)

    async def work(ledger: Ledger) -> None:
        await ledger.report([Tally(opened, 2)], 1)
        await ledger.report([Tally(opened, 3)], 2)
        await ledger.report([Tally(ended, 0)], 3)

    with_ledger(tmp_path, work)
    connection = sqlite3.connect(tmp_path / LEDGER)
    told = reading.read_reports(connection)
    connection.close()
    assert told == [reading.Told(ended, 5, 1, 3)]


def test_two_receivers_on_one_ledger_are_refused(tmp_path: Path) -> None:
    async def work(_ledger: Ledger) -> None:
        with pytest.raises(StoreError, match="in use by another process"):
            await Ledger.open(tmp_path)

    with_ledger(tmp_path, work)
