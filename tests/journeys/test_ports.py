"""Looking for the right port beside a running gateway disturbs neither its line nor another program's."""

import asyncio
import json
import os
from pathlib import Path

from firmware_sim.pty import PseudoTerminal
from tests.support.cabinet import talker
from tests.support.world import Counted, World

RMC = b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n"


def test_ports_beside_a_running_gateway_touch_what_nobody_has_and_nothing_else(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with (
            asyncio.timeout(60),
            PseudoTerminal(tmp_path / "held") as held,
            World(tmp_path, authority, boards=1) as world,
        ):
            await world.press()
            with talker(RMC) as free:
                written: list[bytes] = []
                held.attach(written.append)
                looking = asyncio.create_task(
                    world.gateway.command(
                        "ports", "--json", "--probe", "--seconds", "3", str(world.line.path), str(held.path), free
                    )
                )
                while not looking.done():
                    await world.press()
                    await asyncio.sleep(0.3)
                status, out, err = looking.result()
            assert (status, err) == (0, "")
            lobby, others, gnss = json.loads(out)["ports"]
            assert (lobby["untouched"], lobby["setting"], lobby["service"]["trouble"]) == ("service", "radio", None)
            assert lobby["service"]["frames"] > 0
            assert others["untouched"] == "held"
            assert os.getpid() in [holder["pid"] for holder in others["holders"]]
            assert written == []
            assert (gnss["untouched"], gnss["heard"]["what"], gnss["modbus"]) == (None, "nmea", None)
            assert await world.troubles() == ""
            counted(await world.judged())

    asyncio.run(journey())
