"""TLS 1.3 towards a broker, with a certificate of our own; no older version is spoken, no check is ever left out.

The broker's chain must end at our trust anchors and its certificate must carry the name or address that we dialled.
The broker in turn sees this gateway's certificate. Not checked here: revocation (a stale list must never silence an
alarm) and what the certificates are for (records are judged by their own signatures, wire.md).
"""

import ssl
import stat
from pathlib import Path

from gateway.errors import CertificateError
from gateway.text import _


def client_context(trust_anchors: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what a connection to a broker needs; `certificate` is a chain in PEM, its own certificate first.

    Raises CertificateError where a file is missing, unreadable or not what it should be, and where the key is open
    to more than its owner.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # this protocol checks certificates and host names by itself
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    for path in (trust_anchors, certificate, key):
        _check_readable(path)
    _check_private(key)
    try:
        context.load_verify_locations(cafile=trust_anchors)
    except ssl.SSLError as error:
        raise CertificateError(
            _("{path} holds no certificate in PEM format").format(path=trust_anchors),
            _("Install the trust anchors that C5 gave out (identity.trust_anchors)."),
        ) from error
    try:
        context.load_cert_chain(certificate, key, password="")  # else OpenSSL would ask for one
    except ssl.SSLError as error:
        mismatch = error.reason in {"KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}  # of one kind, or of two
        what = _("{key} is not the key of {path}") if mismatch else _("{path} or its key {key} is not in PEM format")
        raise CertificateError(
            what.format(path=certificate, key=key),
            _("Install the certificate and the key that were issued together; the key without a passphrase."),
        ) from error
    return context


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise CertificateError(
            _("{path} can't be read: {reason}").format(path=path, reason=error.strerror),
            _("Check the path in [identity], and that the service's user may read the file."),
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
