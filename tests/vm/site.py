"""A gateway installed in the machine as docs/operate/install.md says, a broker and a receiver outside: C5 and a post.

The gateway's own files, the unit, the users and the udev rules are those of this tree; its keys come from an authority
made for the run. What C5 knows is what the receiver's process prints.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from certs.authority import Authority
from firmware_sim.broker import HOST, Credentials, Mosquitto, access_list
from tests.support.brokers import need_mosquitto
from tests.support.receiver import Receiver
from tests.vm.machine import BROKER, Machine, build

ROOT: Final = Path(__file__).parents[2]
GATEWAY, RECEIVER = "gw-1", "c5-a"
INSTALLED: Final = {
    "c5-gateway.service": "/etc/systemd/system",
    "sysusers.d/c5-gateway.conf": "/etc/sysusers.d",
    "tmpfiles.d/c5-gateway.conf": "/etc/tmpfiles.d",
    "udev/70-c5-gateway.rules": "/etc/udev/rules.d",
}
HOME: Final = "/etc/c5-gateway"
SETTINGS: Final = f"""
[gateway]
id = "{GATEWAY}"
agency = "test"
site = "bench"
[identity]
trust_anchors = "trust-anchors.pem"
tls_certificate = "tls.pem"
tls_key = "tls.key"
signing_certificate = "signing.pem"
signing_key = "signing.key"
[[broker]]
host = "{BROKER[0]}"
port = {BROKER[1]}
"""
START_WITHIN: Final = 120.0  # seconds; 10 on two free cores, most of it Python's imports under emulation
WITHIN: Final = 30.0


class Site:
    """`machine` and what C5 has of it, from entering to leaving."""

    def __init__(self, folder: Path) -> None:
        need_mosquitto()
        self._authority = folder / "ca"
        authority = Authority.create(self._authority)
        broker = authority.issue("broker", "broker-a", hosts=("localhost", HOST, BROKER[0]))
        authority.issue("gateway", GATEWAY)
        authority.issue("receiver", RECEIVER)
        for name in ("broker", "machine"):
            (folder / name).mkdir()
        self.broker = Mosquitto(
            tls=Credentials(broker.trust_anchors, broker.tls_certificate, broker.tls_key),
            access=access_list([GATEWAY], [RECEIVER]),
            home=folder / "broker",
        )
        self.receiver = Receiver(folder / "ca", self.broker.port, folder / "c5")
        self.machine = Machine(build(), folder / "machine", self.broker.port)
        self.start_took = 0.0  # seconds of the service's last start, to its record at C5

    def __enter__(self) -> Self:
        try:
            asyncio.run(self.broker.start())
            asyncio.run(self.receiver.__aenter__())
            self.machine.__enter__()
            self._install()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.__exit__()
        self.receiver.kill()
        self.broker.kill()

    def _install(self) -> None:
        machine = self.machine
        machine.shell("mount -o ro /dev/disk/by-label/program /opt/c5-gateway")
        for name, folder in INSTALLED.items():
            path = ROOT / "systemd" / name
            machine.write(f"{folder}/{path.name}", path.read_text(encoding="utf-8"))
        machine.shell(
            "systemd-sysusers && systemd-tmpfiles --create && udevadm control --reload && systemctl daemon-reload"
        )
        machine.shell("udevadm trigger --subsystem-match=tty --subsystem-match=gpio && udevadm settle", within=120)
        # The unit speaks Spanish; what tests compare is the text as written.
        machine.write("/etc/systemd/system/c5-gateway.service.d/words.conf", "[Service]\nEnvironment=LANGUAGE=C\n")
        issued = self._authority / "gateway" / GATEWAY
        for path in (self._authority / "trust-anchors.pem", issued / "tls.pem", issued / "signing.pem"):
            machine.write(f"{HOME}/{path.name}", path.read_text(encoding="utf-8"), "0640", "root:c5-gateway")
        for path in (issued / "tls.key", issued / "signing.key"):
            machine.write(f"{HOME}/{path.name}", path.read_text(encoding="utf-8"), "0600", "c5-gateway:c5-gateway")

    # The service.

    def configure(self, tables: str) -> None:
        """Write the settings."""
        self.machine.write(f"{HOME}/gateway.toml", SETTINGS + tables, "0640", "root:c5-gateway")

    def start(self, tables: str | None = None) -> None:
        """Start the service anew, with these settings, and wait until it has told C5 so."""
        if tables is not None:
            self.configure(tables)
        before, began = len(self.told("gateway.started")), time.monotonic()
        self.machine.run("systemctl", "restart", "c5-gateway", within=START_WITHIN)
        self.machine.until(lambda: len(self.told("gateway.started")) > before, "the service at C5", START_WITHIN)
        self.start_took = time.monotonic() - began

    def freeze(self) -> None:
        """Stop the service's process where it is (SIGSTOP), and wait until it does nothing more."""
        self.machine.shell(f"kill -STOP {self.pid}; until grep -q '^State:.T' /proc/{self.pid}/status; do :; done")

    def status(self) -> dict[str, Any]:
        """Return what the service says of itself at its control socket."""
        ask = "import json; from pathlib import Path; from gateway import console"
        say = 'print(json.dumps(console.ask(Path("/var/lib/c5-gateway"), {"do": "status"})))'
        found = self.machine.python(f"{ask}; {say}")
        assert isinstance(found, dict), "the service isn't running"
        return found

    def input(self, name: str) -> dict[str, Any]:
        """Return what the service says of an input."""
        (found,) = (each for each in self.status()["inputs"] if each["name"] == name)
        return dict(found)

    def port(self, name: str) -> dict[str, Any]:
        """Return what the service says of a serial port."""
        (found,) = (each for each in self.status()["ports"] if each["name"] == name)
        return dict(found)

    def waiting(self, lane: str) -> int:
        """Return how many records of a lane C5 has not receipted."""
        return int(self.status()["lanes"][lane]["waiting"])

    @property
    def pid(self) -> int:
        """The service's process, 0 while there is none."""
        return int(self.machine.run("systemctl", "show", "-P", "MainPID", "c5-gateway").out)

    def journal(self) -> str:
        """What the service has logged."""
        return self.machine.run("journalctl", "-u", "c5-gateway", "-o", "cat", "--no-pager").out

    def command(self, *arguments: str, within: float = 60.0) -> str:
        """Run `c5-gateway`, as root."""
        done = self.machine.run(
            "/opt/c5-gateway/bin/c5-gateway", *arguments, "--config", f"{HOME}/gateway.toml", within=within
        )
        return done.out + done.err

    # C5.

    def told(self, *types: str) -> list[dict[str, Any]]:
        """Return every verified record of these types that C5's receiver has printed."""
        return [line for line in self.receiver.lines() if line.get("type") in types]

    def heard(self, types: Sequence[str], count: int, after: int, within: float = WITHIN) -> list[dict[str, Any]]:
        """Wait until there are `count` such records beyond the first `after`; return those."""
        self.machine.until(lambda: len(self.told(*types)) >= after + count, f"{count} of {types} at C5", within)
        return self.told(*types)[after:]
