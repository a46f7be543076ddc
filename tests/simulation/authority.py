"""A certificate authority whose every key comes from a fixed number: a seed repeats byte for byte, on any machine.

Nothing signed by it is worth anything anywhere else, and nothing of it is kept: it is made anew in a temporary folder.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certs import profiles
from certs.authority import Authority
from tests.simulation.clock import BEGIN_US

GATEWAY, RECEIVER = "gw-1", "c5-a"


def make_authority(folder: Path) -> Authority:
    """Make the authority, a gateway and a receiver."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=BEGIN_US) - timedelta(days=30)
    with _foreseeable():
        authority = Authority.create(folder, at=at)
        authority.issue("gateway", GATEWAY, at=at)
        authority.issue("receiver", RECEIVER, at=at)
    return authority


@contextlib.contextmanager
def _foreseeable() -> Iterator[None]:
    numbers = count(1)

    def number() -> bytes:
        return hashlib.sha256(f"simulation {next(numbers)}".encode()).digest()

    def serial_number() -> int:
        return int.from_bytes(number()[:19], "big") | 1

    def p256() -> EllipticCurvePrivateKey:
        return derive_private_key(int.from_bytes(number(), "big") >> 1, SECP256R1())

    def signing_key(_kind: str) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(number())

    sign = x509.CertificateBuilder.sign

    def sign_foreseeably(builder: x509.CertificateBuilder, key: Any, algorithm: Any) -> x509.Certificate:
        return sign(builder, key, algorithm, ecdsa_deterministic=True)

    with (
        mock.patch.object(profiles, "p256", p256),
        mock.patch.object(profiles, "signing_key", signing_key),
        mock.patch.object(x509, "random_serial_number", serial_number),
        mock.patch.object(x509.CertificateBuilder, "sign", sign_foreseeably),
    ):
        yield
