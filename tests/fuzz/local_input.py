"""What comes in over HTTPS, behind TLS: bytes through h11, the rules of local input, and a recorder.

A part of an input is what arrives at once; the fuzzer has both sources' tokens.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from hashlib import sha256

from gateway.drivers.http import READ, Bad, Conversation, Head, More, Over, Whole
from gateway.errors import SettingsError
from gateway.event import Lane
from gateway.local_event import read, schema
from gateway.sensing.asked import TITLES, Response
from gateway.sensing.local import Source
from gateway.sensing.site import parse
from gateway.signing.chain import Chain
from gateway.signing.record import Clock as Quality
from gateway.tasks.local import Local
from gateway.tasks.recorder import Recorder
from gateway.topics import is_part
from tests.fuzz.people import GATEWAY, NOW_US, person
from tests.fuzz.target import CUT, Target, parts
from tests.support.memory import Clock, Store
from tests.support.memory import read as read_record

EPOCH = bytes(range(8))
TOKEN, OTHER = b"5f2d7a1c9b3e4f608172a3b4c5d6e7f8", b"0f2d7a1c9b3e4f608172a3b4c5d6e7f8"
KEY = b"8e03978e-40d5-43dd-bc93-6894a57f9324"
MINE = frozenset({"panic.pressed", "door.opened"})
TOLD = frozenset({"device.unauthenticated", "device.chattering"})
SOURCES = (
    Source("help", MINE, sha256(TOKEN).digest(), per_minute=600, burst=4),
    Source("other", frozenset({"fire.reported"}), sha256(OTHER).digest()),
)


class _Disk(Store):
    """A store that commits at once, and has what it is given looked at."""

    def append(self, entry: object) -> None:
        super().append(entry)  # type: ignore[arg-type]
        record = read_record(self.entries[-1].item.wire)
        assert (
            record.type in {"local-input": TOLD, "help": TOLD | MINE, "other": TOLD | {"fire.reported"}}[record.source]
        )
        looked_at = (record.data or {}).get("video")
        assert looked_at == ([{"camera": "mast"}] if record.type == "panic.pressed" else None)
        stored = self.entries[-1].stored
        if stored is not None:
            asyncio.get_running_loop().call_soon(stored)


async def _connection(data: bytes) -> None:
    store, clock = _Disk(), Clock()
    signer = person("gateway", GATEWAY).signer
    recorder = Recorder(
        {lane: Chain(GATEWAY, EPOCH, lane, None, signer) for lane in Lane},
        1,
        store,
        lambda age_ms, _at: (NOW_US - age_ms * 1000, Quality(2, 5, 0)),
        None,
    )
    recorder.video = {"help": ({"camera": "mast"},)}
    local = Local(SOURCES, recorder, store, clock, gateway=GATEWAY, name="local-input", read=read, schema=schema)
    talk, recorded = Conversation(), set()
    chunks = [part[at : at + READ] for part in parts(data)[:16] for at in range(0, len(part), READ)]
    for chunk in [*chunks, b""]:
        talk.feed(chunk)
        while True:
            response: Response
            close = True
            match talk.next():
                case Head(request):
                    refused = local.refuse(request, (), "10.0.0.7")
                    if refused is None:
                        talk.go_on()
                        continue
                    response = refused
                case Whole(request):
                    before = len(store.entries)
                    response, close = await local.answer(request, (), "10.0.0.7"), False
                    if response.status == 202:
                        recorded.add(json.loads(response.body)["record"])
                    elif len(store.entries) > before:  # nobody's event: what the gateway tells of it
                        assert read_record(store.entries[-1].item.wire).lane is Lane.STATUS
                case Bad(response):
                    pass
                case More():
                    break
                case Over():
                    made = [read_record(entry.item.wire) for entry in store.entries]
                    assert recorded <= {record.identity for record in made}
                    keyed = [(record.source, record.event_number) for record in made if record.event_number]
                    assert len(keyed) == len(set(keyed)), "one key, two records"
                    return
            assert response.status in TITLES
            assert json.loads(response.body) is not None
            talk.reply(response, close=close)


def local(data: bytes) -> None:
    """Requests, whole, cut and senseless: each answered, none believed beyond what its source may say."""
    asyncio.run(_connection(data))


def _post(body: bytes, headers: bytes = b"", token: bytes = TOKEN) -> bytes:
    return (
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + token + b"\r\nContent-Type: application/json"
        b"\r\nIdempotency-Key: " + KEY + b"\r\n" + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body
    )


def site(data: bytes) -> None:
    """A site file: read, or refused with a line that it has; what is read fits a record."""
    text = data.decode(errors="replace")
    try:
        views = parse(text, "site.toml", {"help"})
    except SettingsError as error:
        last = max(1, len(text.splitlines()))
        told = re.findall(r"^site\.toml, line ([0-9]+): ", error.what, re.MULTILINE)
        if any(not 1 <= int(line) <= last for line in told) or not (told or "is not TOML" in error.what):
            raise AssertionError(error.what) from error
        return
    for source, shows in views.items():
        assert source == "help" or len(source) == 8
        assert 1 <= len(shows) <= 8
        assert all(set(show) <= {"camera", "preset"} and all(map(is_part, show.values())) for show in shows)


def _seeds() -> Sequence[bytes]:
    press = b'{"type":"panic.pressed","age_ms":1500,"data":{"zone":"north","score":0.5,"n":-7,"in":true}}'
    return [
        _post(press),
        _post(b'{"type":"door.opened"}', b"Expect: 100-continue\r\n"),
        _post(press) + _post(press) + _post(b'{"type":"panic.pressed"}'),
        _post(b'{"type":"panic.pressed"}', token=OTHER),
        CUT.join([_post(press)[:120], _post(press)[120:]]),
        b"GET /v1/events/" + KEY + b" HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + TOKEN + b"\r\n\r\n",
        b"GET /v1/schema HTTP/1.0\r\nAuthorization: Bearer " + TOKEN + b"\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + TOKEN + b"\r\nContent-Type: application/json"
        b"\r\nIdempotency-Key: " + KEY + b"\r\nTransfer-Encoding: chunked\r\n\r\n18\r\n" + b'{"type":"panic.pressed"}'
        b"\r\n0\r\n\r\n",
    ]


SITE = b"""[[camera]]
name = "mast"

[[view]]
source = "help"
shows = [{ camera = "mast", preset = "gate" }]
"""

TARGETS = (
    Target(
        "site",
        site,
        lambda: [SITE, SITE + SITE.replace(b'"mast"', b'"quay"').replace(b"help", b"0c500042")],
        ("gateway.sensing.site", "gateway.sensing.toml_lines"),
        "text",
        words=(b"[[camera]]", b"[[view]]", b"shows = [", b"{ camera = ", b"preset = "),
    ),
    Target(
        "local",
        local,
        _seeds,
        ("gateway.drivers.http", "gateway.tasks.local", "gateway.sensing.local", "gateway.local_event"),
        words=(b"\r\n", b"\r\n\r\n", b"Transfer-Encoding: chunked", b"Content-Length: ", b"Idempotency-Key: ", KEY,
               b"Authorization: Bearer ", TOKEN, b"Connection: close", b"HTTP/1.0", b"/v1/events", b'"type":',
               b'"data":', b'"age_ms":', b"panic.pressed", b"Expect: 100-continue"),
    ),
)  # fmt: skip
