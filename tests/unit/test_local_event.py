"""The body of `POST /v1/events`: what is read, what is refused, and the schema that is published."""

import json
from pathlib import Path

import pytest

from gateway.errors import Refused
from gateway.event import Event, Lane, Position
from gateway.local_event import AGE_MAX, DATA_MAX, read, schema
from gateway.sensing.local import Happening
from gateway.signing.chain import Chain
from gateway.signing.cose import RECORD_MAX
from gateway.signing.message import Head
from gateway.signing.record import Clock
from tests.unit.tasks.test_recorder import EPOCH, SIGNER

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "local-input.schema.json"


def test_the_published_schema_is_the_models() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema()


def test_a_body_is_read() -> None:
    assert read(b'{"type": "panic.pressed"}') == Happening("panic.pressed", 0, {})
    data = {"zone": "muelle añil", "score": 0.93, "n": -7, "in": True}
    body = json.dumps({"type": "intrusion.detected", "age_ms": AGE_MAX, "data": data}, ensure_ascii=False)
    assert read(body.encode()) == Happening("intrusion.detected", AGE_MAX, data)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no JSON: Expecting value at line 1, column 1"),
        (b"\xff\xfe", None),
        (b"[]", "Input should be a valid dictionary or instance of LocalEvent"),
        (b"{}", "type: Field required"),
        (b'{"type": 7}', "type: Input should be a valid string"),
        (b'{"type": "gateway.started"}', None),
        (b'{"type": "measurement"}', None),
        (b'{"type": "panic.pressed", "source": "gw-1"}', "source: Extra inputs are not permitted"),
        (b'{"type": "panic.pressed", "age_ms": -1}', "age_ms: Input should be greater than or equal to 0"),
        (b'{"type": "panic.pressed", "age_ms": 86400001}', "age_ms: Input should be less than or equal to 86400000"),
        (b'{"type": "panic.pressed", "age_ms": 1.0}', "age_ms: Input should be a valid integer"),
        (b'{"type": "panic.pressed", "age_ms": true}', "age_ms: Input should be a valid integer"),
        (b'{"type": "panic.pressed", "data": {"video": "x"}}', "data: video are the gateway's own"),
        (b'{"type": "battery.low", "data": {"point": "a", "limit": 20}}', "data: limit, point are the gateway's own"),
        (b'{"type": "panic.pressed", "data": {"Zone": 1}}', None),
        (b'{"type": "panic.pressed", "data": {"zone": null}}', None),
        (b'{"type": "panic.pressed", "data": {"zone": {"a": 1}}}', None),
        (b'{"type": "panic.pressed", "data": {"zone": [1]}}', None),
        (b'{"type": "panic.pressed", "data": {"zone": NaN}}', None),
        (b'{"type": "panic.pressed", "data": {"zone": Infinity}}', None),
        (b'{"type": "panic.pressed", "data": {"zone": 1e999}}', None),
        (b'{"type": "panic.pressed", "data": {"zone": ' + b"9" * 400 + b"}}", None),
        (b'{"type": "panic.pressed", "data": {"zone": "a\\u0000b"}}', None),
        (b'{"type": "panic.pressed", "data": {"zone": "a\\u001b[2J"}}', None),
        (b'{"type": "panic.pressed", "data": {"zone": "\\ud800"}}', None),
        (b'{"type": "panic.pressed", "data": {"zone": "' + b"x" * 257 + b'"}}', None),
        (b'{"type": "panic.pressed", "data": {' + b",".join(b'"a%d": "%s"' % (n, b"x" * 128) for n in range(9))
         + b"}}", "data: at most 1024 bytes as JSON"),
        (b'{"type": "panic.pressed", "data": {' + b",".join(b'"a%d": 1' % n for n in range(17)) + b"}}",
         "at most 16 names"),
        (b'{"type": "panic.pressed", "type": "door.opened"}', "a name twice"),
        (b'{"type": "panic.pressed", "data": {"a": 1, "a": 2}}', "a name twice"),
        (b'{"type": "panic.pressed", "data": {"a": 9007199254740992}}', "an integer beyond 2^53 - 1"),
        (b'{"type": "panic.pressed", "data": {"a": "\\u009b31m"}}', None),
        (b'{"type": "panic.pressed", "data": {"a": "\\u202e"}}', None),
        (b'\xef\xbb\xbf{"type": "panic.pressed"}', None),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, None),
        (b"[" * 16_000, None),
    ],
)  # fmt: skip
def test_a_body_that_is_not_of_the_schema_is_refused(body: bytes, told: str | None) -> None:
    refused = read(body)
    assert isinstance(refused, Refused)
    assert told is None or refused.reason == told
    assert len(refused.reason) < 1500
    assert refused.reason.isprintable()


def test_the_fullest_event_with_the_most_cameras_fits_a_record() -> None:
    most = {f"a{number}" + "b" * 28: "ñ" * 8 for number in range(15)}
    while len(json.dumps({**most, "z": ""}, ensure_ascii=False).encode()) < DATA_MAX:
        name = min(most, key=lambda one: len(most[one]))
        most[name] += "x"
    most.popitem()
    happening = read(json.dumps({"type": "intrusion.detected", "age_ms": AGE_MAX, "data": most}).encode())
    assert isinstance(happening, Happening)
    show = {"camera": "c" * 63, "preset": "p" * 63}
    chain = Chain("g" * 63, EPOCH, Lane.ALARM, Head(EPOCH, 2**53 - 1, bytes(32)), SIGNER)
    data = {"age_ms": AGE_MAX, **(happening.data or {}), "video": [show] * 8}
    position = Position(-900_000_000, -1_800_000_000, 100_000_000)
    signed = chain.sign(
        Event(happening.type, "s" * 63, AGE_MAX, 2**53 - 1, position, data, 3), 2**53 - 1,
        Clock(3, 2**32 - 1, -(2**53) + 1), None,
    )  # fmt: skip
    assert len(signed.wire) < RECORD_MAX
