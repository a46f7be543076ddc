"""Payloads: what is read, what is unreadable, what is ignored."""

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fieldlink import message
from gateway.fieldlink.message import (
    Ack,
    Command,
    EventMessage,
    Heartbeat,
    Hello,
    Ignored,
    Measurement,
    Reading,
    Result,
    Type,
    Unreadable,
)

UINTS = st.integers(0, 2**32 - 1)
INTS = st.integers(-(2**32), 2**32 - 1)
TEXTS = st.text(max_size=16)
UPWARD = st.one_of(
    st.builds(Hello, TEXTS, TEXTS, UINTS, UINTS),
    st.builds(
        EventMessage,
        st.integers(1, 2**32 - 1),
        st.sampled_from(sorted(message.KINDS)),
        UINTS,
        st.none() | UINTS,
        st.none() | INTS,
    ),
    st.builds(Heartbeat, UINTS, st.none() | UINTS, st.none() | INTS, st.none() | INTS, st.none() | UINTS),
    st.builds(
        Measurement,
        st.lists(st.builds(Reading, UINTS, INTS, st.integers(-9, 9), st.none() | UINTS), max_size=6).map(tuple),
        UINTS,
    ),
    st.builds(Result, UINTS, UINTS, st.none() | TEXTS, st.none() | st.binary(max_size=32)),
)


@given(said=UPWARD)
def test_what_a_device_says_is_read_as_it_was_written(said: Any) -> None:
    assert message.read_upward(message.type_of(said), message.encode(said)) == said


@pytest.mark.parametrize(
    "said",
    [
        Ack(17, 2),
        Command(3, 5),
        Command(3, 2, {1: 1, 2: True, 3: 30}),
        Command(2**32 - 1, 6, {1: b"12345678"}),
        Command(1, 4, {7: "text", 8: -4}),
    ],
)
def test_what_the_gateway_says_is_read_as_it_was_written(said: Ack | Command) -> None:
    assert message.read_downward(message.type_of(said), message.encode(said)) == said


def event(**keys: Any) -> message.Upward:
    fields = {1: 7, 2: 1, 3: 250} | {int(key[1:]): value for key, value in keys.items()}
    return message.read_upward(Type.EVENT, cbor2.dumps({key: item for key, item in fields.items() if item is not ...}))


@pytest.mark.parametrize(
    "keys",
    [
        {"k1": ...},
        {"k2": ...},
        {"k3": ...},
        {"k1": 0},
        {"k1": 2**32},
        {"k1": -1},
        {"k1": "7"},
        {"k1": True},
        {"k1": 7.0},
        {"k2": None},
        {"k2": -1},
        {"k3": "old"},
    ],
)
def test_an_event_whose_required_keys_are_wrong_is_unreadable(keys: dict[str, Any]) -> None:
    assert isinstance(event(**keys), Unreadable)


@pytest.mark.parametrize("plaintext", [b"", b"\xff", b"\x80", b"\xa0", cbor2.dumps({1: 7, 2: 1, 3: 0}) + b"\x00"])
def test_an_event_that_is_no_map_is_unreadable_and_keeps_its_bytes(plaintext: bytes) -> None:
    assert message.read_upward(Type.EVENT, plaintext) == Unreadable(plaintext)


@pytest.mark.parametrize("keys", [{"k4": "full"}, {"k4": -1}, {"k5": 2.5}, {"k5": 2**40}, {"k4": None, "k5": []}])
def test_an_optional_key_of_the_wrong_type_or_range_counts_as_absent(keys: dict[str, Any]) -> None:
    assert event(**keys) == EventMessage(7, 1, 250)


def test_an_event_with_key_6_keeps_its_bytes_whatever_is_in_it() -> None:
    plaintext = bytes.fromhex("a401070201031864" + "06c0187b")
    assert message.read_upward(Type.EVENT, plaintext) == EventMessage(7, 1, 100, plaintext=plaintext)


@pytest.mark.parametrize("kind", [0, 8, 15, 25, 2**32 - 1])
def test_an_event_of_unknown_kind_keeps_its_bytes(kind: int) -> None:
    assert event(k2=kind) == EventMessage(7, kind, 250, plaintext=cbor2.dumps({1: 7, 2: kind, 3: 250}))


def test_keys_from_later_firmware_are_ignored() -> None:
    assert event(k99="new") == EventMessage(7, 1, 250)


@pytest.mark.parametrize(
    ("type_", "payload"),
    [
        (Type.HELLO, {1: "x" * 65, 2: "PB-1", 3: 1, 4: 0}),
        (Type.HELLO, {1: "2.4.1", 2: "PB-1", 3: 1}),
        (Type.HEARTBEAT, [1]),
        (Type.HEARTBEAT, {}),
        (Type.MEASUREMENT, {1: [[1, 2, 10]], 2: 0}),
        (Type.MEASUREMENT, {1: [[1, 2, -10]], 2: 0}),
        (Type.MEASUREMENT, {1: [[1, 2]], 2: 0}),
        (Type.MEASUREMENT, {1: [[1, 2, 0, 0, 0]], 2: 0}),
        (Type.MEASUREMENT, {1: [[1, 2.5, 0]], 2: 0}),
        (Type.MEASUREMENT, {1: [[1, 2, 0, "a"]], 2: 0}),
        (Type.MEASUREMENT, {1: {}, 2: 0}),
        (Type.MEASUREMENT, {2: 0}),
        (Type.RESULT, {1: 3}),
    ],
)
def test_another_message_that_breaks_the_rules_is_ignored(type_: Type, payload: Any) -> None:
    assert message.read_upward(type_, cbor2.dumps(payload)) == Ignored(type_, "unreadable")


@pytest.mark.parametrize("type_", [0, 6, 7, 8, 9, 15])
def test_types_that_a_device_does_not_send_are_ignored(type_: int) -> None:
    assert message.read_upward(type_, b"\xa0") == Ignored(type_, "unknown type")


@pytest.mark.parametrize("type_", [0, 1, 2, 15])
def test_types_that_the_gateway_does_not_send_are_ignored(type_: int) -> None:
    assert message.read_downward(type_, b"\xa0") == Ignored(type_, "unknown type")


@given(type_=st.integers(0, 15), junk=st.binary(max_size=224))
def test_no_payload_makes_the_reader_raise(type_: int, junk: bytes) -> None:
    message.read_upward(type_, junk)
    message.read_downward(type_, junk)
