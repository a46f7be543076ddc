"""Who the fuzzer is: everybody. Keys and certificates that are the same in each run, so that a corpus stays true.

The fuzzer holds the keys of a device, of gateways, receivers and commanders, and so gets its payloads past every
signature: what is behind it is what is fuzzed. It lacks the authority's: nobody but these can become anybody.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from gateway.signing.certificate import Anchors
from gateway.signing.cose import Signer, VerifyingKey

ISSUED: Final = datetime(2026, 1, 1, tzinfo=UTC)
EXPIRES: Final = datetime(2028, 1, 1, tzinfo=UTC)
NOW: Final = datetime(2027, 1, 15, 8, tzinfo=UTC)
NOW_US: Final = 1_800_000_000_000_000  # the same
GATEWAY: Final = "gw-1"
DEVICE: Final = "0c500042"
DEVICE_KEY: Final = bytes(range(16))


@dataclass(frozen=True)
class Person:
    """Somebody with a certificate."""

    name: str
    role: str
    chain: tuple[bytes, ...]
    signer: Signer
    key: VerifyingKey


def _key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())


def _certificate(name: str, issuer: str, *, urn: str | None = None, days: int = 0) -> x509.Certificate:
    subject, parent = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer))
    builder = (
        x509.CertificateBuilder(parent, subject, _key(name).public_key())
        .serial_number(int.from_bytes(sha256(name.encode()).digest()[:8], "big") | 1)
        .not_valid_before(ISSUED)
        .not_valid_after(ISSUED + timedelta(days=days) if days else EXPIRES)
        .add_extension(x509.BasicConstraints(ca=urn is None, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=urn is not None, key_cert_sign=urn is None, crl_sign=urn is None,
                content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
                encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
    )  # fmt: skip
    if urn is not None:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(urn)]), critical=False
        )
    return builder.sign(_key(issuer), None)


@cache
def anchors() -> Anchors:
    """Return the trust anchors."""
    return Anchors.load(_certificate("root", "root").public_bytes(Encoding.PEM))


@cache
def person(role: str, name: str, *, days: int = 0) -> Person:
    """Return somebody; `days`: of a certificate that has expired."""
    leaf = _certificate(f"{role} {name}", "issuing", urn=f"urn:c5:{role}:{name}", days=days)
    chain = tuple(each.public_bytes(Encoding.DER) for each in (leaf, _certificate("issuing", "root")))
    private = _key(f"{role} {name}")
    return Person(name, role, chain, Signer(private, sha256(chain[0]).digest()[:8]), VerifyingKey(private.public_key()))


def revocations(serial: int, since: datetime) -> bytes:
    """Return a revocation list of the issuing authority, in PEM form."""
    builder = x509.CertificateRevocationListBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuing")]), since, since + timedelta(days=7)
    ).add_revoked_certificate(x509.RevokedCertificateBuilder(serial, since).build())
    return builder.sign(_key("issuing"), None).public_bytes(Encoding.PEM)
