"""Whose certificate is this: from a signer's certificate up to a trust anchor, strictly (wire.md, section 3).

The rules, each checked in the function that names it:

1. A chain is 1 to 8 DER certificates of at most 8 KiB, the signer's first. What can't be read refuses the whole chain.
2. The signer is no CA, may sign (digitalSignature), holds an Ed25519 or P-256 key, and carries one subjectAltName, the
   URI `urn:c5:<role>:<name>`.
3. Each certificate is signed by the next one of the path, by name and by key, up to an anchor. Issuers are CAs, within
   their path length. Algorithms are Ed25519 and ECDSA with SHA-2.
4. Everything on the path is valid at the time asked about, and has no critical extension that isn't checked here.
5. A certificate on its issuer's revocation list is `Revoked`, whenever it is asked about: a stolen key can backdate.

Not checked here: whether the role and the name are the right ones for a message, whether the certificate has expired
since `at`, and policies. Name constraints are critical by RFC 5280, so that a CA that has them is refused.

cryptography has a verifier of its own, but it is for TLS: it refuses Ed25519 keys and offers no setting for that
(pyca/cryptography issue 13391). The path is therefore found here, and `verify_directly_issued_by` does the rest.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import pairwise
from typing import Final, Literal, TypeAlias, TypeVar, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import SignatureAlgorithmOID as Algorithm

from gateway.errors import CertificateError, Refused
from gateway.text import _
from gateway.topics import is_part

CHAIN_MAX: Final = 8  # certificates; a path here has two or three, and each costs a signature check
CERTIFICATE_MAX: Final = 8192  # bytes; ours are below 1 KiB, an RSA hierarchy's below 3

Role: TypeAlias = Literal["gateway", "receiver", "commander"]
_URN: Final = re.compile(r"urn:c5:(gateway|receiver|commander):(.+)")
_ALGORITHMS: Final = frozenset(
    {Algorithm.ED25519, Algorithm.ECDSA_WITH_SHA256, Algorithm.ECDSA_WITH_SHA384, Algorithm.ECDSA_WITH_SHA512}
)
_PROCESSED: Final = (x509.BasicConstraints, x509.KeyUsage, x509.SubjectAlternativeName)
# All that cryptography raises over foreign bytes, most of it not before the extension or key is first looked at.
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    Warning,  # a serial number or a name that RFC 5280 doesn't allow; made an error where foreign bytes are read
)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed. `not_before` to `not_after` is when the whole path is valid: one judgement holds throughout."""

    role: Role
    name: str
    thumbprint: bytes
    certificate: x509.Certificate
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Revoked(Refused):
    """In order but for the revocation; what was received before `since` stands (wire.md, section 3)."""

    identity: Identity
    since: datetime


@dataclass(frozen=True, slots=True)
class _Facts:
    """All that is asked of one certificate, read at once, so that nothing is left that could raise."""

    certificate: x509.Certificate
    subject: x509.Name
    key: object
    constraints: x509.BasicConstraints | None
    usage: x509.KeyUsage | None
    names: tuple[x509.GeneralName, ...]
    unprocessed: bool
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Anchors:
    """The certificates that are trusted because a person put them there."""

    members: tuple[_Facts, ...]

    @classmethod
    def load(cls, pem: bytes) -> "Anchors":
        """Read trust anchors, or raise CertificateError. Their validity is judged when a path ends at one."""
        try:
            members = tuple(_read(certificate) for certificate in x509.load_pem_x509_certificates(pem))
        except _UNREADABLE as error:
            raise CertificateError(
                _("the trust anchors can't be read"), _("give certificates in PEM form, as c5-certs writes them")
            ) from error
        if not all(member.constraints and member.constraints.ca for member in members):
            raise CertificateError(
                _("a trust anchor is not the certificate of a CA"),
                _("give the root's certificate (trust-anchors.pem), not a gateway's"),
            )
        return cls(members)


@dataclass(frozen=True, slots=True)
class _List:
    crl: x509.CertificateRevocationList
    issuer: x509.Name
    due: datetime | None
    entries: dict[int, datetime]


@dataclass(frozen=True, slots=True)
class Revocations:
    """Revocation lists; each counts only for the CA whose key signed it."""

    lists: tuple[_List, ...]

    @classmethod
    def load(cls, pem: bytes) -> "Revocations":
        """Read one or more lists, or raise CertificateError. Who signed each is judged with the certificates."""
        blocks = re.findall(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", pem, re.DOTALL)
        try:
            lists = tuple(map(_read_list, blocks))
        except _UNREADABLE as error:
            raise CertificateError(
                _("the revocation list can't be read"), _("give a full list in PEM form, without critical extensions")
            ) from error
        if not lists:
            raise CertificateError(_("the revocation list is empty"), _("give a list in PEM form"))
        return cls(lists)

    def stale(self, at: datetime) -> bool:
        """Whether a newer list should have come by now: a reason to warn, never to block."""
        return any(known.due is not None and known.due < at for known in self.lists)

    def since(self, child: _Facts, issuer: _Facts) -> datetime | None:
        """When the issuer revoked the child (RFC 5280, section 6.3.3)."""
        if issuer.usage is not None and not issuer.usage.crl_sign:
            return None
        serial = child.certificate.serial_number
        dates = [known.entries[serial] for known in self.lists if serial in known.entries and _signed(known, issuer)]
        return min(dates, default=None)


def thumbprint(der: bytes) -> bytes:
    """Return x5t as wire.md has it: 8 bytes of SHA-256. A hint for look-up, never an identity."""
    return sha256(der).digest()[:8]


def judge(
    chain: Sequence[bytes], anchors: Anchors, at: datetime, revoked: Revocations | None = None
) -> Identity | Refused:
    """Say who holds the first certificate, if the chain proves it for the time `at` (with a time zone)."""
    if not 1 <= len(chain) <= CHAIN_MAX:
        return Refused(f"a chain has 1 to {CHAIN_MAX} certificates")
    if max(map(len, chain)) > CERTIFICATE_MAX:
        return Refused(f"a certificate is longer than {CERTIFICATE_MAX} bytes")
    try:
        with warnings.catch_warnings(action="error"):
            facts = [_parse(der) for der in chain]
    except _UNREADABLE:
        return Refused("a certificate can't be read")
    holder = _holder(facts[0])
    if isinstance(holder, Refused):
        return holder
    if problem := _unusable(facts[0], at):
        return Refused(problem)
    path = _climb(facts, anchors, at)
    if isinstance(path, Refused):
        return path
    identity = Identity(
        role=holder[0],
        name=holder[1],
        thumbprint=thumbprint(chain[0]),
        certificate=facts[0].certificate,
        not_before=max(member.not_before for member in path),
        not_after=min(member.not_after for member in path),
    )
    if revoked is not None:
        dates = [since for pair in pairwise(path) if (since := revoked.since(*pair)) is not None]
        if dates:
            since = min(dates)
            return Revoked(f"the certificate was revoked on {since:%Y-%m-%d}", identity, since)
    return identity


def _holder(signer: _Facts) -> tuple[Role, str] | Refused:
    """Read role and name from a certificate that may sign messages (rule 2)."""
    if signer.constraints is not None and signer.constraints.ca:
        return Refused("the signer's certificate is a CA's")
    if signer.usage is None or not signer.usage.digital_signature:  # RFC 5280, section 4.2.1.3
        return Refused("the certificate is not for signing (digitalSignature)")
    match signer.key:
        case Ed25519PublicKey():
            pass
        case EllipticCurvePublicKey(curve=SECP256R1()):
            pass
        case _:
            return Refused("the certificate's key is neither Ed25519 nor P-256")
    match signer.names:
        case (x509.UniformResourceIdentifier(value=uri),):
            urn = _URN.fullmatch(uri)
        case _:
            return Refused("the certificate has no subjectAltName that is one URI")
    if urn is None or not is_part(urn[2]):
        return Refused("the certificate names no C5 role")
    return cast("Role", urn[1]), urn[2]


def _unusable(facts: _Facts, at: datetime) -> str | None:
    """Say why no certificate of a path may be like this at that time (rule 4; RFC 5280, sections 6.1.3 and 4.2)."""
    if facts.unprocessed:
        return "a certificate has a critical extension that is not known here"
    if at < facts.not_before:
        return f"a certificate is not valid before {facts.not_before:%Y-%m-%d %H:%M} UTC"
    if at > facts.not_after:
        return f"a certificate expired on {facts.not_after:%Y-%m-%d %H:%M} UTC"
    return None


def _unfit(issuer: _Facts, below: int, at: datetime) -> str | None:
    """Say why this can't be an issuer with so many CAs below it (rule 3; RFC 5280, section 6.1.4, k to n).

    Stricter than the RFC in that a self-issued certificate counts towards the path length too.
    """
    if issuer.constraints is None or not issuer.constraints.ca:
        return "an issuer is not a CA"
    if issuer.usage is not None and not issuer.usage.key_cert_sign:
        return "an issuer may not sign certificates (keyCertSign)"
    if issuer.constraints.path_length is not None and below > issuer.constraints.path_length:
        return "the path is longer than an issuer allows"
    return _unusable(issuer, at)


def _climb(facts: Sequence[_Facts], anchors: Anchors, at: datetime) -> tuple[_Facts, ...] | Refused:
    """Find the shortest path from the first certificate to an anchor.

    Breadth first, and each certificate joins one path at most: whatever the chain holds, it costs no more than
    CHAIN_MAX times (CHAIN_MAX + anchors) signature checks.
    """
    paths: list[tuple[_Facts, ...]] = [(facts[0],)]
    others = list(facts[1:])
    refusal = Refused("the certificate leads to none of the trust anchors")
    for path in paths:
        for anchored, issuer in [*((True, anchor) for anchor in anchors.members), *((False, ca) for ca in others)]:
            if not _issued(path[-1], issuer):
                continue
            if problem := _unfit(issuer, len(path) - 1, at):
                refusal = Refused(problem)
            elif anchored:
                return (*path, issuer)
            else:
                others.remove(issuer)
                paths.append((*path, issuer))
    return refusal


def _issued(child: _Facts, issuer: _Facts) -> bool:
    """Whether the issuer's name and key are those that made the child (RFC 5280, section 6.1.3, a1 and a4)."""
    if child.certificate.signature_algorithm_oid not in _ALGORITHMS:
        return False
    try:
        child.certificate.verify_directly_issued_by(issuer.certificate)
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _signed(known: _List, issuer: _Facts) -> bool:
    """Whether the list is this CA's own."""
    if known.issuer != issuer.subject or known.crl.signature_algorithm_oid not in _ALGORITHMS:
        return False
    try:
        return known.crl.is_signature_valid(issuer.certificate.public_key())  # type: ignore[arg-type]  # it checks
    except _UNREADABLE:
        return False


def _parse(der: bytes) -> _Facts:
    """Read foreign DER; raise what _UNREADABLE lists."""
    certificate = x509.load_der_x509_certificate(der)
    if not der.endswith(b"\x00" + certificate.signature):
        raise ValueError("the signature has unused bits")  # which nothing signs, and cryptography lets pass
    return _read(certificate)


def _read(certificate: x509.Certificate) -> _Facts:
    """Read everything that is asked of a certificate; raise what _UNREADABLE lists."""
    extensions = certificate.extensions
    names = _find(extensions, x509.SubjectAlternativeName)
    return _Facts(
        certificate=certificate,
        subject=certificate.subject,
        key=certificate.public_key(),
        constraints=_find(extensions, x509.BasicConstraints),
        usage=_find(extensions, x509.KeyUsage),
        names=tuple(names) if names is not None else (),
        unprocessed=any(e.critical and not isinstance(e.value, _PROCESSED) for e in extensions),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _find(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    return next((extension.value for extension in extensions if isinstance(extension.value, kind)), None)


def _read_list(pem: bytes) -> _List:
    """Read a full list; raise what _UNREADABLE lists.

    A critical extension makes it a delta or someone else's list (RFC 5280, section 5.2), which can't be used here.
    """
    crl = x509.load_pem_x509_crl(pem)
    if any(extension.critical for extension in crl.extensions):
        raise ValueError("a critical extension")
    return _List(
        crl, crl.issuer, crl.next_update_utc, {entry.serial_number: entry.revocation_date_utc for entry in crl}
    )
