import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certs import profiles
from certs.authority import Authority, Issued
from gateway import tls
from gateway.errors import CertificateError
from gateway.tls import client_context, explain


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    return Authority.create(tmp_path / "ca").issue("gateway", "gw-1")


def refusal(trust_anchors: Path, certificate: Path, key: Path) -> CertificateError:
    with pytest.raises(CertificateError) as raised:
        client_context(trust_anchors, certificate, key)
    return raised.value


def test_a_context_speaks_nothing_older_than_tls_1_3_and_checks_chain_and_name(issued: Issued) -> None:
    context = client_context(issued.trust_anchors, issued.tls_certificate, issued.tls_key)
    assert (context.minimum_version, context.verify_mode, context.check_hostname) == (
        ssl.TLSVersion.TLSv1_3,
        ssl.CERT_REQUIRED,
        True,
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_use_is_refused(issued: Issued, mode: int) -> None:
    issued.tls_key.chmod(mode)
    error = refusal(issued.trust_anchors, issued.tls_certificate, issued.tls_key)
    assert error.what == f"{issued.tls_key} is open to others (mode {mode:04o})"
    assert error.hint.startswith(f"Run: chmod 600 {issued.tls_key}.")


def test_a_missing_file_is_named(issued: Issued, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    good = (issued.trust_anchors, issued.tls_certificate, issued.tls_key)
    for place in range(3):
        files = [missing if index == place else path for index, path in enumerate(good)]
        assert refusal(*files).what == f"{missing} can't be read: No such file or directory"


def test_a_file_that_is_no_certificate_is_named(issued: Issued, tmp_path: Path) -> None:
    noise = tmp_path / "noise.pem"
    noise.write_bytes(b"not PEM")
    noise.chmod(0o600)
    assert refusal(noise, issued.tls_certificate, issued.tls_key).what == (
        f"{noise} holds no certificate in PEM format"
    )
    assert refusal(issued.trust_anchors, noise, issued.tls_key).what == (
        f"{noise} or its key {issued.tls_key} is not in PEM format"
    )


def test_a_key_of_another_certificate_is_refused(issued: Issued) -> None:
    assert issued.signing_key
    assert refusal(issued.trust_anchors, issued.tls_certificate, issued.signing_key).what == (
        f"{issued.signing_key} is not the key of {issued.tls_certificate}"
    )


def test_a_handshake_that_failed_is_explained() -> None:
    def failed(reason: str) -> str:
        error = ssl.SSLError(1, reason)
        error.reason = reason
        return explain(error)[0]

    assert failed("TLSV1_ALERT_PROTOCOL_VERSION") == "it does not speak TLS 1.3"
    assert failed("SSLV3_ALERT_CERTIFICATE_EXPIRED") == ("it refused this machine's certificate (certificate expired)")
    assert failed("WRONG_VERSION_NUMBER") == "it does not speak TLS on this port"
    assert failed("BAD_SIGNATURE") == "TLS failed (bad signature)"


# Dates, judged by the machine's clock or by a time instead of it.

MADE = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime.now(UTC)


def far(year: int) -> Callable[[], datetime]:
    return lambda: datetime(year, 1, 1, tzinfo=UTC)


class Broker:
    """A broker's certificate, under an issuing CA of its own so many days long, and a client that trusts its root."""

    def __init__(self, folder: Path, *, at: datetime, days: int, issuing_days: int = 3000) -> None:
        folder.mkdir()
        root = profiles.root(at, 7000)
        issuer = profiles.issuing(root, at, issuing_days)
        key = profiles.p256()
        leaf = profiles.tls_server(issuer, "broker-a", key.public_key(), at=at, days=days, hosts=["localhost"])
        self.chain, self.key, self.anchors = folder / "tls.pem", folder / "tls.key", folder / "anchors.pem"
        self.chain.write_bytes(b"".join(entry.public_bytes(Encoding.PEM) for entry in (leaf, issuer.certificate)))
        self.key.touch(mode=0o600)
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.anchors.write_bytes(root.certificate.public_bytes(Encoding.PEM))

    def refusal(
        self, instead: Callable[[], datetime | None] | None, *, host: str = "localhost", anchors: Path | None = None
    ) -> str | None:
        """Shake hands; return what the client refuses, None if nothing. A refused socket is closed."""
        context = client_context(anchors or self.anchors, self.chain, self.key, instead)
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=self.serve, args=(theirs,))
        thread.start()
        secured = context.wrap_socket(ours, server_hostname=host, do_handshake_on_connect=False)
        try:
            secured.do_handshake()
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        else:
            return None
        finally:
            secured.close()
            thread.join()

    def serve(self, sock: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        with contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True) as secured:
            secured.recv(1)
        sock.close()


def test_while_the_machines_clock_can_be_right_openssl_judges_the_dates(tmp_path: Path) -> None:
    expired = Broker(tmp_path / "expired", at=datetime(2020, 1, 1, tzinfo=UTC), days=30)
    coming = Broker(tmp_path / "coming", at=datetime(NOW.year + 3, 1, 1, tzinfo=UTC), days=30)
    for instead in (None, lambda: None):
        assert expired.refusal(instead) == "certificate has expired"
        assert coming.refusal(instead) == "certificate is not yet valid"
        assert Broker(tmp_path / str(instead is None), at=NOW, days=30).refusal(instead) is None


def test_by_a_time_instead_whatever_has_ended_is_refused_the_issuers_too(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker", at=MADE, days=400)  # until February 2027
    assert broker.refusal(far(2027)) is None
    assert broker.refusal(far(2028)) == "certificate has expired"
    below = Broker(tmp_path / "below", at=MADE, days=2000, issuing_days=400)
    assert below.refusal(far(2027)) is None
    assert below.refusal(far(2028)) == "certificate has expired"
    root = Broker(tmp_path / "root", at=MADE, days=9000, issuing_days=9000)  # it ends after 7000
    assert root.refusal(far(2046)) == "certificate has expired"


def test_a_time_instead_is_one_that_it_is_at_least_and_proves_of_no_certificate_that_it_has_not_begun(
    tmp_path: Path,
) -> None:
    renewed = Broker(tmp_path / "renewed", at=datetime(NOW.year + 3, 1, 1, tzinfo=UTC), days=30)
    assert renewed.refusal(lambda: NOW) is None


def test_by_a_time_instead_name_and_trust_anchor_are_checked_as_ever(tmp_path: Path) -> None:
    broker, stranger = Broker(tmp_path / "broker", at=MADE, days=400), Broker(tmp_path / "stranger", at=MADE, days=400)
    assert "mismatch" in str(broker.refusal(far(2026), host="elsewhere"))
    assert broker.refusal(far(2026), anchors=stranger.anchors) == "unable to get local issuer certificate"


def test_a_date_that_cant_be_read_is_refused_and_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_verified_chain", lambda _sock: [b"what OpenSSL can read, and we can't"])
    assert Broker(tmp_path / "broker", at=MADE, days=400).refusal(far(2026)) == "a certificate that can't be read"


def test_a_handshake_at_once_judges_the_dates_too(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker", at=MADE, days=400)
    context = client_context(broker.anchors, broker.chain, broker.key, far(2028))
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=broker.serve, args=(theirs,))
    thread.start()
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        context.wrap_socket(ours, server_hostname="localhost")
    ours.close()
    thread.join()
