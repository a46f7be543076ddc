"""Brokers with certificates, for tests: mosquitto is fetched where the machine doesn't have it."""

import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from certs.authority import Authority, Issued, Role
from firmware_sim.broker import Credentials, find_mosquitto
from gateway.tls import client_context

FETCH = Path(__file__).parents[2] / "packaging" / "fetch_mosquitto.sh"


def need_mosquitto() -> None:
    """Have a mosquitto, or fail: a test that needs one never passes by being skipped."""
    if not find_mosquitto():
        subprocess.run([str(FETCH)], check=True, timeout=300)


class Site:
    """A certificate authority and what it has issued: a broker on this machine, and a client for each name."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.create(folder)
        self._issued: dict[str, Issued] = {}

    def broker(self) -> Credentials:
        issued = self._issue("broker", "broker-a", ("localhost", "127.0.0.1"))
        return Credentials(issued.trust_anchors, issued.tls_certificate, issued.tls_key)

    def client(self, role: Literal["gateway", "receiver"], name: str) -> ssl.SSLContext:
        issued = self._issue(role, name)
        return client_context(issued.trust_anchors, issued.tls_certificate, issued.tls_key)

    def _issue(self, role: Role, name: str, hosts: Sequence[str] = ()) -> Issued:
        if name not in self._issued:
            self._issued[name] = self.authority.issue(role, name, hosts=hosts)
        return self._issued[name]
