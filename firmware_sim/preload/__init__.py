"""What is put under an unchanged program: gpiochip.c, built on this machine when a scenario has contacts."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("gpiochip.c")


class NoCompilerError(Exception):
    """The library can't be built here; the text says what to do."""


def built(folder: Path) -> Path:
    """Build the library into a folder, unless it is there; raises NoCompilerError."""
    library = folder / "gpiochip.so"
    if library.exists() and library.stat().st_mtime >= SOURCE.stat().st_mtime:
        return library
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompilerError("contacts need a C compiler, and there is none here: sudo apt-get install gcc libc6-dev")
    beside = library.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(beside), str(SOURCE), "-ldl"]
    made = subprocess.run([*command, "-lpthread"], capture_output=True, text=True, check=False)  # noqa: S603  # our own
    if made.returncode:
        raise NoCompilerError(f"{compiler} could not build {SOURCE.name}: {made.stderr[-500:]}")
    beside.replace(library)
    return library


def environment(folder: Path) -> dict[str, str]:
    """Return what a program's environment needs so that it takes simulated chips for real ones."""
    before = os.environ.get("LD_PRELOAD")
    return {"LD_PRELOAD": f"{built(folder)}:{before}" if before else str(built(folder))}
