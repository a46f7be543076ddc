"""A gateway whose clock is wrong: alarms go out all the same, TLS holds, and C5 knows when they were.

The wall clock of the real process is libfaketime's; its monotonic clock, its broker and its C5 have the true time.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.c5.watch import read
from gateway.clock import FLOOR_FILE, FloorFile
from tests.support.clocks import WallClock, boot, seconds
from tests.support.world import Counted, World, until

MODULE = "tests.support.synchronised_gateway"
FLOOR_AGO = 1800.0  # seconds: later than the certificates began, which is an hour before they were made
NEAR = 5.0  # seconds between two clocks that are read by two busy processes
UNKNOWN = {"uncertainty_ms": 2**32 - 1}


def world(folder: Path, authority: Path, clock: WallClock) -> World:
    return World(folder, authority, module=MODULE, environment=clock.environment)


def only(lines: list[dict[str, Any]]) -> dict[str, Any]:
    (line,) = lines
    return line


@pytest.mark.parametrize("stored", [True, False], ids=["with a stored floor", "by its certificates alone"])
def test_after_a_boot_in_1970_an_alarm_reaches_c5_over_tls_and_says_that_its_time_comes_from_the_floor(
    tmp_path: Path, authority: Path, counted: Counted, stored: bool
) -> None:
    async def journey() -> None:
        clock = WallClock(tmp_path)
        async with asyncio.timeout(90), world(tmp_path, authority, clock) as site:
            await site.connected()
            site.gateway.kill()  # the power is cut
            began = time.time()
            if stored:
                await FloorFile().write(site.gateway.state_dir, round((began - FLOOR_AGO) * 1e6))
            clock.set(boot())
            await site.gateway.start()
            seen = (await site.ask())["clock"]
            assert (seen["source"], seen["doubted"], seen["machine"][:5]) == (1, True, "1970-")
            await site.press(stage=1)
            found = await site.judged(stage=1)
            line = only(site.receiver.of_type("panic.pressed"))
            assert line["clock"] == {"source": 1} | UNKNOWN
            assert "corrected" not in line
            if stored:
                assert began - FLOOR_AGO - 1 <= seconds(line["occurred"]) <= time.time() - FLOOR_AGO
            else:
                assert began - 86_400 < seconds(line["occurred"]) < time.time() - FLOOR_AGO
            counted(found)

    asyncio.run(journey())


def test_what_happened_before_the_clock_was_set_has_its_true_time_at_c5_and_the_step_is_told_once(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        clock = WallClock(tmp_path)
        clock.set(boot())
        async with asyncio.timeout(90), world(tmp_path, authority, clock) as site:
            await site.press(stage=1)
            pressed_at = time.time()
            clock.set(0.0, synchronised=True)
            await until(lambda: site.receiver.of_type("clock.stepped"), "the step at C5")
            step = only(site.receiver.of_type("clock.stepped"))
            assert step["clock"] == {"source": 2, "uncertainty_ms": 20}
            assert step["data"]["from_us"] < 3600e6
            assert abs(step["data"]["to_us"] / 1e6 - time.time()) < 2 * NEAR
            newest = read(site.receiver.home / "state" / "ledger.db", time.time_ns() // 1000).newest
            (alarm,) = [held for held in newest if held.record.type == "panic.pressed"]
            assert alarm.record.occurred_us / 1e6 < pressed_at - FLOOR_AGO  # as it was signed
            assert abs(alarm.corrected_us / 1e6 - pressed_at) < NEAR
            assert only(site.receiver.of_type("panic.pressed")).get("corrected") is None  # nobody knew yet
            await until((site.gateway.state_dir / FLOOR_FILE).exists, "the floor on disk")
            stored_us = FloorFile().read(site.gateway.state_dir)
            assert stored_us is not None
            assert abs(stored_us / 1e6 - time.time()) < NEAR

            clock.set(-3600.0)  # somebody sets it back by hand, and time synchronisation has gone
            await until(lambda: len(site.receiver.of_type("clock.stepped")) == 2, "the second step at C5")
            back = site.receiver.of_type("clock.stepped")[1]
            assert abs((back["data"]["to_us"] - back["data"]["from_us"]) / 1e6 + 3600) < NEAR
            await site.press()
            second = site.receiver.of_type("panic.pressed")[1]
            assert second["clock"] == {"source": 1} | UNKNOWN
            for said in (second["occurred"], second["corrected"]):
                assert abs(seconds(said) - time.time()) < NEAR
            counted(await site.judged())
            assert len(site.receiver.of_type("clock.stepped")) == 2

    asyncio.run(journey())
