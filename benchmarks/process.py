"""A child process that is measured: when it started, what it says, its processor time and its memory."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_TICKS: Final = os.sysconf("SC_CLK_TCK")
STOP_WITHIN: Final = 10.0
_POLL: Final = 0.002


async def until(condition: Callable[[], bool], seconds: float, every: float = 0.1) -> bool:
    """Wait until something holds, in another process more often than not, for so long at most; whether it did."""
    deadline = time.monotonic() + seconds
    while not condition():  # nobody here could set an event
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(every)
    return True


class Child:
    """A process from entering to leaving. What it prints goes to `HOME/NAME.out`, what it logs to `HOME/NAME.log`."""

    def __init__(
        self, name: str, command: Sequence[str | Path], home: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._home = home
        self._command = [str(part) for part in command]
        if setpriv := shutil.which("setpriv"):  # nothing is left behind when the benchmark is killed
            self._command = [setpriv, "--pdeathsig", "KILL", *self._command]
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0  # time.monotonic()

    @property
    def out(self) -> Path:
        return self._home / f"{self.name}.out"

    @property
    def log(self) -> Path:
        return self._home / f"{self.name}.log"

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        with self.out.open("wb") as out, self.log.open("wb") as log:
            self.started_at = time.monotonic()
            self._process = subprocess.Popen(  # noqa: ASYNC220  # it returns as soon as the child exists
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, cwd=self._home, env=self._environment
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        process = self._process
        process.terminate()
        await until(lambda: process.poll() is not None, STOP_WITHIN, every=0.01)
        self._process.kill()
        self._process.wait()

    async def says(self, text: str, within: float = 20.0) -> float:
        """Wait until it has printed or logged this; return when that was seen (time.monotonic())."""
        assert self._process is not None
        process = self._process

        def said() -> bool:
            return text in self.out.read_text(errors="replace") + self.log.read_text(errors="replace")

        await until(lambda: said() or process.poll() is not None, within, every=_POLL)
        if not said():
            raise RuntimeError(f"{self.name} did not say {text!r}: {self.log.read_text()[-2000:]}")
        return time.monotonic()

    def cpu_seconds(self) -> float:
        """Processor time used so far, user and system."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_mb(self) -> float:
        """Resident memory now."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6
