"""Real brokers as child processes, for tests, the demo and the benchmarks.

`Mosquitto` is what C5 sites run: mutual TLS 1.3, the certificate's common name as the user, an access list per user.
`Embedded` is rumqttd out of the `iotcore` wheel, where mosquitto can't be had: MQTT 5 over TLS, but it lets clients
without a certificate in, knows no access list and forgets everything when it stops.

Both listen on 127.0.0.1 alone, keep their files in a folder of their own, die with the process that started them, and
can be stopped, killed, frozen and brought back on the same port. Certificates come in as paths.
"""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

HOST: Final = "127.0.0.1"
# Below Linux's range of ports for outgoing connections: while a broker is down, a client that keeps trying could
# otherwise be given the broker's own port, connect to itself, and keep the broker from coming back.
PORTS: Final = range(20_000, 32_768)
START_WITHIN: Final = 10.0  # a broker takes 0.05 s, on a loaded board more
STOP_WITHIN: Final = 5.0  # mosquitto writes its sessions to disk when asked to stop
_POLL: Final = 0.01
_SPOKEN: Final = ("event/#", "state", "certificates", "reply")
_HEARD: Final = ("receipt", "command")
_MIB: Final = 1024 * 1024


class BrokerFailedError(Exception):
    """A broker did not start, or ended by itself; the text ends with what it said."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A broker's own certificate and key, and whose clients it lets in, as PEM files."""

    trust_anchors: Path
    certificate: Path
    key: Path


def find_mosquitto() -> Path | None:
    """Return mosquitto's executable: the system's, else the one that packaging/fetch_mosquitto.sh unpacked."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    if found := shutil.which("mosquitto", path=path):
        return Path(found)
    cache = Path(os.environ.get("C5_CACHE") or Path(__file__).parents[1] / ".cache")
    unpacked = cache.absolute() / "mosquitto" / "usr" / "sbin" / "mosquitto"
    return unpacked if unpacked.exists() else None


def free_port() -> int:
    """Return a port on 127.0.0.1 that nobody listens on now."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise BrokerFailedError(f"none of 100 ports from {PORTS.start} to {PORTS.stop - 1} is free")


def access_list(gateways: Iterable[str], receivers: Iterable[str]) -> str:
    """Write mosquitto's access list for C5: each certificate's common name, and the topics it may use.

    A gateway speaks under its own name alone, and hears its own receipts and commands and the centre; a receiver hears
    all, and answers. Nobody else may do anything.
    """
    lines: list[str] = []
    for name in gateways:
        lines.append(f"user {name}")
        lines += [f"topic write c5/v1/+/+/{name}/{channel}" for channel in _SPOKEN]
        lines += [f"topic read c5/v1/+/+/{name}/{channel}" for channel in _HEARD]
        lines += ["topic read c5/v1/centre", "topic read c5/v1/certificates/#"]
    for name in receivers:
        lines += [f"user {name}", "topic read c5/v1/#"]
        lines += [f"topic write c5/v1/+/+/+/{channel}" for channel in _HEARD]
        lines += ["topic write c5/v1/centre", "topic write c5/v1/certificates/#"]
    return "\n".join(lines) + "\n"


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # another process's doing: nobody here could set an event
            await asyncio.sleep(_POLL)


class _Broker(ABC):
    """A broker process with its folder, its port and its log."""

    def __init__(self, *, tls: Credentials | None, port: int | None, home: Path | None) -> None:
        self.host = HOST
        self.port = port or free_port()
        self.tls = tls
        self._temporary = None if home else tempfile.TemporaryDirectory(prefix="c5-broker-", ignore_cleanup_errors=True)
        self.home = home or Path(self._temporary.name if self._temporary else "")
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """Write the settings and say what to run."""

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    @property
    def log(self) -> str:
        """What the broker has written so far."""
        path = self.home / "broker.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def running(self) -> bool:
        """Whether the process is there (it may be frozen)."""
        return self._process is not None and self._process.poll() is None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        if self._temporary:
            self._temporary.cleanup()

    async def start(self) -> None:
        """Start the process and wait until it listens."""
        assert not self.running
        command = self._command()
        if setpriv := shutil.which("setpriv"):  # without it, a killed test run leaves its brokers behind
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with (self.home / "broker.log").open("ab") as log:
            # Not asyncio's: this process must stay stoppable after the event loop that started it has gone.
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603  # it returns at once; the command is our own
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home, env=self._environment()
            )
        try:
            async with asyncio.timeout(START_WITHIN):
                while not await self._listens():
                    if not self.running:
                        raise BrokerFailedError(f"{command[0]} ended at once: {self.log[-2000:]}")
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise BrokerFailedError(f"no broker on port {self.port}: {self.log[-2000:]}") from None

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def stop(self) -> None:
        """Ask the process to end (SIGTERM), wait for it, and insist if it doesn't."""
        if not self._process:
            return
        self._process.terminate()
        self.resume()
        try:
            await _until(lambda: not self.running, STOP_WITHIN)
        except TimeoutError:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """End the process at once (SIGKILL); what it had not written is lost."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def restart(self) -> None:
        """Stop, and start again on the same port."""
        await self.stop()
        await self.start()

    def pause(self) -> None:
        """Freeze the process: connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)


class Mosquitto(_Broker):
    """Eclipse Mosquitto, sessions kept across a stop.

    Without `tls` it is plain and open, for benchmarks. `access` is the text of an access list (see `access_list`);
    None allows everything to every client that gets in. `settings` are further lines of mosquitto.conf.
    """

    def __init__(
        self,
        *,
        tls: Credentials | None = None,
        access: str | None = None,
        port: int | None = None,
        home: Path | None = None,
        max_inflight: int = 20,
        settings: Sequence[str] = (),
    ) -> None:
        super().__init__(tls=tls, port=port, home=home)
        self._access = access
        self._max_inflight = max_inflight
        self._settings = settings

    def _command(self) -> list[str]:
        executable = find_mosquitto()
        if not executable:
            raise BrokerFailedError("mosquitto is not on this machine: run packaging/fetch_mosquitto.sh")
        lines = [
            f"listener {self.port} {self.host}",
            "persistence true",
            f"persistence_location {self.home}/",
            "max_queued_messages 0",  # unlimited: what mosquitto drops here, it has acknowledged
            "max_queued_bytes 0",
            f"max_inflight_messages {self._max_inflight}",
            "set_tcp_nodelay true",
            "log_dest stderr",
            *self._settings,
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # else it changes to a user who can't read the key
        if self._access is not None:
            self._write_access(self._access)
            lines.append(f"acl_file {self.home}/access.list")
        if self.tls:
            lines += [
                f"cafile {self.tls.trust_anchors.absolute()}",
                f"certfile {self.tls.certificate.absolute()}",
                f"keyfile {self.tls.key.absolute()}",
                "tls_version tlsv1.3",
                "require_certificate true",
                "use_identity_as_username true",
            ]
        else:
            lines.append("allow_anonymous true")
        configuration = self.home / "mosquitto.conf"
        configuration.write_text("\n".join(lines) + "\n")
        return [str(executable), "-c", str(configuration)]

    def _environment(self) -> dict[str, str]:
        """Let an unpacked mosquitto find the libraries that were unpacked with it."""
        environment = super()._environment()
        if executable := find_mosquitto():
            root = executable.parents[2]
            folders = [str(folder) for lib in ("lib", "usr/lib") for folder in root.glob(f"{lib}/*-linux-*")]
            if root != Path("/") and folders:
                environment["LD_LIBRARY_PATH"] = os.pathsep.join(folders)
        return environment

    def _write_access(self, text: str) -> None:
        path = self.home / "access.list"
        path.write_text(text)
        path.chmod(0o600)

    async def set_access(self, text: str) -> None:
        """Change the access list of the running broker (SIGHUP), and wait until it holds."""
        assert self._access is not None, "started without an access list"
        self._access = text
        self._write_access(text)
        if not self.running:
            return
        reloads = self.log.count("Reloading config")
        self._signal(signal.SIGHUP)
        await _until(lambda: self.log.count("Reloading config") > reloads, START_WITHIN)


class Embedded(_Broker):
    """rumqttd, as the `iotcore` wheel carries it: MQTT 5 alone.

    It lacks: client certificates (nobody is asked for one), access lists, sessions on disk, the reason code for "no
    subscriber" (it acknowledges with success), and MQTT 3.1.1 on this listener.
    """

    def __init__(self, *, tls: Credentials | None = None, port: int | None = None, home: Path | None = None) -> None:
        super().__init__(tls=tls, port=port, home=home)

    def _command(self) -> list[str]:
        lines = [
            "id = 0",
            "[router]",
            "id = 0",
            "max_connections = 100",
            "max_outgoing_packet_count = 200",
            f"max_segment_size = {10 * _MIB}",
            "max_segment_count = 10",
            "[v5.1]",
            'name = "v5"',
            f'listen = "{self.host}:{self.port}"',
            "next_connection_delay_ms = 1",
            "[v5.1.connections]",
            "connection_timeout_ms = 10000",
            "max_payload_size = 65536",
            "max_inflight_count = 100",
        ]
        if self.tls:
            lines += [
                "[v5.1.tls]",
                f'capath = "{self.tls.trust_anchors.absolute()}"',
                f'certpath = "{self.tls.certificate.absolute()}"',
                f'keypath = "{self.tls.key.absolute()}"',
            ]
        configuration = self.home / "rumqttd.toml"
        configuration.write_text("\n".join(lines) + "\n")
        run = "import sys; from iotcore import Broker; Broker(config_path=sys.argv[1]).run_forever()"
        return [sys.executable, "-I", "-c", run, str(configuration)]
