"""Frames on the line that nobody should have sent: replayed, altered, of a stranger. And noise without end."""

import asyncio
import random
from functools import partial
from pathlib import Path

from firmware_sim import labels
from firmware_sim.device import Board
from gateway.fieldlink import framing
from gateway.fieldlink.message import Reading
from tests.support.world import Counted, World, in_lane, until

MEGABYTE = 1024 * 1024
GROWTH = 4096  # KiB that a gateway may grow by for other reasons: its allocator, a page of SQLite's


def body(frame: bytes) -> bytes:
    (found,) = framing.Decoder().feed(frame)
    assert isinstance(found, framing.Frame)
    return found.body


def test_forged_frames_are_reported_and_neither_recorded_as_alarms_nor_answered(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(60), World(tmp_path, authority) as world:
            sent: list[bytes] = []
            write = world.line.write

            def recorded(chunk: bytes, left: object = None) -> None:
                sent.append(chunk)
                write(chunk, left)  # type: ignore[arg-type]  # passed on as it came

            world.line.write = recorded  # type: ignore[method-assign]  # an eavesdropper on the line
            await world.press()
            press = sent[-1]
            for _ in range(20):  # beyond the 16 counters that a late second receiver is forgiven
                await world.board.measure([Reading(1, 215, -1)])
            await until(lambda: len(world.receiver.of_type("measurement")) == 20, "20 measurements at C5")
            world.line.write = write  # type: ignore[method-assign]

            answers: list[bytes] = []
            world.line.attach(answers.append)
            world.line.write(press)
            altered = bytearray(body(press))
            altered[-1] ^= 1
            world.line.write(b"\0" + framing.encode(bytes(altered)))
            async with Board(world.line, labels.new_label("0c5fffff")) as stranger:
                await stranger.press()
                for type_ in ("device.replayed", "device.unauthenticated", "device.unknown"):
                    await until(partial(world.receiver.of_type, type_), f"{type_} at C5")
                assert stranger.indicator == 0
            world.line.detach(answers.append)

            assert answers == []
            told = {
                line["type"]: (line["device"], line["data"])
                for line in world.receiver.lines()
                if line["type"] in {"device.replayed", "device.unauthenticated", "device.unknown"}
            }
            assert told == {
                "device.replayed": (world.board.device, {"count": 1}),
                "device.unauthenticated": (world.board.device, {"count": 1}),
                "device.unknown": ("gw-1", {"count": 1, "last_id": "0c5fffff"}),
            }
            found = await world.judged()
            assert len(in_lane(world.receiver.held(), "alarm")) == 1
            counted(found)

    asyncio.run(journey())


def test_noise_half_frames_and_a_megabyte_without_a_delimiter_grow_nothing_and_the_next_frame_is_read(
    tmp_path: Path, authority: Path, seed: int, counted: Counted
) -> None:
    async def journey() -> None:
        chance = random.Random(seed)
        async with asyncio.timeout(90), World(tmp_path, authority) as world:

            async def on_the_line(noise: bytes) -> None:
                for at in range(0, len(noise), 4096):
                    world.line.write(noise[at : at + 4096])
                    await asyncio.sleep(0.001)

            await world.press()
            before = resident(world.gateway.pid)
            for noise in (
                chance.randbytes(64 * 1024),
                b"\0".join(chance.randbytes(chance.randrange(1, 60)) for _ in range(1000)),
                chance.randbytes(1).replace(b"\0", b"\1") * MEGABYTE,
            ):
                await on_the_line(noise)
                await world.press()
            grown = resident(world.gateway.pid) - before
            (port,) = (await world.ask())["ports"]
            found = await world.judged()
            assert port["noise"] > 1000
            assert grown < GROWTH
            assert world.line.lost == 0
            counted(found | {"noise": port["noise"], "grown KiB": grown})

    asyncio.run(journey())


def resident(pid: int) -> int:
    """Return a process's resident memory in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
