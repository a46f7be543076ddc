"""Deterministic CBOR: one form for one value, so that nobody can make a second valid form of something signed.

What we write is RFC 8949 §4.2.1; what we read is refused unless writing it again gives the same bytes. (cbor2's
`canonical` keeps RFC 7049's order of map keys, the same for our maps: all small integers or all text.)

Foreign bytes reach cbor2 only where they hold no tag (docs/decisions/0013): its built-in ones compile regular
expressions, join references into cycles and make numbers without end. Whatever it raises all the same is a refusal.
"""

import io
import re
from typing import Any, Final

import cbor2

from gateway.errors import Refused

_READ_SIZE: Final = 4096  # bytes that cbor2 reads at once; its own choice is one, which takes 30 % longer

# Items without tags and of definite length, one after the other: numbers, heads of arrays and maps, false, true, null,
# floats, and strings of up to 23 bytes. Each alternative is told by its first byte, so nothing is tried twice.
_ITEMS: Final = re.compile(
    rb"(?:[\x00-\x17\x20-\x37\x80-\x97\xa0-\xb7\xf4-\xf6]"
    rb"|[\x18\x38\x98\xb8].|[\x19\x39\x99\xb9\xf9].{2}|[\x1a\x3a\xfa].{4}|[\x1b\x3b\xfb].{8}"
    + b"".join(b"|[%b%b].{%d}" % (re.escape(bytes([0x40 + n])), re.escape(bytes([0x60 + n])), n) for n in range(24))
    + rb")*+",
    re.DOTALL,
)
_encoders: Final[list[cbor2.CBOREncoder]] = []  # to make one takes as long as to write a record with it
_LENGTH_BYTES: Final = {0x58: 1, 0x59: 2, 0x78: 1, 0x79: 2}  # longer strings, by their head


def is_plain(data: bytes) -> bool:
    """Whether this is CBOR without tags and indefinite lengths, as far as the heads of its items say."""
    at = 0
    while at < len(data):
        found = _ITEMS.match(data, at)
        assert found is not None, "it matches nothing at all, if need be"
        at = found.end()
        if at < len(data):
            width = _LENGTH_BYTES.get(data[at])
            if width is None:
                return False
            at += 1 + width + int.from_bytes(data[at + 1 : at + 1 + width], "big")
    return at == len(data)


def encode(value: object) -> bytes:
    """Return the deterministic encoding of a value."""
    try:
        encoder = _encoders.pop()
    except IndexError:  # none is free: the first time, and where threads meet
        encoder = cbor2.CBOREncoder(io.BytesIO(), canonical=True)
    encoded = encoder.encode_to_bytes(value)
    _encoders.append(encoder)  # one that failed is not used again
    return encoded


def read(data: bytes) -> Any | Refused:
    """Return the value of one whole CBOR item, in whatever form it is encoded.

    For bytes that something verified has fixed already; `is_deterministic` or `decode` where nothing has.
    """
    if not is_plain(data):
        return Refused("a tag, or not CBOR")
    decoder = cbor2.CBORDecoder(io.BytesIO(data), read_size=_READ_SIZE)
    try:
        value = decoder.decode()
    except Exception:  # noqa: BLE001  # foreign bytes: whatever a library makes of them is a refusal
        return Refused("not CBOR")
    try:
        decoder.read(1)
    except cbor2.CBORDecodeEOF:
        return value
    return Refused("bytes after the end")


def is_deterministic(data: bytes) -> bool:
    """Whether these bytes are the deterministic encoding of what they say."""
    return not isinstance(decode(data), Refused)


def decode(data: bytes) -> Any | Refused:
    """Return the value of one whole CBOR item, or `Refused` if `data` isn't its deterministic encoding."""
    if not is_plain(data):
        return Refused("a tag, or not deterministic CBOR")
    try:
        value = cbor2.loads(data, read_size=_READ_SIZE)
        same = encode(value) == data
    except Exception:  # noqa: BLE001  # foreign bytes: whatever a library makes of them is a refusal
        return Refused("not CBOR")
    return value if same else Refused("not deterministic CBOR")
