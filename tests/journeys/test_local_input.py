"""A help point and an analytics box raise events over HTTPS: 202 when it is durable, at C5 once, with the video."""

import asyncio
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certs.authority import Authority, Kind
from firmware_sim.help_point import HelpPoint, HelpPointError
from gateway.sensing.local import number_of
from tests.support.measured import Measured
from tests.support.operator import Operator
from tests.support.world import HONEST, RECEIVER, ROOT, Counted, World, until

TOKEN = "5f2d7a1c9b3e4f608172a3b4c5d6e7f8"
SETTINGS = """
[delivery]
commanders = ["operator"]

[local_input]
address = "127.0.0.1"
port = {port}
certificate = "{authority}/local/tower/tls.pem"
key = "{authority}/local/tower/tls.key"
client_anchors = "{authority}/trust-anchors.pem"

[[source]]
name = "help-east"
certificate = "urn:c5:source:help-east"
types = ["panic.pressed", "test.pressed"]
position = {{ latitude = 8.157, longitude = -77.69 }}

[[source]]
name = "analytics"
token_file = "{token}"
types = ["intrusion.detected", "panic.pressed", "door.opened"]
per_minute = 60
burst = 5
"""
SITE = """
[[camera]]
name = "mast-north"

[[view]]
source = "help-east"
shows = [{ camera = "mast-north", preset = "help-east" }, { camera = "mast-north" }]

[[view]]
source = "0c500001"
shows = [{ camera = "mast-north", preset = "gate" }]
"""
VIDEO = [{"camera": "mast-north", "preset": "help-east"}, {"camera": "mast-north"}]


class Tower(World):
    """A gateway with a port for local input, and a site file."""

    def __init__(self, folder: Path, authority: Path, **more: Any) -> None:
        issued: tuple[tuple[Kind, str, tuple[str, ...]], ...] = (
            ("local", "tower", ("localhost", "127.0.0.1")),
            ("source", "help-east", ()),
        )
        for role, name, hosts in issued:
            if not (authority / role / name).exists():
                Authority.open(authority).issue(role, name, hosts=hosts)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        token = folder / "analytics.token"
        token.touch(0o600)
        token.write_text(TOKEN + "\n")
        (folder / "site.toml").write_text(SITE)
        tables = SETTINGS.format(port=self.port, authority=authority, token=token)
        super().__init__(folder, authority, tables=tables, **more)
        self.gateway.settings = replace(self.gateway.settings, keys=f'site_file = "{folder}/site.toml"')
        self.anchors = authority / "trust-anchors.pem"
        self.help_east = self.by_certificate("source", "help-east")
        self.analytics = HelpPoint("127.0.0.1", self.port, self.anchors, token=TOKEN)

    def by_certificate(self, role: str, name: str) -> HelpPoint:
        issued = self.authority / role / name
        return HelpPoint("127.0.0.1", self.port, self.anchors, certificate=issued / "tls.pem", key=issued / "tls.key")

    async def source(self, name: str) -> dict[str, Any]:
        return next(row for row in (await self.ask())["sources"] if row["name"] == name)


def test_a_help_point_is_heard_at_c5_once_with_the_video_and_sees_who_has_seen_it(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(90), Tower(tmp_path, authority) as world:
            point = world.help_east
            key = await point.press("panic.pressed", {"intercom": 3, "lift": "B"})
            told = world.receiver.of_type
            await until(lambda: told("panic.pressed"), "the press at C5")
            (line,) = told("panic.pressed")
            assert (line["device"], line["lane"], line["data"]) == (
                "help-east", "alarm", {"age_ms": line["data"]["age_ms"], "intercom": 3, "lift": "B", "video": VIDEO},
            )  # fmt: skip
            assert line["position"] == {"latitude": 8.157, "longitude": -77.69, "accuracy_m": None}
            body = {"intercom": 3, "lift": "B"}
            again = await point.post("panic.pressed", body, key, age_ms=5000)
            await until(lambda: _staged(point, key, "received"), "C5's receipt told")
            assert again[0] == 202
            assert again[1]["record"] == line["identity"]
            assert (await point.post("panic.pressed", {"intercom": 4}, key))[0] == 422
            async with Operator(world, looks_at={"help-east"}) as operator:
                await until(lambda: _staged(point, key, "acknowledged"), "an operator's acknowledgement told")
            assert not operator.wrong
            shown = (await world.gateway.command("status"))[1]
            assert "help-east" in shown
            assert "other settings" not in (await world.gateway.command("check"))[1]
            await world.press()  # any other alarm has its cameras too
            assert [one["data"]["video"] for one in told("panic.pressed") if one["device"] == "0c500001"] == [
                [{"camera": "mast-north", "preset": "gate"}]
            ]
            assert len(told("panic.pressed")) == 2
            await world.gateway.stop()
            await world.gateway.start()
            await until(lambda: _staged(point, key, "acknowledged"), "the stage after a restart")
            assert (await point.post("panic.pressed", body, key))[1]["record"] == line["identity"]
            assert len(told("panic.pressed")) == 2
            counted(await world.intact())

    asyncio.run(journey())


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl, from Debian's package curl")
def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path, authority: Path) -> None:
    page = (ROOT / "docs" / "operate" / "local-input.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ (curl .*)$", page, re.MULTILINE)
    assert len(commands) == 3

    async def journey() -> None:
        async with asyncio.timeout(60), Tower(tmp_path, authority) as world:
            here = tmp_path / "pki" / "source" / "help-east"
            shutil.copytree(authority / "source" / "help-east", here)
            for place in (tmp_path / "pki", here):
                shutil.copy(world.anchors, place)
            (here / "analytics.header").write_text(f"Authorization: Bearer {TOKEN}\n")
            await until(lambda: _listens(world), "the port open")
            said = []
            for command in commands:
                done = await asyncio.to_thread(
                    subprocess.run,
                    ["bash", "-ec", command.replace("192.168.1.1:8443", f"127.0.0.1:{world.port}")],
                    cwd=here, check=True, capture_output=True, text=True, timeout=20,
                )  # fmt: skip
                said.append(json.loads(done.stdout))
            stored, asked, schema = said
            assert (stored["stage"], asked["record"]) == ("stored", stored["record"])
            assert schema == json.loads((ROOT / "docs" / "reference" / "local-input.schema.json").read_text())
            await until(lambda: world.receiver.of_type("test.pressed"), "the event at C5")

    asyncio.run(journey())


async def _listens(world: Tower) -> bool:
    try:
        await world.analytics.stage("0123456789abcdef")
    except OSError:
        return False
    return True


async def _staged(point: HelpPoint, key: str, stage: str) -> bool:
    try:
        return await point.stage(key) == stage
    except OSError:  # the port is not open yet
        return False


def test_who_is_not_known_is_refused_and_told_once_a_minute(tmp_path: Path, authority: Path, counted: Counted) -> None:
    async def journey() -> None:
        async with asyncio.timeout(60), Tower(tmp_path, authority) as world:
            key = str(uuid.uuid4())
            await until(lambda: _listens(world), "the port open")
            stranger = HelpPoint("127.0.0.1", world.port, world.anchors, token="f" * 32)
            nobody = HelpPoint("127.0.0.1", world.port, world.anchors)
            receiver = world.by_certificate("receiver", RECEIVER)  # under the same authority, and no source
            for unknown in (stranger, nobody, receiver):
                status, said = await unknown.post("panic.pressed", None, key)
                assert (status, said["title"]) == (401, "Unauthorized")
            assert await stranger.stage(key) is None
            with pytest.raises(HelpPointError, match="403: this source may not raise"):
                await world.help_east.press("intrusion.detected")
            other = Authority.create(tmp_path / "other-ca")
            issued = other.issue("source", "help-east")
            forger = HelpPoint(
                "127.0.0.1", world.port, world.anchors, certificate=issued.tls_certificate, key=issued.tls_key
            )
            with pytest.raises(OSError):  # noqa: PT011  # an alert, or the connection cut: TLS leaves it open
                await forger.post("panic.pressed", None, key)
            await world.press()
            told = world.receiver.of_type
            await until(lambda: len(told("device.unauthenticated")) == 2, "both told")
            assert {one["device"]: one["data"] for one in told("device.unauthenticated")} == {
                "local-input": {"count": 1, "last": "127.0.0.1"},
                "help-east": {"count": 1},
            }
            assert [one["device"] for one in told("panic.pressed")] == ["0c500001"]
            (port,) = (await world.ask())["local_inputs"]
            assert port["refused"]["unauthenticated"] == 4
            assert port["refused"]["handshakes"] == 1
            counted(await world.intact())

    asyncio.run(journey())


def test_a_flood_of_one_type_leaves_the_source_its_panic_and_everybody_else_theirs(
    tmp_path: Path, authority: Path, counted: Counted, measured: Measured
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(90), Tower(tmp_path, authority) as world:
            answers: Counter[int] = Counter()
            enough = asyncio.Event()

            async def flooding() -> None:
                while not enough.is_set():
                    answers.update(await world.analytics.flood("intrusion.detected", 4, at_once=3))

            began_at = time.monotonic()
            flood = asyncio.create_task(flooding())
            await until(lambda: _too_often(world), "a flood that is refused")
            took: list[float] = []
            for _ in range(5):
                began = time.monotonic()
                await world.analytics.press("panic.pressed")
                took.append(time.monotonic() - began)
            press = await world.press(stage=1)
            assert min(press.told.values()) - press.pressed_at < 1.0
            assert max(took) < 2.0
            enough.set()
            await flood
            assert answers[202] <= 5 + 1 + (time.monotonic() - began_at), answers  # burst, and one a second
            assert answers[429] > 0, answers
            told = world.receiver.of_type
            await until(lambda: len(told("panic.pressed")) == 6, "every panic at C5")
            assert [one["device"] for one in told("device.chattering")] == ["analytics"]
            measured(
                "local input: a panic's 202 beside its own source's flood, the longest", "s", round(max(took), 3), 2
            )
            counted({"answers": dict(answers), **await world.intact()})

    asyncio.run(journey())


async def _too_often(world: Tower) -> bool:
    return bool((await world.source("analytics"))["refused"].get("too often"))


def test_a_gateway_killed_before_it_answers_makes_one_happening_of_the_same_key(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(90), Tower(tmp_path, authority) as world:
            told = world.receiver.of_type
            keys = [str(uuid.uuid4()) for _ in range(2)]
            for number, key in enumerate(keys, 1):
                await until(lambda: _listens(world), "the port open")
                with await asyncio.to_thread(_unanswered, world, key):
                    await until(lambda n=number: len(told("panic.pressed")) >= n, "the press at C5")  # type: ignore[misc]
                    world.gateway.kill()
                await world.gateway.start()
                await world.analytics.press("panic.pressed", key=key)
            records = [(await world.analytics.post("panic.pressed", None, key))[1]["record"] for key in keys]
            assert len(set(records)) == 2
            await world.nothing_waits("alarm")
            # Killed before its commit it recorded the same again: under its number, which C5 shows as told before.
            held = [one for one in world.receiver.held() if one.type == "panic.pressed"]
            assert [one.event_number for one in held if not one.repeated] == [
                number_of("analytics", key) for key in keys
            ]
            counted(await world.intact())

    asyncio.run(journey())


def _unanswered(world: Tower, key: str) -> ssl.SSLSocket:
    """Ask, and don't wait for the answer."""
    body = json.dumps({"type": "panic.pressed"})
    context = ssl.create_default_context(cafile=world.anchors)
    sock = context.wrap_socket(socket.create_connection(("127.0.0.1", world.port)), server_hostname="localhost")
    sock.sendall(
        (
            f"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\nIdempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
    )
    return sock


def test_without_a_disk_202_waits_for_c5_and_without_both_it_is_503(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    readonly = tmp_path / "readonly"

    async def journey() -> None:
        async with (
            asyncio.timeout(90),
            Tower(
                tmp_path, authority, module="tests.support.readonly_gateway",
                environment={"C5_READONLY": str(readonly)},
            ) as world,
        ):  # fmt: skip
            await world.connected()
            point = world.analytics
            readonly.touch()
            key = str(uuid.uuid4())
            status, said = await point.post("panic.pressed", None, key)
            assert (status, said["stage"]) == (202, "received")
            world.broker.pause()
            key = str(uuid.uuid4())
            assert (await point.post("panic.pressed", None, key))[0] == 503
            assert await point.stage(key) == "recorded"
            waiting = asyncio.create_task(point.post("panic.pressed", None, key))
            await asyncio.sleep(0.5)
            assert (await point.post("panic.pressed", None, key))[0] == 409
            readonly.unlink()
            assert (await waiting)[0] == 202
            assert await point.stage(key) == "stored"
            world.broker.resume()
            await until(lambda: len(world.receiver.of_type("panic.pressed")) == 2, "both at C5")
            counted(await world.intact())

    asyncio.run(journey())


def test_a_port_that_is_taken_stops_no_alarm_and_is_had_when_it_is_free(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        world = Tower(tmp_path, authority)
        (tmp_path / "site.toml").write_text("[[camera")  # nor does a mistake in it
        other = socket.create_server(("127.0.0.1", world.port))
        async with asyncio.timeout(60), world:
            await world.press()
            assert f"local-input: port {world.port} is used by another program" in await world.troubles()
            await until(lambda: world.receiver.of_type("port.lost"), "the port told as lost")
            other.close()
            await world.analytics.press("panic.pressed")
            await until(lambda: world.receiver.of_type("port.restored"), "the port told as had")
            assert "local-input: " not in (troubles := await world.troubles())
            assert "no alarm has its cameras, everything else goes on" in troubles
            counted(await world.intact(HONEST | {"port.lost"}))

    asyncio.run(journey())
