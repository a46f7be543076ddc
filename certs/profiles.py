"""What each certificate looks like: root, issuing CA, and the two leaves of a role (wire.md, section 3).

TLS certificates carry the name as common name, because the broker's access list goes by it; clients carry no
subjectAltName. A source of a gateway's HTTPS port carries a URI and no common name: at a broker it is nobody. Signing
certificates carry exactly one, the URI of role and name. All have the extensions that RFC 5280 asks for, key
identifiers included: Python 3.13 and later refuse TLS chains without them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BACKDATED: Final = timedelta(hours=1)  # a machine whose clock is slow must be able to use its certificate at once

PublicKey: TypeAlias = EllipticCurvePublicKey | Ed25519PublicKey
SigningKind: TypeAlias = Literal["ed25519", "p256"]
SigningKey: TypeAlias = Ed25519PrivateKey | EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Issuer:
    """A CA's certificate and its key."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey


def p256() -> EllipticCurvePrivateKey:
    """Make a key for TLS, a CA, or ESP256."""
    return generate_private_key(SECP256R1())


def signing_key(kind: SigningKind) -> SigningKey:
    """Make a key for signing records and messages."""
    return p256() if kind == "p256" else Ed25519PrivateKey.generate()


def root(at: datetime, days: int) -> Issuer:
    """Make a new hierarchy's root: its own key and name, signed by itself."""
    key = p256()
    name = _ca_name("C5 root CA", key)
    builder = _ca(_start(name, key.public_key(), at, days), path_length=1)
    return Issuer(builder.issuer_name(name).sign(key, SHA256()), key)


def issuing(parent: Issuer, at: datetime, days: int) -> Issuer:
    """Make the CA that signs leaves, and nothing but leaves."""
    key = p256()
    builder = _ca(_start(_ca_name("C5 issuing CA", key), key.public_key(), at, days), path_length=0)
    return Issuer(_sign(builder, parent), key)


def tls_client(issuer: Issuer, name: str, key: PublicKey, *, at: datetime, days: int) -> x509.Certificate:
    """Certify who connects to the broker."""
    return _sign(_leaf(_start(_common(name), key, at, days), ExtendedKeyUsageOID.CLIENT_AUTH), issuer)


def tls_server(
    issuer: Issuer, name: str, key: PublicKey, *, at: datetime, days: int, hosts: Sequence[str]
) -> x509.Certificate:
    """Certify a server for the names and addresses under which it is reached; ValueError if one is neither."""
    builder = _leaf(_start(_common(name), key, at, days), ExtendedKeyUsageOID.SERVER_AUTH)
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    return _sign(builder.add_extension(names, critical=False), issuer)


def tls_source(issuer: Issuer, name: str, key: PublicKey, *, at: datetime, days: int) -> x509.Certificate:
    """Certify who raises events at a gateway's HTTPS port; a common name would let it in at a broker."""
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "C5 source")])
    builder = _leaf(_start(subject, key, at, days), ExtendedKeyUsageOID.CLIENT_AUTH)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:c5:source:{name}")])
    return _sign(builder.add_extension(names, critical=False), issuer)


def signing(issuer: Issuer, role: str, name: str, key: PublicKey, *, at: datetime, days: int) -> x509.Certificate:
    """Certify who signs records and messages."""
    urn = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:c5:{role}:{name}")])
    builder = _leaf(_start(_common(name), key, at, days), None)
    return _sign(builder.add_extension(urn, critical=False), issuer)


def _start(subject: x509.Name, key: PublicKey, at: datetime, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - BACKDATED)
        .not_valid_after(at + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _ca(builder: x509.CertificateBuilder, path_length: int) -> x509.CertificateBuilder:
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True).add_extension(
        _usage(ca=True), critical=True
    )


def _leaf(builder: x509.CertificateBuilder, purpose: x509.ObjectIdentifier | None) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(ca=False), critical=True)
    return builder if purpose is None else builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(builder: x509.CertificateBuilder, issuer: Issuer) -> x509.Certificate:
    key_id = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)
    builder = builder.issuer_name(issuer.certificate.subject).add_extension(authority, critical=False)
    return builder.sign(issuer.key, SHA256())


def _common(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _ca_name(title: str, key: EllipticCurvePrivateKey) -> x509.Name:
    """Name a CA after its key, so that an old and a new one can be trusted side by side."""
    return _common(f"{title} {x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest[:4].hex()}")


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
