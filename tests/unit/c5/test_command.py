"""`c5-receiver command` where nobody can be reached."""

import asyncio
import socket
from pathlib import Path

import pytest

from certs.authority import Authority
from gateway.c5.command import send
from gateway.c5.config import ReceiverSettings
from gateway.errors import LinkError
from gateway.settings import check_tables


def test_a_broker_that_can_t_be_reached_says_so_and_that_nothing_was_sent(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    receiver, boss = authority.issue("receiver", "c5-a"), authority.issue("commander", "boss")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    tables = {
        "receiver": {"name": "c5-a", "state_dir": str(tmp_path / "state")},
        "identity": {
            "trust_anchors": str(authority.trust_anchors),
            "signing_certificate": str(receiver.signing_certificate),
            "signing_key": str(receiver.signing_key),
        },
        "broker": [{"host": "127.0.0.1", "port": port, "tls": False}],
        "commander": {"signing_certificate": str(boss.signing_certificate), "signing_key": str(boss.signing_key)},
    }
    settings = check_tables(tables, ReceiverSettings, tmp_path / "receiver.toml")
    with pytest.raises(LinkError) as told:
        asyncio.run(send(settings, "gw-1", "ping", {}, wait=5.0))
    assert told.value.what == f"127.0.0.1:{port}: nothing listens there"
    assert told.value.hint.endswith(" Nothing was sent.")
    assert "Nothing is lost" not in told.value.hint
