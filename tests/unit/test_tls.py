import ssl
from pathlib import Path

import pytest

from certs.authority import Authority, Issued
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
