"""Deterministic CBOR: one form for one value, so that nobody can make a second valid form of something signed.

What we write is RFC 8949 §4.2.1; what we read is refused unless writing it again gives the same bytes. (cbor2's
`canonical` keeps RFC 7049's order of map keys, the same for our maps: all small integers or all text.)
"""

import io
from typing import Any, Final

import cbor2

from gateway.errors import Refused

# What cbor2 raises on hostile input, tags included: a regular expression that doesn't compile, a fraction over zero,
# a map key that can't be hashed, nesting without end.
HOSTILE: Final = (cbor2.CBORError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError)

_READ_SIZE: Final = 4096  # bytes that cbor2 reads at once; its own choice is one, which takes 30 % longer


def encode(value: object) -> bytes:
    """Return the deterministic encoding of a value of our own making."""
    return cbor2.dumps(value, canonical=True)


def read(data: bytes) -> Any | Refused:
    """Return the value of one whole CBOR item, in whatever form it is encoded.

    For bytes that something verified has fixed already; `is_deterministic` or `decode` where nothing has.
    """
    stream = io.BytesIO(data)
    try:
        value = cbor2.load(stream)
    except HOSTILE:
        return Refused("not CBOR")
    return value if stream.tell() == len(data) else Refused("bytes after the end")


def is_deterministic(data: bytes) -> bool:
    """Whether these bytes are the deterministic encoding of what they say."""
    return not isinstance(decode(data), Refused)


def decode(data: bytes) -> Any | Refused:
    """Return the value of one whole CBOR item, or `Refused` if `data` isn't its deterministic encoding."""
    try:
        value = cbor2.loads(data, read_size=_READ_SIZE)
        same = cbor2.dumps(value, canonical=True) == data
    except HOSTILE:
        return Refused("not CBOR")
    return value if same else Refused("not deterministic CBOR")
