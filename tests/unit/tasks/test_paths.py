"""Two brokers: what goes over which, what one path's trouble does to the other, and what comes back."""

import asyncio
from typing import Any

import pytest

from gateway.delivery.timing import LATE
from gateway.errors import LinkError
from gateway.event import Lane
from gateway.signing.record import Record
from gateway.tasks import path as path_
from tests.support.memory import Broker, make_holders, settle
from tests.support.uplink import EPOCH, RECEIPT, ROUTE, Holders, Life, live

ALARM, STATUS, TELEMETRY = Lane
ALARMS, STATES = "event/alarm", "event/status"


@pytest.fixture(scope="module")
def holders(tmp_path_factory: pytest.TempPathFactory) -> Holders:
    return make_holders(tmp_path_factory.mktemp("authority"))


def introduced(life: Life) -> None:
    for name in ("a", "b"):
        life.c5.introduce(life.broker.at(name))


def records(broker: Broker, name: str, type_: str) -> list[Record]:
    """Each different record of a type that went out over one of the brokers."""
    found = [r for p in broker.log if p.name == name and p.channel == STATES for r in p.records if r.type == type_]
    return list({record.sequence: record for record in found}.values())


def dead(broker: Broker, name: str) -> None:
    """Break the connection, and let none come again."""
    broker.down.add(name)
    broker.at(name).drop(f"{name}: the link broke")


async def back(broker: Broker, name: str) -> None:
    """Let connections come again, and wait for one."""
    broker.down.discard(name)
    async with asyncio.timeout(5):
        while broker.at(name).ended is not None:  # noqa: ASYNC110  # it has no event of its own
            await asyncio.sleep(0.02)
    await settle()


def test_every_path_is_connected_and_tells_its_own_states_and_one_carries(holders: Holders) -> None:
    async def story(life: Life) -> None:
        assert sorted(life.broker.dialled) == ["a", "b"]
        assert life.uplink.broker == "a"
        life.press()
        life.trouble()
        await life.passes(91)
        assert {name for name, *_ in _carried(life.broker)} == {"a"}
        states = {name: [p.state for p in life.broker.log if p.channel == "state" and p.name == name] for name in "ab"}
        assert {state.connection for state in states["a"]} == {1}
        assert {state.connection for state in states["b"]} == {2}
        assert len(states["b"]) >= 4, "its start, the alarm, and every interval"
        assert len({state.number for told in states.values() for state in told}) == sum(map(len, states.values()))
        assert states["b"][-1].heads == life.recorder.heads

    live(holders, story, brokers=["a", "b"])


def _carried(broker: Broker) -> list[tuple[str, str, int]]:
    return [
        (p.name, record.type, record.sequence)
        for p in broker.log
        if p.channel.startswith("event")
        for record in p.records
    ]


def test_the_other_path_takes_over_within_the_call_that_ends_the_first_and_carries_link_failed(
    holders: Holders,
) -> None:
    async def story(life: Life) -> None:
        broker = life.broker
        life.press()
        await settle()
        dead(broker, "a")
        broker.at("a")._on_closed("a: the link broke")
        assert life.uplink._active is life.uplink.paths[1]
        life.press()
        assert _carried(broker)[-1] == ("b", "panic.pressed", 2), "it leaves in the call that signs it"
        await settle()
        assert sorted(broker.events(ALARMS, "b")) == [("panic.pressed", 1), ("panic.pressed", 2)]
        (failed,) = records(broker, "b", "link.failed")
        assert failed.data == {"broker": "a", "reason": "a: the link broke"}
        assert life.uplink.broker == "b"
        await life.passes(30)
        assert len(records(broker, "b", "link.failed")) == 1
        assert any(trouble.startswith("a: ") for trouble in life.uplink.troubles)

    live(holders, story, brokers=["a", "b"], random=lambda: 1.0)


def test_the_preferred_returns_when_it_has_held_and_sends_only_what_is_unreceipted(holders: Holders) -> None:
    async def story(life: Life) -> None:
        broker = life.broker
        introduced(life)
        dead(broker, "a")
        await settle()
        life.press()
        await settle()
        life.c5.receipt(
            broker.at("b"), RECEIPT, {lane: [(EPOCH, life.recorder.sequence(lane))] for lane in (ALARM, STATUS)}
        )
        await back(broker, "a")
        assert len(records(broker, "b", "link.restored")) == 1
        life.c5.receipt(
            broker.at("b"), RECEIPT, {lane: [(EPOCH, life.recorder.sequence(lane))] for lane in (ALARM, STATUS)}
        )
        await life.passes(30)
        life.c5.beat(broker.at("a"))
        life.c5.beat(broker.at("b"))
        await life.passes(29)
        assert life.uplink.broker == "b"
        life.press()
        await life.passes(3)
        assert life.uplink.broker == "a"
        assert broker.events(ALARMS, "a") == [("panic.pressed", 2)], "of two, one is receipted"
        life.press()
        assert _carried(broker)[-1] == ("a", "panic.pressed", 3)

    live(holders, story, brokers=["a", "b"])


def test_an_idle_path_that_fails_is_reported_on_the_one_that_carries(holders: Holders) -> None:
    async def story(life: Life) -> None:
        dead(life.broker, "b")
        await settle()
        assert life.uplink.broker == "a"
        (failed,) = records(life.broker, "a", "link.failed")
        assert failed.data is not None
        assert failed.data["broker"] == "b"
        assert life.uplink.failed == {"b": life.uplink.paths[1].troubles["link"]}, "what a state says of it"
        await back(life.broker, "b")
        (restored,) = records(life.broker, "a", "link.restored")
        assert restored.data == {"broker": "b"}
        assert (life.uplink.troubles, life.uplink.failed) == ([], {})

    live(holders, story, brokers=["a", "b"])


def test_what_a_state_says_of_links_that_failed_is_bounded(holders: Holders) -> None:
    async def story(life: Life) -> None:
        for path in life.uplink.paths:
            path.troubles["link"] = "r" * 5000
            path.troubles["centre"] = "silent"
        del life.uplink.paths[0].troubles["link"]
        assert list(life.uplink.failed) == [f"{n}".ljust(260, "b") for n in range(1, 9)]
        assert set(life.uplink.failed.values()) == {"r" * 200}

    live(holders, story, brokers=[f"{n}".ljust(300, "b") for n in range(10)])


def test_alarms_on_all_paths_go_to_every_broker_at_once_and_nothing_else_does(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.press()
        life.trouble()
        assert sorted(_carried(life.broker)) == [
            ("a", "panic.pressed", 1), ("a", "power.lost", 1), ("b", "panic.pressed", 1),
        ]  # fmt: skip

    live(holders, story, brokers=["a", "b"], alarms_everywhere=True)


def test_an_alarm_that_is_not_acknowledged_takes_the_other_path_too(holders: Holders) -> None:
    async def story(life: Life) -> None:
        broker = life.broker
        await settle()
        broker.black_holes.add("a")
        life.press()
        life.trouble()
        await life.passes(2)
        assert broker.events(ALARMS, "b") == []
        await life.passes(2)
        assert broker.events(ALARMS, "b") == [("panic.pressed", 1)]
        assert broker.events(STATES, "b") == [], "alarms alone"
        life.press()
        assert broker.events(ALARMS, "b")[-1] == ("panic.pressed", 2)
        assert life.uplink.broker == "a", "late is not dead"
        broker.at("a").acknowledge(9)
        await settle()
        life.press()
        await settle()
        assert ("panic.pressed", 3) not in broker.events(ALARMS, "b")

    live(holders, story, brokers=["a", "b"])


def test_a_path_looks_at_an_alarm_by_itself_when_that_is_late(holders: Holders) -> None:
    async def story(life: Life) -> None:
        await life.passes(2)  # a state may go out at once: its answer would be an occasion to look, and none comes
        life.broker.black_holes.add("a")
        life.press()
        await settle()
        assert life.uplink.paths[0]._due == life.clock.now + LATE

    live(holders, story, brokers=["a", "b"])


def test_a_broker_that_refuses_an_alarm_loses_it_to_the_other(holders: Holders) -> None:
    async def story(life: Life) -> None:
        refusing = life.broker.at("a")
        life.press()
        (published, on_ack) = refusing.unanswered.pop()
        while published.channel != ALARMS:
            (published, on_ack) = refusing.unanswered.pop()
        assert on_ack is not None
        on_ack(0x97)
        await settle()
        assert life.uplink.broker == "b"
        assert life.broker.events(ALARMS, "b") == [("panic.pressed", 1)]
        assert any("quota" in trouble for trouble in life.uplink.troubles)

    live(holders, story, brokers=["a", "b"])


def test_a_centre_that_is_silent_on_one_path_is_told_on_the_other_which_carries_from_then(holders: Holders) -> None:
    async def story(life: Life) -> None:
        broker = life.broker
        introduced(life)
        for _ in range(10):
            life.c5.beat(broker.at("b"))
            await life.passes(10)
        assert life.uplink.broker == "b"
        (silent,) = records(broker, "b", "centre.silent")
        assert silent.data == {"seconds": 90, "broker": "a"}
        assert records(broker, "a", "centre.silent") == []
        assert life.said.startswith("a: C5 has not been heard for 90 s")
        for _ in range(7):
            for name in ("a", "b"):
                life.c5.beat(broker.at(name))
            await life.passes(10)
        (restored,) = records(broker, "b", "centre.restored")
        assert restored.data == {"seconds": 100, "broker": "a"}
        assert life.uplink.broker == "a"
        assert life.uplink.troubles == []

    live(holders, story, brokers=["a", "b"])


def test_a_centre_that_is_silent_everywhere_is_told_once(holders: Holders) -> None:
    async def story(life: Life) -> None:
        broker = life.broker
        introduced(life)
        for name in ("a", "b"):
            life.c5.beat(broker.at(name))
        await life.passes(200)
        (silent,) = records(broker, "a", "centre.silent")
        assert silent.data == {"seconds": 90}
        assert records(broker, "b", "centre.silent") == []
        for name in ("a", "b"):
            life.c5.beat(broker.at(name))
        await settle()
        (restored,) = records(broker, "a", "centre.restored")
        assert restored.data == {"seconds": 200}
        assert life.uplink.broker == "a"
        assert life.uplink.troubles == []

    live(holders, story, brokers=["a", "b"])


def test_a_receipt_counts_for_all_paths_whichever_brought_it(holders: Holders) -> None:
    async def story(life: Life) -> None:
        introduced(life)
        life.press()
        await settle()
        life.c5.receipt(life.broker.at("b"), RECEIPT, {ALARM: [(EPOCH, 1)]})
        dead(life.broker, "a")
        await settle()
        assert life.broker.events(ALARMS, "b") == []
        await life.passes(70)
        assert life.broker.events(ALARMS, "b") == []

    live(holders, story, brokers=["a", "b"])


def test_what_c5_lacks_is_sent_over_the_path_that_carries_whichever_said_so(holders: Holders) -> None:
    async def story(life: Life) -> None:
        introduced(life)
        life.trouble(3)
        await settle()
        life.c5.receipt(life.broker.at("b"), RECEIPT, {STATUS: [(EPOCH, 3)]}, {STATUS: [(EPOCH, 2, 2)]})
        await settle()
        assert [sequence for _type, sequence in life.broker.events(STATES, "a")] == [1, 2, 3, 2]
        assert life.broker.events(STATES, "b") == []

    live(holders, story, brokers=["a", "b"])


def test_a_stop_says_goodbye_on_every_path(holders: Holders) -> None:
    broker = Broker()

    lived: list[tuple[Life, int]] = []

    async def story(life: Life) -> None:
        life.press()
        await settle()
        lived.append((life, len(life.store.reads)))

    live(holders, story, broker, brokers=["a", "b"])
    ((life, reads),) = lived
    assert len(life.store.reads) == reads, "none takes over from the other, and none begins to read for it"
    goodbyes = [(p.name, p.state.connection) for p in broker.log if p.channel == "state" and not p.state.online]
    assert sorted(goodbyes) == [("a", 1), ("b", 2)]
    assert {published.topic for published in broker.log if published.channel == "state"} == {ROUTE.topic("state")}


def test_one_in_reserve_takes_its_time_until_it_is_needed(holders: Holders) -> None:
    async def story(life: Life) -> None:
        broker = life.broker
        dead(broker, "a")
        await settle()
        tries = broker.dialled.count("a")
        await asyncio.sleep(0.1)
        assert broker.dialled.count("a") == tries, "it would wait for longer than this test"
        dead(broker, "b")
        await settle()
        broker.down.clear()
        async with asyncio.timeout(2):
            while not life.uplink.reachable:  # noqa: ASYNC110  # it has no event of its own
                await asyncio.sleep(0.02)

    live(holders, story, brokers=["a", "b"], random=lambda: 100.0)


def test_what_could_not_be_reached_at_the_start_has_to_hold_like_one_that_failed(holders: Holders) -> None:
    broker = Broker()
    broker.down.add("a")

    async def story(life: Life) -> None:
        broker.down.clear()
        async with asyncio.timeout(5):
            while not life.uplink.paths[0].ready:  # noqa: ASYNC110  # it has no event of its own
                await asyncio.sleep(0.02)
        assert life.uplink.broker == "b"

    live(holders, story, broker, introduced=False, brokers=["a", "b"])


def test_the_longest_wait_is_for_one_in_reserve_alone(holders: Holders) -> None:
    async def story(life: Life) -> None:
        caps: list[float | None] = []

        def wait(cap: float | None = None) -> float:
            caps.append(cap)
            return 3600.0

        life.uplink.paths[0]._backoff.next = life.uplink.paths[1]._backoff.next = wait  # type: ignore[method-assign]
        for name in ("b", "a"):
            dead(life.broker, name)
            await settle()
        assert caps == [60.0, 10.0]

    live(holders, story, brokers=["a", "b"])


def test_nothing_is_kept_at_hand_for_a_connection_that_has_ended(holders: Holders) -> None:
    async def story(life: Life) -> None:
        schedule = life.uplink.paths[0].schedule
        largest = schedule._pace.sequence_max
        dead(life.broker, "a")
        await settle()
        assert schedule._pace.sequence_max < largest, "in case it was what the link didn't bear"
        life.press()
        assert (schedule.next(life.clock.now), schedule.want(), schedule.deadline) == (None, [], None)

    live(holders, story, random=lambda: 1.0)


def test_where_the_broker_confirms_the_preferred_returns_when_its_refusal_is_forgotten(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.broker.codes[ALARMS] = 0x97
        life.press()
        await settle()
        life.broker.codes.clear()
        assert life.uplink.broker == "b"
        await life.passes(62)
        assert life.uplink.broker == "a"

    live(holders, story, brokers=["a", "b"], confirmed_by_broker=True)


def test_an_alarm_that_is_signed_during_a_try_that_fails_cuts_the_wait_for_the_next(
    holders: Holders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path_, "ALARM_PAUSE", 0.2)  # of the 10 s that it cuts
    broker = Broker()
    broker.down.add("a")

    async def story(life: Life) -> None:
        path = life.uplink.paths[0]
        dial = path._dial

        async def dial_and_press(*_: Any) -> Any:
            life.press()
            broker.down.clear()
            path._dial = dial
            raise LinkError("a: nobody there", "Start it.")

        path._dial = dial_and_press
        path.hurry()
        async with asyncio.timeout(5):
            while life.uplink.broker is None:  # noqa: ASYNC110  # it has no event of its own
                await asyncio.sleep(0.02)

    live(holders, story, broker, introduced=False, random=lambda: 100.0)
