"""Whose word counts, with real certificates."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from gateway.control import authorise
from gateway.control.authorise import KNOWN_MAX, Receipted, Speakers
from gateway.errors import Refused
from gateway.event import Lane
from gateway.signing import message
from gateway.signing.certificate import Anchors, judge
from gateway.signing.chains import encode_chain
from gateway.signing.message import Centre, Receipt
from tests.support.memory import Holder, make_holders

AT = datetime.now(UTC)
RECEIPT = Receipt("gw-1", 5, {Lane.ALARM: [(b"epoch--1", 3)]})
Holders = tuple[bytes, dict[str, Holder]]


@pytest.fixture(scope="module")
def holders(tmp_path_factory: pytest.TempPathFactory) -> Holders:
    return make_holders(tmp_path_factory.mktemp("authority"))


def _speakers(holders: Holders, *receivers: str, introduced: tuple[str, ...] = ()) -> Speakers:
    speakers = Speakers("gw-1", Anchors.load(holders[0]), receivers or ("*",))
    for name in introduced:
        assert not isinstance(speakers.introduce(name, encode_chain(holders[1][name].chain), AT), Refused)
    return speakers


def _receipt(holders: Holders, name: str, receipt: Receipt = RECEIPT) -> bytes:
    return holders[1][name].signer.sign("receipt", message.encode(receipt))


def test_a_receiver_s_receipt_counts_once_its_certificate_is_known(holders: Holders) -> None:
    speakers = _speakers(holders)
    wire = _receipt(holders, "c5-a")
    assert speakers.receipt(wire, AT) == Refused("signed under a certificate that is not known")
    speakers.introduce("c5-a", encode_chain(holders[1]["c5-a"].chain), AT)
    assert speakers.receipt(wire, AT) == Receipted(RECEIPT, "c5-a")


def test_a_commander_s_receipt_and_an_unnamed_receiver_s_do_not_count(holders: Holders) -> None:
    speakers = _speakers(holders, "c5-b", introduced=("boss", "c5-a", "c5-b"))
    assert speakers.receipt(_receipt(holders, "c5-b"), AT) == Receipted(RECEIPT, "c5-b")
    assert speakers.receipt(_receipt(holders, "boss"), AT) == Refused(
        "signed by the commander boss, which is no receiver"
    )
    assert speakers.receipt(_receipt(holders, "c5-a"), AT) == Refused(
        "signed by c5-a, which the settings don't name (delivery.receivers)"
    )


def test_a_chain_counts_only_in_its_own_name_s_topic_and_never_for_a_gateway(holders: Holders) -> None:
    speakers = _speakers(holders)
    assert speakers.introduce("c5-b", encode_chain(holders[1]["c5-a"].chain), AT) == Refused(
        "the certificate of the receiver c5-a in the topic of c5-b"
    )
    assert speakers.introduce("gw-1", encode_chain(holders[1]["gw-1"].chain), AT) == Refused(
        "the certificate of the gateway gw-1 in the topic of gw-1"
    )
    assert isinstance(speakers.receipt(_receipt(holders, "c5-a"), AT), Refused)


def test_a_chain_of_another_authority_is_refused(holders: Holders, tmp_path: Path) -> None:
    _anchors, others = make_holders(tmp_path / "other")
    speakers = _speakers(holders)
    assert isinstance(speakers.introduce("c5-a", encode_chain(others["c5-a"].chain), AT), Refused)
    assert isinstance(speakers.receipt(others["c5-a"].signer.sign("receipt", message.encode(RECEIPT)), AT), Refused)


def test_a_receipt_for_another_gateway_is_refused(holders: Holders) -> None:
    speakers = _speakers(holders, introduced=("c5-a",))
    other = Receipt("gw-2", 5, RECEIPT.up_to)
    assert speakers.receipt(_receipt(holders, "c5-a", other), AT) == Refused("a receipt for another gateway")


def test_a_receipt_altered_in_any_byte_is_refused(holders: Holders) -> None:
    speakers = _speakers(holders, introduced=("c5-a",))
    wire = _receipt(holders, "c5-a")
    for at in range(len(wire)):
        assert isinstance(speakers.receipt(wire[:at] + bytes([wire[at] ^ 1]) + wire[at + 1 :], AT), Refused), at


def test_a_heartbeat_is_its_signer_s_own(holders: Holders) -> None:
    speakers = _speakers(holders, introduced=("c5-a", "c5-b"))
    signer = holders[1]["c5-a"].signer
    own, other = Centre("c5-a", 7), Centre("c5-b", 7)
    assert speakers.heartbeat(signer.sign("centre", message.encode(own)), AT) == own
    assert speakers.heartbeat(signer.sign("centre", message.encode(other)), AT) == Refused(
        "a heartbeat in another's name"
    )
    assert isinstance(speakers.heartbeat(_receipt(holders, "c5-a"), AT), Refused), "a receipt is no heartbeat"


def test_a_certificate_that_has_ended_vouches_for_nothing_more(holders: Holders) -> None:
    speakers = _speakers(holders, introduced=("c5-a",))
    late = AT + timedelta(days=4000)
    refused = speakers.receipt(_receipt(holders, "c5-a"), late)
    assert isinstance(refused, Refused)
    assert "not valid now" in refused.reason
    assert isinstance(_speakers(holders).introduce("c5-a", encode_chain(holders[1]["c5-a"].chain), late), Refused)


def test_a_chain_from_a_time_to_come_counts_once_our_clock_has_come_there(holders: Holders) -> None:
    speakers = _speakers(holders)
    early = AT - timedelta(days=4000)
    assert isinstance(speakers.introduce("c5-a", encode_chain(holders[1]["c5-a"].chain), early), Refused)
    assert speakers.receipt(_receipt(holders, "c5-a"), early) == Refused("signed under a certificate that is not known")
    assert speakers.receipt(_receipt(holders, "c5-a"), AT) == Receipted(RECEIPT, "c5-a")


def test_a_chain_that_begins_in_a_few_seconds_counts_within_five_more(holders: Holders) -> None:
    speakers = _speakers(holders)
    chain = holders[1]["c5-a"].chain
    begins = x509.load_der_x509_certificate(chain[0]).not_valid_before_utc
    early = begins - timedelta(seconds=3)
    assert isinstance(speakers.introduce("c5-a", encode_chain(chain), early), Refused)
    assert isinstance(speakers.receipt(_receipt(holders, "c5-a"), early + timedelta(seconds=4)), Refused)
    assert speakers.receipt(_receipt(holders, "c5-a"), early + timedelta(seconds=5)) == Receipted(RECEIPT, "c5-a")


def test_whoever_is_not_known_costs_one_judgement_of_a_chain_in_five_seconds(
    holders: Holders, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[datetime] = []

    def counted(chain: Sequence[bytes], anchors: Anchors, at: datetime, revocations: Any) -> Any:
        judged.append(at)
        return judge(chain, anchors, at, revocations)

    monkeypatch.setattr(authorise, "judge", counted)
    speakers = _speakers(holders)
    early = AT - timedelta(days=4000)
    for number in range(KNOWN_MAX):
        speakers.introduce(f"c5-{number}", encode_chain(holders[1]["c5-a"].chain), early)
    assert len(judged) == KNOWN_MAX
    for second in (0, 1, 4):
        assert isinstance(speakers.receipt(_receipt(holders, "c5-b"), early + timedelta(seconds=second)), Refused)
    assert len(judged) == KNOWN_MAX, "nothing but time can change what came of it"
    for second in (5, 6, 9):
        assert isinstance(speakers.receipt(_receipt(holders, "c5-b"), early + timedelta(seconds=second)), Refused)
    assert len(judged) == 2 * KNOWN_MAX
    assert isinstance(speakers.receipt(_receipt(holders, "c5-b"), early - timedelta(days=1)), Refused)
    assert len(judged) == 3 * KNOWN_MAX, "the clock was set back"


def test_rubbish_in_any_topic_is_refused_and_changes_nothing(holders: Holders) -> None:
    speakers = _speakers(holders, introduced=("c5-a",))
    for rubbish in (b"", b"\x80", b"\x81\x40", b"\xd2\x84", b"\x9b\x7f" + b"\xff" * 7, b"\x81" * 4000):
        assert isinstance(speakers.introduce("c5-a", rubbish, AT), Refused)
        assert isinstance(speakers.receipt(rubbish, AT), Refused)
        assert isinstance(speakers.heartbeat(rubbish, AT), Refused)
    assert speakers.receipt(_receipt(holders, "c5-a"), AT) == Receipted(RECEIPT, "c5-a")
    assert len(speakers._known) == 1 <= KNOWN_MAX
