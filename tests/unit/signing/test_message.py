"""State, receipt, command, reply and heartbeat: read back as made, and refused in any other shape."""

from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Refused
from gateway.event import Lane
from gateway.signing.message import (
    KIND_OF,
    RECEIPT_ENTRIES,
    Centre,
    Command,
    Head,
    Message,
    Receipt,
    Reply,
    State,
    decode,
    encode,
)

EPOCH = b"epoch--1"
MESSAGES: list[Message] = [
    State("gw-1", EPOCH, True, 5, {Lane.ALARM: Head(EPOCH, 3, bytes(32))}, "0.1", 30, 1, 2, 3, "a", "s", {"x": 1}),
    State("gw-1", EPOCH, False, 5, None, "0.1", 30, 1, 0, 3, "a", "s"),
    Receipt("gw-1", 5, {Lane.ALARM: [(EPOCH, 3)]}, {Lane.STATUS: [(EPOCH, 1, 2)]}),
    Receipt("gw-1", 5, {}),
    Command("gw-1", bytes(16), 1, 2, "ping", EPOCH, {"minutes": 5}),
    Command("gw-1", bytes(16), 1, 2, "ping", EPOCH),
    Reply("gw-1", bytes(16), 5, "done", "text", {"x": 1}),
    Reply("gw-1", bytes(16), 5, "rejected"),
    Centre("c5-a", 5),
]
KINDS = sorted(set(KIND_OF.values()))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_read_back_as_it_was_made_and_by_its_own_kind_alone(message: Message) -> None:
    kind = KIND_OF[type(message)]
    assert decode(kind, encode(message)) == message


_ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**64), 2**64 - 1), st.text(max_size=8), st.binary(max_size=34)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(MESSAGES), st.integers(1, 11), _ANY, st.sampled_from(KINDS))
def test_a_key_of_any_other_value_is_refused_or_read_and_never_an_exception(
    message: Message, key: int, value: object, kind: str
) -> None:
    fields = cbor2.loads(encode(message)) | {key: value}
    said = decode(kind, cbor2.dumps(fields, canonical=True))
    if not isinstance(said, Refused):
        assert KIND_OF[type(said)] == kind


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(KINDS), st.binary(max_size=100) | _ANY.map(lambda value: cbor2.dumps(value, canonical=True)))
def test_foreign_bytes_are_refused_and_never_an_exception(kind: str, foreign: bytes) -> None:
    assert isinstance(decode(kind, foreign), Refused)


@pytest.mark.parametrize(("index", "key"), [(0, 3), (6, 4)], ids=["state", "reply"])
@pytest.mark.parametrize("value", [[], {}, [["online"]]])
def test_a_word_that_is_no_text_is_refused(index: int, key: int, value: object) -> None:
    message = MESSAGES[index]
    fields = cbor2.loads(encode(message)) | {key: value}
    assert isinstance(decode(KIND_OF[type(message)], cbor2.dumps(fields, canonical=True)), Refused)


def test_a_receipt_holds_no_more_than_64_entries_of_each_sort_over_all_lanes() -> None:
    def of(count: int) -> dict[int, Any]:
        entries = [[bytes([n]) * 8, 1] for n in range(count)]
        return {1: "gw-1", 2: 5, 3: {0: entries[: count // 2], 1: entries[count // 2 :]}}

    assert isinstance(decode("receipt", cbor2.dumps(of(RECEIPT_ENTRIES), canonical=True)), Receipt)
    assert isinstance(decode("receipt", cbor2.dumps(of(RECEIPT_ENTRIES + 1), canonical=True)), Refused)


@pytest.mark.parametrize("entry", [[EPOCH, 0, 1], [EPOCH, 3, 2], [EPOCH, 1], [b"short", 1, 2], [EPOCH, 1, 2**63]])
def test_a_missing_range_that_is_none_is_refused(entry: list[Any]) -> None:
    fields = {1: "gw-1", 2: 5, 3: {}, 4: {0: [entry]}}
    assert isinstance(decode("receipt", cbor2.dumps(fields, canonical=True)), Refused)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (2, b"short", "a state without its epoch, time, or online or offline (keys 2 to 4)"),
        (6, "v" * 65, "a state without its version or interval (keys 6, 7)"),
        (7, 0, "a state without its version or interval (keys 6, 7)"),
        (9, [3, 1], "a state without its order (key 9)"),
        (9, [3, -1, 2], "a state without its order (key 9)"),
        (10, ["a", "S"], "a state without its agency and site (key 10)"),
        (8, [], "a state whose health is no map (key 8)"),
    ],
)
def test_a_state_that_lacks_something_is_refused_with_what_it_lacks(key: int, value: object, reason: str) -> None:
    fields = cbor2.loads(encode(MESSAGES[0])) | {key: value}
    assert decode("state", cbor2.dumps(fields, canonical=True)) == Refused(reason)
