"""An attacker on the air between a board and its gateway: whatever he does with what he heard, nothing moves.

He has no key. Upward he makes the gateway report him; downward each of his frames is counted by the board, and neither
a lamp nor an output follows it.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from firmware_sim.air import DOWN, UP, Air, Caught, altered
from firmware_sim.device import Board
from firmware_sim.orders import Shown
from gateway.fieldlink.message import Reading, Type
from tests.support.world import Counted, World, in_lane, until

IDENTIFYING = Shown("off", (), identifying=True)


async def identified(world: World) -> None:
    """Have the gateway command something of the board that can be seen."""
    before = len(world.board.machine.orders.carried_out)
    status, _, said = await world.gateway.command("device", "identify", world.board.device)
    assert status == 0, said
    await until(lambda: len(world.board.machine.orders.carried_out) > before, "the command carried out")


def state(board: Board) -> tuple[Shown, int, dict[int, int], int]:
    """Return all of a board that a frame could move."""
    return board.shown, board.indicator, dict(board.machine.stages), len(board.machine.orders.carried_out)


def refused(board: Board, count: Callable[[], object]) -> dict[str, int]:
    """Return what a board counted while something was done."""
    before = board.refused
    count()
    return {why: now - before[why] for why, now in board.refused.items() if now > before[why]}


def test_answers_and_commands_recorded_off_the_air_and_sent_again_or_altered_move_nothing(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(60), World(tmp_path, authority) as world:
            air = Air(world.line)
            await world.press()
            await identified(world)
            recorded = air.heard(DOWN)
            assert {caught.type for caught in recorded} == {Type.ACK, Type.COMMAND}
            assert world.board.shown == IDENTIFYING

            before = state(world.board)
            replayed = refused(world.board, lambda: air.replay(*recorded, *recorded))
            forged = refused(
                world.board,
                lambda: air.replay(*(altered(caught, at) for caught in recorded for at in (9, 13, 15, -1))),
            )
            assert state(world.board) == before
            assert replayed == {"replayed": 2 * len(recorded)}
            assert forged == {"forged": 4 * len(recorded)}

            # A start forgets what was accepted, and no recording from before it is fresh again.
            world.board.power_cut()
            world.board.power_on()
            assert refused(world.board, lambda: air.replay(*recorded)) == {"replayed": len(recorded)}
            assert (world.board.indicator, world.board.shown) == (0, Shown())

            await world.press()
            counted(await world.judged() | {"replayed": replayed, "forged": forged})

    asyncio.run(journey())


def test_answers_and_commands_that_are_withheld_are_told_again_and_stale_once_they_come(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(60), World(tmp_path, authority) as world:
            air = Air(world.line)
            await world.press()
            with air.withholding(DOWN) as held:
                number = await world.board.press()
                status, _, said = await world.gateway.command("device", "identify", world.board.device)
                assert status == 0, said
                await until(lambda: {Type.ACK, Type.COMMAND} <= {caught.type for caught in held}, "frames held back")
                assert (world.board.machine.stages[number], world.board.shown) == (0, Shown())
            # The board goes on sending, and the gateway repeats its command: both arrive without anybody's help.
            await world.board.stage(number, 2)
            await until(lambda: world.board.shown == IDENTIFYING, "the command, told again")
            carried_out = len(world.board.machine.orders.carried_out)

            before = state(world.board)
            late = refused(world.board, lambda: air.replay(*held))
            assert state(world.board) == before
            assert late == {"replayed": len(held)}
            assert len(world.board.machine.orders.carried_out) == carried_out
            found = await world.judged()
            assert (found["pressed"], found["at C5"]) == (2, 2)
            counted(found | {"held back, then sent": late})

    asyncio.run(journey())


def test_frames_that_come_three_times_in_both_directions_are_one_event_and_one_command(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(60), World(tmp_path, authority) as world:
            air = Air(world.line)
            with air.repeating(UP, 3), air.repeating(DOWN, 3):
                press = await world.press()
                await identified(world)
                await until(lambda: world.board.refused["replayed"] >= 6, "the repeats counted")
            assert [command.command for command in world.board.machine.orders.carried_out] == [
                6,
                3,
            ]  # 6: the proof of freshness
            assert world.board.machine.stages == {press.event: 2}
            found = await world.judged()
            assert (found["pressed"], found["at C5"]) == (1, 1)
            assert not world.receiver.of_type("device.replayed"), "a second receiver is no attack"
            counted(found | {"repeats": world.board.refused["replayed"]})

    asyncio.run(journey())


def test_events_recorded_off_the_air_are_reported_and_make_no_record_even_after_both_ends_started_again(
    tmp_path: Path, authority: Path, counted: Counted
) -> None:
    async def journey() -> None:
        async with asyncio.timeout(90), World(tmp_path, authority) as world:
            air = Air(world.line)
            await world.press()
            await measured(world, 20)
            [event, *_] = air.heard(UP, type=Type.EVENT)
            await replayed_in_vain(world, air, event, reports=1)

            world.gateway.kill()
            await world.gateway.start()
            await until(partial(listens, world), "the port open")  # what lies in it before is thrown away
            await measured(world, 40)  # what a kill takes, it takes from the counters too: they need not be stored yet
            await replayed_in_vain(world, air, event, reports=2)
            assert len(in_lane(world.receiver.held(), "alarm")) == 1
            counted(await world.judged())

    asyncio.run(journey())


async def listens(world: World) -> bool:
    (port,) = (await world.ask())["ports"]
    return bool(port["open"])


async def measured(world: World, count: int) -> None:
    """Measure until C5 has so many; twenty are more than the 16 counters that a late second receiver is forgiven."""
    for _ in range(20):
        await world.board.measure([Reading(1, 215, -1)])
    await until(lambda: len(world.receiver.of_type("measurement")) == count, f"{count} measurements at C5")


async def replayed_in_vain(world: World, air: Air, event: Caught, reports: int) -> None:
    """Send an event again, and its forgery, and see both reported and neither answered."""
    answers = len(air.heard(DOWN))
    air.replay(event, altered(event))
    for type_ in ("device.replayed", "device.unauthenticated"):
        await until(partial(_reported, world, type_, reports), f"{type_} at C5")
    assert len(air.heard(DOWN)) == answers


def _reported(world: World, type_: str, count: int) -> bool:
    return len(world.receiver.of_type(type_)) == count
