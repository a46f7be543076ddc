"""A slave that isn't ours: built from modbus_slave.c on Debian's libmodbus, run beside a test."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("C5_CACHE", ROOT / ".cache"))


@cache
def built(folder: Path) -> Path:
    """Compile it."""
    program = folder / "modbus_slave"
    unpacked = CACHE / "libmodbus" / "usr"
    found = [path.parent for path in unpacked.glob("lib/*/libmodbus.so")]
    if not found and not Path("/usr/include/modbus/modbus.h").exists():
        pytest.fail("no libmodbus: run packaging/fetch_libmodbus.sh (make tools does)")
    flags = [f"-I{unpacked / 'include'}", f"-L{found[0]}", f"-Wl,-rpath,{found[0]}"] if found else []
    source = Path(__file__).with_name("modbus_slave.c")
    command = ["cc", "-O1", "-Wall", "-Wextra", "-Werror", str(source), "-o", str(program), *flags, "-lmodbus"]
    subprocess.run([*command, "-lpthread"], check=True, timeout=60)
    return program


class Slave:
    """A running slave."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def said(self) -> str:
        """Return its next line: what was written to it."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def slave(folder: Path, *arguments: str) -> Iterator[Slave]:
    """Run one that listens."""
    with subprocess.Popen(
        [built(folder), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        running = Slave(process)
        assert running.said() == "ready"
        try:
            yield running
        finally:
            process.kill()
