"""A broker that nobody has to trust: receipts by the wrong role, records altered on their way, and a cloned gateway."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt
import pytest

from certs.authority import Role
from firmware_sim.broker import access_list
from firmware_sim.gateway import Gateway, Settings
from firmware_sim.pty import PseudoTerminal
from gateway.event import Lane
from gateway.identity.keystore import load_anchors, load_identity
from gateway.signing import message
from gateway.signing.chains import encode_chain
from gateway.signing.cose import Signer, parse
from gateway.signing.message import Receipt
from tests.support.world import (
    GATEWAY,
    HONEST,
    OTHER,
    RECEIVER,
    STRANGER,
    TOPIC,
    Counted,
    World,
    until,
)

BELIEVED_OF_A_CLONE = HONEST | {"gateway.cloned"}
RELAYED = f"c5/v1/test/relay/{GATEWAY}"
# The receiver hears nothing but what the man in the middle says.
MITM = "\n".join(
    (
        access_list([GATEWAY], []),
        f"user {RECEIVER}",
        f"topic read {RELAYED}/#",
        "topic write c5/v1/#",
        f"user {STRANGER}",
        f"topic read {TOPIC}/#",
        f"topic write {RELAYED}/#",
        "",
    )
)


def signer(authority: Path, role: Role, name: str) -> tuple[Signer, bytes]:
    """Return someone's signature, and his chain as it is published."""
    issued = authority / role / name
    assert role != "broker"
    own = load_identity(
        issued / "signing.pem",
        issued / "signing.key",
        role=role,
        anchors=load_anchors(authority / "trust-anchors.pem"),
        at=datetime.now(UTC),
    )
    return Signer(own.key, own.identity.thumbprint), encode_chain(own.chain)


@pytest.mark.parametrize(
    ("role", "name", "reason"),
    [
        ("commander", RECEIVER, f"signed by the commander {RECEIVER}, which is no receiver"),
        pytest.param(
            *(
                "gateway",
                OTHER,
                "signed under a certificate that is not known",
            ),  # nor would it be taken from that topic
            marks=pytest.mark.soak,
        ),
    ],
    ids=["commander", "gateway"],
)
def test_a_receipt_by_the_wrong_role_is_refused_and_reported_and_forgets_nothing(
    tmp_path: Path, authority: Path, counted: Counted, *, role: Role, name: str, reason: str
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(60), World(tmp_path, authority) as world:
            await world.press()
            await world.receiver.stop()
            press = await world.press(stage=1)
            epoch = bytes.fromhex((await world.ask())["epoch"])
            waiting = (await world.outbox())["alarm"]
            assert waiting == 1
            claim = message.encode(Receipt(GATEWAY, time.time_ns() // 1000, {Lane.ALARM: [(epoch, 2)]}, {}))
            key, chain = signer(authority, role, name)
            async with world.client(RECEIVER) as client:
                await client.publish(f"c5/v1/certificates/{name}", chain, qos=1)
                await client.publish(f"{TOPIC}/receipt", key.sign("receipt", claim), qos=1)
            await until(lambda: f"a receipt was refused: {reason}" in world.gateway.log, "the refusal in the log")
            assert (press.stage, (await world.outbox())["alarm"]) == (1, waiting)
            await world.receiver.start()
            found = await world.judged()
            told = [line["data"] for line in world.receiver.of_type("receipt.refused")]
            assert told == [{"reason": reason, "count": 1}]
            await world.nothing_waits()
            counted(found)

    asyncio.run(journey())


class Middle:
    """Relays everything of the gateway to the receiver; what alters is applied to one alarm each, in order."""

    def __init__(self, client: aiomqtt.Client, alterations: list[Callable[[bytes], tuple[str, bytes]]]) -> None:
        self._client = client
        self._alterations = alterations
        self.altered = 0

    async def relay(self) -> None:
        async for arrived in self._client.messages:
            channel, payload = arrived.topic.value.removeprefix(f"{TOPIC}/"), arrived.payload
            assert isinstance(payload, bytes)
            if channel in {"receipt", "command"}:
                continue
            if channel == "event/alarm" and self._alterations:
                channel, payload = self._alterations.pop(0)(payload)
                self.altered += 1
            await self._client.publish(f"{RELAYED}/{channel}", payload, qos=1, retain=arrived.retain)


def test_records_altered_in_the_broker_are_refused_and_reported_and_the_originals_arrive(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    def flipped(record: bytes) -> tuple[str, bytes]:
        at = record.index(b"panic.pressed")
        return "event/alarm", record[:at] + b"panic.presseD" + record[at + 13 :]

    def signature_flipped(record: bytes) -> tuple[str, bytes]:
        return "event/alarm", record[:-1] + bytes([record[-1] ^ 1])

    def signed_by_another(record: bytes) -> tuple[str, bytes]:
        envelope = parse(record, "record")
        key, _chain = signer(authority, "gateway", OTHER)
        return "event/alarm", key.sign("record", envelope.payload)  # type: ignore[union-attr]  # it is one of ours

    def moved(record: bytes) -> tuple[str, bytes]:
        return "event/status", record

    async def journey() -> None:
        async with (
            asyncio.timeout(100),
            World(tmp_path, authority, access=MITM) as world,
            world.client(STRANGER) as client,
        ):
            middle = Middle(client, [flipped, signature_flipped, signed_by_another, moved])
            await client.subscribe(f"{TOPIC}/#", qos=1)
            relaying = asyncio.create_task(middle.relay())
            await world.connected()  # what waits for a link leaves in one message
            for _ in range(4):
                await world.press(stage=1)
            await until(lambda: middle.altered == 4 or relaying.done(), "four records altered")
            assert not relaying.done()
            assert world.receiver.of_type("panic.pressed") == []
            assert {press.stage for press in world.ledger.presses} == {1}
            await world.press()  # shows C5 that it lacks four
            found = await world.judged(reports=HONEST | {"record.refused", "record.held", "route.differs"})
            assert "record.refused" in found["reported"]
            await world.nothing_waits("alarm")
            counted(found | {"altered": middle.altered})
            relaying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await relaying

    asyncio.run(journey())


def test_a_clone_is_reported_and_costs_the_honest_gateway_nothing(
    tmp_path: Path, authority: Path, seed: int, counted: Counted
) -> None:
    async def journey() -> None:
        line = PseudoTerminal(tmp_path / "cloned-port")
        async with asyncio.timeout(110), World(tmp_path, authority, boards=2) as world, line:
            await world.press()
            world.gateway.kill()
            clone = Gateway(Settings(authority, world.broker.port, {"radio": line.path}, GATEWAY), tmp_path / "clone")
            # The card, copied while the gateway was off.
            shutil.copytree(world.gateway.state_dir, clone.state_dir, ignore=shutil.ignore_patterns("*.sock"))
            await world.gateway.start()
            await world.press()
            async with world.pressing(every=0.1, seed=seed), clone:
                await until(lambda: "gateway.cloned" in world.receiver.reports(), "C5 to report the clone")
                clone.kill()
            found = await world.judged(reports=BELIEVED_OF_A_CLONE, within=60)
            assert "gateway.cloned" in found["reported"]
            counted(found)

    asyncio.run(journey())
