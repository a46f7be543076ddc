from datetime import UTC, datetime

import pytest

from gateway.c5.centre import Centre
from gateway.c5.epochs import Epoch
from gateway.c5.holding import SIGNERS, Holding
from gateway.c5.signers import microseconds
from gateway.c5.values import Keep, KeptRecord, Learn, Outcome, Remember, Snapshot, Store
from gateway.event import Lane
from gateway.signing import cose, message
from gateway.signing.chains import encode_chains
from gateway.signing.message import Centre as Heartbeat
from gateway.signing.message import Receipt
from gateway.signing.record import INT_MAX
from gateway.topics import Route
from tests.unit.c5.kit import EPOCH, NEXT_EPOCH, NOON_US, Gateway, Site, flip, give, learn, receipts, reported, tell


@pytest.fixture
def centre(site: Site) -> Centre:
    return site.centre()


def standing(centre: Centre) -> list[tuple[str, str, bool]]:
    """Return what has been reported since the last call, and whether it stands."""
    return [(tally.report.type, tally.report.gateway, tally.report.open) for tally in centre.reports.drain()]


def test_records_are_receipted_only_once_they_are_committed(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    (action,) = centre.receive(gateway.event_topic(Lane.ALARM), gateway.record(), NOON_US, 0.0)
    assert isinstance(action, Store)
    assert receipts(centre, 0.0) == []
    centre.stored(action.batch, Outcome(), 0.1)
    assert receipts(centre, 0.1) == [Receipt("pa-dar-0017", NOON_US, {Lane.ALARM: [(EPOCH, 1)]})]
    assert receipts(centre, 0.1) == []


def test_a_receipt_goes_to_the_gateways_topic_signed_by_the_receiver(
    site: Site, centre: Centre, gateway: Gateway
) -> None:
    learn(centre, gateway)
    give(centre, gateway, Lane.ALARM, [gateway.record()])
    ((topic, wire),) = centre.receipts(0.0, NOON_US)
    envelope = cose.parse(wire, "receipt")
    assert isinstance(envelope, cose.Envelope)
    assert topic == gateway.topic("receipt")
    assert envelope.thumbprint == site.own("receiver", "c5-a").identity.thumbprint


def test_alarms_are_receipted_at_once_and_the_rest_once_a_second(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    give(centre, gateway, Lane.TELEMETRY, gateway.measurements(2), now=10.0)
    assert receipts(centre, 10.0) == [Receipt("pa-dar-0017", NOON_US, {Lane.TELEMETRY: [(EPOCH, 2)]})]
    give(centre, gateway, Lane.TELEMETRY, gateway.measurements(2), now=10.1)
    assert receipts(centre, 10.1) == []
    give(centre, gateway, Lane.ALARM, [gateway.record()], now=10.2)
    assert receipts(centre, 10.2) == [
        Receipt("pa-dar-0017", NOON_US, {Lane.ALARM: [(EPOCH, 1)], Lane.TELEMETRY: [(EPOCH, 4)]})
    ]
    give(centre, gateway, Lane.TELEMETRY, gateway.measurements(1), now=10.3)
    centre.tick(11.1)
    assert receipts(centre, 11.1) == []
    centre.tick(11.3)
    assert receipts(centre, 11.3) == [Receipt("pa-dar-0017", NOON_US, {Lane.TELEMETRY: [(EPOCH, 5)]})]


def test_a_gap_is_asked_for_and_reported_and_ends_when_it_is_filled(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    first, second, third = gateway.measurements(3)
    give(centre, gateway, Lane.TELEMETRY, [first])
    give(centre, gateway, Lane.TELEMETRY, [third])
    assert receipts(centre, 0.0) == [
        Receipt("pa-dar-0017", NOON_US, {Lane.TELEMETRY: [(EPOCH, 3)]}, {Lane.TELEMETRY: [(EPOCH, 2, 2)]})
    ]
    centre.tick(1.0)
    assert reported(centre) == {}
    centre.tick(6.0)
    centre.tick(7.0)
    assert reported(centre) == {"records.missing": [f"telemetry/{EPOCH.hex()}"]}
    give(centre, gateway, Lane.TELEMETRY, [second], now=8.0)
    centre.tick(8.0)
    (tally,) = centre.reports.drain()
    assert (tally.report.type, tally.report.open) == ("records.missing", False)
    assert receipts(centre, 8.0) == [Receipt("pa-dar-0017", NOON_US, {Lane.TELEMETRY: [(EPOCH, 3)]})]


def test_declared_records_are_not_missing(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    *_, last = gateway.measurements(5)
    declaration = {"lane": 2, "ranges": [[EPOCH, 1, 3], [EPOCH, 4, 4]], "count": 4, "reason": "dropped"}
    give(centre, gateway, Lane.TELEMETRY, [last])
    give(centre, gateway, Lane.STATUS, [gateway.record(Lane.STATUS, "records.unavailable", data=declaration)])
    (receipt,) = receipts(centre, 0.0)
    assert receipt.up_to == {Lane.STATUS: [(EPOCH, 1)], Lane.TELEMETRY: [(EPOCH, 5)]}
    assert receipt.missing == {}


@pytest.mark.parametrize(
    "data",
    [
        None,
        {"lane": 3, "ranges": [[EPOCH, 1, 3]]},
        {"lane": 2, "ranges": [[EPOCH, 3, 1]]},
        {"lane": 2, "ranges": [[EPOCH, 0, 1]]},
        {"lane": 2, "ranges": [["epoch", 1, 3]]},
        {"lane": 2, "ranges": [[EPOCH, 1, INT_MAX + 1]]},
        {"lane": 2, "ranges": {}},
    ],
)
def test_an_unreadable_declaration_declares_nothing(
    centre: Centre, gateway: Gateway, data: dict[str, object] | None
) -> None:
    learn(centre, gateway)
    batch, _ = give(centre, gateway, Lane.STATUS, [gateway.record(Lane.STATUS, "records.unavailable", data=data)])
    assert batch is not None
    assert batch.declared == []
    assert reported(centre) == {"records.unavailable": ["unreadable"]}


def test_lost_and_receipted_records_of_a_reported_clone_are_not_believed(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    give(centre, gateway, Lane.STATUS, [gateway.started()])
    twin = Gateway(gateway.own, EPOCH[:4] + b"twin", before=gateway)
    give(centre, gateway, Lane.STATUS, [twin.started()])
    assert list(reported(centre)) == ["gateway.cloned"]
    lost = {"lane": 2, "ranges": [[EPOCH, 1, 3]], "count": 3, "reason": "lost"}
    said = [lost, lost | {"reason": "receipted"}, lost | {"reason": ["lost"]}, lost | {"reason": "dropped"}]
    batches = [
        give(centre, gateway, Lane.STATUS, [twin.record(Lane.STATUS, "records.unavailable", data=data)])[0]
        for data in said
    ]
    assert [len(batch.declared) for batch in batches if batch is not None] == [0, 0, 0, 1]
    reported(centre)
    assert centre.settle(gateway.name, "settled by ana:\x1b the old card was found") == 1
    ended = [tally.report for tally in centre.reports.drain()]
    assert [(report.type, report.open, report.text) for report in ended] == [
        ("gateway.cloned", False, "settled by ana:? the old card was found")
    ]
    assert centre.settle(gateway.name, "again") == centre.settle("nobody", "of whom nothing is known") == 0
    batch, _ = give(
        centre, gateway, Lane.STATUS, [twin.record(Lane.STATUS, "records.unavailable", data={**lost, "reason": "lost"})]
    )
    assert batch is not None
    assert len(batch.declared) == 1, "believed again"


def test_a_clone_that_goes_on_is_counted_until_it_is_settled(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    after = Gateway(gateway.own, NEXT_EPOCH, before=gateway)

    def say(which: Gateway, second: int) -> list[tuple[bool, int]]:
        at = NOON_US + second * 1_000_000
        tell(centre, which, which.state(time_us=at), float(second), at)
        tallies = centre.reports.drain()
        return [(tally.report.open, tally.count) for tally in tallies if tally.report.type == "gateway.cloned"]

    assert [say(gateway, 0), say(after, 10), say(gateway, 20), say(gateway, 21)] == [[], [], [(True, 1)], [(True, 1)]]
    assert centre.settle(gateway.name, "settled") == 1
    assert [tally.report.open for tally in centre.reports.drain()] == [False]
    assert say(gateway, 22) == [(True, 1)]


def test_a_record_in_another_gateways_topic_is_refused_and_nothing_changes(
    site: Site, centre: Centre, gateway: Gateway
) -> None:
    other = Gateway(site.own("gateway", "pa-dar-0018"))
    learn(centre, gateway)
    learn(centre, other)
    assert give(centre, gateway, Lane.ALARM, [other.record()]) == (None, [])
    assert give(centre, gateway, Lane.STATUS, [gateway.record()]) == (None, [])
    assert receipts(centre, 0.0) == []
    assert centre.accounts == {}
    assert set(reported(centre)) == {"record.refused"}


def test_one_bad_record_in_a_sequence_does_not_refuse_the_others(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    first, second, third = gateway.measurements(3)
    batch, others = give(centre, gateway, Lane.TELEMETRY, [first, flip(second), third])
    assert batch is not None
    assert [verified.record.sequence for verified in batch.records] == [1, 3]
    assert others == []


@pytest.mark.parametrize("payload", [b"\xff", b"\x00" * 100, b"\xd2\x84" * 8000, b"\x9f" * 20_000])
def test_nonsense_is_refused_and_reported(centre: Centre, gateway: Gateway, payload: bytes) -> None:
    learn(centre, gateway)
    for channel in ("event/alarm", "event/telemetry", "state", "certificates"):
        assert centre.receive(gateway.topic(channel), payload, NOON_US, 0.0) == []
    assert centre.receive("c5/v1/senafront/UPPER/pa-dar-0017/state", payload, NOON_US, 0.0) == []
    assert set(reported(centre)) == {"record.refused", "state.refused", "certificates.refused"}
    assert centre.accounts == {}


def test_records_of_an_unknown_signer_are_kept_and_judged_when_its_certificate_comes(
    centre: Centre, gateway: Gateway
) -> None:
    wire = gateway.record()
    batch, others = give(centre, gateway, Lane.ALARM, [wire])
    assert batch is None
    (keep,) = others
    assert isinstance(keep, Keep)
    assert receipts(centre, 0.0) == []
    (learned,) = centre.receive(gateway.topic("certificates"), gateway.certificates, NOON_US, 1.0)
    assert isinstance(learned, Learn)
    route = Route("senafront", "yaviza-tower-3", "pa-dar-0017")
    (action,) = centre.examine([KeptRecord(route, Lane.ALARM, NOON_US, wire)], 1.0)
    assert isinstance(action, Store)
    centre.stored(action.batch, Outcome(), 1.0)
    assert receipts(centre, 1.0) == [Receipt("pa-dar-0017", NOON_US, {Lane.ALARM: [(EPOCH, 1)]})]


def test_held_records_are_reported_until_the_certificate_comes(site: Site, centre: Centre, gateway: Gateway) -> None:
    other = Gateway(site.own("gateway", "pa-dar-0018"))
    renewed = Gateway(site.own("gateway", "pa-dar-0018", folder="renewed-18"))
    for _ in range(2):
        give(centre, gateway, Lane.ALARM, [gateway.record()])
    give(centre, other, Lane.ALARM, [other.record()])
    assert standing(centre) == [("record.held", "", True)]  # one for all who have proven nothing: anybody invents names
    learn(centre, other)
    assert standing(centre) == []
    learn(centre, gateway)
    assert standing(centre) == [("record.held", "", False)]
    give(centre, other, Lane.ALARM, [other.record()])
    give(centre, renewed, Lane.ALARM, [renewed.record()])
    assert standing(centre) == [("record.held", "pa-dar-0018", True)]
    learn(centre, renewed)
    assert standing(centre) == [("record.held", "pa-dar-0018", False)]


def test_what_is_held_for_a_day_is_no_longer_reported(centre: Centre, gateway: Gateway) -> None:
    give(centre, gateway, Lane.ALARM, [gateway.record()], now=0.0)
    give(centre, gateway, Lane.ALARM, [gateway.record()], now=10.0)
    centre.tick(86_409.0)
    assert standing(centre) == [("record.held", "", True)]
    centre.tick(86_410.0)
    assert standing(centre) == [("record.held", "", False)]


def test_signers_that_are_waited_for_are_bounded(centre: Centre) -> None:
    holding = Holding(centre.reports)
    for number in range(5000):
        holding.hold(f"forged-{number}", b"signer", "", 0.0)
    for number in range(5000 - SIGNERS, 5000):
        assert standing(centre) == ([("record.held", "", True)] if number == 5000 - SIGNERS else [])
        holding.come(f"forged-{number}", b"signer")
    assert standing(centre) == [("record.held", "", False)]


def test_a_message_on_which_the_receiver_failed_is_reported(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    give(centre, gateway, Lane.ALARM, [gateway.record()])
    centre.failed("pa-dar-0017")
    centre.failed("forged")
    assert [(tally.report.type, tally.report.gateway, tally.count) for tally in centre.reports.drain()] == [
        ("record.refused", "pa-dar-0017", 1),
        ("record.refused", "", 1),
    ]


def test_a_known_certificate_is_learned_once(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    assert centre.receive(gateway.topic("certificates"), gateway.certificates, NOON_US, 1.0) == []


def test_records_of_a_certificate_that_has_expired_are_believed_and_flagged(centre: Centre, gateway: Gateway) -> None:
    expired_us = microseconds(gateway.own.identity.not_after) + 1
    assert centre.receive(gateway.topic("certificates"), gateway.certificates, expired_us, 0.0) == []
    wire = gateway.record()
    learned, action = centre.receive(gateway.event_topic(Lane.ALARM), wire, expired_us, 0.0)
    assert isinstance(learned, Learn)
    assert isinstance(action, Store)
    assert action.batch.records[0].expired
    assert "signer.expired" in reported(centre)


def test_a_revoked_signers_record_is_believed_once_a_later_one_vouches_for_it(site: Site, gateway: Gateway) -> None:
    renewed = site.own("gateway", "pa-dar-0017", folder="renewed")
    centre = site.centre()
    learn(centre, gateway)
    centre.revoke(site.revocations(gateway.own, at=datetime(2026, 9, 1, tzinfo=UTC)))
    assert list(reported(centre)) == ["signer.revoked"]
    first, second = gateway.record(), gateway.record()
    after = Gateway(renewed, before=gateway)
    third = after.record()
    batch, others = give(centre, gateway, Lane.ALARM, [first, second])
    assert batch is None
    assert [type(other) for other in others] == [Keep]
    assert receipts(centre, 0.0) == []
    assert "signer.revoked" in reported(centre)
    learn(centre, after)
    batch, _ = give(centre, after, Lane.ALARM, [third])
    assert batch is not None
    assert [verified.record.sequence for verified in batch.records] == [1, 2, 3]
    assert receipts(centre, 1.0) == [Receipt("pa-dar-0017", NOON_US, {Lane.ALARM: [(EPOCH, 3)]})]


def test_a_state_waits_for_its_signers_certificate(centre: Centre, gateway: Gateway) -> None:
    assert tell(centre, gateway, gateway.state(), 0.0) == []
    learned, remember = centre.receive(gateway.topic("certificates"), gateway.certificates, NOON_US, 1.0)
    assert isinstance(learned, Learn)
    assert isinstance(remember, Remember)
    assert remember.seen.online


def test_heads_of_a_state_are_asked_for_after_60_s(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    first = gateway.record()
    gateway.record()
    give(centre, gateway, Lane.ALARM, [first])
    receipts(centre, 0.0)
    tell(centre, gateway, gateway.state(), 0.0)
    centre.tick(59.0)
    assert receipts(centre, 59.0) == []
    centre.tick(60.0)
    assert receipts(centre, 60.0) == [
        Receipt("pa-dar-0017", NOON_US, {Lane.ALARM: [(EPOCH, 2)]}, {Lane.ALARM: [(EPOCH, 2, 2)]})
    ]


def test_a_gateway_goes_offline_and_comes_back(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    tell(centre, gateway, gateway.state(), 0.0)
    (silent,) = centre.tick(90.0)
    assert isinstance(silent, Remember)
    assert not silent.seen.online
    assert reported(centre) == {"gateway.offline": [""]}
    (back,) = tell(centre, gateway, gateway.state(), 91.0)
    assert isinstance(back, Remember)
    assert back.seen.online
    (will,) = tell(centre, gateway, gateway.state(online=False), 92.0)
    assert isinstance(will, Remember)
    assert not will.seen.online


def test_a_broker_that_a_gateway_can_t_reach_is_a_trouble_until_it_can(centre: Centre, gateway: Gateway) -> None:
    def links() -> list[tuple[str, str, bool]]:
        return [(t.report.detail, t.report.text, t.report.open) for t in centre.reports.drain()]

    learn(centre, gateway)
    dead = {"links": {"c5-a:8883": "nobody there\x1b[2J", "c5-b:8883": "refused"}}
    tell(centre, gateway, gateway.state(health=dead), 0.0)
    assert links() == [
        ("c5-a:8883", "the gateway has no link to c5-a:8883: nobody there?[2J", True),
        ("c5-b:8883", "the gateway has no link to c5-b:8883: refused", True),
    ]
    tell(centre, gateway, gateway.state(health=dead), 1.0)
    assert links() == [], "it lasts"
    tell(centre, gateway, gateway.state(health={"storage": {}}), 2.0)
    tell(centre, gateway, gateway.state(), 3.0)
    tell(centre, gateway, gateway.state(health={"links": ["c5-a:8883"]}), 4.0)
    assert links() == [], "a state that doesn't say ends nothing"
    tell(centre, gateway, gateway.state(health={"links": {"c5-b:8883": "refused", 7: "no name"}}), 5.0)
    assert links() == [("c5-a:8883", "the gateway has its link to c5-a:8883 again", False)]
    tell(centre, gateway, gateway.state(health={"links": {}}, number=1), 6.0)
    assert links() == [], "nor does an old one"
    tell(centre, gateway, gateway.state(health={"links": {}}), 7.0)
    assert links() == [("c5-b:8883", "the gateway has its link to c5-b:8883 again", False)]


def test_a_link_that_failed_before_c5_s_start_is_ended_after_it(site: Site, gateway: Gateway) -> None:
    centre = site.centre()
    learn(centre, gateway)
    (remember,) = tell(centre, gateway, gateway.state(health={"links": {"c5-a:8883": "gone"}}), 0.0)
    assert isinstance(remember, Remember)
    open_ = [tally.report for tally in centre.reports.drain()]
    again = site.centre()
    signers = [(gateway.name, gateway.own.chain, NOON_US)]
    again.restore(Snapshot(signers, [], [], [(gateway.name, Epoch(EPOCH))], [remember.seen], [], open_), 0.0)
    tell(again, gateway, gateway.state(health={"links": {}}), 1.0)
    assert reported(again)["link.failed"] == ["c5-a:8883"]


def test_a_topic_of_another_site_is_reported_and_receipts_follow_the_newest_state(
    centre: Centre, gateway: Gateway
) -> None:
    learn(centre, gateway)
    tell(centre, gateway, gateway.state(site="tower-9"), 0.0)
    give(centre, gateway, Lane.ALARM, [gateway.record()])
    ((topic, _),) = centre.receipts(0.0, NOON_US)
    assert topic == "c5/v1/senafront/tower-9/pa-dar-0017/receipt"
    assert reported(centre) == {"route.differs": [""]}


def test_what_is_held_of_an_ended_epoch_beyond_its_durable_end_is_reported(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    durable = gateway.record()
    before = Gateway(gateway.own, before=gateway)
    undurable = [gateway.record(), gateway.record()]
    give(centre, gateway, Lane.ALARM, [durable, *undurable])
    restarted = Gateway(gateway.own, NEXT_EPOCH, before=before)
    give(centre, restarted, Lane.ALARM, [restarted.record()])
    assert reported(centre) == {"records.undurable": [f"alarm/{EPOCH.hex()}"]}
    assert receipts(centre, 0.0)[0].up_to == {Lane.ALARM: [(EPOCH, 3), (NEXT_EPOCH, 1)]}


def test_a_contradicted_identity_is_reported_as_tampering(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    (action,) = centre.receive(gateway.event_topic(Lane.ALARM), gateway.record(), NOON_US, 0.0)
    assert isinstance(action, Store)
    centre.stored(action.batch, Outcome(contradicting=frozenset({0})), 0.0)
    assert reported(centre) == {"record.tampered": [f"pa-dar-0017/{EPOCH.hex()}/alarm/1"]}


def test_each_heartbeat_is_newer_than_the_last_though_the_clock_was_set_back(centre: Centre) -> None:
    times: list[int] = []
    hour_us = 3_600_000_000
    for now_us in (NOON_US, NOON_US - 10_000_000, NOON_US, NOON_US + hour_us, NOON_US + 30_000_000):
        topic, wire = centre.heartbeat(now_us)
        envelope = cose.parse(wire, "centre")
        assert topic == "c5/v1/centre"
        assert isinstance(envelope, cose.Envelope)
        heartbeat = message.decode("centre", envelope.payload)
        assert isinstance(heartbeat, Heartbeat)
        assert heartbeat.name == "c5-a"
        times.append(heartbeat.time_us)
    assert times == [NOON_US, NOON_US + 1, NOON_US + 2, NOON_US + hour_us, NOON_US + hour_us + 1]


def test_a_receivers_certificate_in_a_gateways_topic_is_refused(site: Site, centre: Centre, gateway: Gateway) -> None:
    receiver = encode_chains([site.own("receiver", "c5-a").chain])
    assert centre.receive(gateway.topic("certificates"), receiver, NOON_US, 0.0) == []
    assert reported(centre) == {"certificates.refused": ["a receiver's certificate where a gateway's belongs"]}
