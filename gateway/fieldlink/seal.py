"""The seal of Field Link frames: a 14-byte header, the payload under AES-128-CCM, and an 8-byte tag.

The header is authenticated with the payload, and everything in it but the type is the nonce: no two frames of a device
may share direction, counter and number.

`read_header` proves nothing: it says whose key to try. `Cipher.open` proves that a holder of the key made the frame.
Whether the frame is fresh is not checked here: that is `session.py`'s affair.

Source: wire.md, section 1; RFC 9053, section 4.2 (AES-CCM-16-64-128).
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from gateway.errors import Refused

VERSION: Final = 1
PAYLOAD_MAX: Final = 224  # bytes of ciphertext
TAG_BYTES: Final = 8
_HEADER: Final = struct.Struct(">BB4sII")
_BODY_MIN: Final = _HEADER.size + TAG_BYTES
_BODY_MAX: Final = _BODY_MIN + PAYLOAD_MAX


class Direction(IntEnum):
    """Who speaks; a reader ignores its own direction (an echo)."""

    UP = 0
    DOWN = 1


_DIRECTIONS: Final = tuple(Direction)


@dataclass(frozen=True, slots=True)
class Header:
    """A body's first 14 bytes, in order."""

    type: int
    direction: Direction
    device: str  # 8 lower-case hex digits
    counter: int
    number: int = 0

    def encode(self) -> bytes:
        """Return the 14 bytes."""
        version_type = VERSION << 4 | self.type
        return _HEADER.pack(version_type, self.direction, bytes.fromhex(self.device), self.counter, self.number)


def read_header(body: bytes) -> Header | Refused:
    """Read the header of a body. Nothing of it is proven yet."""
    if not _BODY_MIN <= len(body) <= _BODY_MAX:
        return Refused("length")
    version_type, direction, device, counter, number = _HEADER.unpack_from(body)
    if version_type >> 4 != VERSION:
        return Refused("version")
    if direction > Direction.DOWN:
        return Refused("direction")
    if direction == Direction.UP and number != 0:
        return Refused("number")
    return Header(version_type & 15, _DIRECTIONS[direction], device.hex(), counter, number)


class Cipher:
    """A device's key, ready to seal and open bodies (AES-CCM-16-64-128)."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead = AESCCM(key, tag_length=TAG_BYTES)

    def seal(self, header: Header, payload: bytes) -> bytes:
        """Return the body. The caller sees to it that header.encode()[1:] was never sealed under this key before."""
        assert len(payload) <= PAYLOAD_MAX, len(payload)
        associated = header.encode()
        return associated + self._aead.encrypt(associated[1:], payload, associated)

    def open(self, body: bytes) -> bytes | None:
        """Return the payload of a body that `read_header` took; None if this key did not make it."""
        associated = body[: _HEADER.size]
        try:
            return self._aead.decrypt(associated[1:], body[_HEADER.size :], associated)
        except InvalidTag:
            return None
