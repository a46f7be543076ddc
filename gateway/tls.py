"""TLS 1.3 towards a broker, with a certificate of our own; no older version is spoken, no check is ever left out.

Towards what is in the tower (`server_context`) we are the server, and speak TLS 1.2 too: cameras and help points that
are there have firmware with nothing newer. Of 1.2 only what is still sound: ECDHE with an AEAD, no renegotiation. No
session of either version is resumed: who asks is proven in each connection.

The broker's chain must end at our trust anchors and its certificate must carry the name or address that we dialled.
The broker in turn sees this gateway's certificate. Not checked here: revocation (a stale list must never silence an
alarm) and what the certificates are for (records are judged by their own signatures, wire.md).

OpenSSL judges dates by the machine's clock. Where that shows 1970 nothing would ever be valid, so a context may be
told a time `instead`, before which it certainly isn't: OpenSSL then leaves out the dates, and nothing else. When the
handshake is done, before a byte of MQTT is sent, no certificate from the broker's to the trust anchor may have ended by
that time; that one hasn't begun yet it can't prove. While the machine's clock can be right, OpenSSL checks everything.

Source: X509_VERIFY_PARAM_set_flags(3), SSL_get0_verified_chain(3).
"""

import os
import ssl
import stat
import weakref
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from socket import socket
from typing import Any, Final

from cryptography import x509

from gateway.errors import CertificateError
from gateway.text import _

_NO_CHECK_TIME: Final = 0x20_0000  # X509_V_FLAG_NO_CHECK_TIME; Python has no name for it
_UNSPECIFIED: Final = 1  # X509_V_ERR_UNSPECIFIED
_EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_DER: Final = 2  # _ssl.ENCODING_DER


def client_context(
    trust_anchors: Path, certificate: Path, key: Path, instead: Callable[[], datetime | None] | None = None
) -> ssl.SSLContext:
    """Return what a connection to a broker needs; `certificate` is a chain in PEM, its own certificate first.

    `instead` is asked at each connection for a time that it is at least; None where the machine's clock can be right.

    Raises CertificateError where a file is missing, unreadable or not what it should be, and where the key is open
    to more than its owner.
    """
    if instead is None:
        return _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust_anchors, certificate, key)
    dateless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    dateless.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    dateless.sslsocket_class = _Dated
    context = _Doubting(ssl.PROTOCOL_TLS_CLIENT)
    context.instead = instead
    context.dateless = _load(dateless, trust_anchors, certificate, key)
    return _load(context, trust_anchors, certificate, key)


def server_context(
    certificate: Path, key: Path, client_anchors: Path | None, instead: Callable[[], datetime | None]
) -> ssl.SSLContext:
    """Return what a server for local input needs: a client may show a certificate under these anchors, or none.

    One that can't be trusted ends the handshake. Raises CertificateError as `client_context` does.
    """
    context = _Server(ssl.PROTOCOL_TLS_SERVER)  # itself it serves nobody: what is wrong with the files is told by it
    if client_anchors is not None:
        _check_readable(client_anchors)
        _load_anchors(context, client_anchors, "local_input.client_anchors")
        context.anchors = client_anchors.read_text("utf-8")
    for path in (certificate, key):
        _check_readable(path)
    _check_private(key)
    _load_own(context, certificate, key)
    context.own, context.instead = (_in_memory(certificate), _in_memory(key)), instead
    for file in context.own:
        weakref.finalize(context, os.close, file)
    return context


class _Server(ssl.SSLContext):
    """A server on the event loop, with a context of its own for each connection.

    A context keeps the sessions of TLS 1.2, strangers' too, and would take who comes back with one as proven, whatever
    has become of his certificate; Python has no name for the setting that forbids it.
    """

    instead: Callable[[], datetime | None]
    own: tuple[int, int]  # certificate and key, as open files
    anchors: str | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Wrap a client's connection; how its handshake judges dates is settled here."""
        fresh = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        fresh.minimum_version = ssl.TLSVersion.TLSv1_2
        fresh.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        fresh.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
        fresh.num_tickets = 0
        if self.anchors is not None:
            fresh.verify_mode = ssl.CERT_OPTIONAL
            fresh.load_verify_locations(cadata=self.anchors)
        certificate, key = (f"/proc/self/fd/{file}" for file in self.own)
        fresh.load_cert_chain(certificate, key, password="")
        at = self.instead()
        if at is not None:
            fresh.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
            fresh.sslobject_class = _DatedObject
        wrapped = fresh.wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        if isinstance(wrapped, _DatedObject):
            assert at is not None
            wrapped.at = at
        return wrapped


def share_an_anchor(*files: Path) -> bool:
    """Whether these files have a certificate in common; one that can't be read has none."""
    try:
        found = [set(x509.load_pem_x509_certificates(file.read_bytes())) for file in files]
    except (OSError, ValueError):
        return False
    return bool(set.intersection(*found))


def _in_memory(path: Path) -> int:
    """Return a file's content as an open file that no disk can hold up."""
    file = os.memfd_create("tls")
    os.write(file, path.read_bytes())
    return file


class _DatedObject(ssl.SSLObject):
    """A handshake that ends with what OpenSSL left out, as `_Dated`; who has shown no certificate has no dates."""

    at: datetime

    def do_handshake(self) -> None:
        """Shake hands, then look at the dates. Raises SSLCertVerificationError, as OpenSSL would."""
        super().do_handshake()
        if self.getpeercert(binary_form=True) is None:
            return
        try:
            end = min(x509.load_der_x509_certificate(der).not_valid_after_utc for der in _verified_chain(self))
        except ValueError as error:
            raise ssl.SSLCertVerificationError(1, "a certificate that can't be read") from error
        if self.at > end:
            raise ssl.SSLCertVerificationError(1, "certificate verify failed: certificate has expired")


def _load(context: ssl.SSLContext, trust_anchors: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Give a context its files; PROTOCOL_TLS_CLIENT checks certificates and host names by itself."""
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    for path in (trust_anchors, certificate, key):
        _check_readable(path)
    _check_private(key)
    _load_anchors(context, trust_anchors, "identity.trust_anchors")
    _load_own(context, certificate, key)
    return context


def _load_anchors(context: ssl.SSLContext, trust_anchors: Path, setting: str) -> None:
    try:
        context.load_verify_locations(cafile=trust_anchors)
    except ssl.SSLError as error:
        raise CertificateError(
            _("{path} holds no certificate in PEM format").format(path=trust_anchors),
            _("Install the trust anchors that C5 gave out ({setting}).").format(setting=setting),
        ) from error


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password="")  # else OpenSSL would ask for one
    except ssl.SSLError as error:
        mismatch = error.reason in {"KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}  # of one kind, or of two
        what = _("{key} is not the key of {path}") if mismatch else _("{path} or its key {key} is not in PEM format")
        raise CertificateError(
            what.format(path=certificate, key=key),
            _("Install the certificate and the key that were issued together; the key without a passphrase."),
        ) from error


class _Doubting(ssl.SSLContext):
    """A context that has OpenSSL check everything, or all but the dates where there is a time to judge by instead."""

    instead: Callable[[], datetime | None]
    dateless: ssl.SSLContext

    def wrap_socket(  # noqa: PLR0917  # the standard library's signature
        self,
        sock: socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """Wrap a client's socket; how its handshake judges dates is settled here."""
        others: Any = (suppress_ragged_eofs, server_hostname, session)
        at = self.instead()
        if at is None:
            return super().wrap_socket(sock, server_side, do_handshake_on_connect, *others)
        wrapped = self.dateless.wrap_socket(sock, server_side, False, *others)
        assert isinstance(wrapped, _Dated)
        wrapped.at = at
        if do_handshake_on_connect:
            wrapped.do_handshake()
        return wrapped


class _Dated(ssl.SSLSocket):
    """A socket whose handshake ends with what OpenSSL left out: nothing in the chain has expired by this time."""

    at: datetime  # without it, no handshake succeeds

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands, then look at the dates. Raises SSLCertVerificationError, as OpenSSL would."""
        super().do_handshake(block)
        try:
            end = min(x509.load_der_x509_certificate(der).not_valid_after_utc for der in _verified_chain(self))
        except ValueError as error:  # OpenSSL reads more than we do
            raise self._refusal(_UNSPECIFIED, "a certificate that can't be read") from error
        if self.at > end:
            raise self._refusal(_EXPIRED, "certificate has expired")

    def _refusal(self, code: int, words: str) -> ssl.SSLCertVerificationError:
        self.close()
        error = ssl.SSLCertVerificationError(1, f"certificate verify failed: {words}")
        error.verify_code, error.verify_message = code, words
        return error


def _verified_chain(sock: ssl.SSLSocket | ssl.SSLObject) -> list[bytes]:
    """Return the chain by which OpenSSL trusts the other side, DER, the trust anchor last."""
    public = getattr(sock, "get_verified_chain", None)  # Python 3.13
    if public is not None:
        return list(public() or ())
    inner: Any = sock
    return [certificate.public_bytes(_DER) for certificate in inner._sslobj.get_verified_chain() or ()]  # noqa: SLF001  # before 3.13 there is no other way


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise CertificateError(
            _("{path} can't be read: {reason}").format(path=path, reason=error.strerror),
            _("Check the path in the settings, and that the service's user may read the file."),
        ) from error


def _check_private(key: Path) -> None:
    mode = stat.S_IMODE(key.stat().st_mode)
    if mode & 0o077:
        raise CertificateError(
            _("{path} is open to others (mode {mode})").format(path=key, mode=f"{mode:04o}"),
            _("Run: chmod 600 {path}. If others have used this machine, ask for a new certificate.").format(path=key),
        )


def explain(error: ssl.SSLError) -> tuple[str, str]:
    """Say what a failed handshake means, and what a technician can do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_verification(error)
    check_port = _("Check the port: MQTT over TLS is usually 8883.")
    if isinstance(error, ssl.SSLEOFError):
        return _("it cut the connection in the TLS handshake"), check_port
    reason = error.reason or ""
    if "ALERT_PROTOCOL_VERSION" in reason:
        return _("it does not speak TLS 1.3"), _("The broker must be updated or set to allow TLS 1.3.")
    if "ALERT" in reason:
        words = reason.split("ALERT_", 1)[-1].replace("_", " ").lower()
        return (
            _("it refused this machine's certificate ({words})").format(words=words),
            _("Check tls_certificate: that it has not expired or been revoked, and that the broker trusts its issuer."),
        )
    if reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}:
        return _("it does not speak TLS on this port"), check_port
    words = (reason or str(error)).replace("_", " ").lower()
    return _("TLS failed ({words})").format(words=words), _("Check that host and port are those of the broker.")


def _explain_verification(error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    words = error.verify_message
    if "expired" in words or "not yet valid" in words:
        hint = _("Check this machine's clock first; if it is right, the broker needs a new certificate.")
    elif "mismatch" in words:
        hint = _("Use the host name or address that the broker's certificate was issued for.")
    else:
        hint = _("The broker's certificate was not issued under identity.trust_anchors. If C5 changed it, get the new")
        hint += " " + _("trust anchors; if it did not, somebody may be posing as the broker: report it.")
    return _("its certificate is not to be trusted: {words}").format(words=words), hint
