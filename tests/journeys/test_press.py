"""The main job: a press is stored, received at C5, and shown to the person who pressed."""

import asyncio
from pathlib import Path

import pytest

from firmware_sim import labels
from firmware_sim.device import Board
from tests.support.world import GATEWAY, Counted, World

POSITION = "[gateway.position]\nlatitude = 8.157\nlongitude = -77.690\naccuracy_m = 5"
LABEL = labels.new_label("0c500042")


@pytest.mark.parametrize("embedded", [False, True], ids=["mosquitto", "embedded"])
def test_a_press_is_stored_received_and_shown_on_the_indicator(
    tmp_path: Path, authority: Path, counted: Counted, embedded: bool
) -> None:
    async def journey() -> None:
        async with (
            asyncio.timeout(90),
            World(tmp_path, authority, embedded=embedded, boards=0, tables=POSITION) as world,
        ):
            await world.gateway.enrol(LABEL)
            async with Board(world.line, LABEL, flash=tmp_path / "flash", ledger=world.ledger, rssi_dbm=-71) as board:
                number = await board.press()
                await board.stage(number, 1)
                await board.stage(number, 2)
                assert board.indicator == 2
                found = await world.judged()
                counted(found)
                assert (found["pressed"], found["at C5"], found["epochs"]) == (1, 1, 1)
                (line,) = world.receiver.of_type("panic.pressed")
                assert {key: line[key] for key in ("gateway", "lane", "device", "event_number", "contact_id")} == {
                    "gateway": GATEWAY,
                    "lane": "alarm",
                    "device": "0c500042",
                    "event_number": number,
                    "contact_id": "E120",
                }
                assert line["identity"] == f"{GATEWAY}/{line['epoch']}/alarm/{line['sequence']}"
                assert line["position"] == {"latitude": 8.157, "longitude": -77.69, "accuracy_m": 5.0}
                assert line["data"]["rssi_dbm"] == -71
                await world.nothing_waits()
                status, printed, _ = await world.gateway.command("outbox", "verify")
                assert status == 0, printed

    asyncio.run(journey())
