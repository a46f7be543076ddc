"""The Field Link on a serial line: bytes in, frames out; answers written back.

What is no frame is counted, in pieces and in bytes, and goes no further. While the line is lost its decoder starts
anew: half a frame from before is not completed by what comes after.

Each run has a line of its own. What a run that hung and was abandoned still reads reaches nobody.
"""

from collections.abc import Callable
from typing import Final

from gateway.drivers.serial_port import Beat, SerialPort
from gateway.fieldlink.framing import Decoder, Frame

Write = Callable[[bytes], None]
AROUND: Final = 5  # bytes around a frame's body: CRC, COBS, the delimiters before and after it


class FieldLink:
    """One concentrator, receiver or device on a serial line."""

    def __init__(
        self,
        device: str,
        baud: int,
        *,
        frame: Callable[[bytes, Write], bool],
        noise: Callable[[int], None],
        lost: Callable[[str], None],
        restored: Callable[[], None],
        random: Callable[[], float],
        line: Callable[..., SerialPort] = SerialPort,
    ) -> None:
        self._anew()
        self._frame = frame
        self._noise = noise
        self._told_lost = lost
        self._told_restored = restored
        self._line = line
        self._device, self._baud, self._random = device, baud, random
        self.noise = 0  # frames that were none
        self.frames = 0
        self.port = self._made()

    async def run(self, beat: Beat) -> None:
        """Serve the line; ends only when cancelled."""
        trouble = self.port.trouble
        self.port = port = self._made()
        port.trouble = trouble  # what was told as lost is to be told as restored
        self._anew()
        await port.run(beat)

    def write(self, data: bytes) -> None:
        """Write to the line that there is now; whoever keeps this may outlive the run in which it was heard."""
        self.port.write(data)

    def close(self) -> None:
        """Let go of the line, whatever the run that has it does."""
        self.port.close()

    def _anew(self) -> None:
        self._decoder = Decoder()
        self._open = 0  # bytes that belong to no frame yet

    def _made(self) -> SerialPort:
        mine: list[SerialPort] = []

        def current() -> bool:
            return self.port is mine[0]

        mine.append(
            self._line(
                self._device,
                self._baud,
                received=lambda data: self._received(data) if current() else None,
                lost=lambda reason: self._lost(reason) if current() else None,
                restored=lambda: self._told_restored() if current() else None,
                random=self._random,
            )
        )
        return mine[0]

    def _received(self, data: bytes) -> None:
        self._open += len(data)
        for found in self._decoder.feed(data):
            if isinstance(found, Frame) and self._frame(found.body, self.write):
                self.frames += 1
                self._open -= len(found.body) + AROUND
            else:
                self.noise += 1
        if (strange := self._open - self._decoder.pending) > 0:
            self._noise(strange)
        self._open = self._decoder.pending

    def _lost(self, reason: str) -> None:
        self._anew()
        self._told_lost(reason)
