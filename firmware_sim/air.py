"""Somebody on the air: hears every frame of a line in both directions, and replays, forges, withholds, repeats.

`Air(line)` puts itself between the boards and the gateway; faults that the line had strike after it. It has no key: all
it can use is what it heard. What it heard is a `Caught`; headers are read as anyone can read them, nothing is proven.

    air = Air(line)
    ack = air.heard(DOWN, device="0c500042")[-1]
    air.replay(ack)                       # to the boards, as its direction says
    air.replay(altered(ack))              # a forgery
    with air.withholding(DOWN) as held:   # nothing gets through; `held` is what didn't
        ...
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from firmware_sim.faults import Carrier
from firmware_sim.line import Line
from gateway.fieldlink import framing, seal
from gateway.fieldlink.seal import Direction

UP, DOWN = Direction.UP, Direction.DOWN
HEARD_MAX: Final = 10_000  # frames remembered


@dataclass(frozen=True, slots=True)
class Caught:
    """A frame that was heard."""

    direction: Direction
    device: str
    type: int
    counter: int
    number: int
    body: bytes

    @property
    def wire(self) -> bytes:
        """Its bytes, as a sender after idle puts them on the line."""
        return b"\0" + framing.encode(self.body)


def altered(caught: Caught, at: int = -1) -> Caught:
    """Return it with one bit of one byte turned; of the header's bytes too, which are on no secret."""
    body = bytearray(caught.body)
    body[at] ^= 1
    return replace(caught, body=bytes(body))


class Air:
    """One attacker on one line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._heard: list[Caught] = []
        self._withheld: dict[Direction, list[list[Caught]]] = {UP: [], DOWN: []}
        self._times = {UP: [1], DOWN: [1]}
        line.up, line.down = _Ear(self, UP, line.up), _Ear(self, DOWN, line.down)

    def heard(self, direction: Direction, *, device: str | None = None, type: int | None = None) -> list[Caught]:  # noqa: A002  # the frame's own word
        """Return the frames heard in one direction, oldest first."""
        return [
            caught
            for caught in self._heard
            if caught.direction is direction and device in (None, caught.device) and type in (None, caught.type)
        ]

    def replay(self, *frames: Caught) -> None:
        """Send frames as they are: to the gateway or to the boards, whoever each was for."""
        for caught in frames:
            if caught.direction is UP:
                self._line.to_gateway(caught.wire)
            else:
                self._line.to_boards(caught.wire)

    @contextmanager
    def withholding(self, direction: Direction) -> Iterator[list[Caught]]:
        """Let nothing through in one direction; what was held back is in the list, and is not sent afterwards."""
        held: list[Caught] = []
        self._withheld[direction].append(held)
        try:
            yield held
        finally:  # others may still be withholding
            self._withheld[direction] = [one for one in self._withheld[direction] if one is not held]

    @contextmanager
    def repeating(self, direction: Direction, times: int) -> Iterator[None]:
        """Let each frame through so many times; of several who do, the last who began counts."""
        self._times[direction].append(times)
        try:
            yield
        finally:
            self._times[direction].remove(times)

    def passes(self, direction: Direction, body: bytes) -> int:
        """Hear one frame; return how often it goes on."""
        header = seal.read_header(body)
        if not isinstance(header, seal.Header):
            return 1
        caught = Caught(direction, header.device, header.type, header.counter, header.number, body)
        self._heard.append(caught)
        del self._heard[:-HEARD_MAX]
        for held in self._withheld[direction]:
            held.append(caught)
        return 0 if self._withheld[direction] else self._times[direction][-1]


class _Ear:
    """One direction. Upward a chunk is a whole frame; downward it is whatever was read, and frames are put together."""

    def __init__(self, air: Air, direction: Direction, beyond: Carrier | None) -> None:
        self._air = air
        self._direction = direction
        self._beyond = beyond
        self._decoder = framing.Decoder()

    def apply(self, chunk: bytes) -> list[tuple[float, bytes]]:
        arriving: list[tuple[float, bytes]] = []
        for frame in self._decoder.feed(chunk):
            if isinstance(frame, framing.Frame):
                wire = b"\0" + framing.encode(frame.body)
                for _time in range(self._air.passes(self._direction, frame.body)):
                    arriving += [(0.0, wire)] if self._beyond is None else self._beyond.apply(wire)
        return arriving
