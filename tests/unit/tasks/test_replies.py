"""Commands and replies on their ways: heard on any path, answered on every one, one at a time."""

import pytest

from gateway.delivery.item import Entry, Item
from gateway.event import Lane
from gateway.tasks.announce import REPLIES
from tests.support.memory import Broker, make_holders, settle
from tests.support.uplink import EPOCH, OLD, ROUTE, Holders, Life, live

COMMAND, REPLY = ROUTE.topic("command"), ROUTE.topic("reply")


@pytest.fixture(scope="module")
def holders(tmp_path_factory: pytest.TempPathFactory) -> Holders:
    return make_holders(tmp_path_factory.mktemp("authority"))


def replies(broker: Broker) -> list[tuple[bytes, bool]]:
    return [(published.payload, published.retain) for published in broker.log if published.topic == REPLY]


def test_a_command_is_handed_on_and_a_reply_goes_out_unretained(holders: Holders) -> None:
    broker = Broker()

    async def story(life: Life) -> list[bytes]:
        heard: list[bytes] = []
        life.uplink.downlink.on_command = heard.append
        broker.connection.say(COMMAND, b"a command")
        life.uplink.reply(b"a reply")
        await settle()
        return heard

    assert live(holders, story, broker) == [b"a command"]
    assert replies(broker) == [(b"a reply", False)]


def test_a_command_is_heard_on_every_path_and_answered_on_each_for_its_commander_listens_on_one(
    holders: Holders,
) -> None:
    broker = Broker()

    async def story(life: Life) -> list[bytes]:
        heard: list[bytes] = []
        life.uplink.downlink.on_command = heard.append
        for connection in broker.connections:
            connection.say(COMMAND, b"a command")
        life.uplink.reply(b"a reply")
        await settle()
        return heard

    assert live(holders, story, broker, brokers=["a", "b"]) == [b"a command", b"a command"]
    assert [(p.name, p.payload) for p in broker.log if p.topic == REPLY] == [("a", b"a reply"), ("b", b"a reply")]


def test_replies_wait_for_the_one_before_and_the_oldest_give_way(holders: Holders) -> None:
    broker = Broker()

    async def story(life: Life) -> None:
        broker.acknowledges = False
        for number in range(REPLIES + 5):
            life.uplink.reply(b"%d" % number)
        await settle()
        assert replies(broker) == [(b"0", False)]
        broker.acknowledges = True
        broker.connection.acknowledge(len(broker.connection.unanswered))
        await settle()

    live(holders, story, broker)
    assert [payload for payload, _retain in replies(broker)] == [b"0", *(b"%d" % n for n in range(5, REPLIES + 5))]


def test_a_reply_that_its_connection_took_along_is_not_said_to_the_next(holders: Holders) -> None:
    broker = Broker()

    async def story(life: Life) -> None:
        broker.acknowledges = False
        life.uplink.reply(b"first")
        life.uplink.reply(b"second")
        broker.connection.drop("gone")
        await settle()
        broker.acknowledges = True
        await life.passes(15)
        life.uplink.reply(b"third")
        await settle()

    live(holders, story, broker)
    assert [payload for payload, _retain in replies(broker)] == [b"first", b"third"]


def test_a_broker_that_refuses_replies_holds_up_nothing(holders: Holders) -> None:
    broker = Broker()
    broker.codes["reply"] = 0x87

    async def story(life: Life) -> None:
        life.uplink.reply(b"first")
        await settle()
        assert REPLY in life.said
        life.uplink.reply(b"held back")
        life.press()
        await settle()
        assert broker.events() == [("panic.pressed", 1)]
        del broker.codes["reply"]
        await life.passes(5)
        life.uplink.reply(b"later")
        await settle()

    live(holders, story, broker)
    assert [payload for payload, _retain in replies(broker)] == [b"first", b"later"]


def test_records_asked_for_are_sent_again_and_those_that_are_gone_declared(holders: Holders) -> None:
    broker = Broker()

    async def story(life: Life) -> None:
        for _ in range(3):
            life.press()
        await settle()
        assert broker.events() == [("panic.pressed", 1), ("panic.pressed", 2), ("panic.pressed", 3)]
        assert life.uplink.downlink.resend(Lane.ALARM, EPOCH, 2, 3) == (2, 0)
        await settle()
        assert broker.events()[3:] == [("panic.pressed", 2), ("panic.pressed", 3)]
        life.c5.receipt(broker.connection, ROUTE.topic("receipt"), {Lane.ALARM: [(EPOCH, 2)]})
        await life.passes(6)  # the same question is answered once in 5 s
        assert life.uplink.downlink.resend(Lane.ALARM, EPOCH, 1, 3) == (1, 2)
        assert life.uplink.downlink.resend(Lane.TELEMETRY, b"unknown.", 1, 9) is None
        await settle()
        assert broker.events()[5:] == [("panic.pressed", 3)]

    live(holders, story, broker)
    declared = [
        (record.data["lane"], record.data["ranges"], record.data["reason"])
        for published in broker.log
        if published.channel == "event/status"
        for record in published.records
        if record.type == "records.unavailable" and record.data is not None
    ]
    assert declared == [(0, [[EPOCH, 1, 2]], "receipted")]


def test_without_a_path_for_records_none_are_said_to_go_out_again(holders: Holders) -> None:
    broker = Broker()

    async def story(life: Life) -> None:
        life.press()
        await settle()
        name = broker.connection.name
        broker.down.add(name)
        broker.connection.drop("gone")
        await settle()
        assert life.uplink.downlink.resend(Lane.ALARM, EPOCH, 1, 1) == (0, 0)
        broker.down.clear()
        await life.passes(90)
        assert life.uplink.downlink.resend(Lane.ALARM, EPOCH, 1, 1) == (1, 0)

    live(holders, story, broker)


def test_records_of_an_earlier_epoch_are_read_from_the_outbox(holders: Holders) -> None:
    broker = Broker()

    async def story(life: Life) -> None:
        life.store.entries.append(Entry(Item(Lane.STATUS, 1, 7, b"\xd2 seven"), b""))
        await life.passes(70)
        before = len([p for p in broker.log if p.payload == b"\xd2 seven"])
        assert life.uplink.downlink.resend(Lane.STATUS, OLD, 7, 7) == (1, 0)
        await settle()
        assert len([p for p in broker.log if p.payload == b"\xd2 seven"]) == before + 1

    live(holders, story, broker)
