"""The certificate authority: a folder with a root, an issuing CA, and what was issued.

    DIR/trust-anchors.pem                     the root's certificate; goes to every machine
    DIR/ca/{root,issuing}.{pem,key}           stays; root.key is needed by nothing here and can be kept elsewhere
    DIR/<role>/<name>/{tls,signing}.{pem,key} goes to one machine; a broker, a gateway's HTTPS port (local) and a source
                                              that asks there have no signing key

Certificate files are chains, leaf first and the issuing CA second; the root is left out. Keys are readable by their
owner alone from the first byte, and nothing is ever written over.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from certs import profiles
from gateway.errors import CertificateError
from gateway.text import _
from gateway.topics import is_part

Role: TypeAlias = Literal["gateway", "broker", "receiver", "commander"]
Kind: TypeAlias = Literal["gateway", "broker", "receiver", "commander", "local", "source"]
SERVERS: Final = frozenset({"broker", "local"})
UNSIGNING: Final = SERVERS | {"source"}
OF_C5: Final = frozenset({"receiver", "commander"})  # one at C5 may be both
CLIENTS: Final = OF_C5 | {"gateway", "source"}
ROOT_DAYS: Final = 7305  # 20 years: changing it means a visit to every gateway
ISSUING_DAYS: Final = 3652  # 10 years
LEAF_DAYS: Final = 731  # 2 years
_HOST: Final = re.compile(r"[0-9A-Za-z.:-]{1,253}")  # an address, or a DNS name in ASCII


class UsageError(CertificateError):
    """What was asked for can't be issued by any authority: nothing was made."""


@dataclass(frozen=True, slots=True)
class Issued:
    """Where the files of one holder are."""

    tls_certificate: Path
    tls_key: Path
    signing_certificate: Path | None
    signing_key: Path | None
    trust_anchors: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """An open authority: it holds the issuing CA's key, never the root's."""

    directory: Path
    issuer: profiles.Issuer

    @classmethod
    def create(cls, directory: Path, *, at: datetime | None = None) -> "Authority":
        """Make a new authority as of `at` (now); the folder may exist, an authority in it may not."""
        at = at or datetime.now(UTC)
        root = profiles.root(at, ROOT_DAYS)
        issuer = profiles.issuing(root, at, ISSUING_DAYS)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            ca = directory / "ca"
            ca.mkdir(mode=0o700)
            _write_key(ca / "root.key", root.key)
            _write(ca / "root.pem", _pem(root.certificate), 0o644)
            _write_key(ca / "issuing.key", issuer.key)
            _write(ca / "issuing.pem", _pem(issuer.certificate), 0o644)
            _write(directory / "trust-anchors.pem", _pem(root.certificate), 0o644)
        except OSError as error:
            raise _unwritten(error, directory) from error
        return cls(directory, issuer)

    @classmethod
    def open(cls, directory: Path) -> "Authority":
        """Open an authority that `create` made."""
        ca = directory / "ca"
        try:
            certificate = x509.load_pem_x509_certificate((ca / "issuing.pem").read_bytes())
            key = load_pem_private_key((ca / "issuing.key").read_bytes(), password=None)
        except FileNotFoundError as error:
            raise CertificateError(
                _("there is no certificate authority in {folder}").format(folder=directory),
                _("make one with: c5-certs init {folder}").format(folder=directory),
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise CertificateError(
                _("the issuing CA in {folder} can't be read: {reason}").format(folder=ca, reason=error),
                _("put issuing.pem and issuing.key back from a backup; what was issued stays valid"),
            ) from error
        if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise CertificateError(
                _("issuing.key and issuing.pem in {folder} don't belong together").format(folder=ca),
                _("put both back from the same backup"),
            )
        return cls(directory, profiles.Issuer(certificate, key))

    @property
    def trust_anchors(self) -> Path:
        """The root's certificate, for every machine."""
        return self.directory / "trust-anchors.pem"

    def issue(
        self,
        role: Kind,
        name: str,
        *,
        hosts: Sequence[str] = (),
        days: int = LEAF_DAYS,
        signing: profiles.SigningKind = "ed25519",
        at: datetime | None = None,
    ) -> Issued:
        """Make the keys and certificates of one holder, valid for so many days from `at` (now).

        `hosts` are the names and addresses of a broker or a gateway's HTTPS port, and of nobody else.
        """
        at = at or datetime.now(UTC)
        self._refuse(role, name, hosts, days, at)
        tls_key = profiles.p256()
        if role in SERVERS:
            tls = profiles.tls_server(self.issuer, name, tls_key.public_key(), at=at, days=days, hosts=hosts)
        elif role == "source":
            tls = profiles.tls_source(self.issuer, name, tls_key.public_key(), at=at, days=days)
        else:
            tls = profiles.tls_client(self.issuer, name, tls_key.public_key(), at=at, days=days)
        folder = self.directory / role / name
        try:
            folder.parent.mkdir(mode=0o700, exist_ok=True)
            folder.mkdir(mode=0o700)
            _write_key(folder / "tls.key", tls_key)
            _write(folder / "tls.pem", _pem(tls, self.issuer.certificate), 0o644)
            if role in UNSIGNING:
                return Issued(folder / "tls.pem", folder / "tls.key", None, None, self.trust_anchors)
            signing_key = profiles.signing_key(signing)
            signer = profiles.signing(self.issuer, role, name, signing_key.public_key(), at=at, days=days)
            _write_key(folder / "signing.key", signing_key)
            _write(folder / "signing.pem", _pem(signer, self.issuer.certificate), 0o644)
        except OSError as error:
            raise _unwritten(error, folder) from error
        return Issued(
            folder / "tls.pem", folder / "tls.key", folder / "signing.pem", folder / "signing.key", self.trust_anchors
        )

    def _refuse(self, role: Kind, name: str, hosts: Sequence[str], days: int, at: datetime) -> None:
        """Raise UsageError for what can't be issued, CertificateError if nothing can; before anything is made."""
        if not is_part(name):
            raise UsageError(
                _("a {role} can't be named {name!r}").format(role=role, name=name),
                _("lower-case letters, digits and hyphens, at most 63, beginning with a letter or digit"),
            )
        for other in sorted(CLIENTS - (OF_C5 if role in OF_C5 else {role}) if role in CLIENTS else ()):
            if (self.directory / other / name).exists():
                raise UsageError(
                    _("{name} is the name of a {role} already").format(name=name, role=other),
                    _("choose another: machines that know each other by name must not share one"),
                )
        if role in SERVERS and not hosts:
            raise UsageError(
                _("a {role}'s certificate names the hosts under which it is reached").format(role=role),
                _("give each name and address with --host"),
            )
        if role not in SERVERS and hosts:
            raise UsageError(
                _("a {role} has no host names").format(role=role), _("leave --host out; it is for broker and local")
            )
        for host in hosts:
            if not _HOST.fullmatch(host):
                raise UsageError(
                    _("{host!r} is not a host name or an address").format(host=host),
                    _("give it as clients write it, without a port; other scripts in their xn-- form"),
                )
        left = (self.issuer.certificate.not_valid_after_utc - at) // timedelta(days=1)
        if left < 1:
            raise CertificateError(
                _("a certificate can't be made for {days} days").format(days=days),
                _("the issuing CA has ended: make a new authority with c5-certs init"),
            )
        if not 1 <= days <= left:
            raise UsageError(
                _("a certificate can't be made for {days} days").format(days=days),
                _("give 1 to {left} days, which is how long the issuing CA lasts").format(left=left),
            )


def _pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _write_key(path: Path, key: profiles.SigningKey) -> None:
    _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a new file that has its mode from the first byte on; FileExistsError if it is there."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)


def _unwritten(error: OSError, folder: Path) -> CertificateError:
    if isinstance(error, FileExistsError):
        return CertificateError(
            _("{path} exists already; nothing is written over").format(path=error.filename),
            _("move {folder} away first, or choose another name").format(folder=folder),
        )
    return CertificateError(
        _("{path} can't be written: {reason}").format(path=error.filename, reason=error.strerror),
        _("choose a folder that you may write to, on a disk with room"),
    )
