"""Which commands are heard, which are obeyed, and which replies are kept: with real certificates."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from certs.authority import Authority
from gateway.control.authorise import Rules, Speakers, Spoken
from gateway.control.replies import KEPT_MAX, REJECTED_MAX, UNDER_WAY_MAX, Replies
from gateway.errors import Refused
from gateway.signing import message
from gateway.signing.certificate import Anchors, Revocations
from gateway.signing.chains import encode_chain
from gateway.signing.message import Command
from tests.support.memory import Holder

AT = datetime.now(UTC)
EPOCH = bytes.fromhex("0000002af70fee95")
OTHER_EPOCH = bytes.fromhex("00000029f70fee95")
PING = Command("gw-1", b"sixteen bytes id", 1_000_000, 31_000_000, "ping", EPOCH)
NOW_US = 2_000_000
RULES = Rules("gw-1", EPOCH, {"boss"})


class People:
    """An authority, and those whom it has certified."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.create(folder)
        self.anchors = Anchors.load(self.authority.trust_anchors.read_bytes())
        self.boss = Holder.of(self.authority, "commander", "boss")
        self.mate = Holder.of(self.authority, "commander", "mate")
        self.receiver = Holder.of(self.authority, "receiver", "c5-a")
        self.gateway = Holder.of(self.authority, "gateway", "gw-2")

    def speakers(self, *introduced: Holder, revocations: Revocations | None = None) -> Speakers:
        speakers = Speakers("gw-1", self.anchors, ["*"], revocations)
        for holder in introduced or (self.boss, self.mate, self.receiver):
            speakers.introduce(holder.name, encode_chain(holder.chain), AT)
        return speakers


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("authority"))


def signed(holder: Holder, command: Command = PING) -> bytes:
    return holder.signer.sign("command", message.encode(command))


def heard(people: People, holder: Holder, command: Command = PING) -> Spoken:
    spoken = people.speakers().command(signed(holder, command), AT)
    assert isinstance(spoken, Spoken), spoken
    return spoken


def test_a_named_commander_s_command_for_this_gateway_and_epoch_is_obeyed(people: People) -> None:
    spoken = heard(people, people.boss)
    assert spoken.command == PING
    assert (spoken.by.role, spoken.by.name) == ("commander", "boss")
    assert RULES.refusal(spoken, NOW_US) is None


@pytest.mark.parametrize(
    ("who", "command", "reason"),
    [
        ("mate", PING, "signed by mate, which the settings don't name (delivery.commanders)"),
        ("receiver", PING, "signed by the receiver c5-a, which is no commander"),
        ("boss", replace(PING, gateway="gw-2"), "for another gateway"),
        ("boss", replace(PING, epoch=OTHER_EPOCH), "of another epoch than the present one"),
        ("boss", replace(PING, expires_us=NOW_US - 1), "expired"),
    ],
    ids=["unnamed", "wrong role", "another gateway", "another epoch", "expired"],
)
def test_whoever_is_proven_is_heard_and_not_obeyed(people: People, who: str, command: Command, reason: str) -> None:
    assert RULES.refusal(heard(people, getattr(people, who), command), NOW_US) == reason


def test_nobody_commands_where_the_settings_name_nobody(people: People) -> None:
    rules = Rules("gw-1", EPOCH, ())
    assert rules.refusal(heard(people, people.boss), NOW_US) is not None


def test_a_receiver_of_a_commander_s_name_commands_nothing(people: People) -> None:
    namesake = Holder.of(people.authority, "receiver", "boss")
    spoken = people.speakers(namesake).command(signed(namesake), AT)
    assert isinstance(spoken, Spoken)
    assert RULES.refusal(spoken, NOW_US) == "signed by the receiver boss, which is no commander"


def test_expiry_is_judged_to_the_microsecond_and_not_before_the_clock_was_synchronised(people: People) -> None:
    spoken = heard(people, people.boss)
    assert RULES.refusal(spoken, PING.expires_us) is None
    assert RULES.refusal(spoken, PING.expires_us + 1) == "expired"
    assert RULES.refusal(spoken, None) is None
    old = heard(people, people.boss, replace(PING, epoch=OTHER_EPOCH))
    assert RULES.refusal(old, None) == "of another epoch than the present one", "the epoch is always judged"


def test_what_nobody_has_proven_is_not_heard(people: People, tmp_path: Path) -> None:
    stranger = Holder.of(Authority.create(tmp_path / "elsewhere"), "commander", "boss")
    speakers = people.speakers(people.boss, stranger, people.gateway)
    wire = signed(people.boss)
    unheard = [
        signed(stranger),  # the same name, of another authority
        signed(people.gateway),  # no gateway speaks as C5
        signed(people.mate),  # whose certificate hasn't come
        people.boss.signer.sign("receipt", message.encode(PING)),
        *(wire[:at] + bytes([wire[at] ^ 1]) + wire[at + 1 :] for at in range(len(wire))),
        wire + b"\x00",
        b"",
    ]
    for forged in unheard:
        assert isinstance(speakers.command(forged, AT), Refused)
    assert isinstance(speakers.command(wire, AT), Spoken)


def test_a_certificate_that_has_ended_or_was_revoked_is_not_heard(people: People) -> None:
    late = AT + timedelta(days=4000)
    assert isinstance(people.speakers().command(signed(people.boss), late), Refused)
    issuer = people.authority.issuer
    serial = load_der_x509_certificate(people.boss.chain[0]).serial_number
    revoked = (
        x509.CertificateRevocationListBuilder(issuer.certificate.subject, AT, AT + timedelta(days=7))
        .add_revoked_certificate(x509.RevokedCertificateBuilder(serial, AT).build())
        .sign(issuer.key, hashes.SHA256())
    )
    speakers = people.speakers(revocations=Revocations.load(revoked.public_bytes(Encoding.PEM)))
    assert isinstance(speakers.command(signed(people.boss), AT), Refused)
    assert isinstance(speakers.command(signed(people.mate), AT), Spoken), "the list names one of them"


KEY = (b"thumb--1", b"sixteen bytes id")


def numbered(number: int) -> tuple[bytes, bytes]:
    return b"t", number.to_bytes(2, "big")


def obeyed(replies: Replies, key: tuple[bytes, bytes], until_us: int) -> None:
    replies.begin(key, until_us)
    replies.answered(key, b"done")


def test_a_reply_is_had_again_by_its_own_signer_alone() -> None:
    replies = Replies()
    assert replies.had(KEY) is None
    assert KEY not in replies
    replies.begin(KEY, 100)
    assert (KEY in replies, replies.had(KEY)) == (True, None), "under way"
    replies.answered(KEY, b"done")
    assert replies.had(KEY) == b"done"
    assert (b"thumb--2", KEY[1]) not in replies


def test_of_too_many_the_one_that_expires_first_is_forgotten_and_nothing_that_expires_so_early_obeyed_again() -> None:
    replies = Replies()
    for number in range(KEPT_MAX):
        obeyed(replies, numbered(number), 1000 - number)
    assert not replies.forgotten(0)
    obeyed(replies, KEY, 5000)
    assert replies.had(numbered(KEPT_MAX - 1)) is None
    assert (replies.had(numbered(0)), replies.had(KEY)) == (b"done", b"done")
    assert (replies.forgotten(1001 - KEPT_MAX), replies.forgotten(1002 - KEPT_MAX)) == (True, False)


def test_one_that_expires_before_all_that_are_kept_is_forgotten_as_soon_as_it_is_answered() -> None:
    replies = Replies()
    for number in range(KEPT_MAX):
        obeyed(replies, numbered(number), 1000)
    obeyed(replies, KEY, 500)
    assert (KEY in replies, replies.forgotten(500), replies.forgotten(501)) == (False, True, False)


def test_rejections_are_kept_besides_and_so_many_of_the_newest() -> None:
    replies = Replies()
    obeyed(replies, KEY, 100)
    for number in range(REJECTED_MAX + 10):
        replies.rejected(numbered(number), b"rejected")
    assert replies.had(KEY) == b"done"
    assert (replies.had(numbered(9)), replies.had(numbered(10))) == (None, b"rejected")


def test_what_is_under_way_gives_way_to_nothing() -> None:
    replies = Replies()
    for number in range(UNDER_WAY_MAX):
        assert replies.has_room
        replies.begin(numbered(number), 100)
    assert not replies.has_room
    replies.answered(numbered(7), b"failed")
    assert replies.has_room
    replies.begin(KEY, 20_000)
    assert (numbered(6) in replies, numbered(7) in replies, KEY in replies) == (True, True, True)
