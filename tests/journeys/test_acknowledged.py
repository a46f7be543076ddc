"""From a press to an operator at C5 and back: the button shows what is true, and when each stage became so."""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

from firmware_sim.device import Board
from gateway.database import open_read_only
from gateway.outbox.inspect import FILE
from tests.journeys.test_resend import BOSS, command
from tests.support.receiver import Held
from tests.support.world import WITHIN, Counted, World, in_lane, until

PANIC, DURESS = 1, 3
OBEYS = f'[delivery]\ncommanders = ["{BOSS}"]\n'


def identity(held: Held) -> str:
    return f"{held.gateway}/{held.epoch.hex()}/alarm/{held.sequence}"


async def acknowledge(world: World, held: Held, status: str = "acknowledged") -> dict[str, Any]:
    """Have an operator at C5 acknowledge an alarm; return the gateway's reply."""
    words = (f"record={identity(held)}", f"device={held.source}", f"event_number={held.event_number}")
    exit_status, said = await command(world, BOSS, "alarm.acknowledge", *words, f"status={status}", "operator=ana")
    assert isinstance(said, dict), said
    assert (exit_status, said["outcome"]) == (0, "done"), said
    return said


def test_a_press_goes_to_an_operator_and_his_acknowledgement_comes_back_to_the_button(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(90), World(tmp_path, authority, tables=OBEYS) as world:
            for kind in (PANIC, DURESS):
                number = await world.board.press(kind)
                await world.board.stage(number, 2, WITHIN)
                press = world.ledger.press(world.board.device, number)
                held = in_lane(world.receiver.held(), "alarm")[-1]
                asked = time.monotonic()
                said = await acknowledge(world, held)
                assert said["result"] == {"told": "now"}
                await world.board.stage(press.event, 3, WITHIN)
                assert world.board.indicator == 3, "the panic's: a press under duress shows nothing of itself"

                stages, pressed = sorted(press.told.items()), press.pressed_at
                counted({f"press → stage {n}": f"{at - pressed:.3f} s" for n, at in stages if n < 3})
                whole = "its program's start, its connection and its look at the broker included"
                counted({"c5-receiver command → stage 3": f"{press.told[3] - asked:.3f} s ({whole})"})
                counted({"command sent → replied": f"{said['seconds']:.3f} s"})

            await until(lambda: len(world.receiver.of_type("alarm.acknowledged")) == 2, "what was done, at C5")
            line = world.receiver.of_type("alarm.acknowledged")[-1]
            assert (line["lane"], line["device"], line["data"]) == (
                "status",
                world.board.device,
                {"record": identity(held), "status": "acknowledged", "operator": "ana"},
            )
            counted(await world.judged(stage=3))

    asyncio.run(journey())


def test_a_device_that_was_away_learns_it_at_its_next_frame_after_a_kill_of_the_gateway_too(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(100), World(tmp_path, authority, boards=2, tables=OBEYS) as world:
            slept, killed = world.boards
            presses = {}
            for board in world.boards:
                presses[board] = (await world.press(board)).event
                released = await board.press(16)
                await board.stage(released, 2, WITHIN)
            held = {one.source: one for one in in_lane(world.receiver.held(), "alarm")}
            for board in world.boards:
                board._pull()  # its radio sleeps: its memory is as before
            assert (await acknowledge(world, held[slept.device]))["result"] == {"told": "now"}
            assert (await acknowledge(world, held[killed.device]))["result"] == {"told": "now"}
            await until(lambda: len(world.receiver.of_type("alarm.acknowledged")) == 2, "both acknowledged at C5")
            assert stages(slept, presses[slept]) == stages(killed, presses[killed]) == 2

            slept._plug_in()
            await slept.measure([])
            await slept.stage(presses[slept], 3, WITHIN)
            await until(lambda: durable(world, killed.device, presses[killed]) == 3, "stage 3 on the gateway's disk")
            world.gateway.kill()
            await world.gateway.start()
            killed._plug_in()

            async def spoken() -> bool:  # the gateway may not have opened its port yet
                await killed.measure([])
                return stages(killed, presses[killed]) == 3

            await until(spoken, "the stage at a frame after the kill", every=0.5)
            counted({"told at the next frame": 1, "and after a kill": 1})

    asyncio.run(journey())


def durable(world: World, device: str, number: int) -> int:
    """Return the stage of an event that a power cut would leave."""
    with contextlib.closing(open_read_only(world.gateway.state_dir / FILE)) as store:
        ((stage,),) = store.execute("SELECT stage FROM event WHERE device = ? AND number = ?", (device, number))
    return int(stage)


def stages(board: Board, number: int) -> int:
    return board.machine.stages[number]
