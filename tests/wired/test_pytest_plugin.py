"""The fixtures that maintainers write tests with, together: a press through a real gateway and a real broker."""

import asyncio

from firmware_sim.broker import Mosquitto
from firmware_sim.device import Board
from firmware_sim.gateway import Gateway
from firmware_sim.pty import PseudoTerminal
from tests.support.brokers import need_mosquitto


def test_a_press_is_stored_by_a_real_gateway_before_and_after_it_is_killed(
    line: PseudoTerminal, broker: Mosquitto, gateway: Gateway, board: Board
) -> None:
    need_mosquitto()

    async def journey() -> None:
        async with asyncio.timeout(60), line, broker, gateway, board:
            await gateway.enrol(board.machine.label)
            await board.stage(await board.press(), 1)
            gateway.kill()
            number = await board.press()
            await gateway.start()
            await board.stage(number, 1)
            status = await gateway.status()
            assert status is not None
            assert [device["highest_event"] for device in status["devices"]] == [2]

    asyncio.run(journey())


def test_a_gateway_that_can_not_start_says_why(gateway: Gateway) -> None:
    async def journey() -> str:
        async with asyncio.timeout(30):
            gateway.home.mkdir()
            gateway.config.write_text("[gateway]\n")
            _, _, said = await gateway.command("run")
            return said

    assert "gateway.id" in asyncio.run(journey())
