"""A disk that stalls, or takes no more: an alarm waits for neither."""

import asyncio
import json
import resource
import time
from pathlib import Path

from tests.support.measured import Measured
from tests.support.stalled_gateway import STALL
from tests.support.world import Counted, World, until


def test_a_press_is_at_c5_within_a_second_while_every_commit_takes_two(
    tmp_path: Path, authority: Path, counted: Counted, measured: Measured
) -> None:
    async def journey() -> None:
        async with (
            asyncio.timeout(60),
            World(tmp_path, authority, module="tests.support.stalled_gateway") as world,
        ):
            await world.connected()
            took: list[float] = []
            for _ in range(3):
                press = await world.press(stage=2)
                happened = time.monotonic()
                took.append(round(press.told[2] - press.pressed_at, 3))
                assert press.told[2] - press.pressed_at < 1.0 < STALL
                assert 1 not in press.told, "told as stored before the disk had it"
                await asyncio.sleep(max(0.0, STALL - (time.monotonic() - happened)))
            found = await world.judged()
            await world.nothing_waits()
            counted(found | {"press to its receipt, s": took})
            measured("every commit takes 2 s: press to its receipt, the longest", "s", max(took), 1)

    asyncio.run(journey())


def test_a_full_disk_is_told_and_stops_no_alarm_and_room_heals_it(
    tmp_path: Path, authority: Path, counted: Counted, measured: Measured
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(60), World(tmp_path, authority) as world:
            await world.press()
            full(world)
            press = await world.press(stage=2)
            assert 1 not in press.told, "told as stored on a full disk"
            await until(lambda: world.receiver.of_type("storage.degraded"), "storage.degraded at C5")
            assert "nothing can be stored" in await world.troubles()
            status, printed, _ = await world.gateway.command("check", "--json")
            failed = [f["text"] for f in json.loads(printed)["findings"] if f["result"] == "failed"]
            assert (status, any("nothing can be stored" in text for text in failed)) == (1, True)
            took: list[float] = []
            for _ in range(3):
                press = await world.press(stage=2)
                assert 1 not in press.told
                took.append(press.told[2] - press.pressed_at)
                assert took[-1] < 1.0
            measured("full disk: press to its receipt, the longest", "s", round(max(took), 3), 1)
            roomy(world)
            await until(lambda: world.receiver.of_type("storage.restored"), "storage.restored at C5")
            assert await world.troubles() == ""
            world.broker.pause()  # so that stage 1 comes alone
            healed = await world.press(stage=1)
            assert healed.stage == 1
            world.broker.resume()
            found = await world.judged()
            await world.nothing_waits()
            assert (
                len(world.receiver.of_type("storage.degraded")) == len(world.receiver.of_type("storage.restored")) == 1
            )
            counted(found)

    asyncio.run(journey())


def test_a_disk_that_turns_read_only_delays_no_alarm_and_heals(
    tmp_path: Path, authority: Path, counted: Counted, measured: Measured
) -> None:
    readonly = tmp_path / "readonly"

    async def journey() -> None:
        async with (
            asyncio.timeout(60),
            World(
                tmp_path,
                authority,
                module="tests.support.readonly_gateway",
                environment={"C5_READONLY": str(readonly)},
            ) as world,
        ):
            await world.connected()
            await world.press(stage=2)
            readonly.touch()
            took: list[float] = []
            for _ in range(3):
                press = await world.press(stage=2)
                assert 1 not in press.told, "told as stored on a disk that takes nothing"
                took.append(round(press.told[2] - press.pressed_at, 3))
                assert took[-1] < 1.0
            await until(lambda: world.receiver.of_type("storage.degraded"), "storage.degraded at C5")
            readonly.unlink()
            await until(lambda: world.receiver.of_type("storage.restored"), "storage.restored at C5")
            found = await world.judged()
            await world.nothing_waits()
            counted(found | {"press to its receipt, s": took})
            measured("read-only disk: press to its receipt, the longest", "s", max(took), 1)

    asyncio.run(journey())


def test_a_store_deleted_underneath_delays_no_alarm_and_nothing_of_it_is_lost(
    tmp_path: Path, authority: Path, counted: Counted, measured: Measured
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(60), World(tmp_path, authority) as world:
            await world.connected()
            await world.press(stage=2)
            world.broker.pause()
            for _ in range(3):
                await world.press(stage=1)
            for suffix in ("", "-wal", "-shm"):
                (world.gateway.state_dir / f"outbox.db{suffix}").unlink()
            world.broker.resume()
            press = await world.press(stage=2)
            took = round(press.told[2] - press.pressed_at, 3)
            assert took < 1.0
            measured("store deleted underneath: press to its receipt", "s", took, 1)
            await until(lambda: world.receiver.of_type("storage.restored"), "storage.restored at C5")
            found = await world.judged()
            await world.nothing_waits()
            counted(found | {"press to its receipt, s": took})

    asyncio.run(journey())


def full(world: World) -> None:
    """Let no file of the gateway take another byte."""
    resource.prlimit(world.gateway.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def roomy(world: World) -> None:
    resource.prlimit(world.gateway.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
