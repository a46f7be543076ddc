"""`c5-gateway run` on a disk whose every commit of an alarm takes two seconds (an SD card that stalls)."""

import time

from gateway.cli.main import main
from tests.support.killed_gateway import wrap_writer

STALL = 2.0  # seconds


def _stall(about: set[str]) -> None:
    if "alarm" in about:
        time.sleep(STALL)


if __name__ == "__main__":
    wrap_writer(_stall, lambda _about: None)
    main()
