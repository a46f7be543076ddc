"""A board's flash: the upward counter and the event number, of which none may be used twice, ever.

Counters are reserved in blocks ahead of their use, so a power cut skips numbers and never repeats one; event numbers
are written one by one. A board that can't read its flash has a fault and says nothing under its key.

Source: wire.md, section 1, "Upward" and "Events".
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

BLOCK: Final = 64  # counters reserved with one write


@dataclass(frozen=True, slots=True)
class Reserved:
    """What was promised never to be used again: the highest counter and event number."""

    counter: int = 0
    event: int = 0


class Flash(Protocol):
    """Where a board keeps its numbers."""

    def load(self) -> Reserved | None:
        """Return what was stored; None if it can't be read."""

    def store(self, reserved: Reserved) -> None:
        """Return once it is durable."""


class MemoryFlash:
    """Outlives the board, not the test: for tests that don't kill the simulator."""

    def __init__(self, reserved: Reserved | None = Reserved()) -> None:
        self._reserved = reserved

    def load(self) -> Reserved | None:
        """Return what was stored; None was planted as a fault."""
        return self._reserved

    def store(self, reserved: Reserved) -> None:
        """Keep it."""
        self._reserved = reserved


class FileFlash:
    """One small file, replaced whole and synced, folder included. A missing file is a board fresh from the factory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            self.store(Reserved())

    def load(self) -> Reserved | None:
        """Read the file."""
        try:
            stored = json.loads(self._path.read_bytes())
            reserved = Reserved(**stored)
        except (OSError, ValueError, TypeError):
            return None
        numbers = (reserved.counter, reserved.event)
        return reserved if all(type(number) is int and number >= 0 for number in numbers) else None

    def store(self, reserved: Reserved) -> None:
        """Write a new file beside the old one and put it in its place."""
        beside = self._path.with_name(self._path.name + ".new")
        with beside.open("wb") as file:
            file.write(json.dumps(asdict(reserved)).encode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
