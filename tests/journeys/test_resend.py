"""Records asked for again by a signed command; and a gateway without a link, whose records a file carries to C5."""

import asyncio
import json
from pathlib import Path
from typing import Any

from certs.authority import Authority
from tests.support.world import GATEWAY, RECEIVER, TOPIC, Counted, World, in_lane, until

BOSS, MATE = "boss", "mate"
OBEYS = f'[delivery]\ncommanders = ["{BOSS}"]\nreceivers = ["c5-b"]\n'  # c5-a's receipts count for nothing


def commander(world: World, name: str) -> Path:
    """Return the receiver's settings with this commander."""
    folder = world.authority / "commander" / name
    if not folder.exists():
        Authority.open(world.authority).issue("commander", name)
    settings = world.receiver.config.read_text()
    config = world.receiver.home / f"{name}.toml"
    table = f'[commander]\nsigning_certificate = "{folder}/signing.pem"\nsigning_key = "{folder}/signing.key"\n'
    config.write_text(settings + table)
    return config


async def command(world: World, who: str, *words: str, gateway: str = GATEWAY) -> tuple[int, dict[str, Any] | str]:
    """Run `c5-receiver command --json`; return its exit status, and the document or what it said instead."""
    config = str(commander(world, who))
    status, said = await world.receiver.command(
        "command", gateway, *words, "--json", "--wait", "10", "--config", config
    )
    return status, json.loads(said) if said.startswith("{") else said


def test_a_commander_has_records_sent_again_and_nobody_else_has(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(100), World(tmp_path, authority, tables=OBEYS) as world:
            for _ in range(3):
                await world.board.press()
            await until(lambda: len(in_lane(world.receiver.held(), "alarm")) == 3, "three alarms at C5")
            epoch = world.receiver.held()[0].epoch
            wanted = ("records.resend", "lane=alarm", f"epoch={epoch.hex()}", "from=1", "to=2")

            async with world.client(RECEIVER) as eyes:
                await eyes.subscribe(f"{TOPIC}/event/alarm", qos=1)
                status, said = await command(world, MATE, *wanted)
                assert isinstance(said, dict), said
                assert (status, said["outcome"]) == (1, "rejected")
                assert said["text"] == f"signed by {MATE}, which the settings don't name (delivery.commanders)"
                assert len(eyes.messages) == 0, "nothing came again"

                status, said = await command(world, BOSS, "ping")
                assert isinstance(said, dict), said
                assert (status, said["outcome"]) == (0, "done")

                status, said = await command(world, BOSS, *wanted)
                assert isinstance(said, dict), said
                assert (status, said["outcome"], said["result"]) == (0, "done", {"queued": 2, "gone": 0})
                async with asyncio.timeout(10):
                    again = await anext(aiter(eyes.messages))
                held = in_lane(world.receiver.held(), "alarm")
                assert again.payload in {b"".join(record.wire for record in held[:2]), held[0].wire}

            status, said = await command(world, BOSS, *wanted[:-1], "to=4")
            assert isinstance(said, dict), said
            assert (status, said["outcome"]) == (1, "failed")
            status, said = await command(world, BOSS, "ping", gateway="gw-2")
            assert status == 1
            assert "no broker has a state of gw-2" in str(said)

            def told() -> list[str]:
                return [line["type"] for line in world.receiver.lines() if line["type"].startswith("command.")]

            await until(lambda: len(told()) == 4, "what was commanded, at C5")
            assert sorted(told()) == ["command.executed"] * 3 + ["command.rejected"]
            assert len(in_lane(world.receiver.held(), "alarm")) == 3
            counted({"commands": 5, "executed": 3, "rejected": 1})

    asyncio.run(journey())


def test_what_was_receipted_and_is_asked_for_again_is_declared_and_the_reply_says_so(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        obeys = f'[delivery]\ncommanders = ["{BOSS}"]\n'
        async with asyncio.timeout(60), World(tmp_path, authority, tables=obeys) as world:
            for _ in range(2):
                await world.press()
            epoch = world.receiver.held()[0].epoch.hex()
            wanted = ("records.resend", "lane=alarm", f"epoch={epoch}", "from=1", "to=1")
            status, said = await command(world, BOSS, *wanted)
            assert isinstance(said, dict), said
            assert (status, said["result"]) == (0, {"queued": 0, "gone": 1})
            await until(lambda: world.receiver.of_type("records.unavailable"), "the declaration at C5")
            (line,) = world.receiver.of_type("records.unavailable")
            assert line["data"] == {"lane": 0, "ranges": [[epoch, 1, 1]], "count": 1, "reason": "receipted"}
            counted({"gone": 1})

    asyncio.run(journey())


def test_a_gateway_without_a_link_is_carried_to_c5_in_a_file_and_receipted_when_it_is_heard(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(100), World(tmp_path, authority, boards=2) as world:
            world.gateway.kill()
            world.broker.kill()  # from here on there is no link
            await world.gateway.start()
            for board in world.boards:
                for _ in range(2):
                    await world.press(board, stage=1)
            export, later = tmp_path / "gw-1.cbor", tmp_path / "gw-1-later.cbor"
            status, said, wrong = await world.gateway.command("outbox", "export", str(export))
            assert status == 0, wrong
            status, _said, wrong = await world.gateway.command("outbox", "export", str(export))
            assert status == 1
            assert "exists already" in wrong
            await world.press(stage=1)
            status, said, wrong = await world.gateway.command("outbox", "export", str(later), "--json")
            assert status == 0, wrong
            exported = json.loads(said)

            status, said = await world.receiver.command("verify", str(export), "--config", str(world.receiver.config))
            assert status == 0, said
            became = [await imported(world, later)]  # the running receiver takes it
            world.receiver.kill()
            became += [await imported(world, file) for file in (export, later)]  # nobody runs
            assert [(each["refused"], each["complete"]) for each in became] == [(0, True)] * 3
            assert became[0]["records"] == exported["records"] == became[0]["new"] + became[0]["known"]
            assert (became[1]["new"], became[2]["new"]) == (0, 0)
            await until(lambda: len(in_lane(world.receiver.held(), "alarm")) == 5, "five alarms at C5, by file")

            await world.broker.start()
            await world.receiver.start()
            found = await world.judged()
            await world.nothing_waits()
            counted({**found, "imported": became[0]["new"]})

    async def imported(world: World, file: Path) -> dict[str, Any]:
        status, said = await world.receiver.command(
            "import", str(file), "--json", "--config", str(world.receiver.config)
        )
        assert status == 0, said
        document: dict[str, Any] = json.loads(said)
        return document

    asyncio.run(journey())
