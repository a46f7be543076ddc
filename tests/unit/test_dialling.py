"""How the gateway connects: what it says where it can't."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FieldClock
from gateway.config import load
from gateway.dialling import dialler
from gateway.errors import LinkError
from gateway.world import World
from tests.support.memory import NOW_US, Clock
from tests.unit.test_clock import LEAST, MOST

SETTINGS = """[gateway]
id = "gw-1"
agency = "senafront"
site = "yaviza"
[identity]
trust_anchors = "gateway.toml"
signing_certificate = "gateway.toml"
signing_key = "gateway.toml"
[[broker]]
host = "127.0.0.1"
port = {port}
tls = false
"""


def test_what_waits_for_a_broker_that_is_down_is_said_to_be_kept(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        (tmp_path / "gateway.toml").write_text(SETTINGS.format(port=port))
        settings = load(tmp_path / "gateway.toml")
        dial: Any = dialler(settings, World(), FieldClock(Clock(), NOW_US, LEAST, MOST))
        with pytest.raises(LinkError) as raised:
            asyncio.run(dial(f"127.0.0.1:{port}", ("state", b""), lambda _message: None, lambda _reason: None))
    assert raised.value.what == f"127.0.0.1:{port}: nothing listens there"
    assert raised.value.hint == (
        "Check that the broker is running, and its port. "
        "Nothing is lost: what has not been delivered is kept, and sent when a broker answers."
    )
