"""Local input as the settings have it: off without its table, and never in the way of a start."""

import asyncio
import hashlib
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certs.authority import Authority
from gateway import applied, local_input, site
from gateway.cli import local
from gateway.clock import FieldClock
from gateway.delivery.item import Raised, RaisedState
from gateway.errors import SettingsError
from gateway.event import Lane
from gateway.local_input import LocalInput
from gateway.signing.record import Clock as Quality
from gateway.tasks.recorder import Recorder
from gateway.world import World
from tests.support.memory import Clock, Store
from tests.unit.test_config import GATEWAY, WHOLE, _load, _refusal

TOKEN = "5f2d7a1c9b3e4f608172a3b4c5d6e7f8"
PORT = '[local_input]\naddress = "192.168.1.1"\ncertificate = "tower.pem"\nkey = "tower.key"\n'
ANCHORS = 'client_anchors = "anchors.pem"\n'
SOURCE = '[[source]]\nname = "analytics"\ntypes = ["intrusion.detected"]\ntoken_file = "analytics.token"\n'
HELP = '[[source]]\nname = "help"\ntypes = ["panic.pressed"]\ncertificate = "urn:c5:source:help"\n'


def test_without_its_table_nothing_listens(tmp_path: Path) -> None:
    settings = _load(tmp_path, WHOLE)
    assert (settings.local_input, settings.source, settings.gateway.site_file) == (None, (), None)


def test_a_port_and_its_sources_are_what_the_settings_say(tmp_path: Path) -> None:
    settings = _load(tmp_path, WHOLE + PORT + ANCHORS + SOURCE + HELP)
    table = settings.local_input
    assert table is not None
    assert (table.address, table.port, table.name) == ("192.168.1.1", 8443, "local-input")
    assert (table.certificate, table.client_anchors) == (tmp_path / "tower.pem", tmp_path / "anchors.pem")
    assert {"local-input", "analytics", "help"} <= settings.names
    token = tmp_path / "analytics.token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    (analytics, help_), wrong = local_input.sources(settings)
    assert wrong == {}
    assert (analytics.token, analytics.types) == (
        hashlib.sha256(TOKEN.encode()).digest(),
        frozenset({"intrusion.detected"}),
    )
    assert (help_.token, help_.certificate, help_.per_minute, help_.burst) == (None, "urn:c5:source:help", 60, 20)


def test_a_token_may_be_given_as_its_hash(tmp_path: Path) -> None:
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    settings = _load(tmp_path, WHOLE + PORT + SOURCE.replace("token_file", "token_sha256").replace(
        "analytics.token", digest))  # fmt: skip
    assert local_input.sources(settings)[0][0].token == bytes.fromhex(digest)


@pytest.mark.parametrize(("content", "mode"), [(None, 0o600), (TOKEN, 0o640), ("short", 0o600), ("x" * 600, 0o600)])
def test_a_token_that_can_not_be_used_stops_its_source_alone(tmp_path: Path, content: str | None, mode: int) -> None:
    settings = _load(tmp_path, WHOLE + PORT + ANCHORS + SOURCE + HELP)
    if content is not None:
        (tmp_path / "analytics.token").write_text(content)
        (tmp_path / "analytics.token").chmod(mode)
    (analytics, help_), wrong = local_input.sources(settings)
    assert (analytics.token, analytics.certificate, help_.certificate) == (None, None, "urn:c5:source:help")
    assert list(wrong) == ["analytics"]


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        (SOURCE, "source: there is no [local_input] to hear it"),
        (PORT.replace("192.168.1.1", "tower.example"), (
            'local_input.address: an address of this machine, as 192.168.1.1; "0.0.0.0" and "::" are all of them')),
        (PORT + "port = 443\n", "local_input.port: Input should be greater than or equal to 1024"),
        (PORT + SOURCE.replace('token_file = "analytics.token"\n', ""), (
            "source[0]: token_file, token_sha256 or certificate is required, and of the first two only one")),
        (PORT + SOURCE + f'token_sha256 = "{"0" * 64}"\n', (
            "source[0]: token_file, token_sha256 or certificate is required, and of the first two only one")),
        (PORT + SOURCE.replace("token_file", "token_sha256"), (
            "source[0].token_sha256: 64 of 0-9, a-f: what sha256sum makes of the token")),
        (PORT + HELP, "source[0].certificate: only with local_input.client_anchors"),
        (PORT + ANCHORS + HELP + HELP.replace('"help"', '"other"'), (
            "source[1].certificate: this is how help shows who it is")),
        (PORT + SOURCE + SOURCE, "source[1].name: analytics is used twice"),
        (PORT + SOURCE.replace('"analytics"', '"local-input"'), "local_input[0].name: local-input is used twice"),
        (PORT + SOURCE.replace('["intrusion.detected"]', "[]"), (
            "source[0].types: Input should have at least this many items: 1")),
        (PORT + SOURCE.replace("intrusion.detected", "measurement"), (
            "source[0].types: one of panic.pressed, panic.silent, panic.duress, medical.requested, fire.reported, "
            "tamper.opened, intrusion.detected, battery.low, power.lost, door.opened, test.pressed, panic.released, "
            "tamper.closed, battery.restored, power.restored, door.closed")),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused_with_its_key(tmp_path: Path, tables: str, told: str) -> None:
    assert _refusal(tmp_path, WHOLE + tables) == told


def test_a_site_file_names_sources_that_there_are(tmp_path: Path) -> None:
    with_site = WHOLE.replace(GATEWAY, GATEWAY + 'site_file = "site.toml"\n') + PORT + SOURCE
    settings = _load(tmp_path, with_site)
    with pytest.raises(SettingsError, match=r"the site file .*site\.toml can't be read"):
        site.video(settings)
    text = '[[camera]]\nname = "mast"\n[[view]]\nsource = "analytics"\n'
    (tmp_path / "site.toml").write_text(text + 'shows = [{ camera = "mast" }]\n')
    assert site.video(settings) == {"analytics": ({"camera": "mast"},)}
    (tmp_path / "site.toml").write_text(text + 'shows = [{ camera = "sail" }]\n')
    with pytest.raises(SettingsError, match=r"site\.toml, line 5: view\.shows: there is no \[\[camera\]\]"):
        site.video(settings)


def test_a_mistake_in_the_site_file_stops_no_start_and_is_told(tmp_path: Path) -> None:
    settings = _load(tmp_path, WHOLE.replace(GATEWAY, GATEWAY + 'site_file = "site.toml"\n'))
    (tmp_path / "site.toml").write_text("[[camera")
    cameras, (told,) = site.video_or_none(settings)
    assert cameras == {}
    assert told.startswith(f"no alarm has its cameras, everything else goes on: {tmp_path}/site.toml is not TOML")


def test_tokens_that_can_not_be_sent_or_that_two_sources_have_are_told(tmp_path: Path) -> None:
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    other = SOURCE.replace('"analytics"', '"other"').replace("token_file", "token_sha256").replace(
        "analytics.token", digest)  # fmt: skip
    settings = _load(tmp_path, WHOLE + PORT + SOURCE + other)
    token = tmp_path / "analytics.token"
    token.touch(0o600)
    token.write_text("p@ssw0rd! " * 4)
    assert list(local_input.sources(settings)[1]) == ["analytics"]
    token.write_text(TOKEN)
    _sources, wrong = local_input.sources(settings)
    assert sorted(wrong) == ["analytics", "other"]
    assert wrong["other"] == "other and analytics have the same token, and neither is heard by it"


def test_under_c5_s_own_authority_only_a_source_s_certificate_is_one(tmp_path: Path) -> None:
    own, other = (Authority.create(tmp_path / name).trust_anchors for name in ("pki", "other"))
    tables = (
        WHOLE
        + PORT
        + ANCHORS.replace("anchors.pem", "clients.pem")
        + HELP
        + HELP.replace('"help"', '"box"').replace("urn:c5:source:help", "pa-dar-0017")
    )
    settings = _load(tmp_path, tables)
    settings.identity.trust_anchors.write_bytes(own.read_bytes())
    for anchors, certificates, told in (
        (own.read_bytes() + other.read_bytes(), ["urn:c5:source:help", None], ["box"]),
        (other.read_bytes(), ["urn:c5:source:help", "pa-dar-0017"], []),
    ):
        (tmp_path / "clients.pem").write_bytes(anchors)
        found, wrong = local_input.sources(settings)
        assert ([one.certificate for one in found], list(wrong)) == (certificates, told)


@pytest.mark.parametrize("over", ["[gateway]\nsite_file = '/etc/shadow'\n", PORT, "[local_input]\nport = 9443\n"])
def test_c5_opens_no_port_and_names_no_file_from_afar(tmp_path: Path, over: str) -> None:
    with pytest.raises(SettingsError, match="only a technician can set this"):
        applied.Loaded(tmp_path / "gateway.toml", _load(tmp_path, WHOLE + PORT)).apply(over)


def test_a_gateway_without_local_input_never_loads_its_library() -> None:
    program = "import sys; import gateway.app; sys.exit('h11' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_port_is_shown_with_its_troubles_and_its_sources(tmp_path: Path) -> None:
    settings = _load(tmp_path, WHOLE + PORT + SOURCE)
    side = LocalInput(settings, World())
    clock, forgotten = Clock(), list[str]()
    known = [
        RaisedState(Raised(name, "panic.pressed", 7, b"d" * 16, 0), Lane.ALARM, 1, 1, bytes(8), 2)
        for name in ("analytics", "gone")
    ]
    side.begin(
        known,
        FieldClock(clock, None, datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)),
        forgotten.append,
    )
    assert (forgotten, side.gone) == (["gone"], frozenset({"gone"}))
    recorder = Recorder({}, 1, Store(), lambda *_: (0, Quality(0, 0, 0)), None)
    told: list[tuple[str, str]] = []

    class Supervise:
        def port_lost(self, port: str, reason: str) -> None:
            told.append((port, reason))

        def port_restored(self, port: str) -> None: ...

    side.wire(recorder, Store(), Supervise(), ())  # type: ignore[arg-type]  # what of it is used
    (driver,) = side.drivers()
    assert (driver.name, "analytics" in side, "local-input" in side) == ("local-input", True, False)

    async def run() -> None:
        task = asyncio.create_task(driver.run(lambda: None))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    missing = f"{tmp_path}/tower.pem can't be read"
    assert [(port, reason[: len(missing)]) for port, reason in told] == [("local-input", missing)]
    assert [trouble.partition(":")[0] for trouble in side.troubles] == ["local-input", "analytics"]
    shown = list(local.shown({key: list(rows) for key, rows in side.glance().items()}))
    assert shown[0].startswith(f"local-input {missing}")
