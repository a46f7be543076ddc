"""What lies in files, and what a technician's programs hand in: settings, scenarios, requests, a damaged store."""

import asyncio
import contextlib
import json
import sqlite3
import tempfile
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from firmware_sim import scenario
from gateway import applied, config, console, status
from gateway.c5 import config as receiver
from gateway.control.maintenance import Maintenance
from gateway.errors import C5Error, SettingsError
from gateway.event import Lane
from gateway.outbox import wreck
from gateway.outbox.inspect import FILE
from gateway.outbox.migrate import MIGRATIONS
from gateway.outbox.pages import PAGE, ROW_MAX, Pages
from gateway.outbox.salvage import PASSES
from gateway.registry.devices import Registry
from gateway.tasks.orders.maintenance import Works
from tests.fuzz.people import DEVICE, GATEWAY
from tests.fuzz.spoken import raised
from tests.fuzz.target import CUT, Target, number, parts
from tests.support.memory import Clock
from tests.support.storing import CHAIN, live, rescue

_PEM: Final = ("anchors.pem", "signing.pem", "signing.key", "tls.pem", "tls.key")
SETTINGS: Final = """\
[gateway]
id = "gw-1"
agency = "senafront"
site = "yaviza"
position = { latitude = 8.1, longitude = -77.7, accuracy_m = 5.0 }
[identity]
trust_anchors = "anchors.pem"
signing_certificate = "signing.pem"
signing_key = "signing.key"
tls_certificate = "tls.pem"
tls_key = "tls.key"
[[broker]]
host = "broker.example"
port = 8883
protocol = "auto"
[delivery]
profile = 90
receivers = ["*"]
commanders = ["boss"]
[outbox]
max_mb = 64
alarm_reserve_mb = 8
[[port]]
name = "radio"
device = "/dev/null"
baud = 115200
[[input]]
name = "bar"
chip = "gpiochip0"
line = 17
on = "panic.pressed"
indicator = "lamp"
[[output]]
name = "lamp"
chip = "gpiochip0"
line = "GPIO27"
kind = "led"
[supervision]
interval_s = 60
[log]
level = "info"
"""
RECEIVER: Final = """\
[receiver]
name = "c5-a"
[identity]
trust_anchors = "anchors.pem"
signing_certificate = "signing.pem"
signing_key = "signing.key"
[[broker]]
host = "127.0.0.1"
tls = false
[subscribe]
agencies = ["+"]
[[sink]]
type = "jsonl"
path = "-"
"""


@cache
def _home() -> Path:
    """Return a folder for this process, with the files that settings name."""
    home = tempfile.TemporaryDirectory(prefix="c5-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    _HOMES.append(home)
    for name in _PEM:
        (Path(home.name) / name).touch()
    return Path(home.name)


_HOMES: Final[list[tempfile.TemporaryDirectory[str]]] = []


def _written(name: str, data: bytes) -> Path:
    path = _home() / name
    path.write_bytes(data)
    return path


def _told(error: C5Error) -> None:
    assert error.what
    assert len(error.what) < 100_000


def settings(data: bytes) -> None:
    """The gateway's file and the receiver's: settings, or the mistakes in them, told."""
    path = _written("gateway.toml", data)
    for load in (config.load, receiver.load_settings):
        try:
            read = load(path)
        except SettingsError as error:
            _told(error)
        else:
            if isinstance(read, config.GatewaySettings):
                config.summary(read)
                assert read.delivery.interval < read.delivery.profile
                read.supervision.policy()


def laid_over(data: bytes) -> None:
    """Settings from afar: what is taken starts a gateway, and never changes who it is or whom it obeys."""
    path = _written("technician.toml", SETTINGS.encode())
    own = config.load(path)
    text = data.decode("utf-8", "replace")
    try:
        over = applied._read(text)
        both = applied._combined(tomllib.loads(SETTINGS), over, path)
    except SettingsError as error:
        _told(error)
        return
    assert (both.identity, both.broker, both.gateway.id, both.gateway.state_dir) == (
        own.identity,
        own.broker,
        own.gateway.id,
        own.gateway.state_dir,
    )
    assert (both.delivery.receivers, both.delivery.commanders) == (own.delivery.receivers, own.delivery.commanders)
    assert set(applied._keys(over)) & applied.FORBIDDEN == set()


def play(data: bytes) -> None:
    """A scenario: read, or refused as `load` says."""
    with contextlib.suppress(ValueError):
        read = scenario.load(_written("scenario.toml", data))
        assert all(len(board.names) == board.count for board in read.board)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


class _Intake:
    def identify(self, device: str) -> None:
        if device != DEVICE:
            raise C5Error("no such device")

    def glance(self) -> list[Any]:
        return []

    def enrol(self, _device: object) -> None: ...

    def revoke(self, _device: str) -> None: ...


def requests(data: bytes) -> None:
    """A line on the control socket: an answer that goes on the socket, and no failure in the log."""
    recorder = SimpleNamespace(record=lambda _event: None)
    works = Works(GATEWAY, Maintenance(GATEWAY), recorder, Clock(), lambda name: name in {DEVICE: 1})  # type: ignore[arg-type]  # in memory
    app = SimpleNamespace(
        world=SimpleNamespace(beside=asyncio.to_thread),
        settings=SimpleNamespace(gateway=SimpleNamespace(state_dir=_home())),
        registry=Registry(_home() / "devices.json"),
        intake=_Intake(),
        works=works,
        supervise=SimpleNamespace(watch=lambda _devices: None),
        outbox=SimpleNamespace(
            forget=lambda _device: None, salvager=SimpleNamespace(begin=lambda _file: None, progress=None, busy=False)
        ),
    )

    async def handle(request: dict[str, Any]) -> dict[str, Any]:
        if request.get("do") == "status":
            return {}
        return await status.answer(app, request)  # type: ignore[arg-type]  # as much of one as is asked

    with raised("gateway.console"):
        for line in data.split(b"\n")[:8]:
            answered = _loop().run_until_complete(console._answered(line, handle))
            json.loads(json.dumps(answered).encode())


@cache
def _store() -> tuple[dict[str, bytes], frozenset[bytes]]:
    """Return a store as a power cut leaves it, file and log, and the records that were put into it."""
    folder = Path(tempfile.mkdtemp(prefix="store-", dir=_home()))
    copies: dict[str, bytes] = {}

    async def story(life: Any) -> list[bytes]:
        signed = [
            await life.record("panic.pressed", DEVICE, at, payload=bytes(1500 if at == 3 else 10)) for at in range(1, 6)
        ]
        with contextlib.closing(sqlite3.connect(folder / FILE)) as other:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        signed += [await life.record("door.opened", "door") for _ in range(2)]
        for suffix in ("", "-wal"):
            copies[suffix] = (folder / (FILE + suffix)).read_bytes()
        return [each.wire for each in signed]

    return copies, frozenset(live(folder, story))


@contextlib.contextmanager
def _empty() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for script in MIGRATIONS:
            connection.executescript(script)
        yield connection


def store(data: bytes) -> None:
    """A damaged store: what is believed of it fits, and a record comes out only as it was put in.

    A part is a place in the file (or, the first byte odd, its log) and what stands there instead; one that is empty
    cuts it off there.
    """
    whole, records = _store()
    files = {suffix: bytearray(content) for suffix, content in whole.items()}
    for part in parts(data)[:32]:
        file = files["-wal" if number(part, 0, 2) else ""]
        at = int.from_bytes(part[1:4], "big") % (len(file) + 1)
        if len(part) > 4:
            file[at : at + len(part) - 4] = part[4:]
        else:
            del file[at:]
    pages = Pages(lambda suffix, offset, length: bytes(files[suffix][offset : offset + length]))
    known = wreck.known(pages)
    ordinals = {row[0] for row in known.epochs}
    assert all(row[1] in ordinals for row in (*known.heads, *known.receipted))
    with _empty() as connection:
        there = wreck.adopt(connection, known, whole=True)
        assert set(there) == ordinals
        wreck.check(connection)
    prover = rescue().prover
    for chain in (*known.chains, CHAIN):
        prover.introduce(chain)
    for block in range(min(pages.blocks, 200)):
        for candidate in pages.candidates(block):
            assert len(candidate) <= ROW_MAX
            for lanes in PASSES:
                found = prover.prove(candidate, lanes)
                assert found is None or (found.wire in records and found.said.lane in Lane)


def _damages() -> list[bytes]:
    spots = [(page * PAGE + offset) for page in (0, 1, 3, 5) for offset in (3, 100, 2000)]
    return [
        b"",
        *(b"\x00" + spot.to_bytes(3, "big") + b"\xff\x00\x13\x37" for spot in spots),
        b"\x01\x00\x10\x20" + bytes(64),
        b"\x00\x00\x50\x00",
        b"\x01\x00\x40\x00",
        CUT.join([b"\x00\x00\x10\x05\x0d\x00\x00\x00\x02", b"\x00\x00\x20\x00" + bytes(100)]),
    ]


def _asked() -> list[bytes]:
    label = "C5D1:66da149b:PB-1:UKHW76YZFLAAAA3XAWWIU6INOA:03f6"
    given: list[dict[str, Any]] = [
        {"do": "status"},
        {"do": "devices"},
        {"do": "salvaging"},
        {"do": "identify", "device": DEVICE},
        {"do": "enrol", "label": label, "name": "bar", "position": [8.1, -77.7]},
        {"do": "revoke", "device": "66da149b"},
        {"do": "enrol", "label": label, "name": "", "position": None},
        {"do": "salvage", "file": "/var/lib/x.db"},
        {
            "do": "maintenance",
            "name": "maintenance.begin",
            "arguments": {"device": DEVICE, "minutes": 5, "reason": "battery"},
        },
        {"do": "maintenance", "name": "maintenance.end", "arguments": {}},
    ]
    lines = [json.dumps(each).encode() for each in given]
    return [*lines, b"\n".join(lines[4:8])]


_TOML: Final = (
    b"=",
    b"[",
    b"]",
    b"[[",
    b'""',
    b"true",
    b"-1",
    b"0",
    b"1e400",
    b"nan",
    b"inf",
    b"99999999999999999999",
    b"'x'",
    b"[]",
    b"{}",
    b'"\\u0000"',
    b'"pkcs11:x"',
    b"1979-05-27T07:32:00Z",
    b"12:00:00",
    b"[[broker]]",
    b"[[input]]",
    b'"/dev/null"',
)
_JSON: Final = (
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"NaN",
    b"[]",
    b"{}",
    b'"\\ud800"',
    b'"\\u0000"',
    b"[1,2]",
    b"[true,false]",
    b"9" * 30,
)
TARGETS = (
    Target(
        "settings",
        settings,
        lambda: [SETTINGS.encode(), RECEIVER.encode(), b""],
        ("gateway.settings", "gateway.config", "gateway.c5.config"),
        "text",
        words=_TOML,
        most=8192,
    ),
    Target(
        "laid-over",
        laid_over,
        lambda: [
            b"[delivery]\nprofile = 20\n",
            b"",
            b'[[port]]\nname = "a"\ndevice = "/dev/ttyS0"\n',
            b"[identity]\n",
            b'gateway.site = "x"\n',
            b'delivery.commanders = ["me"]\n',
            b'[supervision]\ninterval_s = 5\n[log]\nlevel = "debug"\n',
        ],
        ("gateway.applied", "gateway.config", "gateway.settings"),
        "text",
        words=_TOML,
    ),
    Target(
        "scenario",
        play,
        lambda: [(scenario.SHIPPED / f"{name}.toml").read_bytes()[:8000] for name in scenario.shipped()],
        ("firmware_sim.scenario", "firmware_sim.kinds.receiver"),
        "text",
        words=_TOML,
        most=8192,
    ),
    Target(
        "requests",
        requests,
        _asked,
        ("gateway.console", "gateway.status", "gateway.tasks.orders.maintenance", "gateway.registry.devices"),
        "text",
        words=_JSON,
    ),
    Target(
        "store",
        store,
        _damages,
        ("gateway.outbox.pages", "gateway.outbox.wreck"),
        words=(b"\x0d", b"\x05", b"\x0a", b"\x02", b"\x80" * 9),
        most=2048,
    ),
)
