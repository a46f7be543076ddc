"""OSDP peripherals on RS-485, each on libosdp's own peripheral device: believed by their own key, and not otherwise."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.osdp import Peripheral
from firmware_sim.pty import PseudoTerminal
from gateway.drivers.osdp_keys import FOLDER, KeyFiles
from gateway.sensing.osdp import HANDSHAKE, SECURED, Frame, Frames, Keys
from tests.support.operator import Operator
from tests.support.world import GATEWAY, HONEST, Counted, World, until

REPORTED = HONEST | {"device.lost", "tamper.opened", "power.lost", "door.opened", "port.lost"}
PORT = """
[delivery]
commanders = ["operator"]

[[port]]
name = "gates"
driver = "osdp"
device = "{bus}"
baud = 9600
"""
GATE = """
[[peripheral]]
name = "{name}"
port = "gates"
address = {address}
indicator = true

[[peripheral.input]]
name = "{name}-panic"
number = 0
on = "panic.pressed"
off = "panic.released"

[[peripheral.input]]
name = "{name}-door"
number = 1
on = "door.opened"
off = "door.closed"

[[peripheral.output]]
name = "siren"
number = 0
kind = "siren"
"""


class Site:
    """A world with an OSDP line and peripherals on it, as they left the factory."""

    def __init__(self, tmp_path: Path, authority: Path, *names: str) -> None:
        self.bus = tmp_path / "bus"
        self.line = PseudoTerminal(self.bus)
        self.peripherals = {name: Peripheral(self.line, address) for address, name in enumerate(names, 1)}
        tables = PORT.format(bus=self.bus)
        for name, one in self.peripherals.items():
            tables += GATE.format(name=name, address=one.address)
        self.world = World(tmp_path, authority, boards=1, tables=tables)

    async def install(self, name: str) -> None:
        status, printed, said = await self.world.gateway.command("peripheral", "install", name)
        assert status == 0, printed + said
        assert "the default key is refused" in printed

    async def state(self, name: str) -> dict[str, Any]:
        return next(one for one in (await self.world.ask())["peripherals"] if one["name"] == name)

    async def live(self, name: str) -> None:
        async def so() -> bool:
            return bool((await self.state(name))["live"])

        await until(so, f"{name} connected by its key")

    def records(self, *sources: str) -> list[tuple[str, str]]:
        held = self.world.receiver.held()
        return [(one.source, one.type) for one in held if one.source in sources and not one.repeated]


def test_a_peripheral_is_installed_pressed_acknowledged_switched_and_no_longer_believed_when_it_is_swapped(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    site = Site(tmp_path, authority, "gate")
    gate, heard = site.peripherals["gate"], list[Frame]()

    async def journey() -> None:
        async with asyncio.timeout(100), site.line as line, site.world as world:
            listening = Frames()
            sends = gate.send

            def overheard(frame: bytes) -> None:
                heard.extend(listening.feed(frame))
                sends(frame)

            gate.send = overheard  # type: ignore[method-assign]
            gate.start()
            assert "it has no key yet and is not heard: c5-gateway peripheral install gate" in await world.troubles()
            assert (gate.commands, heard) == (0, []), "without a key nobody speaks with it"
            async with Operator(world, looks_at={"gate-panic"}) as operator:
                await site.install("gate")
                assert gate.keys_set == 1
                secure_from = len(heard)
                gate.set_input(0, active=True)
                await until(lambda: gate.led == ("green", 1, 0), "the light: C5 has it")
                await until(lambda: gate.buzzes == 1, "the buzzer: an operator has seen it")
                await until(lambda: operator.told, "his command done")
                gate.set_input(0, active=False)
                gate.tamper(opened=True)
                gate.power(present=False)
                order = ("output.set", "device=gate", "output=siren", "on=true", "--wait", "10")
                config = str(world.receiver.home / "operator.toml")
                assert (await world.receiver.command("command", GATEWAY, *order, "--config", config))[0] == 0
                assert gate.outputs == [True]
                shown = ("device.identify", "device=gate", "--wait", "10")
                assert (await world.receiver.command("command", GATEWAY, *shown, "--config", config))[0] == 0
                assert gate.led == ("amber", 1, 1)
                gate.set_input(1, active=True)
                line.unplug()
                await until(lambda: world.receiver.of_type("port.lost"), "the adapter pulled out")
                gate.set_input(1, active=False)
                gate.tamper(opened=False)
                gate.power(present=True)
                line.plug()
                await until(lambda: world.receiver.of_type("power.restored"), "what changed meanwhile, at C5")
            told = site.records("gate", "gate-panic", "gate-door")
            assert [one for one in told if one[0] != "gate-door"] == [
                ("gate-panic", "panic.pressed"), ("gate-panic", "alarm.acknowledged"),
                ("gate-panic", "panic.released"), ("gate", "tamper.opened"), ("gate", "power.lost"),
                ("gate", "tamper.closed"), ("gate", "power.restored"),
            ]  # fmt: skip
            door = [one for one in told if one[0] == "gate-door"]
            assert door in ([], [("gate-door", "door.opened"), ("gate-door", "door.closed")]), "never half of it"

            blocks = {(frame.block, frame.code) for frame in heard[secure_from:]}
            assert all(block in SECURED for block, code in blocks if code in (0x40, 0x48, 0x49)), (
                "reports are encrypted"
            )
            assert {code for block, code in blocks if block is None} <= {0x45, 0x46}, (
                "but for who it is, and what it has"
            )
            assert {block for block, _code in blocks if block in HANDSHAKE} == {0x12, 0x14}
            assert gate.key is not None
            key = gate.key.hex()
            assert not any(gate.key in frame.raw for frame in heard)
            assert key not in json.dumps(await world.ask())
            assert "other settings" not in (await world.gateway.command("check"))[1]
            assert key not in world.gateway.log
            kept = world.gateway.state_dir / FOLDER / "gate"
            assert (kept.stat().st_mode & 0o777, kept.read_text()) == (0o600, f"{key}\n\n")

            gate.reset()  # or another of its model in its place
            gate.set_input(0, active=True)
            await until(lambda: world.receiver.of_type("device.lost"), "the swapped one, not believed")
            assert world.receiver.of_type("device.lost")[0]["data"]["fault"] == "key"
            assert "it answers, but not with its key" in await world.troubles()
            await world.gateway.stop()
            await world.gateway.start()
            await asyncio.sleep(3)
            assert gate.key is None
            assert site.records("gate-panic").count(("gate-panic", "panic.pressed")) == 1
            assert site.records("gate").count(("gate", "device.lost")) == 1, "once, over a restart too"
            await site.install("gate")
            await until(lambda: ("gate", "device.restored") in site.records("gate"), "installed anew")
            await until(lambda: len(world.receiver.of_type("panic.pressed")) == 2, "and believed")
            assert world.receiver.of_type("panic.pressed")[1]["data"]["found"] is True
            counted(await world.judged(reports=REPORTED))

    asyncio.run(journey())


def test_a_kill_while_a_key_is_set_leaves_a_peripheral_that_can_be_had(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    site = Site(tmp_path, authority, "gate")
    gate = site.peripherals["gate"]

    async def journey() -> None:
        async with asyncio.timeout(90), site.line, site.world as world:
            gate.start()
            sends = gate.send
            answers = 0

            def until_the_second_challenge(frame: bytes) -> None:
                nonlocal answers
                answers += (0x76, 0x12) in [(one.code, one.block) for one in Frames().feed(frame)]
                if answers == 2:  # by the default key: the next would be the new one
                    world.gateway.kill()
                else:
                    sends(frame)

            gate.send = until_the_second_challenge  # type: ignore[method-assign]
            await world.gateway.command("peripheral", "install", "gate")
            assert (gate.key, gate.keys_set) == (None, 0)
            gate.send = sends  # type: ignore[method-assign]
            await world.gateway.start()
            await asyncio.sleep(3)
            assert gate.keys_set == 0, "the default key is refused: nobody is installing"

            def until_the_key(frame: bytes) -> None:
                if gate.keys_set:
                    world.gateway.kill()
                else:
                    sends(frame)

            gate.send = until_the_key  # type: ignore[method-assign]
            await world.gateway.command("peripheral", "install", "gate")
            assert gate.keys_set == 1, "it has its key, and its answer never came"
            gate.send = sends  # type: ignore[method-assign]
            gate.stop()
            gate.start()
            await world.gateway.start()
            await site.live("gate")
            assert gate.keys_set == 1, "by the key that was stored before it was sent"
            gate.set_input(0, active=True)
            await until(lambda: world.receiver.of_type("panic.pressed"), "the press")
            counted(await world.judged(reports=REPORTED))

    asyncio.run(journey())


@pytest.mark.soak
def test_one_of_several_dies_and_the_others_are_heard_as_before(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    site = Site(tmp_path, authority, "north", "south", "west")
    north, south, west = site.peripherals.values()
    for name, one in site.peripherals.items():
        one.key = bytes(16)
        KeyFiles(site.world.gateway.state_dir).write(name, Keys(one.key))

    async def journey() -> None:
        async with asyncio.timeout(90), site.line, site.world as world:
            for one in site.peripherals.values():
                one.start()
            for name in site.peripherals:
                await site.live(name)
            west.stop()
            await until(lambda: world.receiver.of_type("device.lost"), "the dead one, lost")
            assert [(one["device"], one["data"]["fault"]) for one in world.receiver.of_type("device.lost")] == [
                ("west", "silent")
            ]
            waits = []
            for pressed in (north, south, north, south):
                pressed.set_input(0, active=True)
                before, began = len(world.receiver.of_type("panic.pressed")), time.monotonic()
                await until(
                    lambda before=before: len(world.receiver.of_type("panic.pressed")) > before,  # type: ignore[misc]
                    "a press at another",
                )
                waits.append(time.monotonic() - began)
                pressed.set_input(0, active=False)
                await asyncio.sleep(0.3)
            west.start()
            await until(lambda: world.receiver.of_type("device.restored"), "the dead one, restored")
            west.set_input(0, active=True)
            await until(lambda: len(world.receiver.of_type("panic.pressed")) == 5, "a press at it")
            twin = Peripheral(site.line, west.address, key=west.key)
            twin.start()

            async def doubled() -> bool:
                return "two peripherals answer at its address" in await world.troubles() or bool(
                    (await site.state("west"))["lost"]
                )

            await until(doubled, "a second peripheral with its address, told")
            twin.stop()
            await site.live("west")
            assert max(waits) < 3.0
            counted({"press → printed by C5's receiver, one dead": f"{max(waits):.3f} s at most"})
            counted(await world.judged(reports=REPORTED))

    asyncio.run(journey())
