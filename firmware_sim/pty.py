"""Pseudo-terminals as serial lines: a port that the gateway can open by a stable name, and lose.

The stable name is a symbolic link, as those of /dev/serial/by-id are: unplugged, it is gone; replugged, it names
another terminal.
"""

import os
import tty
from pathlib import Path
from typing import Self

from firmware_sim.faults import Carrier
from firmware_sim.line import Line


class PseudoTerminal(Line):
    """A line whose gateway end is `path`.

    It keeps the gateway's end open itself, so that a gateway that is killed and started again finds the same terminal.
    What boards send meanwhile waits in the terminal (4 KiB) and then here.
    """

    def __init__(
        self, path: Path, *, up: Carrier | None = None, down: Carrier | None = None, baud: int | None = None
    ) -> None:
        super().__init__(up=up, down=down, baud=baud)
        self.path = path
        self._far: int | None = None
        self._before = ""  # the terminal's name when it was last plugged in

    async def __aenter__(self) -> Self:
        self.plug()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.unplug()

    @property
    def terminal(self) -> str | None:
        """The present terminal's own name; None while unplugged."""
        return None if self._far is None else os.ttyname(self._far)

    def plug(self) -> None:
        """Make a terminal, named otherwise than the one before, and let `path` name it."""
        assert self._far is None, "plugged in already"
        passed_over: list[int] = []
        near, far = os.openpty()
        while os.ttyname(far) == self._before:
            passed_over += [near, far]
            near, far = os.openpty()
        for fd in passed_over:
            os.close(fd)
        tty.setraw(far)
        self._far = far
        self._before = os.ttyname(far)
        beside = self.path.with_name(self.path.name + ".new")
        beside.unlink(missing_ok=True)
        beside.symlink_to(self._before)
        beside.replace(self.path)
        self._connect(near)

    def unplug(self) -> None:
        """Take the terminal away: whoever has it open gets an error, and `path` names nothing."""
        if self._far is None:
            return
        self.path.unlink(missing_ok=True)
        self._disconnect()
        os.close(self._far)
        self._far = None

    def replug(self) -> None:
        """Come back under another name."""
        self.unplug()
        self.plug()
