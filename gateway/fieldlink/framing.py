"""Serial framing: COBS around a body and its CRC-16, one frame per zero byte.

COBS leaves no zero byte inside a frame, so a zero always ends one, and a receiver that joins halfway is back in step
at the next zero. Noise costs what it touched and nothing after the next delimiter.

What is buffered is bounded whatever arrives: more than `ENCODED_MAX` bytes without a delimiter are forgotten up to
the next one.

Source: wire.md, section 1; Cheshire and Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM ToN 7(2), 1999.
"""

from binascii import crc_hqx
from dataclasses import dataclass
from typing import Final

ENCODED_MAX: Final = 256  # bytes before a delimiter; the longest legal frame has 249
_DELIMITER: Final = b"\0"
_BLOCK: Final = 254  # data bytes in a full COBS block, which no zero follows
_CRC_BYTES: Final = 2


def crc16(data: bytes) -> int:
    """Return CRC-16/IBM-3740 ("CCITT-FALSE"); 0x29B1 for b"123456789"."""
    return crc_hqx(data, 0xFFFF)


@dataclass(frozen=True, slots=True)
class Frame:
    """A body whose CRC was right. Nothing about it is proven."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Garbled:
    """Bytes that ended at a delimiter (or grew too long) and are no frame."""

    reason: str


def encode(body: bytes) -> bytes:
    """Frame a body: COBS(body and CRC) and the delimiter.

    After idle a sender puts a delimiter before it too, so that a noise byte doesn't cost the frame.
    """
    wire = bytearray()
    for part in (body + crc16(body).to_bytes(_CRC_BYTES, "big")).split(_DELIMITER):
        rest = part
        while len(rest) >= _BLOCK:
            wire.append(_BLOCK + 1)
            wire += rest[:_BLOCK]
            rest = rest[_BLOCK:]
        wire.append(len(rest) + 1)
        wire += rest
    wire += _DELIMITER
    return bytes(wire)


class Decoder:
    """Finds the frames in a byte stream, however it is cut into chunks."""

    __slots__ = ("_discarding", "_pending")

    def __init__(self) -> None:
        self._pending = b""  # at most ENCODED_MAX bytes
        self._discarding = False

    @property
    def pending(self) -> int:
        """How many bytes may still become a frame."""
        return len(self._pending)

    def feed(self, chunk: bytes) -> list[Frame | Garbled]:
        """Take the next bytes; return what ended in them, in order. Never raises."""
        found: list[Frame | Garbled] = []
        start = 0
        while (end := chunk.find(_DELIMITER, start)) >= 0:
            length = len(self._pending) + end - start
            if self._discarding:
                self._discarding = False
            elif length > ENCODED_MAX:
                found.append(Garbled("too long"))
            elif length:
                found.append(_decode(self._pending + chunk[start:end]))
            self._pending = b""
            start = end + 1
        if self._discarding:
            return found
        if len(self._pending) + len(chunk) - start > ENCODED_MAX:
            self._pending = b""
            self._discarding = True
            found.append(Garbled("too long"))
        else:
            self._pending += chunk[start:]
        return found


def _decode(encoded: bytes) -> Frame | Garbled:
    data = bytearray()
    at = 0
    end = len(encoded)
    while at < end:
        code = encoded[at]
        following = at + code
        if following > end:
            return Garbled("COBS code past the end")
        data += encoded[at + 1 : following]
        # A block's zero is left out after a full block and at the end: both encodings of a final full block are read.
        if code <= _BLOCK and following < end:
            data.append(0)
        at = following
    if len(data) < _CRC_BYTES or crc_hqx(data, 0xFFFF) != 0:  # over its own CRC a CRC without final XOR is zero
        return Garbled("CRC")
    return Frame(bytes(data[:-_CRC_BYTES]))
