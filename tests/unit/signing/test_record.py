"""A record's payload: every key that wire.md names, and nothing that it doesn't allow."""

from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Refused
from gateway.event import Lane, Position
from gateway.signing.record import INT_MAX, ZEROS, Clock, Record, decode, encode

GOOD: dict[int, Any] = {
    1: "gw-1", 2: b"epoch--1", 3: 0, 4: 1, 5: bytes(32), 7: 1_800_000_000_000_000, 8: [2, 5, 1000],
    9: "panic.pressed", 10: "0c500042",
}  # fmt: skip
_UINT = st.integers(0, INT_MAX)
_INT = st.integers(-INT_MAX, INT_MAX)
_PART = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
_DATA = st.dictionaries(
    st.text(max_size=10),
    st.one_of(_INT, st.text(max_size=20), st.binary(max_size=20), st.booleans(), st.none(), st.floats(allow_nan=False)),
    max_size=4,
)


@st.composite
def _records(draw: st.DrawFn) -> Record:
    sequence = draw(st.integers(1, INT_MAX))
    previous, link = draw(st.binary(min_size=32, max_size=32).filter(lambda digest: digest != ZEROS)), None
    if sequence == 1:
        linked = draw(st.booleans())
        previous = previous if linked else ZEROS
        link = (draw(st.binary(min_size=8, max_size=8)), draw(_UINT)) if linked else None
    return Record(
        draw(_PART), draw(st.binary(min_size=8, max_size=8)), draw(st.sampled_from(Lane)), sequence, previous, link,
        draw(_INT), Clock(draw(st.integers(0, 3)), draw(_UINT), draw(_INT)), draw(st.text(min_size=1, max_size=64)),
        draw(_PART), draw(st.none() | _UINT), draw(st.none() | st.builds(Position, _INT, _INT, st.none() | _UINT)),
        draw(st.none() | _DATA), draw(_UINT),
    )  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(_records())
def test_a_record_is_read_back_as_it_was_made(record: Record) -> None:
    assert decode(encode(record)) == record


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.integers(1, 15),
        st.one_of(st.none(), st.booleans(), _INT, st.text(), st.binary(), st.floats(), st.lists(_INT), _DATA),
    )
)
def test_a_payload_with_keys_of_any_type_is_refused_or_read_and_never_an_exception(change: dict[int, Any]) -> None:
    assert isinstance(decode(cbor2.dumps(GOOD | change, canonical=True)), Record | Refused)


def test_an_identity_names_gateway_epoch_lane_and_sequence() -> None:
    record = decode(cbor2.dumps(GOOD))
    assert isinstance(record, Record)
    assert record.identity == "gw-1/65706f63682d2d31/alarm/1"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({1: "GW"}, "no gateway id (key 1)"),
        ({2: b"short"}, "no epoch (key 2)"),
        ({3: 3}, "no such lane (key 3)"),
        ({3: True}, "no such lane (key 3)"),
        ({4: 0}, "no sequence (key 4)"),
        ({4: 2**63}, "no sequence (key 4)"),
        ({5: bytes(31)}, "no hash of the previous record (key 5)"),
        ({4: 2}, "a link (key 6) that doesn't fit sequence and hash"),
        ({5: b"\x01" * 32}, "a link (key 6) that doesn't fit sequence and hash"),
        ({6: [b"epoch--0", 3]}, "a link (key 6) that doesn't fit sequence and hash"),
        ({6: [b"epoch--0"]}, "a link that is no epoch and sequence (key 6)"),
        ({7: "now"}, "no time (key 7)"),
        ({8: [4, 5, 6]}, "no clock (key 8)"),
        ({9: ""}, "no type (key 9)"),
        ({10: "with space"}, "no source (key 10)"),
        ({11: -1}, "an event number that is none (key 11)"),
        ({12: [1]}, "a position that is none (key 12)"),
        ({13: {1: 2}}, "data that is no map of text keys (key 13)"),
        ({14: "x"}, "flags that are no number (key 14)"),
    ],
)
def test_each_key_is_judged(change: dict[int, Any], why: str) -> None:
    assert decode(cbor2.dumps(GOOD | change, canonical=True)) == Refused(why)


@pytest.mark.parametrize("key", [1, 2, 3, 4, 5, 7, 8, 9, 10])
def test_a_key_that_is_required_must_be_there(key: int) -> None:
    assert isinstance(decode(cbor2.dumps({k: v for k, v in GOOD.items() if k != key})), Refused)


def test_keys_of_a_later_version_are_no_reason_to_refuse() -> None:
    assert isinstance(decode(cbor2.dumps({**GOOD, 15: "later", 99: [1]})), Record)


def test_another_form_of_the_same_value_is_refused() -> None:
    payload = cbor2.dumps(GOOD, canonical=True)
    assert isinstance(decode(payload), Record)
    swapped = cbor2.dumps({2: GOOD[2], **{k: v for k, v in GOOD.items() if k != 2}})
    longer = payload.replace(b"\x03\x00", b"\x03\x18\x00", 1)
    assert decode(swapped) == decode(longer) == Refused("not deterministic CBOR")
    assert decode(payload + b"\x00") == Refused("not CBOR") or isinstance(decode(payload + b"\x00"), Refused)
