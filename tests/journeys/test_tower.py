"""A tower with all that it may have: each fault of `tower` is the right record, once, in the right lane."""

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import struct
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from certs.authority import Authority
from firmware_sim.broker import free_port
from firmware_sim.play import Run
from firmware_sim.scenario import find
from gateway import profiles
from tests.support.scenes import Told, all_told, site
from tests.support.world import Counted, World, until

EXPECTED: Told = {
    ("alarm", "panic.pressed", "0c500051"): 2,
    ("status", "device.lost", "0c500051"): 1,
    ("status", "device.restored", "0c500051"): 1,
    ("status", "port.lost", "radio"): 1,
    ("status", "port.restored", "radio"): 1,
    ("alarm", "panic.pressed", "platform"): 1,
    ("status", "panic.released", "platform"): 1,
    ("status", "battery.low", "charger"): 1,
    ("status", "battery.restored", "charger"): 1,
    ("status", "device.lost", "charger"): 1,
    ("status", "device.restored", "charger"): 1,
    ("status", "device.lost", "meter"): 1,
    ("status", "device.restored", "meter"): 1,
    ("status", "door.opened", "door"): 1,
    ("status", "door.closed", "door"): 1,
    ("status", "threshold.exceeded", "climate"): 2,  # hot, and faster than anything but a fire
    ("status", "threshold.restored", "climate"): 2,
    ("status", "port.lost", "cabinet"): 1,
    ("status", "port.restored", "cabinet"): 1,
    ("alarm", "position.moved", "mast"): 1,
    ("status", "port.lost", "mast"): 1,
    ("status", "port.restored", "mast"): 1,
    ("alarm", "panic.pressed", "keypad-panic"): 1,
    ("status", "panic.released", "keypad-panic"): 1,
    ("status", "door.opened", "gate-door"): 1,
    ("status", "door.closed", "gate-door"): 1,
    ("alarm", "tamper.opened", "keypad"): 1,
    ("status", "tamper.closed", "keypad"): 1,
    ("status", "power.lost", "keypad"): 1,
    ("status", "power.restored", "keypad"): 1,
    ("status", "device.lost", "keypad"): 1,
    ("status", "device.restored", "keypad"): 1,
    ("status", "port.lost", "gate"): 1,
    ("status", "port.restored", "gate"): 1,
    ("alarm", "panic.pressed", "stairs"): 2,
    ("alarm", "intrusion.detected", "analytics"): 5,
    ("status", "device.unauthenticated", "local-input"): 1,
    ("status", "device.chattering", "analytics"): 1,
}
# What there is more of where the minutes are as long as they are: a receiver's silence, a radio that is out for longer
# than its button may be silent, and what is told again after a minute.
LONG: Told = {
    ("status", "device.lost", "mast"): 1,
    ("status", "device.restored", "mast"): 1,
    ("status", "device.lost", "0c500051"): 2,
    ("status", "device.restored", "0c500051"): 2,
    ("status", "device.chattering", "analytics"): 2,
}
JUMPED = "the time of receiver mast is not believed: it jumped to another time"
DEVICES = {source for _lane, _type, source in EXPECTED} - {"local-input"}
UNITS = ("epever-tracer", "eastron-sdm120", "waveshare-io-8ch", "xy-md02")


def settings(scenario: str, folder: Path) -> str:
    """Return the settings that the scenario's own comment gives."""
    lines = re.findall(r"^#     (.*)$", scenario, re.MULTILINE)
    return "\n".join(lines).replace("FOLDER", str(folder)) + "\n"


def hurried(folder: Path, speed: float) -> str:
    """Make the units' profiles so many times faster, and return the settings that name them."""
    folder.mkdir()
    for name in UNITS:
        text = (Path(profiles.__path__[0]) / f"{name}.toml").read_text()
        times = re.compile(r"^((?:poll|over)_s) = ([\d.]+)", re.MULTILINE)
        text = times.sub(lambda found: f"{found[1]} = {max(0.1, float(found[2]) / speed)}", text)
        (folder / f"{name}.toml").write_text(text)
    return f'[modbus]\nprofiles_dir = "{folder}"\n'


@contextlib.asynccontextmanager
async def tower(folder: Path, authority: Path, speed: float) -> AsyncIterator[tuple[World, Run]]:
    """The tower, its keypad installed, before anything has happened."""
    field = folder / "field"
    field.mkdir()
    ca = Authority.open(authority)
    for role, name, hosts in (("local", "tower", ("127.0.0.1",)), ("source", "analytics", ())):
        issued = authority / role / name
        if not issued.exists():
            ca.issue(role, name, hosts=hosts)  # type: ignore[arg-type]  # of a Literal
        for end in ("pem", "key"):
            (field / f"{name}.{end}").touch(0o600)
            (field / f"{name}.{end}").write_bytes((issued / f"tls.{end}").read_bytes())
    (field / "trust-anchors.pem").write_bytes((authority / "trust-anchors.pem").read_bytes())
    scenario, port = find("tower").read_text(), str(free_port())
    copy = folder / "tower.toml"
    copy.write_text(scenario.replace("[[help_point]]\n", f"[[help_point]]\nport = {port}\n"))
    tables = settings(scenario, field).replace("8443", port)
    if speed > 1:
        tables += hurried(folder / "profiles", speed)
    async with site(folder, authority, str(copy), tables=tables, speed=speed) as (world, run):
        status, _printed, said = await world.gateway.command("peripheral", "install", "keypad")
        assert status == 0, said
        yield world, run


def named(shown: Any) -> Iterator[str]:
    """Yield the name of everything that `status --json` shows as a thing."""
    if isinstance(shown, dict):
        yield from (shown[key] for key in ("name", "id") if key in shown)
        yield from (name for key, value in shown.items() if key != "drivers" for name in named(value))
    elif isinstance(shown, list):
        yield from (name for value in shown for name in named(value))


@contextlib.asynccontextmanager
async def watching(world: World) -> AsyncIterator[bytearray]:
    """Have `c5-receiver watch` on a terminal while inside; yield what it has shown so far."""
    near, far = os.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 70, 200, 0, 0))
    command = [str(Path(sys.executable).with_name("c5-receiver")), "watch", "--config", str(world.receiver.config)]
    if setpriv := shutil.which("setpriv"):  # without it, a killed test run leaves it behind
        command = [setpriv, "--pdeathsig", "KILL", *command]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=far, stdout=far, stderr=far,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "70"},  # pytest-xdist has others in it
    )  # fmt: skip
    os.close(far)
    shown = bytearray()
    loop = asyncio.get_running_loop()
    loop.add_reader(near, lambda: shown.extend(os.read(near, 65_536)))
    try:
        yield shown
    finally:
        loop.remove_reader(near)
        process.kill()
        await process.wait()
        os.close(near)


@contextlib.asynccontextmanager
async def troubled(world: World) -> AsyncIterator[set[str]]:
    """Yield the troubles that `status` has shown so far, each without its numbers."""
    met: set[str] = set()

    async def look() -> None:
        while True:
            met.update(re.sub(r"\d+(\.\d+)?", "…", text) for text in (await world.ask())["troubles"])
            await asyncio.sleep(1)

    looking = asyncio.create_task(look())
    try:
        yield met
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


# 15 s, and the 3½ min that it is by the profiles' own periods.
@pytest.mark.parametrize("speed", [14, pytest.param(1, marks=[pytest.mark.soak, pytest.mark.timeout(400)])])
def test_each_fault_of_the_tower_arrives_as_the_right_record_once_in_the_right_lane(
    tmp_path: Path, authority: Path, counted: Counted, speed: int
) -> None:
    async def journey() -> None:
        async with (
            asyncio.timeout(90 + 220 / speed),
            tower(tmp_path, authority, speed) as (world, run),
            watching(world) as shown,
            troubled(world) as troubles,
        ):
            assert await run.play()
            await all_told(world, EXPECTED if speed > 1 else EXPECTED | LONG)
            assert DEVICES - set(named(await world.gateway.status())) == set()
            await until(lambda: all(name.encode() in shown for name in DEVICES), "every device in the watch")
            assert any(text.startswith(JUMPED) for text in troubles) == (speed == 1)  # 30 s before any is believed
            counted(await world.intact())

    asyncio.run(journey())
