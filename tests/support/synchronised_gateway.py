"""`c5-gateway run` whose kernel says that its clock is synchronised while a file is there, and else that it isn't."""

import os
from pathlib import Path

from gateway.cli.main import main
from gateway.clock import SystemClock
from tests.support.clocks import SYNCHRONISED

if __name__ == "__main__":
    vouched = Path(os.environ[SYNCHRONISED])

    def quality(self: SystemClock) -> tuple[int, int]:  # noqa: ARG001  # a method's
        return (2, 20) if vouched.exists() else (0, 2**32 - 1)

    SystemClock.quality = quality  # type: ignore[method-assign]  # the seam, before the product's own `main` runs
    main()
