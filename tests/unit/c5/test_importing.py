"""An export taken into the ledger: the same as the wire, in any order, twice; and the receipt that is owed for it."""

import asyncio
import os
import random
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.c5 import importing
from gateway.c5.desk import Desk, Given, open_desk
from gateway.c5.importing import Imported, take
from gateway.c5.ledger import LEDGER, Ledger
from gateway.c5.receiver import Receiver
from gateway.errors import StoreError
from gateway.event import Lane
from gateway.signing import export
from gateway.signing.chains import Chain
from gateway.topics import Route
from tests.unit.c5.kit import (
    EPOCH,
    NEXT_EPOCH,
    NOON_US,
    UNSYNCHRONISED,
    Gateway,
    Site,
    flip,
    receipts,
)

if TYPE_CHECKING:
    from gateway.c5.centre import Centre

ROUTE = Route("senafront", "yaviza-tower-3", "pa-dar-0017")
ALARM, STATUS, TELEMETRY = Lane


def exported(
    gateway: Gateway, records: Mapping[Lane, Sequence[bytes]], *, chains: Iterable[Chain] | None = None
) -> bytes:
    """Return these records as the gateway exports them."""
    parts = list(export.headers(ROUTE, [gateway.own.chain] if chains is None else chains))
    for lane, wires in records.items():
        parts += [export.lane(lane), *wires]
    return b"".join([*parts, export.end(sum(map(len, records.values())))])


class House:
    """C5's end in a folder: a receiver without brokers, its ledger, and what can be read of that."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.published: list[tuple[str, bytes]] = []
        self.centre: Centre
        self.give: Callable[[str, bytes], Awaitable[Given]]

    @asynccontextmanager
    async def open(self) -> Any:
        loop = asyncio.get_running_loop()
        self.centre = self.site.centre()
        ledger = await Ledger.open(self.folder)
        desk = Desk(self.centre, ledger)
        receiver = Receiver(
            self.centre,
            ledger,
            (),
            agencies=(),
            certificates=b"",
            sinks=[desk],
            wall=lambda: NOON_US,
            random=lambda: 0.5,
        )
        desk.hear, desk.report = receiver.hear, receiver.report
        self.centre.restore(await ledger.load(), loop.time())
        self.give = desk.give
        judging = loop.create_task(receiver.judge())
        try:
            async with open_desk(self.folder, desk):
                yield self
            await ledger.report(self.centre.reports.drain(), NOON_US)
        finally:
            judging.cancel()
            await ledger.close()

    def run(self, story: Callable[["House"], Awaitable[Any]]) -> Any:
        async def told() -> Any:
            async with self.open():
                return await story(self)

        return asyncio.run(told())

    async def bring(self, file: bytes) -> Imported:
        return await take(export.items(BytesIO(file).read), self.give)

    def table(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.folder / LEDGER)) as ledger:
            return ledger.execute(query).fetchall()

    def content(self) -> dict[str, list[Any]]:
        """Return the ledger but for what says when and in which order it came."""
        return {
            "records": self.table(
                "SELECT gateway, epoch, lane, sequence, type, source, event_number, expired, digest, wire"
                " FROM records JOIN chains ON chains.id = chain ORDER BY gateway, epoch, lane, sequence"
            ),
            "spans": self.table(
                "SELECT gateway, epoch, lane, held, first, last FROM spans JOIN chains ON chains.id = chain"
                " ORDER BY gateway, epoch, lane, held, first"
            ),
            "contradictions": self.table("SELECT digest, wire FROM contradictions ORDER BY digest"),
            "kept": self.table("SELECT digest FROM kept ORDER BY digest"),
            "epochs": self.table(
                "SELECT gateway, epoch, zeros, status_known, unstored, ended FROM epochs ORDER BY epoch"
            ),
            "certificates": self.table("SELECT gateway, chain FROM certificates ORDER BY thumbprint"),
            "reports": self.table("SELECT type, gateway, detail, text, open FROM reports ORDER BY type, detail"),
        }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("authority"))


def life(site: Site) -> tuple[Gateway, dict[Lane, list[bytes]]]:
    """Two starts of a gateway: presses, readings, and a declaration of what it dropped."""
    first = Gateway(site.own("gateway", ROUTE.gateway))
    records: dict[Lane, list[bytes]] = {lane: [] for lane in Lane}
    records[STATUS].append(first.started())
    records[ALARM] += [first.record(event_number=number, clock=UNSYNCHRONISED) for number in range(1, 6)]
    records[TELEMETRY] += first.measurements(90)[20:]
    dropped = {"lane": 2, "ranges": [[first.epoch, 1, 20]], "count": 20, "reason": "dropped"}
    records[STATUS].append(first.record(STATUS, "records.unavailable", data=dropped))
    second = Gateway(first.own, NEXT_EPOCH, before=first)
    records[STATUS].append(second.started())
    records[ALARM] += [second.record(event_number=number) for number in range(5, 8)]  # 5 is told a second time
    records[TELEMETRY] += second.measurements(40)
    return second, records


def wired(gateway: Gateway, records: dict[Lane, list[bytes]]) -> Callable[[House], Awaitable[None]]:
    async def story(house: House) -> None:
        await house.give(gateway.topic("certificates"), gateway.certificates)
        for lane in Lane:
            for at in range(0, len(records[lane]), 30):
                await house.give(gateway.event_topic(lane), b"".join(records[lane][at : at + 30]))

    return story


def test_a_file_gives_what_the_wire_gives(site: Site, tmp_path: Path) -> None:
    gateway, records = life(site)
    wire, file = House(site, tmp_path / "wire"), House(site, tmp_path / "file")
    wire.run(wired(gateway, records))
    became = file.run(lambda house: house.bring(exported(gateway, records)))
    count = sum(map(len, records.values()))
    assert became == Imported(records=count, new=count, known=0, refused=0, unavailable=20, complete=True)
    assert file.content() == wire.content()
    again = file.run(lambda house: house.bring(exported(gateway, records)))
    assert again == Imported(records=count, new=0, known=count, refused=0, unavailable=0, complete=True)
    assert file.content() == wire.content()


@pytest.mark.parametrize("seed", range(8))
def test_files_and_wire_mixed_in_any_order_give_what_the_wire_gives(site: Site, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    gateway, records = life(site)
    wire, mixed = House(site, tmp_path / "wire"), House(site, tmp_path / "mixed")
    wire.run(wired(gateway, records))

    def portion() -> dict[Lane, list[bytes]]:
        """Return some of what the gateway has, as an outbox at some moment."""
        return {lane: [w for w in records[lane] if chance.random() < 0.6] for lane in Lane}

    async def story(house: House) -> None:
        everything = {lane: list(wires) for lane, wires in records.items()}
        for wires in everything.values():
            chance.shuffle(wires)
        deeds: list[Callable[[], Awaitable[Any]]] = [
            lambda: house.bring(exported(gateway, portion())),
            lambda: house.bring(exported(gateway, portion()) + exported(gateway, portion())),  # two in one file
            lambda: house.bring(exported(gateway, everything)),
            lambda: house.give(gateway.topic("certificates"), gateway.certificates),
            *[lambda lane=lane: house.give(gateway.event_topic(lane), b"".join(records[lane][:10])) for lane in Lane],
        ]
        chance.shuffle(deeds)
        for deed in deeds:
            await deed()

    mixed.run(story)
    assert mixed.content() == wire.content()


def test_nothing_of_a_file_is_believed_that_the_wire_would_not_be(site: Site, tmp_path: Path) -> None:
    gateway, records = life(site)
    other = Gateway(site.own("gateway", "pa-dar-0018"))
    stranger = Gateway(Site(tmp_path / "elsewhere").own("gateway", ROUTE.gateway))
    house = House(site, tmp_path / "house")
    files = [
        exported(gateway, {ALARM: [flip(wire) for wire in records[ALARM]]}),
        exported(gateway, {STATUS: records[ALARM]}),  # in another lane than their own
        exported(gateway, {ALARM: [other.record()]}, chains=[gateway.own.chain, other.own.chain]),
        exported(stranger, {ALARM: [stranger.record()]}),
        b"".join(records[ALARM]),  # of nobody, and of no lane
    ]

    async def story(house: House) -> list[Imported]:
        return [await house.bring(file) for file in files]

    became = house.run(story)
    assert [(each.new, each.known, each.refused) for each in became] == [
        (0, 0, 8),
        (0, 0, 8),
        (0, 0, 1),
        (0, 0, 1),
        (0, 0, 8),
    ]
    assert house.table("SELECT * FROM records") == []


def test_a_file_that_was_cut_gives_what_is_in_it_and_says_so(site: Site, tmp_path: Path) -> None:
    gateway, records = life(site)
    whole = exported(gateway, records)
    house = House(site, tmp_path / "house")

    async def story(house: House) -> list[Imported]:
        return [
            await house.bring(whole[:cut]) for cut in (0, len(whole) - 40, len(whole) - 1, len(whole) // 2, len(whole))
        ]

    nothing, end, half, middle, all_ = house.run(story)
    assert (nothing.records, nothing.complete) == (0, False)
    assert (end.complete, half.complete, middle.complete, all_.complete) == (False, False, False, True)
    assert (all_.refused, all_.new + all_.known) == (0, sum(map(len, records.values())))
    assert [each.refused for each in (nothing, end, half, middle)] == [0, 0, 0, 0], "what was cut is no forgery"
    assert [each.cut for each in (nothing, end, half, middle, all_)] == [True, True, True, True, False]
    assert house.table("SELECT * FROM reports WHERE type = 'record.refused'") == []


def test_what_is_damaged_in_a_file_costs_itself_alone(site: Site, tmp_path: Path) -> None:
    gateway, records = life(site)
    whole = exported(gateway, records)
    house = House(site, tmp_path / "house")
    second, last = records[ALARM][1], records[ALARM][-1]
    damaged = whole.replace(second, second[:1] + b"\x85" + second[2:])
    at = damaged.index(last) + len(last)
    assert damaged[at : at + 1] == export.lane(STATUS)
    damaged = damaged[: at - 1] + b"\xff" + damaged[at + 1 :]  # a signature, and what says that status follows

    became = house.run(lambda house: house.bring(damaged))
    count = sum(map(len, records.values()))
    assert became == Imported(count - 1, count - 2, 0, 2, 20, complete=False, cut=False)


def test_a_file_is_whole_if_each_end_in_it_tells_the_right_number(site: Site, tmp_path: Path) -> None:
    gateway, records = life(site)
    some = {ALARM: records[ALARM][:2]}
    whole = exported(gateway, some)
    house = House(site, tmp_path / "house")

    async def story(house: House) -> list[bool]:
        without_one = whole.replace(records[ALARM][1], b"")
        files = [
            whole,
            whole + whole,
            without_one,
            without_one + whole,
            whole + records[ALARM][0],
            whole + exported(gateway, some)[:-1],
        ]
        return [(await house.bring(file)).complete for file in files]

    assert house.run(story) == [True, True, False, False, False, False]


def test_rubbish_in_a_file_costs_bounded_memory_and_is_refused(site: Site, tmp_path: Path) -> None:
    house = House(site, tmp_path / "house")
    files = [b"\x9f" * 500_000, b"\xd2" * 500_000, b"\x5b" + b"\xff" * 500_000, random.Random(1).randbytes(500_000)]

    async def story(house: House) -> list[Imported]:
        return [await house.bring(file) for file in files]

    for became in house.run(story):
        assert (became.new, became.known, became.complete) == (0, 0, False)
        assert became.refused >= 1


def test_the_receipt_that_a_file_is_owed_goes_out_with_the_gateway_s_next_state(site: Site, tmp_path: Path) -> None:
    gateway, records = life(site)
    house = House(site, tmp_path / "house")
    house.run(lambda house: house.bring(exported(gateway, records)))
    assert len(house.table("SELECT * FROM owed")) == 6

    async def story(house: House) -> list[dict[Lane, list[tuple[bytes, int]]]]:
        now = asyncio.get_running_loop().time()
        assert house.centre.receipts(now, NOON_US) == [], "nobody is there to hear it"
        await house.give(gateway.topic("state"), gateway.state())
        house.centre.tick(now)
        return [dict(receipt.up_to) for receipt in receipts(house.centre, now + 1)]

    (up_to,) = house.run(story)
    assert {lane: sorted(entries) for lane, entries in up_to.items()} == {
        ALARM: [(EPOCH, 5), (NEXT_EPOCH, 3)],
        STATUS: [(EPOCH, 2), (NEXT_EPOCH, 1)],
        TELEMETRY: [(EPOCH, 90), (NEXT_EPOCH, 40)],
    }
    assert house.table("SELECT * FROM owed") == [], "paid"


def test_a_receipt_that_is_due_before_it_is_known_where_the_gateway_is_waits_for_that(
    site: Site, tmp_path: Path
) -> None:
    gateway, records = life(site)
    house = House(site, tmp_path / "house")
    house.run(lambda house: house.bring(exported(gateway, {ALARM: records[ALARM][2:5]})))
    with closing(sqlite3.connect(house.folder / LEDGER)) as ledger, ledger:
        ledger.execute("DELETE FROM owed")

    async def story(house: House) -> list[dict[Lane, list[tuple[bytes, int, int]]]]:
        now = asyncio.get_running_loop().time()
        house.centre.tick(now)  # what is missing is asked for
        assert receipts(house.centre, now) == []
        await house.give(gateway.topic("state"), gateway.state())
        house.centre.tick(now)
        return [dict(receipt.missing) for receipt in receipts(house.centre, now)]

    assert house.run(story) == [{ALARM: [(EPOCH, 1, 2)]}]


def test_a_running_receiver_takes_a_file_over_its_socket(site: Site, tmp_path: Path) -> None:
    gateway, records = life(site)
    wire, file = House(site, tmp_path / "wire"), House(site, tmp_path / "file")
    wire.run(wired(gateway, records))

    async def story(house: House) -> tuple[Imported, Imported]:
        assert (house.folder / "import.sock").stat().st_mode & 0o777 == 0o660
        async with importing._running(house.folder) as give:
            first = await take(export.items(BytesIO(exported(gateway, records)).read), give)
        async with importing._running(house.folder) as give:
            return first, await take(export.items(BytesIO(exported(gateway, records)).read), give)

    count = sum(map(len, records.values()))
    assert file.run(story) == (Imported(count, count, 0, 0, 20, True), Imported(count, 0, count, 0, 0, True))
    assert file.content() == wire.content()


def test_what_an_operator_has_settled_stays_settled_and_says_who_has(site: Site, tmp_path: Path) -> None:
    gateway, house = Gateway(site.own("gateway", ROUTE.gateway)), House(site, tmp_path / "centre")
    found = "SELECT text, open FROM reports WHERE type = 'gateway.cloned'"

    async def meet(house: House) -> None:
        await wired(gateway, {ALARM: [], STATUS: [gateway.started()], TELEMETRY: []})(house)
        twin = Gateway(gateway.own, EPOCH[:4] + b"twin", before=gateway)
        await wired(twin, {ALARM: [], STATUS: [twin.started()], TELEMETRY: []})(house)

    async def settle(house: House) -> tuple[Given, Given, list[Any]]:
        text = b"settled by ana: the old card was in a drawer"
        async with importing._running(house.folder) as give:
            given = await give("settle/pa-dar-0017", text)
            return given, await give("settle/pa-dar-0018", text), house.table(found)

    house.run(meet)
    assert [open_ for _text, open_ in house.table(found)] == [1]
    settled = [("settled by ana: the old card was in a drawer", 0)]
    assert house.run(settle) == (Given(1, 0, 0), Given(0, 0, 0), settled), "after C5's restart; durable when answered"
    assert house.run(settle)[0] == Given(0, 0, 0)


def test_root_takes_on_the_rights_of_the_ledger_s_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up: list[tuple[str, object]] = []
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(f"os.{name}", lambda value, name=name: given_up.append((name, value)))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    importing._become_owner(tmp_path)
    mine = tmp_path.stat().st_uid == 0
    monkeypatch.setattr(Path, "stat", lambda _path: os.stat_result((0, 0, 0, 0, 1001, 1002, 0, 0, 0, 0)))
    importing._become_owner(tmp_path)
    assert given_up[0 if mine else 3 :] == [("setgroups", []), ("setgid", 1002), ("setuid", 1001)]


def test_a_ledger_s_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't be opened"):
        importing._become_owner(tmp_path / "nowhere")
