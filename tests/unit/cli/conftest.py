import socket
from pathlib import Path

import pytest

from certs.authority import Authority, Issued

SETTINGS = """[gateway]
id = "gw-1"
agency = "senafront"
site = "yaviza"
state_dir = "state"
[identity]
trust_anchors = "{anchors}"
tls_certificate = "{tls}.pem"
tls_key = "{tls}.key"
signing_certificate = "{signing}.pem"
signing_key = "{signing}.key"
"""
BROKER = """[[broker]]
host = "127.0.0.1"
port = {port}
"""


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    return Authority.create(tmp_path / "pki").issue("gateway", "gw-1")


@pytest.fixture
def settings(tmp_path: Path, issued: Issued) -> Path:
    """Two brokers, at ports where nobody listens."""
    ports = []
    for _ in range(2):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            ports.append(unused.getsockname()[1])
    folder = issued.tls_key.parent
    text = SETTINGS.format(anchors=issued.trust_anchors, tls=folder / "tls", signing=folder / "signing")
    path = tmp_path / "gateway.toml"
    path.write_text(text + "".join(BROKER.format(port=port) for port in ports))
    (tmp_path / "state").mkdir()
    return path
