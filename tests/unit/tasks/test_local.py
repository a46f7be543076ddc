"""Local input at its seam: requests go in, records come out, and each answer is true when it is given."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest

from gateway.delivery.item import RAISED_KEPT, Raised, RaisedState, Run
from gateway.event import Lane
from gateway.local_event import read, schema
from gateway.sensing.asked import Request, Response
from gateway.sensing.bucket import Bucket
from gateway.sensing.local import Source, number_of
from gateway.signing.chain import Chain
from gateway.signing.record import Clock as Quality
from gateway.tasks import local
from gateway.tasks.local import Local
from gateway.tasks.recorder import Recorder
from tests.support.memory import NOW_US, Clock, Store
from tests.support.memory import read as read_record
from tests.unit.tasks.test_recorder import SIGNER

TOKEN = "5f2d7a1c9b3e4f608172a3b4c5d6e7f8"
KEY, OTHER = "8e03978e-40d5-43dd-bc93-6894a57f9324", "0a1b2c3d-40d5-43dd-bc93-6894a57f9324"
EPOCH = bytes.fromhex("0000000201020304")
HELP = Source(
    "help", frozenset({"panic.pressed", "door.opened"}), hashlib.sha256(TOKEN.encode()).digest(), per_minute=60, burst=2
)
VIDEO = ({"camera": "mast", "preset": "gate"},)


class Site:
    """A gateway's recorder and store, and a source that asks."""

    def __init__(self, known: Iterable[RaisedState] = ()) -> None:
        self.clock, self.store = Clock(), Store()
        self.recorder = Recorder(
            {lane: Chain("gw-1", EPOCH, lane, None, SIGNER) for lane in Lane},
            2,
            self.store,
            lambda age_ms, _at: (NOW_US - age_ms * 1000, Quality(2, 5, 0)),
            None,
        )
        self.recorder.video = {"help": VIDEO}
        self.local = Local(
            [HELP], self.recorder, self.store, self.clock,
            gateway="gw-1", name="local-input", read=read, schema=schema, known=known,
        )  # fmt: skip

    async def ask(self, request: Request) -> tuple[int, dict[str, Any]]:
        response = self.local.refuse(request, (), "10.0.0.7")
        if response is None:
            response = await self.local.answer(request, (), "10.0.0.7")
        return response.status, json.loads(response.body)

    async def committed(self, request: Request) -> tuple[int, dict[str, Any]]:
        """Ask, with a disk that takes what it is given."""
        task = asyncio.create_task(self.ask(request))
        await asyncio.sleep(0)
        self.store.commit()
        return await task

    def records(self) -> list[tuple[str, str, Any]]:
        found = [read_record(entry.item.wire) for entry in self.store.entries]
        return [(record.type, record.source, record.data) for record in found]


def post(type_: str = "panic.pressed", key: str | None = KEY, token: str = TOKEN, **more: Any) -> Request:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    if key is not None:
        headers["idempotency-key"] = key
    return Request("POST", "/v1/events", headers, frozenset(), json.dumps({"type": type_, **more}).encode())


def get(path: str) -> Request:
    return Request("GET", path, {"authorization": f"Bearer {TOKEN}"})


def run(journey: Callable[[Site], Coroutine[Any, Any, None]], known: Iterable[RaisedState] = ()) -> None:
    async def inside() -> None:
        await journey(Site(known))

    asyncio.run(inside())


def test_an_event_is_answered_when_it_is_durable_and_its_stages_as_they_become_true() -> None:
    async def journey(site: Site) -> None:
        asked = asyncio.create_task(site.ask(post(age_ms=1500, data={"intercom": 3})))
        await asyncio.sleep(0.01)
        assert not asked.done(), "told before the disk had it"
        assert (await site.ask(get(f"/v1/events/{KEY}")))[1]["stage"] == "recorded"
        site.store.commit()
        identity = f"gw-1/{EPOCH.hex()}/alarm/1"
        assert await asked == (202, {"record": identity, "stage": "stored"})
        site.local.receipted([Run(Lane.ALARM, 2, 1, 1)])
        assert await site.ask(get(f"/v1/events/{KEY}")) == (200, {"record": identity, "stage": "received"})
        number = number_of("help", KEY)
        assert site.local.at((Lane.ALARM, 2, 1)) == ("help", number)
        assert [site.local.acknowledged("help", number) for _ in range(2)] == ["next", "before"]
        assert site.local.acknowledged("help", 5) == "nothing"
        assert await site.ask(post(age_ms=9000, data={"intercom": 3})) == (
            202, {"record": identity, "stage": "acknowledged"},
        )  # fmt: skip
        assert site.records() == [
            ("panic.pressed", "help", {"age_ms": 1500, "intercom": 3, "video": [{"camera": "mast", "preset": "gate"}]})
        ]
        (entry,) = site.store.entries
        record = read_record(entry.item.wire)
        assert (record.event_number, record.occurred_us) == (number, NOW_US - 1_500_000)
        assert entry.raised is not None
        assert (entry.raised.source, entry.raised.number, entry.raised.at_us) == ("help", number, NOW_US)

    run(journey)


def test_the_same_key_makes_no_second_record_and_with_another_body_it_is_refused() -> None:
    async def journey(site: Site) -> None:
        first = await site.committed(post())
        assert await site.ask(post()) == first
        assert (await site.ask(post(data={"x": 1})))[0] == 422
        assert len(site.records()) == 1
        site.clock.now += 86_401
        second = await site.committed(post())
        assert (second[0], second[1]["record"] != first[1]["record"]) == (202, True)

    run(journey)


def test_while_a_request_is_answered_the_same_key_waits_outside_and_a_cut_one_may_come_again() -> None:
    async def journey(site: Site) -> None:
        first = asyncio.create_task(site.ask(post()))
        await asyncio.sleep(0)
        assert (await site.ask(post()))[0] == 409
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert (await site.committed(post()))[0] == 202
        assert len(site.records()) == 1

    run(journey)


def test_what_is_not_stored_in_time_is_503_and_the_next_try_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "STORE_WITHIN", 0.01)

    async def journey(site: Site) -> None:
        assert (await site.ask(post()))[0] == 503
        site.local.receipted([Run(Lane.ALARM, 2, 1, 1)])  # C5 has it, the disk hasn't
        assert (await site.ask(post()))[1]["stage"] == "received"
        site.store.full = True
        assert (await site.ask(post(key=OTHER)))[0] == 503
        site.store.full = False
        assert (await site.committed(post(key=OTHER)))[0] == 202, "the one without room had left nothing behind"
        assert [type_ for type_, *_rest in site.records()] == ["panic.pressed"] * 2

    run(journey)


def test_what_was_raised_before_a_start_is_known_after_it() -> None:
    number, before = number_of("help", KEY), bytes.fromhex("0000000105060708")
    digest = read(b'{"type": "panic.pressed"}').digest  # type: ignore[union-attr]
    kept = RaisedState(Raised("help", "panic.pressed", number, digest, NOW_US - 5_000_000), Lane.ALARM, 1, 9, before, 1)
    gone = RaisedState(Raised("gone", "panic.pressed", 7, digest, NOW_US), Lane.ALARM, 1, 10, before, 1)

    async def journey(site: Site) -> None:
        identity = f"gw-1/{before.hex()}/alarm/9"
        assert await site.ask(post()) == (202, {"record": identity, "stage": "stored"})
        site.local.receipted([Run(Lane.ALARM, 1, 1, 9)])
        assert await site.ask(get(f"/v1/events/{KEY}")) == (200, {"record": identity, "stage": "received"})
        assert site.records() == []

    run(journey, (kept, gone))


def test_a_clock_that_is_set_meanwhile_makes_no_second_record() -> None:
    async def journey(site: Site) -> None:
        first = await site.committed(post())
        before = site.clock.now_us()
        site.clock.now_us = lambda: before + 3 * 86_400_000_000  # type: ignore[method-assign]  # NTP has come
        assert await site.ask(post()) == first
        assert len(site.records()) == 1

    run(journey)


def test_a_flood_of_one_type_hides_no_key_of_another_least_of_all_one_that_is_not_durable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "STORE_WITHIN", 0.001)
    monkeypatch.setattr(local, "RAISED_KEPT", 3)

    async def journey(site: Site) -> None:
        for type_ in ("panic.pressed", "door.opened"):
            site.local._sources["help"].buckets[type_] = Bucket(6e9, 1000, site.clock.now)
        first = await site.committed(post(key=OTHER))
        for number in range(5):
            await site.committed(post("door.opened", f"0123456789abcdef_{number}"))
        assert await site.ask(post(key=OTHER)) == first
        site.store.entries.clear()
        assert (await site.ask(post()))[0] == 503
        for number in range(5):
            await site.ask(post("door.opened", f"0123456789abcdef-{number}"))
        await site.ask(post())
        await site.ask(post("door.opened", "0123456789abcdef-0"))
        kinds = [type_ for type_, *_rest in site.records()]
        assert [kinds.count(one) for one in ("panic.pressed", "door.opened")] == [1, 5]

    run(journey)


def test_a_box_that_asks_without_end_has_its_tries_left() -> None:
    async def journey(site: Site) -> None:
        await site.committed(post())
        while (await site.ask(get(f"/v1/events/{KEY}")))[0] == 200:
            pass
        assert (await site.ask(post()))[0] == 202

    run(journey)


def test_a_flood_of_one_type_leaves_the_others_through() -> None:
    async def journey(site: Site) -> None:
        keys = [f"0123456789abcdef-{number}" for number in range(6)]
        assert [(await site.committed(post("door.opened", key)))[0] for key in keys[:4]] == [202, 202, 429, 429]
        assert (await site.committed(post(key=keys[4])))[0] == 202
        site.clock.now += 60
        site.local.tick(site.clock.now)
        assert (await site.committed(post("door.opened", keys[5])))[0] == 202
        assert [record for record in site.records() if record[0] == "device.chattering"] == [
            ("device.chattering", "help", {"count": 1}),
            ("device.chattering", "help", {"count": 1}),
        ]

    run(journey)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(token="f" * 32), 401),
        (Request("GET", "/v1/schema", {}), 401),
        (get("/"), 404),
        (get("/v1/events/../../etc/passwd"), 404),
        (get("/v1/events/%2e%2e/%2e%2e/etc/passwd"), 404),
        (get(f"/v1/events/{OTHER}"), 404),
        (get("/v1/events"), 405),
        (Request("DELETE", f"/v1/events/{KEY}", get("/").headers), 405),
        (Request("POST", "/v1/events", get("/").headers, frozenset(), b"{}"), 415),
        (post(key=None), 400),
        (post(key="7"), 400),
        (post(kind="x"), 400),
        (post("panic.silent"), 403),
        (post("gateway.started"), 400),
    ],
)
def test_what_is_refused_leaves_no_event_behind(request_: Request, status: int) -> None:
    async def journey(site: Site) -> None:
        assert (await site.ask(request_))[0] == status
        assert [record for record in site.records() if record[0] != "device.unauthenticated"] == []
        assert (await site.committed(post()))[0] == 202

    run(journey)


def test_two_headers_of_a_kind_are_refused() -> None:
    async def journey(site: Site) -> None:
        for name in ("authorization", "idempotency-key"):
            twice = Request("POST", "/v1/events", post().headers, frozenset({name}), post().body)
            assert (await site.ask(twice))[0] == 400
        assert site.records() == []

    run(journey)


def test_who_is_not_known_is_told_at_most_once_a_minute() -> None:
    async def journey(site: Site) -> None:
        for _ in range(5):
            response = site.local.refuse(post(token="f" * 32), (), "10.0.0.66")
            assert isinstance(response, Response)
            assert response.headers == {"www-authenticate": "Bearer"}
        site.clock.now += 60
        site.local.tick(site.clock.now)
        data = {"last": "10.0.0.66"}
        assert site.records() == [
            ("device.unauthenticated", "local-input", {"count": 1, **data}),
            ("device.unauthenticated", "local-input", {"count": 4, **data}),
        ]

    run(journey)


def test_of_a_source_only_the_newest_are_known() -> None:
    async def journey(site: Site) -> None:
        site.local._sources["help"].buckets["panic.pressed"] = Bucket(6e9, 1000, site.clock.now)
        for number in range(RAISED_KEPT + 3):
            await site.committed(post(key=f"0123456789abcdef-{number}"))
            site.store.entries.clear()
            site.clock.now += 1
        assert len(site.local._sources["help"].events) == RAISED_KEPT
        assert len(site.local._awaited._waiting) == RAISED_KEPT
        assert (await site.ask(get("/v1/events/0123456789abcdef-2")))[0] == 404
        assert (await site.ask(get("/v1/events/0123456789abcdef-3")))[0] == 200

    run(journey)


def test_status_shows_who_was_heard_and_what_was_refused() -> None:
    async def journey(site: Site) -> None:
        await site.committed(post())
        await site.ask(post("panic.silent", OTHER))
        site.clock.now += 5
        shown = dict(site.local.glance("help"))
        assert shown.pop("last_press")["type"] == "panic.pressed"
        assert shown == {"name": "help", "heard_s": 5.0, "accepted": 1, "refused": {"type": 1}}

    run(journey)
