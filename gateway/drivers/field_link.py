"""The Field Link on a serial line: bytes in, frames out; answers written back.

Noise is counted and goes no further. While the line is lost its decoder starts anew: half a frame from before is not
completed by what comes after.
"""

from collections.abc import Callable

from gateway.drivers.serial_port import SerialPort
from gateway.fieldlink.framing import Decoder, Frame

Write = Callable[[bytes], None]


class FieldLink:
    """One concentrator, receiver or device on a serial line."""

    def __init__(
        self,
        device: str,
        baud: int,
        *,
        frame: Callable[[bytes, Write], bool],
        lost: Callable[[str], None],
        restored: Callable[[], None],
        random: Callable[[], float],
        line: Callable[..., SerialPort] = SerialPort,
    ) -> None:
        self._decoder = Decoder()
        self._frame = frame
        self._told_lost = lost
        self.noise = 0  # frames that were none
        self.frames = 0
        self.port = line(device, baud, received=self._received, lost=self._lost, restored=restored, random=random)

    async def run(self) -> None:
        """Serve the line; ends only when cancelled."""
        await self.port.run()

    def _received(self, data: bytes) -> None:
        for found in self._decoder.feed(data):
            if isinstance(found, Frame) and self._frame(found.body, self.port.write):
                self.frames += 1
            else:
                self.noise += 1

    def _lost(self, reason: str) -> None:
        self._decoder = Decoder()
        self._told_lost(reason)
