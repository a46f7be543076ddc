"""A real gateway as a child process, for tests: `c5-gateway run` with settings, certificates and a folder of its own.

It can be killed and started again; what it stored stays. Everything goes through the command line, as a technician's
would: nothing of the gateway is imported here.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from gateway.fieldlink import label as labels
from gateway.fieldlink.label import Label

PROGRAM: Final = "gateway.cli.main"
START_WITHIN: Final = 20.0  # seconds, on two busy cores
STOP_WITHIN: Final = 10.0
COMMAND_WITHIN: Final = 30.0
_POLL: Final = 0.05


class GatewayFailedError(Exception):
    """The gateway did not do what it was asked; the text ends with what it said."""


def certs(*arguments: str) -> None:
    """Run `c5-certs`; raises GatewayFailedError."""
    command = [sys.executable, "-c", "from certs.cli import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own program
    if done.returncode:
        raise GatewayFailedError(f"c5-certs {' '.join(arguments)}: {done.stderr}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a gateway is told. `tables` are further settings, TOML text."""

    authority: Path  # a folder made by `c5-certs init`, with a gateway of this name issued
    broker_port: int
    ports: Mapping[str, Path]  # name to device
    name: str = "gw-1"
    broker_host: str = "127.0.0.1"
    tables: str = ""
    keys: str = ""  # further lines of [gateway], TOML text
    other_brokers: Sequence[int] = ()  # ports on the same host, in order of preference

    def toml(self, state_dir: Path) -> str:
        """Return the settings file's text."""
        issued = self.authority / "gateway" / self.name
        tables = [
            f'[gateway]\nid = "{self.name}"\nagency = "test"\nsite = "bench"\nstate_dir = "{state_dir}"\n{self.keys}',
            (
                "[identity]\n"
                f'trust_anchors = "{self.authority}/trust-anchors.pem"\n'
                f'tls_certificate = "{issued}/tls.pem"\ntls_key = "{issued}/tls.key"\n'
                f'signing_certificate = "{issued}/signing.pem"\nsigning_key = "{issued}/signing.key"'
            ),
            *(
                f'[[broker]]\nhost = "{self.broker_host}"\nport = {port}'
                for port in (self.broker_port, *self.other_brokers)
            ),
            *(
                f'[[port]]\nname = "{name}"\ndriver = "field-link"\ndevice = "{device}"'
                for name, device in self.ports.items()
            ),
            self.tables,
        ]
        return "\n\n".join(tables) + "\n"


class Gateway:
    """One gateway in `home`, from entering to leaving; `async with Gateway(settings, home) as gateway`.

    `module` is what Python runs as `c5-gateway run`: tests name one of their own that plants a fault first.
    `environment` is added to the process's at each start.
    """

    def __init__(self, settings: Settings, home: Path, *, module: str = PROGRAM) -> None:
        self.settings = settings
        self.home = home
        self.module = module
        self.environment: dict[str, str] = {}
        self.state_dir = home / "state"
        self.config = home / "gateway.toml"
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        self.config.write_text(self.settings.toml(self.state_dir))
        try:
            await self.start()
        except BaseException:
            self.kill()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def log(self) -> str:
        """What the gateway has written so far, over all its starts."""
        path = self.home / "gateway.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start the process and wait until it can be asked."""
        self.launch()
        try:
            async with asyncio.timeout(START_WITHIN):
                while not await self._answers():
                    if not self.running:
                        raise GatewayFailedError(f"the gateway ended at once: {self.log[-2000:]}")
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise GatewayFailedError(f"the gateway does not answer: {self.log[-2000:]}") from None

    def launch(self) -> None:
        """Start the process; that it is ready is not waited for."""
        assert not self.running
        command = [sys.executable, "-m", self.module, "run", "--config", str(self.config)]
        if setpriv := shutil.which("setpriv"):  # without it, a killed test run leaves its gateways behind
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with (self.home / "gateway.log").open("ab") as log:
            # Not asyncio's: this process must stay stoppable after the event loop that started it has gone.
            self._process = subprocess.Popen(  # noqa: S603  # our own program; returns as soon as the child exists
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env={**os.environ, **self.environment},
            )

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self.state_dir / "control.sock")
        except OSError:  # not there yet, or of a service that was killed
            return False
        writer.close()
        return True

    async def stop(self) -> None:
        """Ask the process to end (SIGTERM), wait for it, and insist if it doesn't."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP_WITHIN):
                while self.running:  # noqa: ASYNC110  # a process has no event that outlives its loop
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def enrol(self, label: Label) -> None:
        """Enrol a device; the running gateway takes it up at once. Raises GatewayFailedError."""
        status, _, said = await self.command("device", "enrol", labels.render(label))
        if status:
            raise GatewayFailedError(f"device enrol: {said}")

    async def status(self) -> dict[str, Any] | None:
        """Return what `c5-gateway status --json` prints; None if it doesn't."""
        _, printed, _ = await self.command("status", "--json")
        try:
            document = json.loads(printed)
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    async def command(self, *arguments: str) -> tuple[int, str, str]:
        """Run `c5-gateway` with this gateway's settings; return its exit status, standard output and error."""
        # On a thread: a caller that is cancelled leaves no half-closed pipes behind.
        done = await asyncio.to_thread(
            subprocess.run,
            [*_command(*arguments), "--config", str(self.config)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_WITHIN,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
        return done.returncode, done.stdout, done.stderr


def _command(*arguments: str) -> Sequence[str]:
    return [sys.executable, "-m", PROGRAM, *arguments]
