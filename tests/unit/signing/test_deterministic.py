import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Refused
from gateway.signing import deterministic
from gateway.signing.chains import decode_chain, decode_chains

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats() | st.binary(max_size=400)
    | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.integers(0, 300) | st.text(), inner, max_size=30),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
def test_a_value_without_tags_comes_back_and_is_plain(value: object) -> None:
    data = deterministic.encode(value)
    assert data == cbor2.dumps(value, canonical=True)
    assert deterministic.is_plain(data)
    again = deterministic.decode(data)
    assert deterministic.encode(again) == data


def test_what_could_not_be_encoded_leaves_nothing_behind() -> None:
    value: list[object] = [1, object()]
    for _time in range(2):
        with pytest.raises(cbor2.CBOREncodeError):
            deterministic.encode({1: value})
    value[1] = 2
    assert deterministic.encode({1: value}) == bytes.fromhex("a101820102")


@pytest.mark.parametrize(
    "tagged",
    [
        "d823d9d86080",  # a regular expression of something that can't be hashed: RuntimeError, from the third time on
        "c249010000000000000000",  # a number above 64 bits
        "d81c81d81d00",  # an array that holds itself
        "a10dc074323031332d30332d32315432303a30343a30305a",  # a date, inside
        "5f41004100ff",  # a string in pieces
        "9fff",
        "f7",  # undefined
        "f818",
        "1c",
    ],
)
def test_tags_and_what_is_not_deterministic_never_reach_the_library(tagged: str) -> None:
    data = bytes.fromhex(tagged)
    for _time in range(5):
        assert isinstance(deterministic.decode(data), Refused)
        assert isinstance(deterministic.read(data), Refused)
        assert isinstance(decode_chain(data), Refused)
        assert isinstance(decode_chains(data), Refused)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_or_read_and_never_raise(data: bytes) -> None:
    deterministic.decode(data)
    deterministic.read(data)


@given(VALUES, st.integers(0))
def test_a_tag_anywhere_is_found(value: object, tag: int) -> None:
    data = cbor2.dumps([1, cbor2.CBORTag(1000 + tag % 10_000, value)])
    assert not deterministic.is_plain(data)
