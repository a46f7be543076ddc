"""Asking Modbus units: pymodbus's own server, a slave on libmodbus, and units written by hand that misbehave."""

import asyncio
import os
import socket
import tty
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from firmware_sim.modbus import Fault, Unit, Units, crc16
from firmware_sim.pty import PseudoTerminal
from gateway.drivers.modbus import Master, address
from gateway.sensing.reply import Answer, Exceptional, Garbled, Gone, Reply, Silent, words
from tests.support.modbus import slave

TIMEOUT = 0.2


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _pair() -> tuple[str, str, list[int]]:
    """Return the names of two serial ports that a cable connects, and the descriptors to close at the end."""
    left, left_far = os.openpty()
    right, right_far = os.openpty()
    for fd in (left, right, left_far, right_far):
        tty.setraw(fd)
        os.set_blocking(fd, False)
    return os.ttyname(left_far), os.ttyname(right_far), [left, right, left_far, right_far]


def _cabled(story: Callable[[str, str], Coroutine[Any, Any, None]]) -> None:
    async def life() -> None:
        near, far, ends = _pair()
        loop = asyncio.get_running_loop()
        left, right = ends[:2]
        loop.add_reader(left, lambda: os.write(right, os.read(left, 512)))
        loop.add_reader(right, lambda: os.write(left, os.read(right, 512)))
        try:
            await story(near, far)
        finally:
            loop.remove_reader(left)
            loop.remove_reader(right)
            for fd in ends:
                os.close(fd)

    asyncio.run(life())


def _on_units(
    path: Path, units: list[Unit], story: Callable[[PseudoTerminal, Master], Coroutine[Any, Any, None]]
) -> None:
    async def life() -> None:
        async with PseudoTerminal(path) as line:
            Units(line, units)
            master = Master(str(path), 19_200, "none", 1, TIMEOUT)
            try:
                assert await master.open() is None
                await story(line, master)
            finally:
                master.close()

    asyncio.run(life())


def test_what_pymodbus_serves_on_a_pseudo_terminal_is_read() -> None:
    async def story(near: str, far: str) -> None:
        device = SimDevice(7, simdata=([SimData(0, values=True, count=16, datatype=DataType.BITS)],
                                       [SimData(0, values=False, count=16, datatype=DataType.BITS)],
                                       [SimData(10, values=[1, 2, 65535], datatype=DataType.REGISTERS)],
                                       [SimData(10, values=[300, 400], datatype=DataType.REGISTERS)]))  # fmt: skip
        server = ModbusSerialServer(device, port=far, baudrate=19_200)
        await server.serve_forever(background=True)
        master = Master(near, 19_200, "none", 1, 1.0)
        try:
            assert await master.open() is None
            assert await master.read(7, 3, 10, 3) == Answer((1, 2, 65535))
            assert await master.read(7, 4, 10, 2) == Answer((300, 400))
            assert await master.read(7, 3, 50, 1) == Exceptional(2)
        finally:
            master.close()
            await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus has not typed it

    _cabled(story)


def test_what_libmodbus_serves_on_a_pseudo_terminal_is_read_and_written(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def story(near: str, far: str) -> None:
        with slave(tmp_path_factory.getbasetemp(), "rtu", far, "19200", "9") as other:
            master = Master(near, 19_200, "none", 1, 1.0)
            try:
                assert await master.open() is None
                assert await master.read(9, 3, 0, 3) == Answer((1000, 1001, 1002))
                assert await master.read(9, 4, 60, 4) == Answer((1060, 1061, 1062, 1063))
                assert await master.read(9, 1, 0, 5) == Answer((0, 1, 0, 1, 0))
                assert await master.read(9, 2, 1, 9) == Answer((1, 0, 1, 0, 1, 0, 1, 0, 1))
                assert await master.read(9, 3, 63, 2) == Exceptional(2)
                assert await master.write(9, 5, 4, 1) == Answer(())
                assert other.said() == "coil 4 1"
                assert await master.write(9, 6, 5, 777) == Answer(())
                assert other.said() == "register 5 777"
                assert await master.read(9, 3, 5, 1) == Answer((777,))
            finally:
                master.close()

    _cabled(story)


def test_the_same_over_tcp_and_a_connection_that_ends_is_told(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def story() -> None:
        port = _free_port()
        master = Master(f"tcp:127.0.0.1:{port}", 19_200, "none", 1, 1.0)
        try:
            device = f"tcp:127.0.0.1:{port}"
            assert await master.open() == f"{device} can't be reached: is it switched on, and is this its address?"
            with slave(tmp_path_factory.getbasetemp(), "tcp", str(port)):
                assert await master.open() is None
                assert await master.read(255, 3, 0, 2) == Answer((1000, 1001))
            async with asyncio.timeout(5):
                while not isinstance(reply := await master.read(255, 3, 0, 2), Gone):
                    pass
            assert reply == Gone(f"{device} closed the connection")
        finally:
            master.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("fault", "reply"),
    [
        ("none", Answer((230,))),
        ("mute", Silent()),
        ("late", Silent()),
        ("damage", Garbled()),
        ("refuse", Exceptional(2)),
    ],
)
def test_what_became_of_a_question_is_told_apart(tmp_path: Path, fault: Fault, reply: Reply) -> None:
    async def story(_line: PseudoTerminal, master: Master) -> None:
        for _ in range(3):  # and the line is as good for the next unit
            assert await master.read(1, 4, 0, 1) == reply
            assert await master.read(2, 4, 0, 1) == Answer((5,))

    _on_units(tmp_path / "bus", [Unit(1, {4: {0: 230}}, fault), Unit(2, {4: {0: 5}})], story)


def test_an_answer_that_is_sound_and_makes_no_sense_is_damage(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal, master: Master) -> None:
        for body in (
            b"\x03\x04\x03\x00\x01\x02",  # an odd number of bytes
            b"\x03\x04\x04\x00\x01\x00\x02",  # one register was asked for
            b"\x03\x04\x00",
        ):
            asked = asyncio.create_task(master.read(3, 4, 0, 3))
            await asyncio.sleep(0.05)
            line.to_gateway(body + crc16(body))
            assert await asked == Garbled()

    _on_units(tmp_path / "bus", [], story)


def test_an_adapter_that_echoes_is_called_by_its_name(tmp_path: Path) -> None:
    async def story(line: PseudoTerminal, master: Master) -> None:
        line.attach(line.to_gateway)
        assert await master.read(1, 4, 0, 1) == Garbled(echo=True)

    _on_units(tmp_path / "bus", [], story)


def test_an_adapter_that_is_pulled_out_is_told_and_can_be_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "bus"

    async def story(line: PseudoTerminal, master: Master) -> None:
        line.unplug()
        assert await master.read(1, 4, 0, 1) == Gone(f"{path} was unplugged")
        assert await master.open() == f"{path} is not there: is the adapter plugged in?"
        line.plug()
        assert await master.open() is None
        assert await master.read(1, 4, 0, 1) == Answer((230,))

    _on_units(path, [Unit(1, {4: {0: 230}})], story)


def test_what_a_technician_is_told_names_the_place_to_look() -> None:
    assert [words(fault) for fault in (Exceptional(2), Exceptional(11), Silent(), Garbled(), Gone("gone"))] == [
        "it answers with exception 2 (illegal data address): does its profile fit this model?",
        "the Modbus TCP gateway before it gets no answer from it: is it powered, is its address right?",
        "no answer: is it powered, are its address, baud rate and parity right, are A and B swapped?",
        "answers come damaged (bad CRC): termination, a loose wire, or a second unit with this address",
        "gone",
    ]


def test_a_tcp_device_names_its_host_and_its_port() -> None:
    assert address("tcp:192.168.1.20") == ("192.168.1.20", 502)
    assert address("tcp:meter.local:1502") == ("meter.local", 1502)
    for wrong in ("tcp:", "tcp:x:0", "tcp:x:70000"):
        with pytest.raises(ValueError, match="tcp:"):
            address(wrong)
