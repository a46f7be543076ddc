"""Headers and the seal around them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Refused
from gateway.fieldlink.seal import PAYLOAD_MAX, Cipher, Direction, Header, read_header

KEY = bytes(range(16))
HEADER = Header(2, Direction.UP, "0c500042", 1000)


def test_a_header_is_these_bytes() -> None:
    header = Header(8, Direction.DOWN, "0c500042", 0x01020304, 0x7FFFFFFF)
    assert header.encode().hex() == "18010c500042010203047fffffff"
    assert read_header(header.encode() + bytes(8)) == header


@given(payload=st.binary(max_size=PAYLOAD_MAX))
def test_what_was_sealed_is_opened_with_the_same_key_alone(payload: bytes) -> None:
    body = Cipher(KEY).seal(HEADER, payload)
    assert len(body) == 14 + len(payload) + 8
    assert read_header(body) == HEADER
    assert Cipher(KEY).open(body) == payload
    assert Cipher(bytes(16)).open(body) is None


@given(at=st.integers(0, 29), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_and_it_does_not_open(at: int, bit: int) -> None:
    body = bytearray(Cipher(KEY).seal(HEADER, b"8 bytes."))
    body[at] ^= 1 << bit
    assert Cipher(KEY).open(bytes(body)) is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (HEADER.encode() + bytes(7), "length"),
        (HEADER.encode() + bytes(PAYLOAD_MAX + 9), "length"),
        (b"\x22" + HEADER.encode()[1:] + bytes(8), "version"),
        (b"\x12\x02" + HEADER.encode()[2:] + bytes(8), "direction"),
        (HEADER.encode()[:-1] + b"\x01" + bytes(8), "number"),
    ],
)
def test_a_header_that_breaks_the_rules_is_refused(body: bytes, reason: str) -> None:
    assert read_header(body) == Refused(reason)
