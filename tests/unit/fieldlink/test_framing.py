"""COBS frames: golden bytes, any cut, any noise, bounded memory."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fieldlink.framing import ENCODED_MAX, Decoder, Frame, Garbled, crc16, encode

BODIES = st.binary(max_size=246)


def frames(decoder: Decoder, chunk: bytes) -> list[bytes]:
    return [found.body for found in decoder.feed(chunk) if isinstance(found, Frame)]


def test_the_crc_has_its_check_value() -> None:
    assert crc16(b"123456789") == 0x29B1


def test_a_body_with_zeros_is_framed_to_these_bytes() -> None:
    assert (
        encode(b"\x11\x00\x00\x22").hex() == "021101" + "04" + "22" + f"{crc16(bytes.fromhex('11000022')):04x}" + "00"
    )


def test_an_empty_frame_is_ignored() -> None:
    assert Decoder().feed(b"\0\0\0") == []


@pytest.mark.parametrize("trailing", [b"", b"\x01"])
def test_both_encodings_of_a_final_full_block_are_read(trailing: bytes) -> None:
    body = next(
        body
        for seed in range(256)
        if b"\0" not in (body := bytes([seed or 1]) + b"\x55" * 251) + crc16(body).to_bytes(2, "big")
    )
    block = body + crc16(body).to_bytes(2, "big")
    assert Decoder().feed(b"\xff" + block + trailing + b"\0") == [Frame(body)]


@given(body=BODIES)
def test_a_frame_holds_no_zero_but_its_last_byte_and_gives_its_body_back(body: bytes) -> None:
    wire = encode(body)
    assert wire.index(0) == len(wire) - 1
    assert Decoder().feed(wire) == [Frame(body)]


@given(bodies=st.lists(BODIES, max_size=6), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_any_cut_of_a_stream_gives_the_same_frames(bodies: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(map(encode, bodies))
    decoder = Decoder()
    found = []
    for size in cuts:
        found += frames(decoder, wire[:size])
        wire = wire[size:]
    found += frames(decoder, wire)
    assert found == bodies


@given(noise=st.binary(max_size=1000), body=BODIES)
def test_any_noise_is_over_at_the_next_delimiter(noise: bytes, body: bytes) -> None:
    decoder = Decoder()
    decoder.feed(noise + b"\0")
    assert decoder.feed(encode(body)) == [Frame(body)]


@given(junk=st.binary(max_size=600))
def test_no_bytes_make_the_decoder_raise(junk: bytes) -> None:
    whole = Decoder().feed(junk)
    decoder = Decoder()
    assert [found for at in range(len(junk)) for found in decoder.feed(junk[at : at + 1])] == whole


def test_the_longest_run_before_a_delimiter_is_read_and_one_byte_more_is_not() -> None:
    assert Decoder().feed(b"\x01" * ENCODED_MAX + b"\0") == [Garbled("CRC")]
    assert Decoder().feed(b"\x01" * (ENCODED_MAX + 1) + b"\0") == [Garbled("too long")]


def test_a_megabyte_without_a_delimiter_costs_no_memory_and_one_report() -> None:
    decoder = Decoder()
    chunk = b"\x55" * 4096
    tracemalloc.start()
    reports = [found for _ in range(256) for found in decoder.feed(chunk)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reports == [Garbled("too long")]
    assert peak < 20_000
    assert decoder.feed(b"\0" + encode(b"next")) == [Frame(b"next")]
