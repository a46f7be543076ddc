"""A USB serial adapter on a real kernel's driver (FTDI), with a board behind it: pulled, and plugged in again."""

import asyncio
from pathlib import Path

import pytest

from firmware_sim import labels
from firmware_sim.device import Board
from firmware_sim.pty import PseudoTerminal
from gateway.fieldlink import label as written
from tests.vm.site import WITHIN, Site

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

LABEL = labels.new_label("0c500042")


def test_an_adapter_that_is_pulled_and_plugged_in_again_is_back_by_itself(site: Site, tmp_path: Path) -> None:
    machine = site.machine

    def plug() -> None:
        machine.control("device_add", driver="usb-serial", id="adapter", bus="usb.0", port="1", chardev="uart")
        machine.until(lambda: site.port("radio")["trouble"] is None, "the port with its adapter")

    def pull() -> None:
        machine.control("device_del", id="adapter")
        machine.until(lambda: site.port("radio")["trouble"] is not None, "the port without its adapter")

    async def journey() -> None:
        async with (
            PseudoTerminal(tmp_path / "port") as line,
            Board(line, LABEL, flash=tmp_path / "flash") as board,
        ):
            uart = {"type": "serial", "data": {"device": line.terminal}}
            await asyncio.to_thread(machine.control, "chardev-add", id="uart", backend=uart)
            await asyncio.to_thread(plug)
            first = await board.press()
            await board.stage(first, 2, WITHIN)
            await asyncio.to_thread(pull)
            second = await board.press()
            await asyncio.to_thread(plug)
            await board.stage(second, 2, WITHIN)
            await asyncio.to_thread(pull)
            await asyncio.to_thread(machine.control, "chardev-remove", id="uart")

    pressed = len(site.told("panic.pressed"))
    assert "0c500042" in site.command("device", "enrol", written.render(LABEL))
    asyncio.run(journey())
    assert [line["event_number"] for line in site.told("panic.pressed")[pressed:]] == [1, 2]
