"""Fixtures for tests that need the world around a gateway: `line`, `label`, `board`, `broker` and `gateway`.

Each is ready to be entered inside the test's own `asyncio.run`, in the order in which the test wants them:

    async with line, broker, gateway, board:
        await gateway.enrol(board.machine.label)
        number = await board.press()
        await board.stage(number, 1)

What a fixture needs is imported when it is first asked for: this file is loaded by every pytest run.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from firmware_sim.broker import Mosquitto
    from firmware_sim.device import Board
    from firmware_sim.gateway import Gateway
    from firmware_sim.pty import PseudoTerminal
    from gateway.fieldlink.label import Label

GATEWAY = "gw-1"
RECEIVER = "c5-a"


@pytest.fixture
def line(tmp_path: Path) -> "PseudoTerminal":
    """Return a serial line without faults; its gateway end is `line.path`."""
    from firmware_sim.pty import PseudoTerminal  # noqa: PLC0415  # see above

    return PseudoTerminal(tmp_path / "port")


@pytest.fixture
def label() -> "Label":
    """Return the label of a device, with a key of its own."""
    from firmware_sim.labels import new_label  # noqa: PLC0415  # see above

    return new_label("0c500042")


@pytest.fixture
def board(line: "PseudoTerminal", label: "Label", tmp_path: Path) -> "Board":
    """Return a board on `line` with `label`, its counters in a file."""
    from firmware_sim.device import Board  # noqa: PLC0415  # see above

    return Board(line, label, flash=tmp_path / "flash")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a throwaway certificate authority with a broker, a gateway, a receiver and a commander."""
    from firmware_sim.gateway import certs  # noqa: PLC0415  # see above

    folder = tmp_path_factory.mktemp("authority")
    certs("init", str(folder))
    certs("issue", "broker", "broker-a", "--dir", str(folder), "--host", "localhost", "--host", "127.0.0.1")
    for role, name in (("gateway", GATEWAY), ("receiver", RECEIVER), ("commander", RECEIVER)):
        certs("issue", role, name, "--dir", str(folder))
    return folder


@pytest.fixture
def broker(authority: Path, tmp_path: Path) -> "Mosquitto":
    """Return a mosquitto with mutual TLS and an access list for the gateway and the receiver of `authority`."""
    from firmware_sim.broker import Credentials, Mosquitto, access_list  # noqa: PLC0415  # see above

    issued = authority / "broker" / "broker-a"
    home = tmp_path / "broker"
    home.mkdir()
    return Mosquitto(
        tls=Credentials(authority / "trust-anchors.pem", issued / "tls.pem", issued / "tls.key"),
        access=access_list([GATEWAY], [RECEIVER]),
        home=home,
    )


@pytest.fixture
def gateway(authority: Path, broker: "Mosquitto", line: "PseudoTerminal", tmp_path: Path) -> "Gateway":
    """Return a `c5-gateway run` process that listens on `line` and speaks to `broker`."""
    from firmware_sim.gateway import Gateway, Settings  # noqa: PLC0415  # see above

    settings = Settings(authority, broker.port, {"radio": line.path}, GATEWAY)
    return Gateway(settings, tmp_path / "gateway")
