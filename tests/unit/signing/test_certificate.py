"""A chain either proves who holds its first certificate, or it is refused."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA3_256, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from certs import profiles
from certs.profiles import Issuer
from gateway.errors import CertificateError, Refused
from gateway.signing.certificate import Anchors, Identity, Revocations, Revoked, judge, thumbprint

MADE = datetime(2026, 1, 1, tzinfo=UTC)
PublicKey: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
EXPIRED = datetime(2027, 1, 1, tzinfo=UTC)  # a leaf made for 365 days

ROOT = profiles.root(MADE, 7000)
ISSUING = profiles.issuing(ROOT, MADE, 3000)
KEY = ed25519.Ed25519PrivateKey.generate().public_key()
SIGNER = profiles.signing(ISSUING, "gateway", "pa-dar-0017", KEY, at=MADE, days=365)
URN = "urn:c5:gateway:pa-dar-0017"


def der(*certificates: x509.Certificate) -> list[bytes]:
    return [certificate.public_bytes(Encoding.DER) for certificate in certificates]


def anchored(*issuers: Issuer) -> Anchors:
    return Anchors.load(b"".join(issuer.certificate.public_bytes(Encoding.PEM) for issuer in issuers))


ANCHORS = anchored(ROOT)
CHAIN = der(SIGNER, ISSUING.certificate)


def usage(*, sign: bool = True, ca: bool = False, crl: bool = False) -> x509.KeyUsage:
    none = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        False,
    )
    return x509.KeyUsage(
        digital_signature=sign, key_cert_sign=ca, crl_sign=crl, encipher_only=False, decipher_only=False, **none
    )


@dataclass(frozen=True)
class Plan:
    """A certificate in order, of which a test changes one thing."""

    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (
        (usage(), True),
        (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(URN)]), False),
    )
    key: PublicKey = field(default_factory=lambda: KEY)
    start: datetime = MADE
    end: datetime = EXPIRED
    subject: str = "pa-dar-0017"

    def made_by(self, issuer: Issuer, algorithm: SHA256 | SHA3_256 | None = None) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.subject)]))
            .issuer_name(issuer.certificate.subject)
            .public_key(self.key)
            .serial_number(4711)
            .not_valid_before(self.start)
            .not_valid_after(self.end)
        )
        for extension, critical in self.extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer.key, algorithm or SHA256())

    def judged(self) -> Identity | Refused:
        return judge(der(self.made_by(ISSUING), ISSUING.certificate), ANCHORS, NOW)


def named(*names: x509.GeneralName) -> Plan:
    return Plan(extensions=((usage(), True), (x509.SubjectAlternativeName(names), False)))


def ca(parent: Issuer, *extensions: x509.ExtensionType, end: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> Issuer:
    key = profiles.p256()
    plan = Plan(
        extensions=[(extension, True) for extension in extensions],
        key=key.public_key(),
        subject=f"CA {id(key)}",
        end=end,
    )
    return Issuer(plan.made_by(parent), key)


def authority(path_length: int | None = None) -> x509.BasicConstraints:
    return x509.BasicConstraints(ca=True, path_length=path_length)


def leaf_of(issuer: Issuer) -> x509.Certificate:
    return profiles.signing(issuer, "gateway", "pa-dar-0017", KEY, at=MADE, days=365)


def test_a_chain_to_an_anchor_says_who_holds_it_and_when_the_whole_path_is_valid() -> None:
    assert judge(CHAIN, ANCHORS, NOW) == Identity(
        role="gateway",
        name="pa-dar-0017",
        thumbprint=thumbprint(CHAIN[0]),
        certificate=SIGNER,
        not_before=datetime(2025, 12, 31, 23, 0, tzinfo=UTC),
        not_after=EXPIRED,
    )


def test_the_paths_end_is_its_shortest_lived_certificates() -> None:
    short = profiles.issuing(ROOT, MADE, 200)
    identity = judge(der(leaf_of(short), short.certificate), ANCHORS, NOW)
    assert isinstance(identity, Identity)
    assert identity.not_after == MADE + timedelta(days=200)


def test_a_thumbprint_is_eight_bytes_of_sha_256() -> None:
    assert thumbprint(b"abc") == bytes.fromhex("ba7816bf8f01cfea")


@pytest.mark.parametrize("role", ["gateway", "receiver", "commander"])
def test_each_role_is_read_from_the_uri(role: str) -> None:
    signer = profiles.signing(ISSUING, role, "c5-a", KEY, at=MADE, days=365)
    identity = judge(der(signer, ISSUING.certificate), ANCHORS, NOW)
    assert isinstance(identity, Identity)
    assert (identity.role, identity.name) == (role, "c5-a")


def test_a_p256_signer_is_accepted() -> None:
    assert isinstance(replace(Plan(), key=profiles.p256().public_key()).judged(), Identity)


def test_a_signer_right_below_the_anchor_is_accepted() -> None:
    assert isinstance(judge(der(SIGNER), anchored(ISSUING), NOW), Identity)


def test_the_anchor_at_the_end_of_the_chain_changes_nothing() -> None:
    assert judge(der(SIGNER, ISSUING.certificate, ROOT.certificate), ANCHORS, NOW) == judge(CHAIN, ANCHORS, NOW)


def test_a_cross_certificate_under_an_unknown_root_is_passed_over() -> None:
    old_root = profiles.root(MADE, 7000)
    extensions = ((authority(0), True), (usage(ca=True), True))
    name = ISSUING.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert isinstance(name, str)
    crossed = Plan(extensions=extensions, key=ISSUING.key.public_key(), subject=name).made_by(old_root)
    chain = der(SIGNER, crossed, ISSUING.certificate)
    assert isinstance(judge(chain, ANCHORS, NOW), Identity)
    assert isinstance(judge(chain, anchored(old_root), NOW), Identity)


def test_an_expired_signer_is_refused_with_the_date_and_stands_for_the_time_before() -> None:
    at = datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert judge(CHAIN, ANCHORS, at) == Refused("a certificate expired on 2027-01-01 00:00 UTC")
    assert isinstance(judge(CHAIN, ANCHORS, at - timedelta(seconds=1)), Identity)


def test_a_signer_that_is_not_yet_valid_is_refused() -> None:
    at = datetime(2025, 12, 31, 22, 59, 59, tzinfo=UTC)
    assert judge(CHAIN, ANCHORS, at) == Refused("a certificate is not valid before 2025-12-31 23:00 UTC")


def test_an_expired_issuer_is_refused() -> None:
    short = profiles.issuing(ROOT, MADE, 100)
    assert judge(der(leaf_of(short), short.certificate), ANCHORS, NOW) == Refused(
        "a certificate expired on 2026-04-11 00:00 UTC"
    )


def test_an_expired_anchor_is_refused() -> None:
    short = profiles.root(MADE, 100)
    issuing = profiles.issuing(short, MADE, 3000)
    assert judge(der(leaf_of(issuing), issuing.certificate), anchored(short), NOW) == Refused(
        "a certificate expired on 2026-04-11 00:00 UTC"
    )


def test_a_signer_without_a_subject_alternative_name_is_refused() -> None:
    assert Plan(extensions=[(usage(), True)]).judged() == Refused(
        "the certificate has no subjectAltName that is one URI"
    )


@pytest.mark.parametrize(
    "names",
    [
        [x509.UniformResourceIdentifier(URN), x509.UniformResourceIdentifier("urn:c5:commander:c5-a")],
        [x509.UniformResourceIdentifier(URN), x509.DNSName("gateway.example")],
        [x509.DNSName("urn:c5:gateway:pa-dar-0017")],
        [x509.RFC822Name("urn:c5:gateway:pa-dar-0017")],
    ],
)
def test_a_subject_alternative_name_that_is_not_one_uri_is_refused(names: list[x509.GeneralName]) -> None:
    assert named(*names).judged() == Refused("the certificate has no subjectAltName that is one URI")


@pytest.mark.parametrize(
    "uri",
    [
        "urn:c5:broker:c5-a",
        "urn:c5:gateway:",
        "urn:c5:gateway:UPPER",
        "urn:c5:gateway:a/b",
        "urn:c5:gateway:a\n",
        "urn:c5:gateway:" + 64 * "a",
        " urn:c5:gateway:a",
        "URN:C5:GATEWAY:a",
        "https://c5.example/gateway",
    ],
)
def test_a_uri_that_names_no_role_is_refused(uri: str) -> None:
    assert named(x509.UniformResourceIdentifier(uri)).judged() == Refused("the certificate names no C5 role")


def test_a_signer_that_may_not_sign_is_refused() -> None:
    name = (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(URN)]), False)
    refused = Refused("the certificate is not for signing (digitalSignature)")
    assert Plan(extensions=[name]).judged() == refused
    assert Plan(extensions=[name, (usage(sign=False), True)]).judged() == refused


def test_a_ca_as_signer_is_refused() -> None:
    plan = Plan(extensions=[*Plan().extensions, (authority(), True)])
    assert plan.judged() == Refused("the signer's certificate is a CA's")


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key(),
        ec.generate_private_key(ec.SECP384R1()).public_key(),
    ],
)
def test_a_signer_with_another_kind_of_key_is_refused(key: PublicKey) -> None:
    assert Plan(key=key).judged() == Refused("the certificate's key is neither Ed25519 nor P-256")


def test_an_unknown_critical_extension_is_refused_and_an_uncritical_one_ignored() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"\x05\x00")
    assert Plan(extensions=[*Plan().extensions, (unknown, True)]).judged() == Refused(
        "a certificate has a critical extension that is not known here"
    )
    assert isinstance(Plan(extensions=[*Plan().extensions, (unknown, False)]).judged(), Identity)


def test_a_ca_with_name_constraints_is_refused_because_they_are_not_checked() -> None:
    constraints = x509.NameConstraints(permitted_subtrees=[x509.DNSName("example")], excluded_subtrees=None)
    bound = ca(ROOT, authority(), usage(ca=True), constraints)
    assert judge(der(leaf_of_plain(bound), bound.certificate), ANCHORS, NOW) == Refused(
        "a certificate has a critical extension that is not known here"
    )


def leaf_of_plain(issuer: Issuer) -> x509.Certificate:
    return Plan().made_by(issuer)


NOWHERE = Refused("the certificate leads to none of the trust anchors")


def test_a_chain_without_its_issuing_ca_is_refused() -> None:
    assert judge(der(SIGNER), ANCHORS, NOW) == NOWHERE


def test_a_chain_to_another_anchor_is_refused() -> None:
    assert judge(CHAIN, anchored(profiles.root(MADE, 7000)), NOW) == NOWHERE


def test_an_anchor_sent_along_is_not_trusted_for_it() -> None:
    root = profiles.root(MADE, 7000)
    issuing = profiles.issuing(root, MADE, 3000)
    assert judge(der(leaf_of(issuing), issuing.certificate, root.certificate), ANCHORS, NOW) == NOWHERE


def test_an_issuer_with_the_right_name_and_the_wrong_key_is_refused() -> None:
    forger = Issuer(ISSUING.certificate, profiles.p256())
    assert judge(der(leaf_of(forger), ISSUING.certificate), ANCHORS, NOW) == NOWHERE


def test_a_certificate_signed_by_another_algorithm_is_refused() -> None:
    assert judge(der(Plan().made_by(ISSUING, SHA3_256()), ISSUING.certificate), ANCHORS, NOW) == NOWHERE


def test_a_gateway_can_not_issue_certificates() -> None:
    key = profiles.p256()
    gateway = Issuer(replace(Plan(), key=key.public_key()).made_by(ISSUING), key)
    forged = Plan(extensions=named(x509.UniformResourceIdentifier("urn:c5:commander:me")).extensions).made_by(gateway)
    chain = der(forged, gateway.certificate, ISSUING.certificate)
    assert judge(chain, ANCHORS, NOW) == Refused("an issuer is not a CA")


def test_a_ca_that_may_not_sign_certificates_is_refused() -> None:
    wrong = ca(ROOT, authority(), usage(ca=False))
    assert judge(der(leaf_of_plain(wrong), wrong.certificate), ANCHORS, NOW) == Refused(
        "an issuer may not sign certificates (keyCertSign)"
    )


def test_a_path_longer_than_an_issuer_allows_is_refused() -> None:
    below = ca(ISSUING, authority(), usage(ca=True))
    chain = der(leaf_of_plain(below), below.certificate, ISSUING.certificate)
    assert judge(chain, ANCHORS, NOW) == Refused("the path is longer than an issuer allows")


def test_eight_certificates_are_judged_and_nine_refused() -> None:
    free = ca(ROOT, authority(), usage(ca=True))
    anchors, issuers = anchored(free), [free]
    for _ in range(8):
        issuers.append(ca(issuers[-1], authority(), usage(ca=True)))
    eight = der(leaf_of_plain(issuers[7]), *(issuer.certificate for issuer in issuers[7:0:-1]))
    nine = der(leaf_of_plain(issuers[8]), *(issuer.certificate for issuer in issuers[8:0:-1]))
    assert isinstance(judge(eight, anchors, NOW), Identity)
    assert judge(nine, anchors, NOW) == Refused("a chain has 1 to 8 certificates")
    assert judge([], anchors, NOW) == Refused("a chain has 1 to 8 certificates")


def test_cas_that_certify_each_other_lead_nowhere() -> None:
    keys = [profiles.p256() for _ in range(2)]
    name = "the same"
    extensions = ((authority(), True), (usage(ca=True), True))
    first = Issuer(Plan(extensions=extensions, key=keys[0].public_key(), subject=name).made_by(ROOT), keys[0])
    loop = [Plan(extensions=extensions, key=keys[0].public_key(), subject=name).made_by(first) for _ in range(7)]
    assert judge(der(leaf_of_plain(first), *loop), ANCHORS, NOW) == NOWHERE


def test_a_certificate_above_8_kib_is_refused_unread() -> None:
    assert judge([bytes(8193)], ANCHORS, NOW) == Refused("a certificate is longer than 8192 bytes")


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\x30", b"\x30\x80\x00\x00", bytes(8192), CHAIN[0] + b"\x00", CHAIN[0][:-1], b"-----BEGIN CERTIFICATE-----"],
)
def test_what_is_no_der_certificate_refuses_the_chain_wherever_it_stands(garbage: bytes) -> None:
    refused = Refused("a certificate can't be read")
    assert judge([garbage, CHAIN[1]], ANCHORS, NOW) == refused
    assert judge([CHAIN[0], garbage], ANCHORS, NOW) == refused
    assert judge([*CHAIN, garbage], ANCHORS, NOW) == refused


@given(st.integers(0, 1), st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_is_accepted_and_none_raises(which: int, place: int, change: int) -> None:
    changed = bytearray(CHAIN[which])
    changed[place % len(changed)] ^= change
    chain = list(CHAIN)
    chain[which] = bytes(changed)
    assert isinstance(judge(chain, ANCHORS, NOW), Refused)


def test_no_signature_is_accepted_with_unused_bits() -> None:
    issuer_signature = ISSUING.certificate.signature
    for last in range(8):
        changed = bytearray(CHAIN[1])
        changed[-len(issuer_signature) - 1] = last
        assert isinstance(judge([CHAIN[0], bytes(changed)], ANCHORS, NOW), Identity if last == 0 else Refused)


@given(st.lists(st.binary(max_size=300), max_size=9))
def test_noise_is_refused(chain: list[bytes]) -> None:
    assert isinstance(judge(chain, ANCHORS, NOW), Refused)


REVOKED = datetime(2026, 3, 1, tzinfo=UTC)
DUE = datetime(2026, 7, 1, tzinfo=UTC)


def revoked_by(issuer: Issuer, certificate: x509.Certificate, *critical: x509.ExtensionType) -> bytes:
    entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(REVOKED).build()
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, REVOKED, DUE, [], [entry])
    for extension in critical:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(issuer.key, SHA256()).public_bytes(Encoding.PEM)


def test_a_revoked_signer_is_refused_whenever_it_is_said_to_have_signed_and_the_date_is_told() -> None:
    revocations = Revocations.load(revoked_by(ISSUING, SIGNER))
    for at in (datetime(2026, 2, 1, tzinfo=UTC), NOW):
        identity = judge(CHAIN, ANCHORS, at)
        assert isinstance(identity, Identity)
        assert judge(CHAIN, ANCHORS, at, revocations) == Revoked(
            "the certificate was revoked on 2026-03-01", identity, REVOKED
        )
    assert issubclass(Revoked, Refused)


def test_a_revoked_issuing_ca_takes_its_signers_with_it() -> None:
    revocations = Revocations.load(revoked_by(ROOT, ISSUING.certificate))
    assert isinstance(judge(CHAIN, ANCHORS, NOW, revocations), Revoked)


def test_several_lists_in_one_file_all_count() -> None:
    other = leaf_of(ISSUING)
    revocations = Revocations.load(revoked_by(ISSUING, other) + b"\n" + revoked_by(ROOT, ISSUING.certificate))
    assert isinstance(judge(CHAIN, ANCHORS, NOW, revocations), Revoked)


def test_a_list_of_others_a_forged_one_and_anothers_serial_revoke_nothing() -> None:
    forger = Issuer(ISSUING.certificate, profiles.p256())
    for revocations in (
        revoked_by(ISSUING, ISSUING.certificate),
        revoked_by(ROOT, SIGNER),
        revoked_by(forger, SIGNER),
    ):
        assert isinstance(judge(CHAIN, ANCHORS, NOW, Revocations.load(revocations)), Identity)


def test_a_list_by_a_ca_that_may_not_make_lists_revokes_nothing() -> None:
    issuer = ca(ROOT, authority(0), usage(ca=True, crl=False))
    signer = leaf_of_plain(issuer)
    revocations = Revocations.load(revoked_by(issuer, signer))
    assert isinstance(judge(der(signer, issuer.certificate), ANCHORS, NOW, revocations), Identity)


def test_a_stale_list_is_said_to_be_stale_and_still_counts() -> None:
    revocations = Revocations.load(revoked_by(ISSUING, SIGNER))
    assert not revocations.stale(DUE)
    assert revocations.stale(DUE + timedelta(seconds=1))
    assert isinstance(judge(CHAIN, ANCHORS, DUE + timedelta(days=30), revocations), Revoked)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        revoked_by(ISSUING, SIGNER, x509.DeltaCRLIndicator(1)),
    ],
)
def test_a_list_that_can_not_be_used_is_an_error_of_the_settings(pem: bytes) -> None:
    with pytest.raises(CertificateError, match="revocation list"):
        Revocations.load(pem)


@pytest.mark.parametrize("pem", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_anchors_that_can_not_be_read_are_an_error_of_the_settings(pem: bytes) -> None:
    with pytest.raises(CertificateError, match="can't be read"):
        Anchors.load(pem)


def test_a_leaf_as_anchor_is_an_error_of_the_settings() -> None:
    with pytest.raises(CertificateError, match="not the certificate of a CA"):
        Anchors.load(SIGNER.public_bytes(Encoding.PEM))
