"""The uplink between a recorder, an outbox, a broker and a C5, all real but for the wire."""

import asyncio

import pytest

from gateway.delivery.item import Entry, Item, Run
from gateway.event import Event, Lane
from gateway.signing import message
from gateway.signing.chain import Chain
from gateway.signing.message import Receipt
from gateway.signing.record import Clock as Quality
from gateway.tasks import downlink, said
from gateway.tasks.said import RECORD_TYPE, SEQUENCE_TYPE
from tests.support.memory import C5, NOW_US, Broker, make_holders, read, settle
from tests.support.uplink import EPOCH, OLD, RECEIPT, ROUTE, Holders, Life, live

ALARM, STATUS, TELEMETRY = Lane
TEN_YEARS_US = 315_360_000_000_000


@pytest.fixture(scope="module")
def holders(tmp_path_factory: pytest.TempPathFactory) -> Holders:
    return make_holders(tmp_path_factory.mktemp("authority"))


def test_a_connection_begins_with_certificates_and_a_state_and_ends_with_a_goodbye(holders: Holders) -> None:
    broker = Broker()

    async def story(life: Life) -> None:
        assert life.uplink.broker == "a"
        assert broker.connection.filters == ["c5/v1/certificates/+", RECEIPT, "c5/v1/centre", ROUTE.topic("command")]

    live(holders, story, broker)
    assert [(published.channel, published.retain) for published in broker.log] == [
        ("certificates", True),
        ("state", True),
        ("state", True),
    ]
    first, last = broker.states()
    assert (first.online, first.number, first.connection, first.heads, first.interval) == (True, 1, 1, {}, 30)
    assert (last.online, last.number, last.connection, last.heads) == (False, 0, 1, None)
    assert broker.connection.will[0] == ROUTE.topic("state")


def test_an_alarm_is_published_within_the_call_that_signed_it_and_a_state_follows(holders: Holders) -> None:
    async def story(life: Life) -> None:
        await life.passes(2)
        before = len(life.broker.log)
        life.press()
        assert [published.channel for published in life.broker.log[before:]] == ["event/alarm", "state"]
        assert life.broker.log[before].content_type == RECORD_TYPE
        assert life.broker.states()[-1].heads == life.recorder.heads
        await settle()
        life.press()
        life.press()
        assert [p.channel for p in life.broker.log[before + 2 :]] == ["event/alarm", "event/alarm"], "one a second"
        await life.passes(1)
        assert [p.channel for p in life.broker.log[before + 4 :]] == ["state"]
        assert [state.number for state in life.broker.states()] == [1, 2, 3]

    live(holders, story)


def test_a_state_goes_out_every_interval(holders: Holders) -> None:
    async def story(life: Life) -> None:
        await life.passes(91)
        assert [round((state.time_us - NOW_US) / 1e6) for state in life.broker.states()] == [0, 30, 60, 90]

    live(holders, story)


def test_a_puback_is_no_delivery_and_a_receipt_is(holders: Holders) -> None:
    async def story(life: Life) -> None:
        receipted: list[Run] = []
        life.uplink.downlink.on_receipted = receipted.extend
        life.press()
        await settle()
        assert life.store.receipts == []
        life.receipt()
        assert life.store.receipts == receipted == [Run(ALARM, 2, 1, 1)]
        life.receipt()
        assert receipted == [Run(ALARM, 2, 1, 1)], "told once"
        await life.passes(200)
        assert life.broker.events() == [("panic.pressed", 1)]

    live(holders, story)


def test_what_is_not_receipted_goes_again_after_60_s_and_on_a_new_connection(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.press()
        await life.passes(59)
        assert life.broker.events() == [("panic.pressed", 1)]
        await life.passes(2)
        assert life.broker.events() == [("panic.pressed", 1)] * 2
        life.broker.connection.drop("the link broke")
        await life.passes(3)
        assert len(life.broker.connections) == 2
        assert life.broker.events() == [("panic.pressed", 1)] * 3

    live(holders, story)


def test_an_outage_is_recorded_once_and_everything_signed_meanwhile_follows_as_sequences(
    holders: Holders, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(life: Life) -> None:
        broker = life.broker
        broker.down.add("a")
        broker.connection.drop("the link broke")
        await settle()
        life.press()
        life.trouble(5)
        await asyncio.sleep(1.1)  # the pause before another try is real time
        assert life.uplink.troubles == ["a: nobody there. Start it."]
        assert "no link to the broker: the link broke" in caplog.messages
        broker.down.clear()
        before = len(broker.log)
        async with asyncio.timeout(5):
            while life.uplink.broker is None:  # noqa: ASYNC110  # it has no event of its own
                await asyncio.sleep(0.02)
        await settle()
        events = [published for published in broker.log[before:] if published.channel.startswith("event")]
        assert [(p.channel, len(p.records)) for p in events[:2]] == [("event/alarm", 1), ("event/status", 6)]
        assert events[1].content_type == SEQUENCE_TYPE
        assert [said.type for said in events[1].records] == ["link.failed", *["power.lost"] * 5]
        assert broker.events("event/status")[-1] == ("link.restored", 7)
        assert life.uplink.troubles == []

    live(holders, story)


def test_a_refused_publish_is_a_trouble_is_no_delivery_and_ends_when_the_broker_takes_it(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.broker.codes["event/alarm"] = 0x87
        life.press()
        await settle()
        assert "not authorised" in life.uplink.troubles[0]
        assert life.store.receipts == []
        await life.passes(10)
        assert len(life.broker.events()) >= 3, "it is tried again"
        life.trouble()
        await settle()
        assert ("power.lost", 1) in life.broker.events("event/status"), "the other lanes go on"
        life.broker.codes.clear()
        await life.passes(30)
        assert life.uplink.troubles == []

    live(holders, story)


def test_the_broker_s_window_is_never_burst_whatever_is_signed(holders: Holders) -> None:
    broker = Broker(receive_maximum=10)
    broker.acknowledges = False

    async def story(life: Life) -> None:
        for _ in range(40):
            life.press()
            life.trouble()
            life.uplink.reply(b"to a command")
            await life.passes(2)
        assert not broker.connection.burst
        assert broker.connection.ended is None
        assert len(broker.connection.unanswered) == 10
        while broker.connection.unanswered:
            broker.connection.acknowledge()
            await settle()
        assert [sequence for _type, sequence in broker.events()] == list(range(1, 41))
        assert not broker.connection.burst

    live(holders, story, broker)


@pytest.mark.parametrize("receive_maximum", [1, 2, 3, 4, 5])
def test_in_the_smallest_window_everything_arrives_and_an_alarm_finds_a_slot(
    holders: Holders, receive_maximum: int
) -> None:
    broker = Broker(receive_maximum=receive_maximum)
    broker.acknowledges = False

    async def answered() -> None:
        while broker.connection.unanswered:
            broker.connection.acknowledge()
            await settle()

    async def story(life: Life) -> None:
        for _ in range(5):
            life.recorder.record(Event("measurement", "0c500042", data={"values": {"temperature_c": 21.0}}))
            life.trouble()
            life.uplink.reply(b"to a command")
            await life.passes(31)
            if receive_maximum > 1:
                assert len(broker.connection.unanswered) < receive_maximum, "a slot is left"
                life.press()
                assert broker.log[-1].channel == "event/alarm"
            else:
                life.press()
            await answered()
            life.receipt()
            await settle()
        assert not broker.connection.burst
        assert len(broker.connections) == 1
        for channel in ("event/alarm", "event/status", "event/telemetry"):
            assert {sequence for _type, sequence in broker.events(channel)} == set(range(1, 6)), channel
        channels = [published.channel for published in broker.log]
        assert channels.count("certificates") == 1
        assert channels.count("reply") == 5
        assert channels.count("state") >= 5
        assert life.uplink.troubles == []

    live(holders, story, broker)


def test_c5_gets_what_it_says_is_missing_and_not_what_is_on_its_way(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.trouble(4)
        await settle()
        life.receipt(missing={STATUS: [(EPOCH, 2, 3)]})
        await settle()
        assert life.store.receipts == [Run(STATUS, 2, 1, 1), Run(STATUS, 2, 4, 4)]
        assert [sequence for _type, sequence in life.broker.events("event/status")] == [1, 2, 3, 4, 2, 3]
        life.broker.acknowledges = False
        life.trouble()
        life.receipt(missing={STATUS: [(EPOCH, 5, 5)]})
        await settle()
        assert [sequence for _type, sequence in life.broker.events("event/status")] == [1, 2, 3, 4, 2, 3, 5]

    live(holders, story)


def test_a_receipt_for_more_than_was_signed_is_refused_whole_and_recorded(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.press()
        life.receipt(up_to={ALARM: [(EPOCH, 2)], STATUS: [(EPOCH, 0)]})
        life.receipt(up_to={ALARM: [(EPOCH, 9)]})
        await settle()
        assert life.store.receipts == []
        assert life.broker.events("event/status") == [("receipt.refused", 1)]
        await life.passes(61)
        refused = [p for p in life.broker.log if p.channel == "event/status"][-1].records[-1]
        assert (refused.type, refused.data) == (
            "receipt.refused",
            {"reason": "a receipt for more than was signed", "count": 1},
        )

    live(holders, story)


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ("boss", "signed by the commander boss, which is no receiver"),
        ("c5-b", "signed by c5-b, which the settings don't name (delivery.receivers)"),
    ],
)
def test_a_receipt_of_the_wrong_role_or_name_changes_nothing_and_is_recorded(
    holders: Holders, who: str, reason: str
) -> None:
    async def story(life: Life) -> None:
        life.press()
        other = C5(life.people[who], "gw-1", life.clock)
        other.introduce(life.broker.connection)
        other.receipt(life.broker.connection, RECEIPT, {ALARM: [(EPOCH, 1)]})
        await settle()
        assert (life.store.receipts, life.uplink.downlink.receipts) == ([], 0)
        (said,) = next(p for p in life.broker.log if p.channel == "event/status").records
        assert said.data == {"reason": reason, "count": 1}

    live(holders, story, receivers=["c5-a"])


def test_a_gateway_s_own_signature_is_no_receipt_and_rubbish_is_none_either(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.press()
        own = C5(life.people["gw-1"], "gw-1", life.clock)
        own.introduce(life.broker.connection)
        own.receipt(life.broker.connection, RECEIPT, {ALARM: [(EPOCH, 1)]})
        for payload in (b"", b"\xff" * 40_000, b"\x81" * 5000):
            for topic in (RECEIPT, "c5/v1/centre", "c5/v1/certificates/c5-a", "c5/v1/certificates/", "strange"):
                life.broker.connection.say(topic, payload)
        await settle()
        assert (life.store.receipts, life.uplink.downlink.receipts) == ([], 0)

    live(holders, story)


def test_a_receipt_for_the_epoch_before_this_start_counts(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.receipt(up_to={ALARM: [(OLD, 7)]}, missing={ALARM: [(OLD, 3, 3)]})
        assert life.store.receipts == [Run(ALARM, 1, 1, 2), Run(ALARM, 1, 4, 7)]

    live(holders, story)


def test_a_backlog_of_the_epoch_before_this_start_is_sent_before_this_one_s(holders: Holders) -> None:
    broker = Broker()
    broker.down.add("a")

    async def story(life: Life) -> None:
        signer = life.people["gw-1"].signer
        before = Chain("gw-1", OLD, ALARM, None, signer).sign(
            Event("panic.silent", "0c500042"), NOW_US, Quality(2, 5, 0), None
        )
        life.store.append(Entry(Item(ALARM, 1, 1, before.wire), before.digest))
        life.press()
        broker.down.clear()
        async with asyncio.timeout(5):
            while not broker.events():  # noqa: ASYNC110  # it has no event of its own
                await asyncio.sleep(0.02)
        await settle()
        assert broker.events() == [("panic.silent", 1), ("panic.pressed", 1)]

    live(holders, story, broker)


def test_a_silent_centre_is_recorded_once_and_its_return_sends_everything_again(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.press()
        life.trouble()
        await life.passes(95)
        assert "C5 has not been heard" in life.said
        assert [type_ for type_, _ in life.broker.events("event/status")].count("centre.silent") == 1
        count = len(life.broker.events("event/status"))
        await life.passes(120)
        assert len(life.broker.events("event/status")) == count, "only alarms are repeated"
        life.c5.beat(life.broker.connection)
        await settle()
        assert "C5 has not been heard" not in life.said
        assert life.broker.events("event/status")[-3:] == [
            ("power.lost", 1), ("centre.silent", 2), ("centre.restored", 3),
        ]  # fmt: skip

    live(holders, story)


def test_a_recorded_heartbeat_does_not_bring_the_centre_back(holders: Holders) -> None:
    async def story(life: Life) -> None:
        stale = life.clock.now_us() - 91_000_000
        await life.passes(95)
        assert "C5 has not been heard" in life.said
        life.c5.beat(life.broker.connection, stale)
        assert "C5 has not been heard" in life.said
        life.c5.beat(life.broker.connection)
        assert "C5 has not been heard" not in life.said
        life.clock.source = 0
        await life.passes(95)
        assert "C5 has not been heard" in life.said
        life.c5.beat(life.broker.connection, life.clock.now_us() - 95_000_000)
        assert "C5 has not been heard" in life.said, "no newer than its last, whatever our clock is worth"

    live(holders, story)


def test_where_the_broker_confirms_code_0_counts_and_nobody_waits_for_a_centre(holders: Holders) -> None:
    async def story(life: Life) -> None:
        told: list[Run] = []
        life.uplink.downlink.on_receipted = told.extend
        life.broker.codes["event/status"] = 0x10
        life.press()
        life.trouble()
        await settle()
        assert life.store.receipts == [Run(ALARM, 2, 1, 1)]
        assert told == [], "there is no stage 2"
        await life.passes(125)
        assert life.uplink.troubles == [
            said.explain_nobody(ROUTE.topic("event/status")),
        ]
        assert len(life.broker.events("event/status")) == 3, "nobody subscribed: sent again each minute"

    live(holders, story, confirmed_by_broker=True)


def test_a_disk_that_can_t_be_read_is_asked_again_and_nothing_is_declared_lost(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.press()
        await settle()
        life.store.unreadable = True
        await life.passes(62)
        assert life.broker.events() == [("panic.pressed", 1)]
        life.broker.connection.drop("the link broke")
        await life.passes(2)
        assert life.broker.events() == [("panic.pressed", 1)]
        life.store.unreadable = False
        await life.passes(62)
        assert life.broker.events() == [("panic.pressed", 1)] * 2
        assert "records.unavailable" not in [type_ for type_, _ in life.broker.events("event/status")]

    live(holders, story)


def test_cloudevents_attributes_are_on_single_records_where_the_settings_ask_for_them(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.press()
        (sent,) = [published for published in life.broker.log if published.channel == "event/alarm"]
        assert dict(sent.user_properties) == {
            "specversion": "1.0",
            "id": f"gw-1/{EPOCH.hex()}/alarm/1",
            "source": "urn:c5:gateway:gw-1",
            "type": "panic.pressed",
            "time": "2027-01-15T08:00:00+00:00",
            "subject": "0c500042",
        }

    live(holders, story, cloud_events=True)


def test_a_refused_subscription_is_a_trouble_and_the_next_broker_is_tried(holders: Holders) -> None:
    broker = Broker()
    broker.refused_filter = RECEIPT

    async def story(life: Life) -> None:
        await settle()
        assert life.uplink.troubles == ["it refused the subscription. Allow it."]
        assert broker.connections[0].ended == "aborted"
        broker.refused_filter = None

    live(holders, story, broker)


def test_a_cancellation_is_never_lost_however_late_it_comes(holders: Holders) -> None:
    """Whenever it comes within the turns in which a session fails (CPython #116720 and its kin)."""

    async def life(turns: int, fault: str) -> None:
        broker = Broker()
        living = Life(holders, broker)
        if fault == "refused":
            broker.refused_filter, broker.slow_filter = RECEIPT, "c5/v1/certificates/+"
        task = asyncio.create_task(living.uplink.run())
        if fault == "dropped":
            await settle()
            broker.connection.drop("the link broke")
        if fault == "dropped while subscribing":
            while not broker.connections:  # noqa: ASYNC110  # turn by turn
                await asyncio.sleep(0)
            broker.connection.ended = "the link broke"
            broker.connection._on_closed("the link broke")
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([task])
        assert task.cancelled(), (turns, fault)

    for fault in ("refused", "dropped", "dropped while subscribing"):
        for turns in range(14):
            asyncio.run(life(turns, fault))


def test_the_goodbye_of_a_stop_is_said_on_the_connection_that_is_up(holders: Holders) -> None:
    broker = Broker()

    async def story(life: Life) -> None:
        broker.connection.drop("the link broke")
        await life.passes(3)

    live(holders, story, broker)
    assert [state.online for state in broker.states()] == [True, True, False]
    assert broker.states()[-1].connection == len(broker.connections)


def test_a_refused_channel_is_a_trouble_that_names_it_and_stops_nothing_else(holders: Holders) -> None:
    broker = Broker()
    broker.codes["certificates"] = 0x87

    async def story(life: Life) -> None:
        assert ROUTE.topic("certificates") in life.said
        life.broker.connection.drop("the broker ended it")
        await life.passes(1)
        sent = [published.channel for published in life.broker.log]
        assert sent.count("certificates") == 1, "held back on the next connection"
        life.press()
        await settle()
        assert life.broker.events() == [("panic.pressed", 1)]
        del life.broker.codes["certificates"]
        life.broker.connection.drop("once more")
        await life.passes(5)
        assert life.uplink.troubles == []

    live(holders, story, broker)


def test_refused_certificates_go_again_on_the_same_connection(holders: Holders) -> None:
    broker = Broker()
    broker.codes["certificates"] = 0x97

    async def story(life: Life) -> None:
        await life.passes(10)
        assert [p.channel for p in broker.log].count("certificates") == 3, "after 2 and 4 more seconds"
        broker.codes.clear()
        await life.passes(10)
        assert [p.channel for p in broker.log].count("certificates") == 4
        assert (len(broker.connections), life.uplink.troubles) == (1, [])

    live(holders, story, broker)


def test_a_repeated_receipt_is_believed_and_shows_no_life(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.press()
        said = Receipt("gw-1", NOW_US + 1, {ALARM: [(EPOCH, 1)]})
        recorded = life.c5.holder.signer.sign("receipt", message.encode(said))
        for _ in range(12):
            life.broker.connection.say(RECEIPT, recorded)
            await life.passes(10)
        assert life.store.receipts == [Run(ALARM, 2, 1, 1)]
        assert "C5 has not been heard" in life.said

    live(holders, story)


def test_a_receiver_whose_clock_is_ahead_does_not_make_another_s_receipts_recordings(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.clock.source = 0  # ours says nothing
        life.press()
        ahead = Receipt("gw-1", NOW_US + 3_600_000_000, {ALARM: [(EPOCH, 1)]})
        life.broker.connection.say(RECEIPT, life.c5.holder.signer.sign("receipt", message.encode(ahead)))
        other = C5(life.people["c5-b"], "gw-1", life.clock)
        other.introduce(life.broker.connection)
        for _ in range(12):
            await life.passes(10)
            other.receipt(life.broker.connection, RECEIPT, {ALARM: [(EPOCH, 1)]})
        assert life.uplink.troubles == []

    live(holders, story)


def test_a_receiver_of_satellites_that_is_deceived_cuts_c5_off_from_nothing(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.clock.source = 3
        life.press()
        for ahead_us in (TEN_YEARS_US, 100_000_000, -100_000_000):
            life.clock.deceived_us = ahead_us
            for _ in range(12):
                await life.passes(10)
                life.c5.beat(life.broker.connection, life.clock.firm()[0])
            assert "C5 has not been heard" not in life.said
        life.clock.deceived_us = TEN_YEARS_US
        said = Receipt("gw-1", life.clock.firm()[0] + 1, {ALARM: [(EPOCH, 1)]})
        life.broker.connection.say(RECEIPT, life.c5.holder.signer.sign("receipt", message.encode(said)))
        assert life.store.receipts == [Run(ALARM, 2, 1, 1)]

    live(holders, story)


def test_refused_receipts_of_many_kinds_are_one_record_a_minute(holders: Holders) -> None:
    async def story(life: Life) -> None:
        for number in range(12):
            life.broker.connection.say(RECEIPT, bytes(number))
            life.receipt(up_to={ALARM: [(EPOCH, 5)]})
        await life.passes(30)
        assert life.broker.events("event/status") == [("receipt.refused", 1)]

    live(holders, story)


def test_what_c5_lacks_of_a_store_that_was_lost_is_declared_lost_once(holders: Holders) -> None:
    async def story(life: Life) -> None:
        strange = b"strange!"
        for _ in range(3):
            life.receipt(up_to={}, missing={ALARM: [(strange, 1, 3), (strange, 5, 5)]})
            await life.passes(70)
        declared = [r for p in life.broker.log if p.channel == "event/status" for r in p.records]
        assert [r.data for r in declared if r.type == "records.unavailable" and r.sequence == 1][:1] == [
            {"lane": 0, "ranges": [[strange, 1, 3], [strange, 5, 5]], "count": 4, "reason": "lost"}
        ]
        assert {r.sequence for r in declared if r.type == "records.unavailable"} == {1}, "told until it is receipted"

    live(holders, story)


def test_of_a_record_that_was_declared_lost_nobody_hears_that_c5_has_it(holders: Holders) -> None:
    async def story(life: Life) -> None:
        told: list[Run] = []
        life.uplink.downlink.on_receipted = told.extend
        for _ in range(3):
            life.press()
        await settle()
        del life.store.entries[1]  # it can't be read any more
        life.receipt(missing={ALARM: [(EPOCH, 2, 2)]})
        await settle()
        (entry,) = [entry for entry in life.store.entries if entry.item.lane is STATUS]
        assert entry.drops == (Run(ALARM, 2, 2, 2),), "nor after the next start"
        await life.passes(10)
        life.receipt()
        assert [run for run in told if run.lane is ALARM] == [Run(ALARM, 2, 1, 1), Run(ALARM, 2, 3, 3)]
        assert [run for run in life.store.receipts if run.lane is ALARM] == [Run(ALARM, 2, 1, 1), Run(ALARM, 2, 3, 3)]

    live(holders, story)


def test_what_was_declared_lost_is_lost_however_often_c5_asks(holders: Holders) -> None:
    async def story(life: Life) -> None:
        for _ in range(3):
            life.press()
        await settle()
        del life.store.entries[1]  # it can't be read any more
        for _ in range(3):
            life.receipt(missing={ALARM: [(EPOCH, 2, 2)]})  # of the status lane C5 has everything
            await settle()
            (entry,) = [entry for entry in life.store.entries if entry.drops]
            assert read(entry.item.wire).data == {
                "lane": 0, "ranges": [[EPOCH, 2, 2]], "count": 1, "reason": "lost",
            }  # fmt: skip
            assert (entry.drops, entry.lost) == ((Run(ALARM, 2, 2, 2),), True), "after the next start, too"
            await life.passes(61)

    live(holders, story)


def test_what_is_remembered_as_declared_is_bounded(holders: Holders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downlink, "UNKNOWN_MAX", 3)

    async def story(life: Life) -> None:
        for number in range(5):
            life.receipt(up_to={}, missing={ALARM: [(b"strange!", 2 * number + 1, 2 * number + 1)]})
            await life.passes(61)
        assert len(life.uplink.downlink._unknown) == 3
        before = life.recorder.sequence(STATUS)
        life.receipt(up_to={}, missing={ALARM: [(b"strange!", 9, 9)]})
        assert life.recorder.sequence(STATUS) == before, "it is being told"
        life.receipt(up_to={}, missing={ALARM: [(b"strange!", 1, 1)]})
        assert life.recorder.sequence(STATUS) == before + 1, "told once more, rather than remembered for good"

    live(holders, story)


def test_alarms_that_leave_and_are_never_receipted_are_a_trouble_although_c5_is_heard(holders: Holders) -> None:
    async def story(life: Life) -> None:
        life.press()
        await settle()
        for _ in range(9):
            life.c5.beat(life.broker.connection)
            await life.passes(10)
        assert (life.uplink.troubles, life.uplink.health) == ([], {"links": {}}), "90 s: the profile"
        life.c5.beat(life.broker.connection)
        await life.passes(1)
        assert life.uplink.troubles == [
            said.explain_unreceipted(91, RECEIPT),
        ]
        assert life.uplink.health == {"links": {}, "unreceipted_s": 91}
        life.receipt()
        assert (life.uplink.troubles, life.uplink.health) == ([], {"links": {}})

    live(holders, story)
