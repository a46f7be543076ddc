"""One place where everything is measured: an authority, a mosquitto with mutual TLS, and whoever speaks to it.

Ours: a gateway on a pseudo-terminal and the receiver. Theirs: `naive.py`, on a pseudo-terminal of its own, straight to
the same listener, or to a local mosquitto with `bridge.conf` (verbatim, and below it the bridge's certificate), which
is connected to the same listener; and a subscriber as their centre.
"""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.process import Child, until
from firmware_sim.broker import Credentials, Mosquitto, access_list, find_mosquitto
from firmware_sim.gateway import Settings, certs
from gateway.fieldlink import label as labels
from gateway.fieldlink.label import Label

GATEWAY, RECEIVER, NAIVE, BRIDGE, SUBSCRIBER = "gw-1", "c5-a", "naive-1", "bridge-1", "subscriber-1"
BAUD: Final = 921_600
HOST: Final = "127.0.0.1"
PROGRAMS: Final = Path(sys.executable).parent
PEERS: Final = Path(__file__).parent / "peers"


class Site:
    """A folder with an authority, and a broker that lets all of its names in, each to its own topics."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.authority = home / "authority"
        self.broker = self._broker()

    def _broker(self) -> Mosquitto:
        certs("init", str(self.authority))
        certs("issue", "broker", "broker-a", "--dir", str(self.authority), "--host", "localhost", "--host", HOST)
        for role, name in (
            ("gateway", GATEWAY),
            ("receiver", RECEIVER),
            ("gateway", NAIVE),
            ("gateway", BRIDGE),
            ("receiver", SUBSCRIBER),
        ):
            certs("issue", role, name, "--dir", str(self.authority))
        issued = self.authority / "broker" / "broker-a"
        access = access_list([GATEWAY], [RECEIVER])
        access += "".join(f"user {name}\ntopic readwrite events/#\n" for name in (NAIVE, SUBSCRIBER, BRIDGE))
        access += "topic write $SYS/broker/connection/#\n"  # where a bridge says that it is there
        (self.home / "broker").mkdir()
        return Mosquitto(
            tls=Credentials(self.authority / "trust-anchors.pem", issued / "tls.pem", issued / "tls.key"),
            access=access,
            home=self.home / "broker",
        )

    def tls(self, role: str, name: str) -> list[Path]:
        """The trust anchors, a certificate and its key."""
        issued = self.authority / role / name
        return [self.authority / "trust-anchors.pem", issued / "tls.pem", issued / "tls.key"]


class Ours:
    """Our gateway and receiver, with state folders of their own in `home`; `link`: a port on the way to the broker."""

    def __init__(self, site: Site, home: Path, port: Path, link: int | None = None) -> None:
        home.mkdir()
        self.home = home
        self.state_dir = home / "outbox"
        self.state_dir.mkdir(mode=0o750)
        self.ledger = home / "ledger" / "ledger.db"
        self._config = home / "gateway.toml"
        table = f'[[port]]\nname = "radio"\ndriver = "field-link"\ndevice = "{port}"\nbaud = {BAUD}'
        settings = Settings(site.authority, link or site.broker.port, {}, GATEWAY, tables=table)
        self._config.write_text(settings.toml(self.state_dir))
        signing = site.authority / "receiver" / RECEIVER
        trust_anchors, certificate, key = site.tls("receiver", RECEIVER)
        (home / "receiver.toml").write_text(
            f'[receiver]\nname = "{RECEIVER}"\nstate_dir = "{home}/ledger"\n'
            f'[identity]\ntrust_anchors = "{trust_anchors}"\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n'
            f'signing_certificate = "{signing}/signing.pem"\nsigning_key = "{signing}/signing.key"\n'
            f'[[broker]]\nhost = "{HOST}"\nport = {site.broker.port}\n'
        )

    def enrol(self, label: Label) -> None:
        """Enrol a device before the gateway starts."""
        program: list[str | Path] = [
            PROGRAMS / "c5-gateway",
            "device",
            "enrol",
            labels.render(label),
            "--config",
            self._config,
        ]
        subprocess.run(program, check=True, capture_output=True)

    def gateway(self) -> Child:
        """Return the gateway's process, not yet started."""
        return Child("gateway", [PROGRAMS / "c5-gateway", "run", "--config", self._config], self.home)

    @asynccontextmanager
    async def receiver(self, *output: str) -> AsyncIterator[Child]:
        """Run the receiver, connected; `--output jsonl` prints a line a record."""
        program: list[str | Path] = [PROGRAMS / "c5-receiver", "run", "--config", self.home / "receiver.toml", *output]
        async with Child("receiver", program, self.home) as child:
            await child.says("Connected to broker")
            yield child


def naive(site: Site, home: Path, port: Path, link: int | None = None) -> Child:
    """Return naive.py, straight to the broker or over a link; not yet started."""
    program: list[str | Path] = [sys.executable, PEERS / "naive.py", port, HOST, str(link or site.broker.port)]
    return Child("naive", [*program, *site.tls("gateway", NAIVE)], home)


def naive_to_bridge(home: Path, port: Path, local_port: int) -> Child:
    """Return naive.py, to the local mosquitto."""
    return Child("naive-bridge", [sys.executable, PEERS / "naive.py", port, HOST, str(local_port)], home)


def bridge(site: Site, home: Path, local_port: int, *, fill: bool = False, link: int | None = None) -> Child:
    """Return the local mosquitto with bridge.conf; `fill` leaves out the saving at each change, for filling it fast."""
    folder = home / "bridge"
    folder.mkdir(exist_ok=True)
    text = (PEERS / "bridge.conf").read_text()
    for name, value in (
        ("LOCAL_PORT", str(local_port)),
        ("HOST", HOST),
        ("PORT", str(link or site.broker.port)),
        ("DIR", str(folder)),
    ):
        text = text.replace(name, value)
    if fill:
        text = text.replace("autosave_on_changes true", "autosave_on_changes false")
    for option, path in zip(
        ("bridge_cafile", "bridge_certfile", "bridge_keyfile"), site.tls("gateway", BRIDGE), strict=True
    ):
        text += f"\n{option} {path}"
    user = "user root\n" if os.geteuid() == 0 else ""
    (home / "bridge.conf").write_text(f"{user}{text}\nlog_dest stderr\n")
    environment = site.broker._environment()  # noqa: SLF001  # the libraries of an unpacked mosquitto
    return Child("bridge", [str(find_mosquitto()), "-c", home / "bridge.conf"], home, environment)


@asynccontextmanager
async def subscriber(site: Site, home: Path) -> AsyncIterator[Child]:
    """Run the peers' centre, subscribed."""
    program: list[str | Path] = [sys.executable, Path(__file__).parent / "subscriber.py", HOST, str(site.broker.port)]
    async with Child("subscriber", [*program, *site.tls("receiver", SUBSCRIBER)], home) as child:
        await child.says("subscribed")
        yield child


def arrivals(subscribed: Child) -> dict[int, int]:
    """When each event first came to the subscriber: its number, and nanoseconds since 1970."""
    came: dict[int, int] = {}
    for line in subscribed.out.read_text().splitlines():
        at, _, number = line.partition(" ")
        if number:
            came.setdefault(int(number), int(at))
    return came


async def listening(port: int) -> None:
    """Wait until something listens on this port of this machine."""

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, port)) == 0

    if not await until(listens, 5.0, every=0.01):
        raise RuntimeError(f"nothing listens on port {port}")
