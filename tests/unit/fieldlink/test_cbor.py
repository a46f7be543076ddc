"""Payloads are walked, not interpreted."""

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fieldlink import cbor

NUMBERS = st.integers(-(2**32), 2**32 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False) | st.text(max_size=10) | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(0, 99), inner, max_size=3),
    max_leaves=5,
)


@given(fields=st.dictionaries(NUMBERS, VALUES, max_size=4))
def test_every_map_that_cbor2_writes_is_read_value_by_value(fields: dict[int, Any]) -> None:
    read = cbor.read_map(cbor2.dumps(fields))
    assert read is not None
    assert {key: cbor2.loads(item) for key, item in read.items()} == fields


@given(junk=st.binary(max_size=224))
def test_no_bytes_make_the_reader_raise(junk: bytes) -> None:
    for item in (cbor.read_map(junk) or {}).values():
        cbor.scalar(item)
        cbor.read_array(item)


@given(fields=st.dictionaries(NUMBERS, VALUES, min_size=1, max_size=4), data=st.data())
def test_a_map_cut_short_or_with_bytes_after_it_is_none(fields: dict[int, Any], data: st.DataObject) -> None:
    whole = cbor2.dumps(fields)
    assert cbor.read_map(whole[: data.draw(st.integers(0, len(whole) - 1))]) is None
    assert cbor.read_map(whole + b"\x00") is None


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ("c074" + "78" * 20, "a date that is none"),
        ("d81c81d81d00", "a value that shares itself"),
        ("c25f4101ff", "a big number in chunks"),
        ("61ff", "text that is not UTF-8"),
        ("81" * 200 + "00", "two hundred arrays, one in another"),
        ("c1" * 200 + "00", "two hundred tags, one on another"),
        ("a1a1f600f6", "a map for a key"),
        ("a2f97e0000f97e0001", "keys that are not numbers"),
        ("bf61619fffff", "indefinite lengths"),
        ("7f61616162ff", "text in chunks"),
        ("f7", "undefined"),
        ("f8ff", "a simple value"),
        ("1bffffffffffffffff", "a number of 64 bits"),
    ],
)
def test_a_value_that_nobody_reads_must_only_be_well_formed(item: str, why: str) -> None:
    assert cbor.read_map(bytes.fromhex("a20105" + "06" + item)) == {1: b"\x05", 6: bytes.fromhex(item)}, why


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "nothing"),
        ("bbffffffffffffffff0102", "a length beyond all memory"),
        ("a1019bffffffffffffffff", "the same, inside"),
        ("a1015bffffffffffffffff", "the same, of bytes"),
        ("a101", "a key without a value"),
        ("bf01ff", "a break where a value belongs"),
        ("a101ff", "a break in a map of known length"),
        ("a1011c", "a reserved length"),
        ("a1013f", "an indefinite number"),
        ("a101f810", "a simple value in two bytes that fits in one"),
        ("a1015f6161ff", "text in a chunk of bytes"),
        ("a1015f5f4101ffff", "chunks within chunks"),
        ("a101c1ff", "a tag on a break"),
        ("810102", "an array"),
        ("ff", "a break"),
    ],
)
def test_what_is_no_map_is_none(data: str, why: str) -> None:
    assert cbor.read_map(bytes.fromhex(data)) is None, why


def test_true_and_one_are_different_keys() -> None:
    assert cbor.read_map(bytes.fromhex("a2f5000105")) == {1: b"\x05"}
    assert cbor.read_map(bytes.fromhex("a2f93c00000105")) == {1: b"\x05"}


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    assert cbor.read_map(bytes.fromhex("a201050106")) == {1: b"\x06"}


@pytest.mark.parametrize(
    ("item", "number"),
    [
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("1b00000000ffffffff", 2**32 - 1),
        ("1b0000000100000000", None),
        ("20", -1),
        ("3affffffff", -(2**32)),
        ("3b0000000100000000", None),
        ("f5", None),
        ("f93c00", None),
        ("c24101", None),
        ("6131", None),
    ],
)
def test_integers_are_integers_and_nothing_else(item: str, number: int | None) -> None:
    assert cbor.integer(bytes.fromhex(item)) == number
    assert cbor.uint(bytes.fromhex(item)) == (None if number is None or number < 0 else number)


def test_text_has_at_most_64_bytes_of_utf8() -> None:
    assert cbor.text(cbor2.dumps("ñ" * 32)) == "ñ" * 32
    assert cbor.text(cbor2.dumps("ñ" * 32 + "n")) is None
    assert cbor.text(b"\x61\xff") is None
    assert cbor.text(bytes.fromhex("7f61616162ff")) == "ab"
    assert cbor.text(b"\x41\x61") is None
    assert cbor.byte_string(bytes.fromhex("5f41014102ff")) == b"\x01\x02"
