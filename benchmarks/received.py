"""What the receiver's lines say of each press: when it was verified, and when committed."""

import json
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from firmware_sim.ledger import Press


class Received(NamedTuple):
    """Microseconds since 1970, by the receiver's clock: this machine's."""

    verified_us: int
    committed_us: int


def received(path: Path) -> dict[int, Received]:
    """Read the lines of all presses of one device, by event number."""
    return {number: at for (_, number), at in by_device(path).items()}


def by_device(path: Path) -> dict[tuple[str, int], Received]:
    """Read the lines of all presses, by device and event number; the first line of each counts."""
    found: dict[tuple[str, int], Received] = {}
    for line in path.read_text().splitlines():
        said = json.loads(line)
        if said["type"] == "panic.pressed":
            at = Received(us(said["verified"]), us(said["committed"]))
            found.setdefault((said["device"], said["event_number"]), at)
    return found


def left_us(press: Press) -> int:
    """When the last byte of its frame left the device."""
    assert press.left_ns is not None
    return press.left_ns // 1000


def us(moment: str) -> int:
    """Return microseconds since 1970."""
    at = datetime.fromisoformat(moment)
    return round(at.replace(microsecond=0).timestamp()) * 1_000_000 + at.microsecond
