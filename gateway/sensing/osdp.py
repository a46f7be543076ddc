"""What comes over an OSDP line and what goes out to it: frames, what a peripheral reports, what it is told.

Every byte passes here before libosdp sees it. A frame is let through if it is whole, its check is right, and its
code and its security block are ones that the question allows (`allowed`). That is more than tidiness: libosdp 3.2.9
checks the MAC of a reply only where the reply itself says that it has one, so that on a secure channel a forged frame
with the block of a handshake would be believed; and it takes an address, a size or the end of CRCs from any reply in
clear, and keeps them.

Source: IEC 60839-11-5 (SIA OSDP 2.2): packet format, 5.9; commands and replies, annex A; secure channel, annex D.
"""

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal

from gateway.text import _

SOM: Final = 0x53
MARK: Final = 0xFF
OVERHEAD: Final = 5  # start, address, length, control
FRAME_MIN, FRAME_MAX = 7, 255  # libosdp has room for 256 bytes, with the mark
CRC_START: Final = 0x1D0F
HANDSHAKE: Final = {0x12: 0x76, 0x14: 0x77}  # the security block of a reply, and the question that it answers
SECURED: Final = frozenset({0x16, 0x18})
RECEIVES: Final = 10  # the capability that says how long a frame may be
RECEIVES_MIN: Final = 128  # libosdp can make no frame for less, and says nothing any more

ACK, NAK = 0x40, 0x41
DAMAGED: Final = b"\x01"  # of a NAK: our question came with a wrong check


class Asked(IntEnum):
    """A question's code."""

    POLL = 0x60
    IDENTITY = 0x61
    CAPABILITIES = 0x62
    LOCAL = 0x64
    INPUTS = 0x65
    OUTPUT = 0x68
    LED = 0x69
    BUZZER = 0x6A
    KEYSET = 0x75
    CHALLENGE = 0x76
    CRYPTOGRAM = 0x77


# What a question may be answered with, beside NAK. BUSY (0x79) isn't among it: libosdp would lose count of its sequence
# numbers. The peripheral is asked again, as it is after silence.
ANSWERS: Final[Mapping[int, frozenset[int]]] = {
    Asked.POLL: frozenset({ACK, 0x48, 0x49, 0x4A, 0x4B, 0x50, 0x51, 0x53, 0x90}),  # whatever it has to report
    Asked.IDENTITY: frozenset({0x45}),
    Asked.CAPABILITIES: frozenset({0x46}),
    Asked.LOCAL: frozenset({ACK, 0x48}),
    Asked.INPUTS: frozenset({ACK, 0x49}),
    Asked.OUTPUT: frozenset({ACK, 0x4A}),
    Asked.LED: frozenset({ACK}),
    Asked.BUZZER: frozenset({ACK}),
    Asked.KEYSET: frozenset({ACK}),
    Asked.CHALLENGE: frozenset({0x76}),
    Asked.CRYPTOGRAM: frozenset({0x78}),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame; `block` is the type of its security block, `data` what follows its code, MAC and all."""

    address: int
    reply: bool
    code: int
    block: int | None
    data: bytes
    raw: bytes


@dataclass(slots=True)
class Frames:
    """Takes bytes, gives frames; `noise` counts the bytes of none."""

    noise: int = 0
    _waiting: bytearray = field(default_factory=bytearray)

    @property
    def damaged(self) -> bool:
        """Whether bytes came that are no frame, or not yet."""
        return bool(self.noise or self._waiting)

    def clear(self) -> None:
        """Forget what is not whole yet."""
        self.noise = 0
        self._waiting.clear()

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are whole now."""
        waiting, found = self._waiting, list[Frame]()
        waiting += data
        while waiting:
            if waiting[0] != SOM:
                self.noise += waiting[0] != MARK
                del waiting[0]
                continue
            if len(waiting) < OVERHEAD:
                break
            length = waiting[2] | waiting[3] << 8
            if FRAME_MIN <= length <= FRAME_MAX and len(waiting) < length:
                break
            frame = _frame(bytes(waiting[:length])) if FRAME_MIN <= length <= FRAME_MAX else None
            if frame is None:
                self.noise += 1
                del waiting[0]
            else:
                found.append(frame)
                del waiting[:length]
        return found


def _frame(raw: bytes) -> Frame | None:
    control = raw[4]
    if control & 0x04:
        body, end = binascii.crc_hqx(raw[:-2], CRC_START).to_bytes(2, "little") == raw[-2:], len(raw) - 2
    else:
        body, end = -sum(raw[:-1]) & 0xFF == raw[-1], len(raw) - 1
    at = OVERHEAD + (raw[OVERHEAD] if control & 0x08 else 0)
    if not body or at >= end or (control & 0x08 and raw[OVERHEAD] < 2):
        return None
    block = raw[OVERHEAD + 1] if control & 0x08 else None
    return Frame(raw[1] & 0x7F, bool(raw[1] & 0x80), raw[at], block, raw[at + 1 : end], raw)


def allowed(frame: Frame, asked: int, *, secure: bool) -> bool:
    """Whether a reply may be what this question was answered with."""
    if frame.code != NAK and frame.code not in ANSWERS.get(asked, ()):
        return False
    if frame.block is not None:
        return HANDSHAKE.get(frame.block) == asked or frame.block in SECURED
    if frame.code == NAK:  # libosdp gives up CRCs for the sake of one that was damaged on the way
        return frame.data != DAMAGED
    return (not secure and not _speechless(frame)) or (asked == Asked.KEYSET and frame.code == ACK)


def _speechless(frame: Frame) -> bool:
    """Whether libosdp could say nothing any more after these capabilities."""
    entries = zip(*[iter(frame.data)] * 3, strict=False)
    sizes = (low | high << 8 for code, low, high in entries if code == RECEIVES)
    return frame.code == 0x46 and any(0 < size < RECEIVES_MIN for size in sizes)


# What is reported.


@dataclass(frozen=True, slots=True)
class InputsReport:
    """How each of its inputs is, by number."""

    active: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class LocalReport:
    """Its own cover and its own supply."""

    tampered: bool
    unpowered: bool


Report = InputsReport | LocalReport


# What becomes of a question, beside silence, damage and a line that is gone (`sensing.reply`).


@dataclass(frozen=True, slots=True)
class Heard:
    """It answered; `secured`: with a MAC, which libosdp has checked if the secure channel still stands afterwards.

    That alone shows that it has the key. The last answer of the handshake does not: libosdp takes it unchecked, for it
    is what the next one's MAC begins with.
    """

    asked: int
    code: int
    secured: bool = False


@dataclass(frozen=True, slots=True)
class Idle:
    """There was nothing to ask."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Our own end makes no whole question any more."""


# What it is told.

ON_S: Final = 25  # libosdp's binding has no room for more than 25.5 in an order


class Lamp(IntEnum):
    """How an LED shines, by the numbers of `control.feedback`."""

    OFF = 0
    STEADY = 1
    SLOW = 2
    FAST = 3


@dataclass(frozen=True, slots=True)
class AskInputs:
    """Have it say how its inputs are."""

    code = Asked.INPUTS


@dataclass(frozen=True, slots=True)
class AskLocal:
    """Have it say how its cover and its supply are."""

    code = Asked.LOCAL


@dataclass(frozen=True, slots=True)
class SetOutput:
    """Switch an output: off, or on for `ON_S` seconds at the most, where the peripheral has a clock for it."""

    number: int
    on: bool
    code = Asked.OUTPUT


@dataclass(frozen=True, slots=True)
class Show:
    """Have the LED show something, until told."""

    lamp: Lamp
    code = Asked.LED


@dataclass(frozen=True, slots=True)
class Sound:
    """Have the buzzer sound, or be quiet."""

    on: bool
    code = Asked.BUZZER


Order = AskInputs | AskLocal | SetOutput | Show | Sound


def about(order: Order) -> tuple[int, int]:
    """Return what an order is about: of two about the same the later counts."""
    return order.code, order.number if isinstance(order, SetOutput) else 0


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The keys of a peripheral: the one it has, and one that was, or will be, sent to it and may have arrived."""

    key: bytes | None = None
    pending: bytes | None = None

    @property
    def known(self) -> tuple[bytes, ...]:
        """All that it may answer to."""
        return tuple(key for key in (self.key, self.pending) if key is not None)


LinkFault = Literal["silent", "garbled", "key", "insecure"]  # why a peripheral is not connected


def explained(fault: LinkFault) -> str:
    """Say what is wrong with a peripheral and where to look."""
    match fault:
        case "silent":
            return _("no answer: is it powered, are its address and baud rate right, are A and B swapped?")
        case "garbled":
            return _("answers come damaged: termination, a loose wire, or a second peripheral with this address")
        case "insecure":
            return _("it knows no secure channel, and nothing is believed without one: use another model")
        case "key":
            return _(
                "it answers, but not with its key: it was reset or replaced. Nothing of it is believed. If that was "
                "you, put it into install mode and run: c5-gateway peripheral install NAME; if not, go and look"
            )
