"""A run of records in their usual form, read in one pass: what a gateway sends when it drains (docs/decisions/0015).

Nearly every message of a drain is a run: consecutive records of one lane, epoch and signer, each naming the hash of the
one before, with the fields that every record has and data of a simple kind. `read` takes such a message whole or not at
all. What it takes is what `cose.parse` and `record.decode` accept, with the same content; whatever is unusual in a
single record (a further key, a lane's first record, deep data, other than the shortest forms) is for those two, which
say what is wrong, if anything is. So a rule that this module forgot to know costs time, and never a wrong verdict.

A pattern says that a payload is one whole, well-formed map without tags: that is why all of them can be handed to cbor2
joined into one array.

Not checked here: the last record's signature and form, whose signer it is, and whose topic (`c5.verifier`).
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cbor2

from gateway.event import Lane
from gateway.signing.cose import (
    ESP256,
    MESSAGE_MAX,
    RECORD_MAX,
    SIGNATURE_HEAD,
    SIGNATURE_SIZE,
    Envelope,
    has_low_s,
    read_header,
)
from gateway.signing.record import LANES, Record, decode

_UINT: Final = rb"(?:[\x00-\x17]|\x18[\x18-\xff]|\x19(?!\x00).{2}|\x1a(?!\x00{2}).{4})"
_INT: Final = rb"(?:" + _UINT + rb"|[\x20-\x37]|\x38[\x18-\xff]|\x39(?!\x00).{2}|\x3a(?!\x00{2}).{4})"
_SHORT: Final = 23  # characters: the length is in the head


def _text(first: bytes, further: bytes) -> bytes:
    """A text of ASCII characters."""
    forms = (b"%c%b%b{%d}" % (0x60 + size, first, further, size - 1) for size in range(1, _SHORT + 1))
    return b"(?:" + b"|".join(forms) + b")"


def _map(value: bytes, most: int) -> bytes:
    """A map of at most so many named values."""
    forms = (b"\\x%02x(?:%b%b){%d}" % (0xA0 + size, _TEXT, value, size) for size in range(most + 1))
    return b"(?:" + b"|".join(forms) + b")"


_TEXT: Final = _text(rb"[ -~]", rb"[ -~]")
_PART: Final = _text(rb"[a-z0-9]", rb"[a-z0-9-]")
_PLAIN: Final = rb"(?:\xfb.{8}|\xf9.{2}|\xfa.{4}|[\xf4-\xf6]|" + _INT + rb"|" + _TEXT + rb")"
_DATA: Final = _map(rb"(?:" + _map(_PLAIN, 8) + rb"|" + _PLAIN + rb")", 4)
_PAYLOAD: Final = re.compile(
    rb"[\xa9-\xac]"
    rb"\x01" + _PART + rb"\x02\x48.{8}\x03[\x00-\x02]"
    rb"(\x04(?![\x00\x01])" + _UINT + rb"\x05\x58\x20(?!\x00{32}).{32}\x07\x1b\x00[\x00-\x1f].{6}"
    rb"\x08\x83[\x00-\x03]" + _UINT + _INT + rb"\x09" + _TEXT + rb"\x0a" + _PART + rb")"
    rb"(\x0c(?:\x82" + _INT + _INT + rb"|\x83" + _INT + _INT + _UINT + rb"))?+"
    rb"(\x0d" + _DATA + rb")?+(\x0e" + _UINT + rb")?+",
    re.DOTALL,
)
_ALL_KEYS: Final = 0xAC  # the head of a map that has the three optional keys too
_TWELVE: Final = b"\x8c"  # the head of an array of the six keys in the middle, 4 to 10, and what they hold
_AFTER_GATEWAY: Final = 15  # bytes before the gateway's name, and in keys 2 and 3 after it


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive records of one lane, epoch and signer, by column, in order; none has a link or an event number."""

    gateway: str
    epoch: bytes
    lane: Lane
    algorithm: int
    thumbprint: bytes
    wires: list[bytes]
    payloads: list[bytes]
    digests: list[bytes]
    sequences: tuple[int, ...]
    previous: tuple[bytes, ...]
    occurred_us: tuple[int, ...]
    clocks: tuple[list[int], ...]  # source, uncertainty and monotonic time, as in `Clock`
    types: tuple[str, ...]
    sources: tuple[str, ...]

    def envelope(self, at: int) -> Envelope:
        """Return one record's envelope."""
        return Envelope("record", self.algorithm, self.thumbprint, self.payloads[at], self.wires[at])

    def record(self, at: int) -> Record:
        """Return one record's content, whole."""
        content = decode(self.payloads[at], strict=False)
        assert isinstance(content, Record), content
        return content


def read(sequences: Sequence[bytes]) -> Run | None:
    """Return the records of these CBOR sequences if all of them are one run in usual form, else None."""
    header = read_header(sequences[0], "record")
    if header is None or max(map(len, sequences)) > MESSAGE_MAX:
        return None
    algorithm, thumbprint, size = header
    wires: list[bytes] = []
    payloads: list[bytes] = []
    for sequence in sequences:
        if not _cut(sequence, sequences[0][:size], wires, payloads):
            return None
    if algorithm == ESP256 and not all(map(has_low_s, wires)):
        return None
    middles = [b"\x99", len(payloads).to_bytes(2, "big")]
    place = b""  # keys 1 to 3: the same in all
    for payload in payloads:
        usual = _PAYLOAD.fullmatch(payload)
        if usual is None or not payload.startswith(place, 1):
            return None
        middle, *optional = usual.groups()
        if payload[0] != _ALL_KEYS - optional.count(None):
            return None
        middles += (_TWELVE, middle)
        place = place or payload[1 : payload[2] - 0x60 + _AFTER_GATEWAY]
    joined = b"".join(middles)
    columns = zip(*cbor2.loads(joined, read_size=len(joined)), strict=True)
    _, numbers, _, previous, _, occurred_us, _, clocks, _, types, _, sources = columns
    digests = [hashlib.sha256(wire).digest() for wire in wires]
    if numbers != tuple(range(numbers[0], numbers[0] + len(numbers))) or previous[1:] != tuple(digests[:-1]):
        return None
    gateway, epoch, lane = place[2:-12].decode(), place[-10:-2], LANES[place[-1]]
    return Run(
        gateway, epoch, lane, algorithm, thumbprint, wires, payloads, digests,
        numbers, previous, occurred_us, clocks, types, sources,
    )  # fmt: skip


def _cut(data: bytes, header: bytes, wires: list[bytes], payloads: list[bytes]) -> bool:
    """Add the records of a sequence, and their payloads; False if one of them doesn't begin with this header."""
    at, size, after = 0, len(data), len(header)
    while at < size:
        head = data[at + after : at + after + 3]
        if not data.startswith(header, at) or len(head) < 3:
            return False
        if head[0] == 0x58:
            begin, length = at + after + 2, head[1]
        elif head[0] == 0x59 and head[1]:
            begin, length = at + after + 3, head[1] << 8 | head[2]
        else:
            return False
        end = begin + length
        whole = end + len(SIGNATURE_HEAD) + SIGNATURE_SIZE
        if not data.startswith(SIGNATURE_HEAD, end) or whole > size or whole - at > RECORD_MAX:
            return False
        payloads.append(data[begin:end])
        wires.append(data[at:whole])
        at = whole
    return True
