from collections.abc import Sequence

from gateway.c5.audit import Findings, audit
from gateway.c5.signers import Signers, microseconds
from gateway.event import Lane
from tests.unit.c5.kit import EPOCH, NOON_US, Gateway, Site, flip


def prove(site: Site, gateway: Gateway, items: Sequence[bytes], now_us: int = NOON_US) -> Findings:
    return audit(items, [gateway.own.chain], Signers(site.anchors), now_us)


def test_good_records_are_proven_each_by_its_own_signature(site: Site, gateway: Gateway) -> None:
    assert prove(site, gateway, [*gateway.measurements(5), gateway.record()]) == Findings(proven=6)


def test_records_that_a_file_does_not_have_are_counted(site: Site, gateway: Gateway) -> None:
    records = gateway.measurements(9)
    assert prove(site, gateway, records[3:5] + records[7:]) == Findings(proven=4, missing=2)


def test_what_was_altered_is_named_and_the_rest_is_proven(site: Site, gateway: Gateway) -> None:
    first, second, third = gateway.measurements(3)
    assert prove(site, gateway, [first, flip(second), third, b"\x00"]) == Findings(
        proven=2, missing=1, wrong=["item 2: a signature that is wrong", "item 4: not the header of a record"]
    )


def test_a_signer_that_is_not_known_proves_nothing(site: Site, gateway: Gateway) -> None:
    findings = audit([gateway.record()], [], Signers(site.anchors), NOON_US)
    thumbprint = gateway.own.identity.thumbprint.hex()
    assert findings == Findings(wrong=[f"item 1: its signer is not known (thumbprint {thumbprint})"])


def test_two_records_of_one_identity_and_a_broken_chain_are_named(site: Site, gateway: Gateway) -> None:
    other = Gateway(gateway.own)
    ours = [gateway.record(Lane.STATUS, "door.opened") for _ in range(2)]
    theirs = [other.record(Lane.STATUS, "door.closed") for _ in range(2)]
    identity = f"pa-dar-0017/{EPOCH.hex()}/status"
    assert prove(site, gateway, [ours[0], theirs[0]]).wrong == [f"{identity}/1: two different records"]
    assert prove(site, gateway, [ours[0], theirs[1]]).wrong == [f"{identity}/2: doesn't follow the record before it"]


def test_records_of_a_certificate_that_has_expired_since_are_proven_and_counted(site: Site, gateway: Gateway) -> None:
    expired_us = microseconds(gateway.own.identity.not_after) + 1
    assert prove(site, gateway, [gateway.record()], expired_us) == Findings(proven=1, expired=1)
