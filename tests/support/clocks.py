"""A wall clock that tests set, for processes that they start: libfaketime, fetched where the machine doesn't have it.

    clock = WallClock(folder)
    clock.set(boot())                       # 1970
    environment = clock.environment         # of the process; the monotonic clock stays the machine's

The kernel of a test machine may be synchronised or not, so `synchronised_gateway` is told by a file.
"""

import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

FETCH = Path(__file__).parents[2] / "packaging" / "fetch_faketime.sh"
SYNCHRONISED = "C5_TEST_SYNCHRONISED"  # names the file that is there while the clock is synchronised


class WallClock:
    def __init__(self, folder: Path) -> None:
        fetched = subprocess.run([str(FETCH)], check=True, timeout=300, stdout=subprocess.PIPE, text=True)
        self._offset = folder / "clock-offset"
        self._vouched = folder / "clock-synchronised"
        self.environment = {
            "LD_PRELOAD": fetched.stdout.strip(),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            SYNCHRONISED: str(self._vouched),
        }
        self.set(0.0)

    def set(self, offset: float, *, synchronised: bool = False) -> None:
        """Let the wall clock be off by so many seconds, with or without somebody who vouches for it."""
        new = self._offset.with_suffix(".new")
        new.write_text(f"{offset:+.0f}\n")
        if not synchronised:
            self._vouched.unlink(missing_ok=True)
        new.replace(self._offset)
        if synchronised:
            self._vouched.touch()


def boot() -> float:
    """How far off a clock is that has just begun with 1970."""
    return -time.time()


def seconds(said: str) -> float:
    """Return a time in RFC 3339 as seconds since 1970."""
    return datetime.fromisoformat(said).astimezone(UTC).timestamp()
