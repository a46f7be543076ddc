"""The gateway's own keys and certificates, read from files at start.

A key that others can read is refused: whoever copies it can press every button of this gateway. A certificate is
judged here as the other end will judge it, so that what is wrong is found at start and by `check`, not by C5.
"""

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from gateway.errors import CertificateError, Refused
from gateway.signing.certificate import Anchors, Identity, Revocations, Role, judge
from gateway.signing.cose import VerifyingKey
from gateway.text import _

FILE_MAX: Final = 1 << 20  # bytes; a chain is a few KiB. A revocation list of 20 000 entries still fits
PrivateKey: TypeAlias = Ed25519PrivateKey | EllipticCurvePrivateKey
_Loaded = TypeVar("_Loaded")


@dataclass(frozen=True, slots=True)
class Own:
    """Who we are, and the key that proves it."""

    identity: Identity
    chain: tuple[bytes, ...]  # DER, the signer's first, as it goes to C5
    key: PrivateKey


@dataclass(frozen=True, slots=True)
class Tls:
    """What a TLS certificate says of itself; the handshake judges it."""

    common_name: str | None
    not_before: datetime
    not_after: datetime

    def days_left(self, at: datetime) -> int:
        """Whole days until it expires; negative once it has."""
        return (self.not_after - at) // timedelta(days=1)


def load_identity(
    signing_certificate: str | Path,
    signing_key: str | Path,
    *,
    role: Role,
    anchors: Anchors,
    at: datetime,
    sure: bool = True,
) -> Own:
    """Read a signing certificate's chain and its key, or raise CertificateError with the file's name.

    A clock that is behind our own certificates is wrong, not they (wire.md, section 3): a Raspberry Pi has none across
    a power cut, and has to start all the same. Nor is one that isn't `sure` believed when it is past their end.
    """
    certificate_path = _file(signing_certificate, "identity.signing_certificate")
    key_path = _file(signing_key, "identity.signing_key")
    certificates = _certificates(certificate_path)
    chain = tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)
    key = _private_key(key_path)
    begin, end = _valid(certificates)
    identity = judge(chain, anchors, max(at, begin) if sure else min(max(at, begin), end))
    if isinstance(identity, Refused):
        raise CertificateError(
            f"{certificate_path}: {identity.reason}",
            _("ask for a new {role} certificate from the authority in trust_anchors").format(role=role),
        )
    if identity.role != role:
        raise CertificateError(
            _("{path} is the certificate of the {found} {name}, and a {role} is needed").format(
                path=certificate_path, found=identity.role, name=identity.name, role=role
            ),
            _("make one with: c5-certs issue {role} NAME").format(role=role),
        )
    if key.public_key() != identity.certificate.public_key():
        raise CertificateError(
            _("{key} is not the key of {certificate}").format(key=key_path, certificate=certificate_path),
            _("take both files from the same issue; each certificate has its own key"),
        )
    return Own(identity, chain, key)


def validity(*certificates: str | Path | None) -> tuple[datetime, datetime]:
    """Return from when and until when all certificates in these files are valid, or raise CertificateError."""
    found = [_valid(_certificates(_file(path, "identity.signing_certificate"))) for path in certificates if path]
    return max(begin for begin, _end in found), min(end for _begin, end in found)


def own_key(chain: Sequence[bytes], anchors: Anchors, gateway: str) -> VerifyingKey | None:
    """Return the key of a chain under which this gateway has signed, expired or not; None if it is another's."""
    try:
        begin = max(x509.load_der_x509_certificate(der).not_valid_before_utc for der in chain)
    except ValueError:
        return None
    identity = judge(chain, anchors, begin)
    if isinstance(identity, Refused) or (identity.role, identity.name) != ("gateway", gateway):
        return None
    return VerifyingKey(identity.certificate.public_key())


def load_anchors(path: str | Path) -> Anchors:
    """Read the trust anchors, or raise CertificateError with the file's name."""
    return _load(_file(path, "identity.trust_anchors"), Anchors.load)


def load_revocations(path: str | Path) -> Revocations:
    """Read the revocation lists, or raise CertificateError with the file's name."""
    return _load(_file(path, "identity.revocation_list"), Revocations.load)


def read_tls(path: str | Path) -> Tls:
    """Read what a TLS certificate says of itself, for `check` and `status`."""
    leaf = _certificates(_file(path, "identity.tls_certificate"))[0]
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    common_name = names[0].value if len(names) == 1 and isinstance(names[0].value, str) else None
    return Tls(common_name, leaf.not_valid_before_utc, leaf.not_valid_after_utc)


def read_token(path: Path) -> bytes:
    """Read a token, which is nobody else's business; CertificateError if others than its owner can reach it."""
    return _read(path, exposed=_("{path} is a token and others can reach it (mode {mode:04o})"))


def _private_key(path: Path) -> PrivateKey:
    content = _read(path, exposed=_("{path} is a private key and others can reach it (mode {mode:04o})"))
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:  # TypeError: it has a password
        raise CertificateError(
            _("{path} is not a private key that can be read").format(path=path),
            _("give a PEM file without a password, as c5-certs writes it"),
        ) from error
    match key:
        case Ed25519PrivateKey():
            return key
        case EllipticCurvePrivateKey(curve=SECP256R1()):
            return key
        case _:
            raise CertificateError(
                _("{path} is neither an Ed25519 nor a P-256 key").format(path=path),
                _("make a new one with c5-certs issue"),
            )


def _valid(certificates: Sequence[x509.Certificate]) -> tuple[datetime, datetime]:
    begin = max(certificate.not_valid_before_utc for certificate in certificates)
    return begin, min(certificate.not_valid_after_utc for certificate in certificates)


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return _load(path, x509.load_pem_x509_certificates)
    except ValueError as error:
        raise CertificateError(
            _("{path} has no certificate that can be read").format(path=path),
            _("give the chain in PEM form, this machine's certificate first"),
        ) from error


def _load(path: Path, parse: Callable[[bytes], _Loaded]) -> _Loaded:
    """Parse a file; what is wrong with it gets its name."""
    content = _read(path)
    try:
        return parse(content)
    except CertificateError as error:
        raise CertificateError(f"{path}: {error.what}", error.hint) from error


def _file(setting: str | Path, name: str) -> Path:
    """Return the path that a setting gives; keys in hardware are refused by name."""
    if str(setting).startswith("pkcs11:"):
        raise CertificateError(
            _("{setting} is a pkcs11: URI, and keys in hardware are not yet supported").format(setting=name),
            _("give the path of a PEM file"),
        )
    return Path(setting)


def _read(path: Path, *, exposed: str | None = None) -> bytes:
    """Read a file whole; `exposed` is what to say where others than its owner can reach it, if that matters.

    Its mode is that of the file opened, not of another put in its place since.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if exposed is not None and status.st_mode & 0o077:
                raise CertificateError(
                    exposed.format(path=path, mode=stat.S_IMODE(status.st_mode)),
                    _("run: chmod 600 {path}").format(path=path),
                )
            content = file.read(FILE_MAX + 1)
    except OSError as error:
        raise CertificateError(
            _("{path} can't be read: {reason}").format(path=path, reason=error.strerror),
            _("check that it exists and that the service's user may read it"),
        ) from error
    if len(content) > FILE_MAX:
        raise CertificateError(
            _("{path} is larger than {limit} bytes").format(path=path, limit=FILE_MAX), _("give a PEM file")
        )
    return content
