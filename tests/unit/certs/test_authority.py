"""What the authority makes can be used, and it writes over nothing."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.authority import Authority, Issued, Role
from gateway.errors import CertificateError
from gateway.signing.certificate import Anchors, Identity, judge

AT = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def chain(path: Path | None) -> list[x509.Certificate]:
    assert path is not None
    return x509.load_pem_x509_certificates(path.read_bytes())


def modes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): stat.filemode(path.stat().st_mode) for path in folder.rglob("*")}


def test_the_files_of_an_authority_and_who_can_read_them(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "pki", at=AT)
    authority.issue("gateway", "pa-dar-0017", at=AT)
    authority.issue("broker", "c5-a", hosts=["localhost"], at=AT)
    assert stat.filemode((tmp_path / "pki").stat().st_mode) == "drwx------"
    assert modes(tmp_path / "pki") == {
        "trust-anchors.pem": "-rw-r--r--",
        "ca": "drwx------",
        "ca/root.pem": "-rw-r--r--",
        "ca/root.key": "-rw-------",
        "ca/issuing.pem": "-rw-r--r--",
        "ca/issuing.key": "-rw-------",
        "gateway": "drwx------",
        "gateway/pa-dar-0017": "drwx------",
        "gateway/pa-dar-0017/tls.pem": "-rw-r--r--",
        "gateway/pa-dar-0017/tls.key": "-rw-------",
        "gateway/pa-dar-0017/signing.pem": "-rw-r--r--",
        "gateway/pa-dar-0017/signing.key": "-rw-------",
        "broker": "drwx------",
        "broker/c5-a": "drwx------",
        "broker/c5-a/tls.pem": "-rw-r--r--",
        "broker/c5-a/tls.key": "-rw-------",
    }


def test_a_gateways_https_port_and_a_source_have_no_signing_key_and_a_source_its_own_kind_of_name(
    tmp_path: Path,
) -> None:
    authority = Authority.create(tmp_path, at=AT)
    local = authority.issue("local", "tower-3", hosts=["192.168.1.1", "tower.example"], at=AT)
    source = authority.issue("source", "help-east", at=AT)
    for issued, usage in ((local, ExtendedKeyUsageOID.SERVER_AUTH), (source, ExtendedKeyUsageOID.CLIENT_AUTH)):
        assert (issued.signing_certificate, issued.signing_key) == (None, None)
        (extended,) = chain(issued.tls_certificate)[0].extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert extended == usage
    names = [
        chain(one.tls_certificate)[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        for one in (local, source)
    ]
    assert [str(name.value) for name in names[0]] == ["192.168.1.1", "tower.example"]
    assert names[1].get_values_for_type(x509.UniformResourceIdentifier) == ["urn:c5:source:help-east"]
    subject = chain(source.tls_certificate)[0].subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME) == [], "by that a broker would let it in"
    certificates = chain(source.tls_certificate)
    ders = tuple(one.public_bytes(Encoding.DER) for one in certificates)
    assert not isinstance(judge(ders, Anchors.load(authority.trust_anchors.read_bytes()), AT), Identity)


@pytest.mark.parametrize("role", ["gateway", "receiver", "commander"])
def test_a_signing_certificate_is_judged_to_be_its_holders(tmp_path: Path, role: Role) -> None:
    issued = Authority.create(tmp_path, at=AT).issue(role, "c5-a", days=30, at=AT)
    certificates = chain(issued.signing_certificate)
    identity = judge(
        [certificate.public_bytes(Encoding.DER) for certificate in certificates],
        Anchors.load(issued.trust_anchors.read_bytes()),
        AT,
    )
    assert isinstance(identity, Identity)
    assert (identity.role, identity.name) == (role, "c5-a")
    assert identity.not_before == AT - timedelta(hours=1)
    assert identity.not_after == AT + timedelta(days=30)
    assert isinstance(certificates[0].public_key(), Ed25519PublicKey)
    assert issued.signing_key is not None
    assert load_pem_private_key(issued.signing_key.read_bytes(), None).public_key() == certificates[0].public_key()


def test_a_signing_key_can_be_p256(tmp_path: Path) -> None:
    issued = Authority.create(tmp_path).issue("gateway", "pa-dar-0017", signing="p256")
    assert isinstance(chain(issued.signing_certificate)[0].public_key(), EllipticCurvePublicKey)


def test_a_client_has_its_name_as_common_name_and_no_subject_alternative_name(tmp_path: Path) -> None:
    leaf, issuer = chain(Authority.create(tmp_path).issue("gateway", "pa-dar-0017").tls_certificate)
    leaf.verify_directly_issued_by(issuer)
    assert leaf.subject.rfc4514_string() == "CN=pa-dar-0017"
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def handshake(server: Issued, client: Issued, host: str) -> str:
    """Shake hands in memory as broker and gateway do; return the name the broker sees."""
    contexts = []
    for side, own in ((ssl.PROTOCOL_TLS_SERVER, server), (ssl.PROTOCOL_TLS_CLIENT, client)):
        context = ssl.SSLContext(side)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(own.trust_anchors)
        context.load_cert_chain(own.tls_certificate, own.tls_key)
        contexts.append(context)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    broker = contexts[0].wrap_bio(up, down, server_side=True)
    gateway = contexts[1].wrap_bio(down, up, server_hostname=host)
    for end in (gateway, broker, gateway, broker):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    der = broker.getpeercert(binary_form=True)
    assert der is not None
    return str(x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_broker_and_gateway_accept_each_other_under_strict_tls(tmp_path: Path, host: str) -> None:
    authority = Authority.create(tmp_path)
    broker = authority.issue("broker", "c5-a", hosts=["localhost", "127.0.0.1", "::1"])
    assert handshake(broker, authority.issue("gateway", "pa-dar-0017"), host) == "pa-dar-0017"


def test_a_gateways_certificate_does_not_pass_for_a_brokers(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    gateway = authority.issue("gateway", "pa-dar-0017")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(gateway, gateway, "pa-dar-0017")


def test_an_authority_can_be_opened_again_without_its_root_key(tmp_path: Path) -> None:
    Authority.create(tmp_path)
    (tmp_path / "ca" / "root.key").unlink()
    assert chain(Authority.open(tmp_path).issue("gateway", "pa-dar-0017").tls_certificate)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    authority.issue("gateway", "pa-dar-0017")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(CertificateError, match="exists already"):
        Authority.create(tmp_path)
    with pytest.raises(CertificateError, match="exists already"):
        authority.issue("gateway", "pa-dar-0017")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("role", "name", "hosts", "days", "what"),
    [
        ("gateway", "Upper", [], 1, "can't be named"),
        ("gateway", "../ca", [], 1, "can't be named"),
        ("gateway", "", [], 1, "can't be named"),
        ("broker", "c5-a", [], 1, "names the hosts"),
        ("gateway", "c5-a", ["localhost"], 1, "has no host names"),
        ("broker", "c5-a", ["ñandú.example"], 1, "not a host name"),
        ("broker", "c5-a", ["https://c5.example"], 1, "not a host name"),
        ("source", "c5-b", [], 1, "c5-b is the name of a gateway already"),
        ("commander", "c5-b", [], 1, "c5-b is the name of a gateway already"),
        ("gateway", "c5-a", [], 0, "for 0 days"),
        ("gateway", "c5-a", [], 3653, "for 3653 days"),
    ],
)
def test_what_can_not_be_issued_leaves_nothing_behind(
    tmp_path: Path, *, role: Role, name: str, hosts: list[str], days: int, what: str
) -> None:
    authority = Authority.create(tmp_path, at=AT)
    authority.issue("gateway", "c5-b", at=AT)
    before = modes(tmp_path)
    with pytest.raises(CertificateError, match=what):
        authority.issue(role, name, hosts=hosts, days=days, at=AT)
    assert modes(tmp_path) == before


def test_an_issuing_ca_that_has_ended_issues_nothing(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path, at=AT)
    with pytest.raises(CertificateError) as error:
        authority.issue("gateway", "pa-dar-0017", at=AT + timedelta(days=3652))
    assert "make a new authority" in error.value.hint


def test_a_folder_without_an_authority_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CertificateError) as error:
        Authority.open(tmp_path)
    assert error.value.hint == f"make one with: c5-certs init {tmp_path}"


def test_a_damaged_or_swapped_issuing_key_is_named(tmp_path: Path) -> None:
    Authority.create(tmp_path / "a")
    Authority.create(tmp_path / "b")
    key = tmp_path / "a" / "ca" / "issuing.key"
    key.write_bytes((tmp_path / "b" / "ca" / "issuing.key").read_bytes())
    with pytest.raises(CertificateError, match="don't belong together"):
        Authority.open(tmp_path / "a")
    key.write_bytes(b"")
    with pytest.raises(CertificateError, match="can't be read"):
        Authority.open(tmp_path / "a")
