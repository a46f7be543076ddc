import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.c5.signers import Signer, Signers, microseconds
from gateway.c5.verifier import UnknownSigner, Unproven, Verdict, Verified, verify, verify_state
from gateway.errors import Refused
from gateway.event import Lane
from gateway.signing import message
from gateway.signing.cose import Envelope, VerifyingKey
from tests.unit.c5.kit import NOON_US, UNSYNCHRONISED, Gateway, Site, flip

VECTORS = Path(os.environ.get("C5_VECTORS") or Path(__file__).parents[2] / "vectors")
YEAR_US = 366 * 86_400_000_000


def known(gateway: Gateway, *, revoked_us: int | None = None) -> Callable[[bytes], Signer | None]:
    identity = gateway.own.identity
    key = VerifyingKey(identity.certificate.public_key())
    signer = Signer(
        gateway.name,
        identity.thumbprint,
        key,
        microseconds(identity.not_before),
        microseconds(identity.not_after),
        revoked_us,
        gateway.own.chain,
        NOON_US,
    )
    return {identity.thumbprint: signer}.get


def judge(gateway: Gateway, lane: Lane, items: list[bytes], arrived_us: int = NOON_US) -> list[Verdict]:
    return verify(items, gateway.name, lane, known(gateway), arrived_us)


def watch_signatures(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that grows with each record whose signature is checked."""
    checked: list[bytes] = []
    original = VerifyingKey.verify

    def watched(key: VerifyingKey, envelope: Envelope) -> bool:
        checked.append(envelope.wire)
        return original(key, envelope)

    monkeypatch.setattr(VerifyingKey, "verify", watched)
    return checked


def test_vector_records_are_believed_and_the_rejected_ones_are_not() -> None:
    vectors = json.loads((VECTORS / "record.json").read_text())
    key = VerifyingKey(Ed25519PublicKey.from_public_bytes(bytes.fromhex(vectors["ed25519"]["public"])))
    thumbprint = bytes.fromhex(vectors["ed25519"]["x5t"])
    signer = Signer(vectors["gateway"], thumbprint, key, 0, 2**62, None, (), 0)
    find = {thumbprint: signer}.get
    for lane in Lane:
        chain = [
            bytes.fromhex(entry["cose"]) for entry in vectors["chain"] if f"/{lane.name.lower()}/" in entry["identity"]
        ]
        verdicts = verify(chain, vectors["gateway"], lane, find, NOON_US)
        assert [type(verdict) for verdict in verdicts] == [Verified] * len(chain)
    identities = [
        verdict.record.identity
        for verdict in verify(
            [bytes.fromhex(entry["cose"]) for entry in vectors["chain"]], vectors["gateway"], Lane.ALARM, find, NOON_US
        )
        if isinstance(verdict, Verified)
    ]
    assert identities == [entry["identity"] for entry in vectors["chain"]]
    for entry in vectors["rejected"]:
        for lane in Lane:
            (verdict,) = verify([bytes.fromhex(entry["cose"])], vectors["gateway"], lane, find, NOON_US)
            assert not isinstance(verdict, Verified), entry["why"]
    for entry in vectors["held"]:
        (verdict,) = verify([bytes.fromhex(entry["cose"])], vectors["gateway"], Lane.ALARM, find, NOON_US)
        assert isinstance(verdict, UnknownSigner), entry["why"]


def test_a_run_of_telemetry_is_believed_by_its_last_signature(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = watch_signatures(monkeypatch)
    records = gateway.measurements(20)
    verdicts = judge(gateway, Lane.TELEMETRY, records)
    assert [verdict.record.sequence for verdict in verdicts if isinstance(verdict, Verified)] == list(range(1, 21))
    assert checked == records[-1:]


def test_every_alarm_is_believed_by_its_own_signature(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = watch_signatures(monkeypatch)
    records = [gateway.record() for _ in range(3)]
    assert all(isinstance(verdict, Verified) for verdict in judge(gateway, Lane.ALARM, records))
    assert checked == records


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize("bad", [0, 2, 4])
def test_one_bad_record_refuses_itself_alone(gateway: Gateway, lane: Lane, bad: int) -> None:
    records = [gateway.record(lane, "door.opened") for _ in range(5)]
    records[bad] = flip(records[bad], -1)
    verdicts = judge(gateway, lane, records)
    assert [isinstance(verdict, Verified) for verdict in verdicts] == [index != bad for index in range(5)]
    assert verdicts[bad] == Refused("a signature that is wrong")


def test_a_run_may_skip_and_begin_anywhere(gateway: Gateway) -> None:
    records = gateway.measurements(9)
    verdicts = judge(gateway, Lane.TELEMETRY, [records[7], records[2], records[3], records[0], records[8]])
    assert [verdict.record.sequence for verdict in verdicts if isinstance(verdict, Verified)] == [8, 3, 4, 1, 9]


def test_a_forged_hash_does_not_borrow_a_signature(gateway: Gateway) -> None:
    first, second = gateway.measurements(2)
    forged = flip(first, first.index(b"measurement"))
    verdicts = judge(gateway, Lane.TELEMETRY, [forged, second])
    assert [type(verdict) for verdict in verdicts] == [Refused, Verified]


def test_a_record_is_bound_to_its_topics_gateway_and_lane(site: Site, gateway: Gateway) -> None:
    other = Gateway(site.own("gateway", "pa-dar-0018"))
    (stolen,) = verify([other.record()], gateway.name, Lane.ALARM, known(gateway), NOON_US)
    (moved,) = judge(gateway, Lane.STATUS, [gateway.record()])
    assert stolen == Refused("a record of another gateway than its topic's")
    assert moved == Refused("a record of another lane than its topic's")


def test_a_record_signed_with_another_gateways_key_is_held_not_believed(site: Site, gateway: Gateway) -> None:
    other = Gateway(site.own("gateway", "pa-dar-0018"))
    other.name = gateway.name
    (verdict,) = judge(gateway, Lane.ALARM, [other.record()])
    assert isinstance(verdict, UnknownSigner)


def test_the_signer_is_judged_at_the_time_the_record_occurred(gateway: Gateway) -> None:
    expired_us = microseconds(gateway.own.identity.not_after) + 1
    in_time = gateway.record()
    too_late = gateway.record(occurred_us=expired_us)
    too_early = gateway.record(occurred_us=NOON_US - 2 * YEAR_US)
    unsynchronised = gateway.record(occurred_us=0, clock=UNSYNCHRONISED)
    records = [in_time, too_late, too_early, unsynchronised]
    now, later = judge(gateway, Lane.ALARM, records), judge(gateway, Lane.ALARM, records, expired_us)
    assert [isinstance(verdict, Verified) and verdict.expired for verdict in now] == [False] * 4
    assert [isinstance(verdict, Verified) for verdict in now] == [True, False, False, True]
    assert [isinstance(verdict, Verified) for verdict in later] == [True, False, False, False]
    assert isinstance(later[0], Verified)
    assert later[0].expired


def test_what_arrives_after_a_revocation_is_unproven(gateway: Gateway) -> None:
    wire = gateway.record()
    find = known(gateway, revoked_us=NOON_US)
    (before,) = verify([wire], gateway.name, Lane.ALARM, find, NOON_US - 1)
    (after,) = verify([wire], gateway.name, Lane.ALARM, find, NOON_US)
    (forged,) = verify([flip(wire, -1)], gateway.name, Lane.ALARM, find, NOON_US)
    assert [type(before), type(after), type(forged)] == [Verified, Unproven, Refused]


def test_a_state_is_bound_and_its_signer_valid_at_arrival(site: Site, gateway: Gateway) -> None:
    other = Gateway(site.own("gateway", "pa-dar-0018"))
    wire = gateway.state()
    expired_us = microseconds(gateway.own.identity.not_after) + 1
    assert isinstance(verify_state(wire, gateway.name, known(gateway), NOON_US), message.State)
    for refused in (
        verify_state(wire, gateway.name, known(gateway), expired_us),
        verify_state(wire, gateway.name, known(gateway, revoked_us=NOON_US), NOON_US),
        verify_state(flip(wire, -1), gateway.name, known(gateway), NOON_US),
        verify_state(wire, other.name, known(gateway), NOON_US),
        verify_state(gateway.record(), gateway.name, known(gateway), NOON_US),
        verify_state(b"", gateway.name, known(gateway), NOON_US),
    ):
        assert isinstance(refused, Refused)


def test_a_signer_is_found_for_its_own_gateway_alone(site: Site, gateway: Gateway) -> None:
    signers = Signers(site.anchors)
    other = site.own("gateway", "pa-dar-0018")
    receiver = site.own("receiver", "c5-a")
    assert signers.offer(gateway.name, other.chain, NOON_US) == Refused("another gateway's certificate")
    assert signers.offer("c5-a", receiver.chain, NOON_US) == Refused(
        "a receiver's certificate where a gateway's belongs"
    )
    assert isinstance(signers.offer(gateway.name, [], NOON_US), Refused)
    assert isinstance(signers.offer(gateway.name, gateway.own.chain, NOON_US), Signer)
    assert signers.find(gateway.name, gateway.own.identity.thumbprint) is not None
    assert signers.find("pa-dar-0018", gateway.own.identity.thumbprint) is None


def test_an_expired_chain_is_judged_for_the_time_of_the_record_that_names_it(site: Site, gateway: Gateway) -> None:
    signers = Signers(site.anchors)
    expired_us = microseconds(gateway.own.identity.not_after) + 1
    thumbprint = gateway.own.identity.thumbprint
    assert isinstance(signers.offer(gateway.name, gateway.own.chain, expired_us), Refused)
    assert signers.reconsider(gateway.name, thumbprint, expired_us) is None
    assert signers.reconsider(gateway.name, thumbprint, 2**62) is None
    found = signers.reconsider(gateway.name, thumbprint, NOON_US)
    assert found is not None
    assert signers.find(gateway.name, thumbprint) == found
