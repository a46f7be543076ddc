"""Our signed messages against those of an implementation that shares no code with us."""

import json
import os
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.errors import Refused
from gateway.signing import message, record
from gateway.signing.cose import Envelope, Signer, VerifyingKey, parse, split_sequence

FOLDER = Path(os.environ.get("C5_VECTORS") or Path(__file__).parent)
RECORDS: dict[str, Any] = json.loads((FOLDER / "record.json").read_text())
MESSAGES: dict[str, Any] = json.loads((FOLDER / "message.json").read_text())


def _keys(vectors: dict[str, Any]) -> dict[bytes, VerifyingKey]:
    known = {
        bytes.fromhex(vectors["ed25519"]["x5t"]): VerifyingKey(
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(vectors["ed25519"]["public"]))
        )
    }
    if "p256" in vectors:
        point = bytes.fromhex(vectors["p256"]["public"])
        known[bytes.fromhex(vectors["p256"]["x5t"])] = VerifyingKey(
            EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
        )
    return known


def _signer(vectors: dict[str, Any]) -> Signer:
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vectors["ed25519"]["seed"]))
    return Signer(private, bytes.fromhex(vectors["ed25519"]["x5t"]))


def _accepted(wire: bytes, kind: str, keys: dict[bytes, VerifyingKey]) -> bool:
    envelope = parse(wire, kind)
    if isinstance(envelope, Refused) or not keys[envelope.thumbprint].verify(envelope):
        return False
    read = record.decode(envelope.payload) if kind == "record" else message.decode(kind, envelope.payload)
    return not isinstance(read, Refused)


@pytest.mark.parametrize("vector", RECORDS["chain"], ids=lambda v: v["identity"])
def test_a_record_vector_is_read_and_made_again_to_the_byte(vector: dict[str, Any]) -> None:
    wire = bytes.fromhex(vector["cose"])
    envelope = parse(wire, "record")
    assert isinstance(envelope, Envelope)
    assert envelope.digest.hex() == vector["sha256"]
    assert _keys(RECORDS)[envelope.thumbprint].verify(envelope)
    read = record.decode(bytes.fromhex(vector["payload"]))
    assert isinstance(read, record.Record)
    assert read.identity == vector["identity"]
    assert record.encode(read).hex() == vector["payload"]
    assert _signer(RECORDS).sign("record", record.encode(read)) == wire


def test_the_record_vectors_form_one_chain_over_two_epochs() -> None:
    reads = [record.decode(bytes.fromhex(vector["payload"])) for vector in RECORDS["chain"]]
    digests = [bytes.fromhex(vector["sha256"]) for vector in RECORDS["chain"]]
    for before, digest, after in zip(reads, digests, reads[1:], strict=False):
        assert isinstance(before, record.Record)
        assert isinstance(after, record.Record)
        assert after.previous == digest
        assert after.link == (None if after.sequence > 1 else (before.epoch, before.sequence))


@pytest.mark.parametrize("vector", RECORDS["p256_records"])
def test_an_esp256_record_vector_verifies(vector: dict[str, Any]) -> None:
    assert _accepted(bytes.fromhex(vector["cose"]), "record", _keys(RECORDS))


@pytest.mark.parametrize("vector", RECORDS["rejected"], ids=lambda v: v["why"])
def test_a_rejected_record_vector_is_refused(vector: dict[str, Any]) -> None:
    assert not _accepted(bytes.fromhex(vector["cose"]), "record", _keys(RECORDS))


@pytest.mark.parametrize("vector", RECORDS["held"], ids=lambda v: v["why"])
def test_a_held_record_vector_has_the_right_form_and_an_unknown_signer(vector: dict[str, Any]) -> None:
    envelope = parse(bytes.fromhex(vector["cose"]), "record")
    assert isinstance(envelope, Envelope)
    assert envelope.thumbprint not in _keys(RECORDS)


@pytest.mark.parametrize("vector", MESSAGES["messages"], ids=lambda v: v["kind"])
def test_a_message_vector_is_read_and_made_again_to_the_byte(vector: dict[str, Any]) -> None:
    wire, payload = bytes.fromhex(vector["cose"]), bytes.fromhex(vector["payload"])
    assert _accepted(wire, vector["kind"], _keys(MESSAGES))
    read = message.decode(vector["kind"], payload)
    assert not isinstance(read, Refused)
    assert message.encode(read) == payload
    assert message.KIND_OF[type(read)] == vector["kind"]
    assert _signer(MESSAGES).sign(vector["kind"], payload) == wire


@pytest.mark.parametrize("vector", MESSAGES["rejected"], ids=lambda v: v["why"])
def test_a_rejected_message_vector_is_refused(vector: dict[str, Any]) -> None:
    assert not _accepted(bytes.fromhex(vector["cose"]), vector["kind"], _keys(MESSAGES))


def test_the_sequence_vector_is_cut_into_its_items() -> None:
    vector = MESSAGES["sequence"]
    items = [bytes.fromhex(item) for item in vector["items"]]
    assert split_sequence(bytes.fromhex(vector["wire"])) == items
    odd = cbor2.dumps({"something": "else"})
    assert split_sequence(items[0] + odd + items[1]) == [items[0], odd, items[1]]
    assert split_sequence(items[0] + b"\x1c" + items[1]) == [items[0], b"\x1c" + items[1]]
