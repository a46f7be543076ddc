"""A real `c5-receiver run` as a child process, and what can be seen of it from outside: its lines, status and ledger.

It can be killed and started again. Standard output is a file to which all its starts append; a kill may cost lines that
are in the ledger already, so a test that kills the receiver asks the ledger.
"""

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from firmware_sim.broker import HOST
from gateway.event import Lane

PROGRAM = Path(sys.executable).with_name("c5-receiver")
START_WITHIN = 20.0
STOP_WITHIN = 5.0
COMMAND_WITHIN = 30.0
POLL = 0.02


@dataclass(frozen=True, slots=True)
class Held:
    """A record as the ledger holds it. `repeated`: the same happening was told before, in another record."""

    gateway: str
    epoch: bytes
    lane: Lane
    sequence: int
    type: str
    source: str
    event_number: int | None
    repeated: bool
    wire: bytes

    @property
    def happening(self) -> tuple[str, int | None, str]:
        """What C5 counts once (wire.md, "Events")."""
        return self.source, self.event_number, self.type


class Receiver:
    def __init__(
        self, authority: Path, broker_port: int, home: Path, name: str = "c5-a", *, others: Sequence[int] = ()
    ) -> None:
        self.name = name
        self.home = home
        self.config = home / "receiver.toml"
        self._authority = authority
        self._broker_ports = (broker_port, *others)
        self._process: subprocess.Popen[bytes] | None = None
        self._taken = 0  # bytes of the output that are in `_lines`
        self._lines: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        self.config.write_text(self._toml())
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def log(self) -> str:
        path = self.home / "receiver.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start it; it connects when it can, so there is nothing to wait for."""
        assert not self.running
        command = [str(PROGRAM), "run", "--config", str(self.config), "--output", "jsonl"]
        if setpriv := shutil.which("setpriv"):  # without it, a killed test run leaves its receivers behind
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with (self.home / "receiver.log").open("ab") as log, (self.home / "lines.jsonl").open("ab") as lines:
            self._process = subprocess.Popen(  # noqa: ASYNC220  # returns as soon as the child exists
                command, stdin=subprocess.DEVNULL, stdout=lines, stderr=log, cwd=self.home
            )

    async def stop(self) -> None:
        """Ask it to end (SIGTERM), wait, and insist if it doesn't."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN):
                while self.running:  # noqa: ASYNC110  # a process has no event that outlives its loop
                    await asyncio.sleep(POLL)
        self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def lines(self) -> list[dict[str, Any]]:
        """Return every whole line that it has printed so far."""
        with (self.home / "lines.jsonl").open("rb") as output:
            output.seek(self._taken)
            fresh = output.read()
        fresh = fresh[: fresh.rfind(b"\n") + 1]
        self._taken += len(fresh)
        for line in fresh.splitlines():
            with contextlib.suppress(ValueError):  # a line that a kill cut short, ended by the next start's first
                self._lines.append(json.loads(line))
        return self._lines

    def of_type(self, type_: str) -> list[dict[str, Any]]:
        """Return the lines of one record type."""
        return [line for line in self.lines() if line["type"] == type_]

    def held(self) -> list[Held]:
        """Return every record in the ledger, in the order of storing."""
        with self._ledger() as ledger:
            rows = ledger.execute(
                "SELECT gateway, epoch, lane, sequence, type, source, event_number, repeat_of, wire"
                " FROM records JOIN chains ON chains.id = records.chain ORDER BY records.id"
            ).fetchall()
        return [Held(g, e, Lane(ln), s, t, src, n, r is not None, w) for g, e, ln, s, t, src, n, r, w in rows]

    def reports(self) -> dict[str, str]:
        """Return every report ever made, ended or not: type → the newest text."""
        with self._ledger() as ledger:
            return dict(ledger.execute("SELECT type, text FROM reports ORDER BY last_us").fetchall())

    @contextlib.contextmanager
    def _ledger(self) -> Iterator[sqlite3.Connection]:
        path = self.home / "state" / "ledger.db"
        ledger = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            yield ledger
        finally:
            ledger.close()

    async def status(self) -> dict[str, Any]:
        """Return what `c5-receiver status --json` prints."""
        _, printed = await self.command("status", "--json", "--config", str(self.config))
        document: dict[str, Any] = json.loads(printed)
        return document

    async def verify_export(self) -> tuple[int, str]:
        """Write the whole ledger out as a CBOR sequence and have `c5-receiver verify` prove each record of it."""
        export = self.home / "export.cbor"
        export.write_bytes(b"".join(held.wire for held in self.held()))
        return await self.command("verify", str(export), "--config", str(self.config))

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run `c5-receiver`; return its exit status and what it printed."""
        done = await asyncio.to_thread(
            subprocess.run,
            [str(PROGRAM), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_WITHIN,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
        return done.returncode, done.stdout

    def _toml(self) -> str:
        issued = self._authority / "receiver" / self.name
        return "\n".join(
            (
                "[receiver]",
                f'name = "{self.name}"',
                f'state_dir = "{self.home / "state"}"',
                "[identity]",
                f'trust_anchors = "{self._authority}/trust-anchors.pem"',
                f'tls_certificate = "{issued}/tls.pem"',
                f'tls_key = "{issued}/tls.key"',
                f'signing_certificate = "{issued}/signing.pem"',
                f'signing_key = "{issued}/signing.key"',
                *(f'[[broker]]\nhost = "{HOST}"\nport = {port}' for port in self._broker_ports),
                "",
            )
        )
