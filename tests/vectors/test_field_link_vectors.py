"""The Field Link against vectors made by another implementation."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.fieldlink import framing, message, seal
from gateway.fieldlink.actions import Heard, Unauthenticated, UnreadableEvent
from gateway.fieldlink.freshness import Counters
from gateway.fieldlink.message import EventMessage, Ignored, Unreadable
from gateway.fieldlink.session import DeviceSession

FOLDER = Path(os.environ.get("C5_VECTORS") or Path(__file__).parent)
VECTORS: dict[str, Any] = json.loads((FOLDER / "field-link.json").read_text())
KEY = bytes.fromhex(VECTORS["key"])
DEVICE: str = VECTORS["device"]
CIPHER = seal.Cipher(KEY)
FRAMES: list[dict[str, Any]] = VECTORS["frames"]


def native(value: Any) -> Any:
    """Undo what JSON did to CBOR."""
    if isinstance(value, dict):
        if value.keys() == {"hex"}:
            return bytes.fromhex(value["hex"])
        return {int(key): native(item) for key, item in value.items()}
    return [native(item) for item in value] if isinstance(value, list) else value


def opened(wire: bytes) -> list[tuple[seal.Header, bytes]]:
    """Return what a reader takes out of these bytes: headers and payloads of authentic frames."""
    found = []
    for frame in framing.Decoder().feed(wire):
        if isinstance(frame, framing.Frame):
            header = seal.read_header(frame.body)
            if isinstance(header, seal.Header) and header.device == DEVICE:
                plaintext = CIPHER.open(frame.body)
                if plaintext is not None:
                    found.append((header, plaintext))
    return found


def authentic(body: bytes) -> bool:
    return isinstance(seal.read_header(body), seal.Header) and CIPHER.open(body) is not None


def a_session() -> DeviceSession:
    return DeviceSession(
        DEVICE,
        KEY,
        counters=Counters(1, bytes(8)),
        events={},
        highest_event=0,
        first_number=1,
        challenge=lambda: bytes(8),
    )


def heard(wire: bytes) -> list[Any]:
    """Return the actions of a session that gets these bytes."""
    session = a_session()
    actions: list[Any] = []
    for frame in framing.Decoder().feed(wire):
        if isinstance(frame, framing.Frame):
            header = seal.read_header(frame.body)
            if isinstance(header, seal.Header) and header.device == DEVICE:
                actions += session.receive(header, frame.body, now=0.0)
    return actions


@pytest.mark.parametrize(
    "vector", FRAMES, ids=lambda vector: f"{vector['type']}-{vector['counter']}-{vector['number']}"
)
def test_a_frame_vector_decodes_to_its_message(vector: dict[str, Any]) -> None:
    header = seal.Header(
        vector["type"], seal.Direction(vector["direction"]), DEVICE, vector["counter"], vector["number"]
    )
    plaintext = bytes.fromhex(vector["plaintext"])
    assert opened(bytes.fromhex(vector["wire"])) == [(header, plaintext)]
    read = message.read_upward if header.direction is seal.Direction.UP else message.read_downward
    said = read(header.type, plaintext)
    assert not isinstance(said, Ignored | Unreadable)
    known = {key: value for key, value in native(vector["payload"]).items() if key != 99}
    if isinstance(said, EventMessage) and 6 in known:
        assert said.plaintext == plaintext
        del known[6]
    assert message.payload(said) == known


@pytest.mark.parametrize(
    "vector", FRAMES, ids=lambda vector: f"{vector['type']}-{vector['counter']}-{vector['number']}"
)
def test_a_frame_vector_is_encoded_to_its_bytes(vector: dict[str, Any]) -> None:
    header = seal.Header(
        vector["type"], seal.Direction(vector["direction"]), DEVICE, vector["counter"], vector["number"]
    )
    plaintext = bytes.fromhex(vector["plaintext"])
    assert framing.encode(CIPHER.seal(header, plaintext)) == bytes.fromhex(vector["wire"])


@pytest.mark.parametrize("vector", VECTORS["rejected"], ids=lambda vector: vector["why"])
def test_a_rejected_vector_is_never_acted_on(vector: dict[str, Any]) -> None:
    for action in heard(bytes.fromhex(vector["wire"])):
        assert isinstance(action, Unauthenticated | Heard)
        assert isinstance(action, Unauthenticated) or isinstance(action.message, Ignored)


@pytest.mark.parametrize("vector", VECTORS["unreadable"], ids=lambda vector: vector["why"])
def test_an_unreadable_vector_is_still_an_event(vector: dict[str, Any]) -> None:
    wire = bytes.fromhex(vector["wire"])
    [(_, plaintext)] = opened(wire)
    assert heard(wire) == [UnreadableEvent(Unreadable(plaintext), unproven=False)]


@pytest.mark.parametrize("size", [1, 2, 7, 255, 1_000_000])
def test_the_stream_vector_gives_its_frames_however_it_is_cut(size: int) -> None:
    wire = bytes.fromhex(VECTORS["stream"]["wire"])
    decoder = framing.Decoder()
    found = [frame for start in range(0, len(wire), size) for frame in decoder.feed(wire[start : start + size])]
    bodies = [frame.body for frame in found if isinstance(frame, framing.Frame)]
    expected = [bytes.fromhex(FRAMES[number]["wire"]) for number in VECTORS["stream"]["frames_in_order"]]
    assert [framing.encode(body) for body in bodies if authentic(body)] == expected
