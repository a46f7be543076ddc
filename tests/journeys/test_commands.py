"""Commands that nobody should have sent: at the broker and on the air. Nothing moves, and each is counted."""

import asyncio
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from certs.authority import Authority
from firmware_sim.air import DOWN, Air, altered
from gateway.signing import message
from gateway.signing.cose import Envelope, Signer, parse
from gateway.signing.message import Command, Reply
from tests.journeys.test_broker_forgery import signer
from tests.journeys.test_resend import BOSS, command
from tests.support.clocks import SYNCHRONISED
from tests.support.world import GATEWAY, OTHER, RECEIVER, TOPIC, Counted, World, until

OBEYS = f'[delivery]\ncommanders = ["{BOSS}"]\n'
MINUTE = 60_000_000  # µs


class Man:
    """Somebody at the broker who may publish as C5 may, and holds whatever keys he is given."""

    def __init__(self, world: World, client: aiomqtt.Client) -> None:
        self._world = world
        self._client = client
        self.replies: list[Reply] = []

    async def listen(self) -> None:
        async for arrived in self._client.messages:
            assert isinstance(arrived.payload, bytes)
            envelope = parse(arrived.payload, "reply")
            assert isinstance(envelope, Envelope)
            said = message.decode("reply", envelope.payload)
            assert isinstance(said, Reply)
            self.replies.append(said)

    async def say(self, wire: bytes) -> None:
        await self._client.publish(f"{TOPIC}/command", wire, qos=1)

    async def introduce(self, name: str, chain: bytes) -> None:
        await self._client.publish(f"c5/v1/certificates/{name}", chain, qos=1, retain=True)

    async def counts(self) -> dict[str, int]:
        found: dict[str, int] = (await self._world.ask())["commands"]
        return found

    async def counted(self, **expected: int) -> None:
        """Wait until the gateway has counted this many of each."""

        async def so() -> bool:
            found = await self.counts()
            return {key: found[key] for key in expected} == expected

        try:
            await until(so, f"{expected}")
        except AssertionError as error:
            raise AssertionError(f"{error}, but {await self.counts()}: {self.replies}") from error


def commander(authority: Path, name: str) -> tuple[Signer, bytes]:
    if not (authority / "commander" / name).exists():
        Authority.open(authority).issue("commander", name)
    return signer(authority, "commander", name)


def test_replayed_withheld_repeated_and_forged_commands_move_nothing_and_each_is_counted(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        vouched = tmp_path / "synchronised"
        vouched.touch()
        async with (
            asyncio.timeout(100),
            World(
                tmp_path,
                authority,
                tables=OBEYS,
                module="tests.support.synchronised_gateway",
                environment={SYNCHRONISED: str(vouched)},
            ) as world,
            world.client(RECEIVER) as client,
        ):
            await world.press()
            await client.subscribe(f"{TOPIC}/reply", qos=1)
            man = Man(world, client)
            listening = asyncio.create_task(man.listen())
            boss, chain = commander(authority, BOSS)
            mate, mates_chain = commander(authority, "mate")
            await man.introduce(BOSS, chain)
            await man.introduce("mate", mates_chain)
            epoch = bytes.fromhex((await world.ask())["epoch"])
            switch = {"device": world.board.device, "output": 1, "on": True}

            def made(**more: Any) -> Command:
                now = time.time_ns() // 1000
                wish = Command(GATEWAY, secrets.token_bytes(16), now, now + MINUTE, "output.set", epoch, switch)
                return replace(wish, **more)

            def signed(said: Command, by: Signer = boss) -> bytes:
                return by.sign("command", message.encode(said))

            withheld = signed(made(expires_us=time.time_ns() // 1000 + 2_000_000))  # by the broker, for now
            good = signed(made())
            await man.say(good)
            await until(lambda: len(man.replies) == 1, "the reply, once the device has answered")
            assert (man.replies[0].outcome, world.board.shown.outputs) == ("done", (1,))
            await man.counted(executed=1, repeated=0, rejected=0, unsigned=0)

            off = {**switch, "on": False}
            for _ in range(5):
                await man.say(good)
            await man.counted(executed=1, repeated=5, rejected=0, unsigned=0)

            key, _ = signer(authority, "gateway", OTHER)
            forged = signed(made(arguments=off))
            for wire in (forged[:-1] + bytes([forged[-1] ^ 1]), forged[:-1], b"", signed(made(arguments=off), key)):
                await man.say(wire)
            await man.counted(executed=1, repeated=5, rejected=0, unsigned=4)

            receiver, _ = signer(authority, "receiver", RECEIVER)
            await asyncio.sleep(2.1)
            for wire in (
                withheld,
                signed(made(arguments=off), mate),
                signed(made(arguments=off), receiver),
                signed(made(arguments=off, gateway=OTHER)),
                signed(made(arguments=off, epoch=b"\0\0\0\7othr")),
                signed(made(name="output.explode")),
            ):
                await man.say(wire)
            await man.counted(executed=1, repeated=5, rejected=6, unsigned=4)
            await until(lambda: len(man.replies) == 12, "each rejection's reply")
            assert [reply.text for reply in man.replies[6:]] == [
                "expired",
                "signed by mate, which the settings don't name (delivery.commanders)",
                f"signed by the receiver {RECEIVER}, which is no commander",
                "for another gateway",
                "of another epoch than the present one",
                "this version doesn't know this command",
            ]
            assert len(set(map(repr, man.replies[:6]))) == 1, "a repeated one gets the reply it had"
            assert [order.command for order in world.board.machine.orders.carried_out] == [6, 2], "and the challenge"
            assert world.board.shown.outputs == (1,)
            told = world.receiver.of_type("command.rejected")
            assert [line["data"]["count"] for line in told] == [1], "at most one record a minute"
            counted(await man.counts())

            restart = signed(made(name="gateway.restart", arguments=None))
            await man.say(restart)
            await until(lambda: len(man.replies) == 13, "the reply before the restart")
            assert man.replies[12].outcome == "done"
            await until(lambda: not world.gateway.running, "the gateway to stop")
            world.gateway.kill()  # it is reaped
            await world.gateway.start()
            await world.connected()
            for wire in (restart, good, withheld):
                await man.say(wire)
            await man.counted(executed=0, repeated=0, rejected=3, unsigned=0)
            assert world.gateway.running, "a restart that is said again restarts nothing"
            await until(lambda: world.receiver.of_type("gateway.stopping"), "why it stopped, at C5")
            stopping = world.receiver.of_type("gateway.stopping")
            assert [line["data"]["cause"] for line in stopping] == ["command"]
            await world.press()
            counted(await world.judged())
            listening.cancel()

    asyncio.run(journey())


@pytest.mark.soak  # test_air has what the attacker does to a press's answers
def test_downlink_frames_replayed_withheld_repeated_and_forged_on_the_air_move_nothing_on_a_board(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(90), World(tmp_path, authority, tables=OBEYS) as world:
            air, board = Air(world.line), world.board
            await world.press()
            status, said = await command(
                world, BOSS, "output.set", f"device={board.device}", "output=1", "on=true", "seconds=3600"
            )
            assert (status, board.shown.outputs) == (0, (1,)), said
            status, said = await command(world, BOSS, "output.set", f"device={board.device}", "output=1", "on=false")
            assert (status, board.shown.outputs) == (0, ()), said
            on, off = air.heard(DOWN, device=board.device, type=9)[-2:]
            before = moved(board)

            air.replay(on, on, off, on)  # replayed and repeated
            await until(lambda: board.refused["replayed"] >= 4, "four replays counted")
            forged = [altered(on, at) for at in (-1, 6, 13, 20)]  # its tag, its counter, its number, its payload
            air.replay(*forged)
            await until(lambda: board.refused["forged"] >= 4, "four forgeries counted")
            assert moved(board) == before

            with air.withholding(DOWN) as held:
                status, said = await command(world, BOSS, "device.identify", f"device={board.device}", "seconds=600")
                assert status == 1, said
            assert not board.shown.identifying
            await world.press()  # and the gateway speaks with it again
            replayed = board.refused["replayed"]
            air.replay(*held)
            await until(lambda: board.refused["replayed"] == replayed + len(held), "what was withheld, counted")
            assert not board.shown.identifying
            counted({"refused by the board": board.refused, "withheld": len(held)})
            counted(await world.judged())
            flags = [line["flags"] for line in world.receiver.of_type("panic.pressed")]
            assert flags == [["unproven"], []], "the device of unknown counter was challenged, and has proven itself"

    asyncio.run(journey())


def moved(board: Any) -> tuple[Any, ...]:
    return board.shown, board.indicator, dict(board.machine.stages), list(board.machine.orders.carried_out)
