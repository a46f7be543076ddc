"""COSE_Sign1 in its one form: whatever differs is refused, and foreign bytes are never an exception."""

from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cwt import COSE, COSEKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Refused
from gateway.signing import deterministic
from gateway.signing.chains import CHAINS_MAX, decode_chain, decode_chains, encode_chain, encode_chains
from gateway.signing.cose import KINDS, MESSAGE_MAX, RECORD_MAX, Envelope, Signer, VerifyingKey, parse, split_sequence

THUMB = b"thumb678"
ED25519 = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
P256 = generate_private_key(SECP256R1())
KEYS: list[Ed25519PrivateKey | EllipticCurvePrivateKey] = [ED25519, P256]
SIGNERS = [Signer(key, THUMB) for key in KEYS]
VERIFIERS = [VerifyingKey(key.public_key()) for key in KEYS]
ALGORITHMS = pytest.mark.parametrize("which", [0, 1], ids=["Ed25519", "ESP256"])

# CBOR of any shape, tags and all, as an attacker would write it.
_CBOR = st.recursive(
    st.one_of(
        st.integers(-(2**64), 2**64 - 1), st.binary(max_size=70), st.text(max_size=20), st.booleans(), st.none(),
        st.floats(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.one_of(st.integers(0, 40), st.text(max_size=3)), inner, max_size=5),
        st.builds(cbor2.CBORTag, st.integers(0, 300), inner),
    ),
    max_leaves=12,
).map(lambda value: cbor2.dumps(value, canonical=True))  # fmt: skip
FOREIGN = st.one_of(st.binary(max_size=300), _CBOR, st.binary(max_size=60).map(lambda tail: b"\xd2\x84" + tail))


def _accepted(wire: bytes, kind: str, which: int) -> bool:
    envelope = parse(wire, kind)
    return isinstance(envelope, Envelope) and envelope.thumbprint == THUMB and VERIFIERS[which].verify(envelope)


@ALGORITHMS
def test_what_is_signed_is_read_and_verified_as_its_own_kind_alone(which: int) -> None:
    for kind in KINDS:
        wire = SIGNERS[which].sign(kind, b"\xa1\x01\x02")
        envelope = parse(wire, kind)
        assert envelope == Envelope(kind, SIGNERS[which].algorithm, THUMB, b"\xa1\x01\x02", wire)
        assert isinstance(envelope, Envelope)
        assert VERIFIERS[which].verify(envelope)
        assert not VERIFIERS[1 - which].verify(envelope)
        for other in KINDS:
            assert isinstance(parse(wire, other), Refused) == (other != kind)


@ALGORITHMS
@pytest.mark.parametrize("size", [0, 1, 23, 24, 255, 256, 3800])
def test_a_payload_of_any_length_is_read_back(which: int, size: int) -> None:
    envelope = parse(SIGNERS[which].sign("record", b"x" * size), "record")
    assert isinstance(envelope, Envelope)
    assert envelope.payload == b"x" * size


@ALGORITHMS
def test_any_bit_flip_of_a_signed_record_is_refused(which: int) -> None:
    wire = SIGNERS[which].sign("record", cbor2.dumps({1: "gw-1", 2: b"epoch--1"}))
    for at in range(len(wire) * 8):
        flipped = bytearray(wire)
        flipped[at // 8] ^= 1 << at % 8
        assert not _accepted(bytes(flipped), "record", which), at


@ALGORITHMS
def test_a_record_cut_or_lengthened_anywhere_is_refused(which: int) -> None:
    wire = SIGNERS[which].sign("record", b"\xa1\x01\x02")
    for at in range(len(wire)):
        assert isinstance(parse(wire[:at], "record"), Refused)
        assert not _accepted(wire[:at] + b"\x00" + wire[at:], "record", which)
    assert isinstance(parse(wire + b"\x00", "record"), Refused)


def test_the_other_s_of_an_esp256_signature_is_refused() -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    wire = SIGNERS[1].sign("record", b"\xa0")
    mirrored = wire[:-32] + (order - int.from_bytes(wire[-32:], "big")).to_bytes(32, "big")
    assert parse(mirrored, "record") == Refused("an ESP256 signature with s above n/2")
    assert _accepted(wire, "record", 1)


def test_what_is_too_long_is_not_even_looked_at() -> None:
    assert parse(b"\xd2" * (RECORD_MAX + 1), "record") == Refused("a record too long")
    assert parse(b"\xd2" * (MESSAGE_MAX + 1), "state") == Refused("a state too long")


@settings(max_examples=80, deadline=None)
@given(FOREIGN)
def test_foreign_bytes_are_refused_and_never_an_exception(foreign: bytes) -> None:
    for kind in KINDS:
        envelope = parse(foreign, kind)
        assert isinstance(envelope, Refused) or not VERIFIERS[0].verify(envelope)
    assert b"".join(split_sequence(foreign)) == foreign
    for decoded in (decode_chain(foreign), decode_chains(foreign)):
        assert isinstance(decoded, Refused | tuple | list)
    deterministic.decode(foreign)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=300).map(lambda p: SIGNERS[0].sign("record", p)), _CBOR), max_size=6))
def test_a_sequence_is_cut_at_its_items_whatever_they_are(items: list[bytes]) -> None:
    assert split_sequence(b"".join(items)) == items


@settings(max_examples=60, deadline=None)
@given(FOREIGN.filter(bool))
def test_a_record_behind_a_good_one_never_takes_it_along(foreign: bytes) -> None:
    good = SIGNERS[0].sign("record", b"\xa1\x01\x02")
    assert split_sequence(good + foreign)[0] == good


def test_nesting_without_end_and_lengths_without_bytes_are_refused() -> None:
    for hostile in (
        b"\x81" * 16_384, b"\xa1" * 16_384, b"\xc1" * 16_384, b"\x9b\x7f" + b"\xff" * 7, b"\xbb\x7f" + b"\xff" * 7,
        b"\x5b\x7f" + b"\xff" * 7, b"\x9f" * 9000, bytes.fromhex("d81c81d81d00"), bytes.fromhex("d81e820100"),
        bytes.fromhex("d823615b"), bytes.fromhex("c11b7fffffffffffffff"),
    ):  # fmt: skip
        assert isinstance(deterministic.decode(hostile), Refused), hostile[:8]
        assert b"".join(split_sequence(hostile)) == hostile


def test_chains_are_read_back_and_bounded() -> None:
    chain = (b"leaf", b"issuer")
    assert decode_chain(encode_chain(chain)) == chain
    assert decode_chains(encode_chains([chain, (b"other",)])) == [chain, (b"other",)]
    no_chains: list[object] = [[], [b"x" * 100_000], [[b"x"]], ["text"], [b"x"] * 20, {}, 5]
    for wrong in no_chains:
        assert isinstance(decode_chain(cbor2.dumps(wrong)), Refused)
    no_lists: list[object] = [[], [[]], [[b"x"]] * (CHAINS_MAX + 1), [b"x"], [["text"]]]
    for wrong in no_lists:
        assert isinstance(decode_chains(cbor2.dumps(wrong)), Refused)


@pytest.mark.parametrize(
    ("private", "parameters"),
    [
        (Ed25519PrivateKey.generate(), {1: 1, 3: -19, -1: 6}),
        (generate_private_key(SECP256R1()), {1: 2, 3: -9, -1: 1}),
    ],
)
def test_a_cose_library_verifies_what_we_sign(private: Any, parameters: dict[int, Any]) -> None:
    public = private.public_key()
    if isinstance(private, Ed25519PrivateKey):
        point = {-2: public.public_bytes_raw()}
    else:
        numbers = public.public_numbers()
        point = {-2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
    key = COSEKey.new({**parameters, **point, 4: [2]})
    for _ in range(20):
        wire = Signer(private, b"thumb678").sign("state", b"\xa1\x01\x02")
        assert COSE.new().decode(wire, key) == b"\xa1\x01\x02"
