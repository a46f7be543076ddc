"""Each signature is verified once: the gateway and C5 hear the same bytes over several brokers, and again.

What is remembered is that this key made this signature of these bytes; a forgery is looked at each time it comes. The
programs know nothing of it, and what they conclude is the same to the bit.
"""

import contextlib
from collections.abc import Iterator
from unittest import mock

from cwt.algs.okp import OKPKey


@contextlib.contextmanager
def verified_once() -> Iterator[None]:
    """Remember what was found valid, while inside."""
    verify = OKPKey.verify
    found: set[tuple[bytes, bytes, bytes]] = set()

    def once(key: OKPKey, message: bytes, signature: bytes) -> None:
        said = (bytes(key._x or b""), message, signature)
        if said not in found:
            verify(key, message, signature)  # raises if it isn't valid
            found.add(said)

    with mock.patch.object(OKPKey, "verify", once):
        yield
