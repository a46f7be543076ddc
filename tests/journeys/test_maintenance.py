"""Tests that are marked as tests, a walk with a technician, and settings from afar: with all the real programs."""

import asyncio
import json
from pathlib import Path

from tests.journeys.test_resend import BOSS, command
from tests.support.world import ALLOWED, Counted, World, until

AT_HOME = ALLOWED.replace("c5/v1/+/+/gw-1", "c5/v1/test/+/gw-1")  # of its own agency alone
OBEYS = f'[delivery]\ncommanders = ["{BOSS}"]\n'


def test_what_is_pressed_under_maintenance_and_on_a_walk_is_marked_as_a_test_and_arrives_like_any_other(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(100), World(tmp_path, authority, boards=2, tables=OBEYS) as world:
            tested, other = world.boards
            for board in world.boards:
                await world.press(board)
            wanted = (f"device={tested.device}", "minutes=10", "reason=new battery")
            status, said = await command(world, BOSS, "maintenance.begin", *wanted)
            assert status == 0, said
            for board in world.boards:
                await world.press(board)
            assert [work["device"] for work in (await world.ask())["maintenance"]] == [tested.device]
            status, said = await command(world, BOSS, "maintenance.end")
            assert isinstance(said, dict), said
            assert said["result"] == {"ended": 1}

            report = tmp_path / "report"
            walk = asyncio.create_task(
                world.gateway.command("walk-test", str(report), "--minutes", "1", "--technician", "Eva")
            )

            async def walking() -> bool:
                return bool((await world.ask())["maintenance"])

            await until(walking, "the walk to begin")
            for board in world.boards:
                await world.press(board)
            status, printed, wrong = await walk
            assert (status, wrong) == (0, ""), printed
            document = json.loads(report.with_name("report.json").read_text())
            assert (document["technician"], document["right"]) == ("Eva", True)
            assert {device["id"]: device["type"] for device in document["devices"]} == {
                board.device: "panic.pressed" for board in world.boards
            }
            assert "2 of 2 devices" in report.with_name("report.txt").read_text()
            assert (await world.ask())["maintenance"] == []
            await world.press(tested)
            counted(await world.judged())

            flags = {
                board.device: [
                    line["flags"] for line in world.receiver.of_type("panic.pressed") if line["device"] == board.device
                ]
                for board in world.boards
            }
            assert flags[tested.device][1:] == [["test"], ["test"], []]
            assert flags[other.device][1:] == [[], ["test"]]
            told = [line["data"] for line in world.receiver.of_type("command.executed")]
            assert [(data["name"], data["commander"], data.get("why")) for data in told] == [
                ("maintenance.begin", BOSS, "new battery"),
                ("maintenance.end", BOSS, None),
                ("maintenance.begin", "technician", "walk test by Eva"),
                ("maintenance.end", "technician", None),
            ]

    asyncio.run(journey())


def test_settings_from_afar_are_in_force_after_a_restart_and_taken_back_where_c5_is_not_heard_under_them(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(90), World(tmp_path, authority, tables=OBEYS, access=AT_HOME) as world:
            await world.press()
            status, said = await command(world, BOSS, "config.apply", 'toml=[delivery]\ncommanders = ["mallory"]')
            assert isinstance(said, dict), said
            assert (status, said["outcome"]) == (1, "failed")
            assert "delivery.commanders" in said["text"]
            assert world.gateway.running

            settings = tmp_path / "new.toml"
            settings.write_text('[log]\nlevel = "debug"\n')
            status, said = await command(world, BOSS, "config.apply", f"toml=@{settings}")
            assert isinstance(said, dict), said
            assert (status, said["outcome"]) == (0, "done")
            await until(lambda: not world.gateway.running, "the gateway to stop by itself")
            world.gateway.kill()  # it is reaped; systemd would start it
            await world.gateway.start()

            async def kept() -> bool:
                return not (await world.ask())["applied"]["on_trial"]

            await until(kept, "a receipt, with which the trial ends")
            applied = (await world.ask())["applied"]
            shown = {"sha256": said["result"]["sha256"], "keys": ["log.level"], "refused": None, "on_trial": False}
            assert applied == shown
            await until(lambda: "DEBUG" in world.gateway.log, "a log that says more")
            await until(lambda: world.receiver.of_type("config.changed"), "the change at C5")
            (line,) = world.receiver.of_type("config.changed")
            assert line["data"] == {"sha256": applied["sha256"]}
            await until(lambda: world.receiver.of_type("gateway.stopping"), "why it stopped, at C5")
            (stopping,) = world.receiver.of_type("gateway.stopping")
            assert stopping["data"]["cause"] == "settings"
            status, printed, _ = await world.gateway.command("check", "--json")
            found = {finding["what"]: finding for finding in json.loads(printed)["findings"]}
            assert "log.level" in found["settings"]["text"]
            assert found["service"]["text"] == "running", "and by no other settings than these"

            settings.write_text('[gateway]\nagency = "elsewhere"\n[delivery]\nprofile = 3\n')
            status, cut_off = await command(world, BOSS, "config.apply", f"toml=@{settings}")
            assert isinstance(cut_off, dict), cut_off
            for _start in range(2):  # by these, and by those before
                await until(lambda: not world.gateway.running, "the gateway to stop by itself", within=40)
                world.gateway.kill()
                await world.gateway.start()
            assert (await world.ask())["applied"] == shown
            digests = [shown["sha256"], cut_off["result"]["sha256"], shown["sha256"]]

            def is_back() -> bool:
                return [line["data"]["sha256"] for line in world.receiver.of_type("config.changed")] == digests

            await until(is_back, "the way back, at C5")
            await world.press()
            counted(await world.judged())

    asyncio.run(journey())
