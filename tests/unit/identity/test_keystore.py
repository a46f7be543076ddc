"""The gateway's own keys: what is wrong with them is said at start, with the file's name."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from certs.authority import Authority, Issued, Role
from gateway.errors import CertificateError
from gateway.identity.keystore import (
    Own,
    Tls,
    load_anchors,
    load_identity,
    load_revocations,
    read_tls,
    read_token,
    validity,
)

MADE = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    return Authority.create(tmp_path / "pki", at=MADE).issue("gateway", "pa-dar-0017", days=365, at=MADE)


def load(issued: Issued, *, role: Role = "gateway", at: datetime = NOW) -> Own:
    assert issued.signing_certificate is not None
    assert issued.signing_key is not None
    assert role != "broker"
    anchors = load_anchors(issued.trust_anchors)
    return load_identity(issued.signing_certificate, issued.signing_key, role=role, anchors=anchors, at=at)


def refused(issued: Issued, *, role: Role = "gateway", at: datetime = NOW) -> CertificateError:
    with pytest.raises(CertificateError) as error:
        load(issued, role=role, at=at)
    return error.value


def test_a_signing_certificate_and_its_key_are_who_we_are(issued: Issued) -> None:
    own = load(issued)
    assert (own.identity.role, own.identity.name) == ("gateway", "pa-dar-0017")
    assert len(own.chain) == 2
    assert isinstance(own.key, Ed25519PrivateKey)
    assert own.key.public_key() == own.identity.certificate.public_key()


def test_an_esp256_key_is_loaded_too(tmp_path: Path) -> None:
    p256 = Authority.create(tmp_path, at=MADE).issue("gateway", "pa-dar-0017", signing="p256", at=MADE)
    assert isinstance(load(p256).key, EllipticCurvePrivateKey)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o666])
def test_a_key_that_others_can_reach_is_refused_with_the_command_that_mends_it(issued: Issued, mode: int) -> None:
    assert issued.signing_key is not None
    issued.signing_key.chmod(mode)
    error = refused(issued)
    assert error.what == f"{issued.signing_key} is a private key and others can reach it (mode {mode:04o})"
    assert error.hint == f"run: chmod 600 {issued.signing_key}"
    with pytest.raises(CertificateError, match="is a token and others can reach it"):
        read_token(issued.signing_key)


def test_the_key_of_another_certificate_is_refused(issued: Issued) -> None:
    assert refused(replace(issued, signing_key=issued.tls_key)).what == (
        f"{issued.tls_key} is not the key of {issued.signing_certificate}"
    )


def test_a_wrong_role_is_named(issued: Issued) -> None:
    assert refused(issued, role="receiver").what == (
        f"{issued.signing_certificate} is the certificate of the gateway pa-dar-0017, and a receiver is needed"
    )


def test_a_tls_certificate_is_no_signing_certificate(issued: Issued) -> None:
    wrong = replace(issued, signing_certificate=issued.tls_certificate, signing_key=issued.tls_key)
    assert "no subjectAltName" in refused(wrong).what


def test_an_expired_certificate_is_named_with_its_date(issued: Issued) -> None:
    error = refused(issued, at=datetime(2027, 2, 1, tzinfo=UTC))
    assert error.what == f"{issued.signing_certificate}: a certificate expired on 2027-01-01 00:00 UTC"
    assert error.hint


def test_a_clock_behind_our_own_certificates_does_not_keep_the_gateway_from_starting(issued: Issued) -> None:
    assert load(issued, at=datetime(1970, 1, 1, tzinfo=UTC)).identity == load(issued).identity


def test_a_certificate_of_another_authority_is_refused(issued: Issued, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other", at=MADE)
    assert "none of the trust anchors" in refused(replace(issued, trust_anchors=other.trust_anchors)).what


def test_a_key_in_hardware_is_refused_by_the_settings_name(issued: Issued) -> None:
    assert issued.signing_key is not None
    anchors = load_anchors(issued.trust_anchors)
    with pytest.raises(CertificateError, match=r"identity\.signing_certificate is a pkcs11: URI"):
        load_identity("pkcs11:token=c5", issued.signing_key, role="gateway", anchors=anchors, at=NOW)
    with pytest.raises(CertificateError, match=r"identity\.trust_anchors is a pkcs11: URI"):
        load_anchors("pkcs11:token=c5")


def test_a_missing_file_is_named(issued: Issued, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    assert refused(replace(issued, signing_certificate=missing)).what == (
        f"{missing} can't be read: No such file or directory"
    )
    with pytest.raises(CertificateError, match=str(missing)):
        load_revocations(missing)


def test_what_is_no_key_or_another_kind_of_key_is_refused(issued: Issued) -> None:
    path = issued.signing_key
    assert path is not None
    key = load_pem_private_key(path.read_bytes(), None)
    pkcs8 = PrivateFormat.PKCS8
    locked = key.private_bytes(Encoding.PEM, pkcs8, BestAvailableEncryption(b"secret"))
    for content in (b"", b"no key", locked):
        path.write_bytes(content)
        assert refused(issued).what == f"{path} is not a private key that can be read"
    path.write_bytes(rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, pkcs8, NoEncryption()))
    assert refused(issued).what == f"{path} is neither an Ed25519 nor a P-256 key"


def test_what_is_no_certificate_is_refused_by_its_files_name(issued: Issued) -> None:
    assert issued.signing_certificate is not None
    issued.signing_certificate.write_bytes(b"no certificate")
    assert refused(issued).what == f"{issued.signing_certificate} has no certificate that can be read"
    issued.trust_anchors.write_bytes(b"no certificate")
    assert refused(issued).what == f"{issued.trust_anchors}: the trust anchors can't be read"


def test_a_file_too_large_to_be_one_is_refused(issued: Issued) -> None:
    issued.trust_anchors.write_bytes(bytes((1 << 20) + 1))
    assert refused(issued).what == f"{issued.trust_anchors} is larger than 1048576 bytes"


def test_a_tls_certificate_tells_its_name_and_its_days_left(issued: Issued) -> None:
    tls = read_tls(issued.tls_certificate)
    assert tls == Tls("pa-dar-0017", datetime(2025, 12, 31, 23, 0, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert tls.days_left(NOW) == 213
    assert tls.days_left(datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC)) == -1


def test_a_certificate_that_has_ended_by_a_clock_that_nobody_set_is_used_all_the_same(issued: Issued) -> None:
    assert issued.signing_certificate is not None
    assert issued.signing_key is not None
    anchors, files = load_anchors(issued.trust_anchors), (issued.signing_certificate, issued.signing_key)
    late = datetime(2066, 1, 1, tzinfo=UTC)
    own = load_identity(*files, role="gateway", anchors=anchors, at=late, sure=False)
    assert own.identity.name == "pa-dar-0017"
    assert refused(issued, at=late).what.endswith("a certificate expired on 2027-01-01 00:00 UTC")


def test_all_of_our_certificates_together_are_valid_from_the_latest_beginning_to_the_earliest_end(
    tmp_path: Path,
) -> None:
    authority = Authority.create(tmp_path, at=MADE)
    long, short = (authority.issue("gateway", name, days=days, at=MADE) for name, days in (("gw-1", 365), ("gw-2", 30)))
    begin, end = datetime(2025, 12, 31, 23, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)
    assert validity(long.tls_certificate, short.tls_certificate) == (begin, end)
    assert validity(short.signing_certificate, None) == (begin, end)
