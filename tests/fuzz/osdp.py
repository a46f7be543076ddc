"""OSDP: bytes off a line as frames, and answers of every kind into libosdp's control panel, which is C.

The panel is asked as in service, and is answered by a peripheral of libosdp's own, by what the input made of that
answer, or by a frame of the input's own: with the right address, sequence number and check, so that it gets further
than the door. A crash ends the process that a target runs in, which is a finding.
"""

import binascii
import ctypes
from collections.abc import Callable, Sequence

from firmware_sim.line import Line
from firmware_sim.osdp import Peripheral
from gateway.drivers.osdp import Panel
from gateway.sensing.osdp import (
    CRC_START,
    SECURED,
    AskInputs,
    AskLocal,
    Frame,
    Frames,
    Lamp,
    SetOutput,
    Show,
    allowed,
)
from tests.fuzz.target import CUT, Target, parts

KEY, OTHER = bytes(range(16)), bytes(16)
ORDERS = (AskInputs(), AskLocal(), SetOutput(0, on=True), Show(Lamp.SLOW))
SEEDS = tuple(
    bytes.fromhex(frame)
    for frame in (
        "538114000445010000010101000000000001e65c",
        "5381200005460101020201020401010501010801000901000a0001100200e116",
        "53812b000e031201760100010001000000478d7aa05d83f3ea727246cbdd9235feeea8270b98343cde4b9f",
        "53811b000f03140178b29aee4be987f2829c9c90233f3917692a91",
        "53810e000d021640227153238be4",
    )
)


class _Joined(Line):
    """A line of no length: what a peripheral sends is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""

    def write(self, chunk: bytes, left: Callable[[], None] | None = None) -> None:
        del left
        self.sent += chunk


def frames(data: bytes) -> None:
    """Bytes off a line: the same frames however they are cut, each whole, and no more kept than a frame."""
    whole, cut, again, at = Frames(), Frames(), list[Frame](), 0
    found = whole.feed(data)
    while at < len(data):
        size = 1 + data[at] % 7
        again += cut.feed(data[at : at + size])
        at += size
    assert again == found
    assert whole.noise == cut.noise
    kept = sum(len(frame.raw) for frame in found) + whole.noise
    assert data.count(0xFF) + 255 + kept >= len(data)


def panel(data: bytes) -> None:
    """Answers into libosdp: none that was made without the key connects, or reports over a secure channel."""
    pieces = parts(data)
    ours = pieces[0][:1] != b"w"  # or a peripheral with another key
    line = _Joined()
    peripheral = Peripheral(line, 1, inputs=4, outputs=2, key=KEY if ours else OTHER)
    peripheral.start()
    end = Panel(1, KEY, random=lambda count: bytes(count))  # noqa: PLW0108  # what it is given is a count
    ctypes.CDLL(None).srand(0)
    for turn, piece in enumerate(pieces):
        if end.live:
            end.submit(ORDERS[turn % len(ORDERS)])
        asked = end.ask()
        if not asked:
            live = end.live
            end.restart()
            asked = end.ask()
            assert asked or live, "it asks nothing any more"
        if not asked:
            return  # it waits, by the clock
        (question,) = Frames().feed(asked)
        assert question.address == 1, "it asks another"
        line.sent = b""
        line.to_boards(asked)
        real = Frames().feed(line.sent)
        answer, forged = _answer(piece, question, real[0].raw if real else b"")
        given = Frames().feed(answer)
        if not given or not allowed(given[0], question.code, secure=end.live):
            return  # it is kept from libosdp, which waits, by the clock
        end.answer(answer)
        believed = end.live and given[0].block in SECURED
        assert ours or not believed, "connected without the key"
        if forged:
            assert not believed, "a forged answer was believed"
            assert not end.reports, "a forged report"
        end.reports.clear()


def _answer(piece: bytes, question: Frame, real: bytes) -> tuple[bytes, bool]:
    """Return what is answered, and whether it is another than the peripheral's."""
    kind, rest = piece[:1], piece[1:]
    if kind == b"o" and rest:  # its own, with a body of the input's
        head = bytes((0x53, 0x81)) + (7 + len(rest[1:240])).to_bytes(2, "little")
        made = _checked(head + bytes((rest[0] & 0x08 | 0x04 | question.raw[4] & 3,)) + rest[1:240])
    elif kind == b"x" and real and rest:  # changed
        changed = bytearray(real)
        for at, mask in zip(rest[::2], rest[1::2], strict=False):
            changed[5 + at % max(1, len(real) - 7)] ^= mask
        made = _checked(bytes(changed[:-2]))
    elif kind == b"r":
        made = rest
    else:
        made = real
    return made, made != real


def _checked(frame: bytes) -> bytes:
    return frame + binascii.crc_hqx(frame, CRC_START).to_bytes(2, "little")


def _frames() -> Sequence[bytes]:
    return [*SEEDS, b"\xff".join(SEEDS), SEEDS[0][:7] + SEEDS[1]]


def _answers() -> Sequence[bytes]:
    true = [b"t"] * 5
    return [
        CUT.join(true + [b"t"] * 6),
        CUT.join([b"w", *true]),
        CUT.join([*true, b"o\x08\x02\x12\x49\x01\x01\x01\x01", b"o\x00\x41\x06"]),
        CUT.join([*true, b"x\x03\x01", b"t"]),
        CUT.join([b"o\x00" + SEEDS[0][5:-2], b"o\x00" + SEEDS[1][5:-2], b"o\x08" + SEEDS[2][5:-2], b"t"]),
        CUT.join(b"r" + frame for frame in SEEDS),
        CUT.join([b"o\x00\x54\x09\x80\x25\x00\x00", b"t", b"t"]),  # another address
        CUT.join([b"t", b"o\x00\x46\x09\x01\x01\x0a\x01\x00", b"t"]),  # room for one byte
        CUT.join([b"r" + _checked(bytes.fromhex("538108000479")), b"t"]),  # busy
    ]


TARGETS = (
    Target("osdp", frames, _frames, ("gateway.sensing.osdp",)),
    Target("osdp-panel", panel, _answers, ("gateway.sensing.osdp", "gateway.drivers.osdp", "firmware_sim.osdp")),
)
