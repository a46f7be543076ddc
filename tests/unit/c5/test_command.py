"""`c5-receiver command` where a broker can't be reached, or goes."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from certs.authority import Authority
from gateway.c5 import command
from gateway.c5.command import Answered, send
from gateway.c5.config import ReceiverSettings
from gateway.errors import LinkError
from gateway.settings import check_tables
from gateway.signing.message import Reply

EPOCH = b"epoch--1"
REPLY = Reply("gw-1", bytes(16), 5, "done")


def _settings(folder: Path, *ports: int) -> ReceiverSettings:
    authority = Authority.create(folder)
    receiver, boss = authority.issue("receiver", "c5-a"), authority.issue("commander", "boss")
    tables = {
        "receiver": {"name": "c5-a", "state_dir": str(folder / "state")},
        "identity": {
            "trust_anchors": str(authority.trust_anchors),
            "signing_certificate": str(receiver.signing_certificate),
            "signing_key": str(receiver.signing_key),
        },
        "broker": [{"host": "127.0.0.1", "port": port, "tls": False} for port in ports],
        "commander": {"signing_certificate": str(boss.signing_certificate), "signing_key": str(boss.signing_key)},
    }
    return check_tables(tables, ReceiverSettings, folder / "receiver.toml")


def test_a_broker_that_can_t_be_reached_says_so_and_that_nothing_was_sent(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(LinkError) as told:
        asyncio.run(send(_settings(tmp_path, port), "gw-1", "ping", {}, wait=5.0))
    assert told.value.what == f"127.0.0.1:{port}: nothing listens there"
    assert told.value.hint.endswith(" Nothing was sent.")
    assert "Nothing is lost" not in told.value.hint


def _gone() -> Answered:
    raise LinkError("the broker ended the connection: gone", "Whether the command was obeyed isn't known: ask again.")


def _answers() -> Answered:
    return Answered(bytes(16), REPLY, 0.1)


def _brokers(
    monkeypatch: pytest.MonkeyPatch, shown: dict[int, bytes | None], does: dict[int, Callable[[], Answered]]
) -> list[tuple[int, bytes]]:
    """Put brokers in place by their ports: which epoch each shows (None: it is down), and what becomes of a command.

    Returns the list of the commands, each with the port where it went.
    """
    wires: list[tuple[int, bytes]] = []

    class Line:
        said = False
        counterpart = SimpleNamespace(state=None)

        def __init__(self, _settings: object, _gateway: str) -> None:
            self.port = 0

        async def open(self, broker: Any) -> None:
            self.port = broker.port
            if (epoch := shown[self.port]) is None:
                raise LinkError(f"{self.port}: nothing listens there", "Start it.")
            self.counterpart = SimpleNamespace(state=SimpleNamespace(online=True, epoch=epoch))

        async def command(self, _own: object, order: Any, _wait: float) -> Answered:
            wires.append((self.port, order.wire))
            self.said = True
            return does[self.port]()

        async def close(self) -> None:
            pass

    monkeypatch.setattr(command, "_Line", Line)
    return wires


def test_where_a_broker_goes_the_same_command_is_said_over_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wires = _brokers(monkeypatch, {1: EPOCH, 2: EPOCH}, {1: _gone, 2: _answers})
    answered = asyncio.run(send(_settings(tmp_path, 1, 2), "gw-1", "output.set", {}, wait=5.0))
    assert answered.reply == REPLY
    assert [port for port, _wire in wires] == [1, 2]
    assert wires[0][1] == wires[1][1], "an id is obeyed once: the same id"


@pytest.mark.parametrize("epoch", [None, b"epoch--2"], ids=["is down", "shows another epoch"])
def test_what_may_have_been_obeyed_is_never_told_as_unsent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: bytes | None
) -> None:
    wires = _brokers(monkeypatch, {1: EPOCH, 2: epoch}, {1: _gone})
    with pytest.raises(LinkError) as told:
        asyncio.run(send(_settings(tmp_path, 1, 2), "gw-1", "output.set", {}, wait=5.0))
    assert told.value.what == "the broker ended the connection: gone"
    assert told.value.hint == "Whether the command was obeyed isn't known: ask again."
    assert len(wires) == 1
