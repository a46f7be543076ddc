"""Modbus: a profile that somebody wrote, what a unit and whatever else is on its line answers, and the values of it."""

import asyncio
import logging
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any, Final
from unittest import mock

from firmware_sim.modbus import crc16
from gateway.drivers import modbus
from gateway.drivers.modbus import Master
from gateway.errors import SettingsError
from gateway.sensing.profile import BITS_MAX, COILS, DISCRETE, HOLDING, INPUT, REGISTERS_MAX, SIZES, Profile, parse
from gateway.sensing.registers import Read, decode, reads
from gateway.sensing.reply import Answer, Exceptional, Garbled, Gone, Reply, Silent, words
from gateway.sensing.threshold import Threshold
from tests.fuzz.target import CUT, Target, number, parts
from tests.simulation.loop import VirtualLoop

UNIT: Final = 7
FUNCTIONS: Final = (COILS, DISCRETE, HOLDING, INPUT)
COUNTS: Final = (1, 2, 9, 125)
ANSWERS_MAX: Final = 6  # questions of an input
EVERYTHING: Final = """\
title = "all that a profile may say"
source = "nowhere"
word_order = "little"
gap = 2
report_s = 30
[[point]]
quantity = "supply_v"
function = 3
register = 12
type = "f32"
word_order = "big"
scale = 0.1
offset = -40
[[point.threshold]]
below = 11.5
hysteresis = 0.5
on = "battery.low"
off = "battery.restored"
[[point]]
name = "door"
on = "door.opened"
off = "door.closed"
inverted = true
function = 4
register = 14
type = "bit"
bit = 15
[[point]]
on = "tamper.opened"
function = 2
register = 65535
[[output]]
name = "siren"
function = 6
register = 3
on = 256
"""


def _packaged() -> list[str]:
    return [file.read_text() for file in sorted(files("gateway").joinpath("profiles").iterdir(), key=str)]


def profile(data: bytes) -> None:
    """A profile is taken as a whole, and then each of its points is read once; or each mistake has a line of it."""
    text = data.decode("utf-8", "replace")
    try:
        found = parse(text, "fuzz", "fuzz.toml")
    except SettingsError as error:
        for line in re.findall(r"^fuzz\.toml, line (\d+): ", error.what, re.MULTILINE):
            assert 1 <= int(line) <= max(1, len(text.splitlines()))
        return
    asked = reads(found)
    assert sorted(point.name for read in asked for point in read.points) == sorted(p.name for p in found.points)
    for read in asked:
        assert 1 <= read.count <= (BITS_MAX if read.function in (COILS, DISCRETE) else REGISTERS_MAX)
        assert 0 <= read.register <= 65_536 - read.count
        for point in read.points:
            size = SIZES[point.type] if read.function in (HOLDING, INPUT) else 1
            assert read.register <= point.register <= read.register + read.count - size
        for word in (0, 1, 0x7FFF, 0x8000, 0xFFFF):
            _means(read, [min(word, 1)] * read.count if read.function in (COILS, DISCRETE) else [word] * read.count)


def _means(read: Read, values: Sequence[int]) -> None:
    told = decode(read, values)
    assert told.keys() == {point.name for point in read.points}
    for point in read.points:
        value = told[point.name]
        assert value is None or type(value) is bool or (type(value) is float and math.isfinite(value))
        for limit in point.limits:
            threshold = Threshold(limit)
            for minute in range(3):
                if value is not None:
                    threshold.judge(float(value), 60.0 * minute)


@cache
def _known() -> list[Profile]:
    return [parse(text, "fuzz", "fuzz.toml") for text in (EVERYTHING, *_packaged())]


def values(data: bytes) -> None:
    """Whatever stands in registers has a meaning: a number that is one, or none."""
    known = _known()
    chosen = known[number(data, 0, len(known))]
    content = data[1:]
    for read in reads(chosen):
        size = read.count if read.function in (COILS, DISCRETE) else 2 * read.count
        piece, content = content[:size].ljust(size, b"\0"), content[size:]
        if read.function in (COILS, DISCRETE):
            _means(read, [byte & 1 for byte in piece])
        else:
            _means(read, [piece[at] << 8 | piece[at + 1] for at in range(0, size, 2)])


class _Wire(asyncio.Transport):
    """A line, or a connection, on which the fuzzer answers each question; cut into pieces as it likes."""

    def __init__(self, hear: Any, loop: VirtualLoop) -> None:
        super().__init__()
        self.answers: list[bytes] = []
        self._hear = hear
        self._loop = loop

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hear a question, and answer it."""
        answer = self.answers.pop(0) if self.answers else b""
        if answer[:1] == b"E":  # an adapter that echoes
            answer = b"\x01" + bytes(data) + answer[1:]
        size, at = 1 + number(answer, 0, 64), 1
        while at < len(answer):
            self._loop.call_later(0.001 * at, self._hear, answer[at : at + size])
            at += size

    def close(self) -> None:
        """Nothing more is heard."""

    abort = close

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return False


@contextmanager
def _lines(loop: VirtualLoop, wires: list[_Wire]) -> Iterator[None]:
    """Have pymodbus's clients connected with the fuzzer's wire."""
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient  # noqa: PLC0415  # as the driver does

    async def connect(self: Any) -> bool:
        wires.append(_Wire(self.ctx.data_received, loop))
        self.ctx.connection_made(wires[-1])
        return True

    with (
        mock.patch.object(modbus, "no_line", return_value=False),
        mock.patch.object(AsyncModbusSerialClient, "connect", connect),
        mock.patch.object(AsyncModbusTcpClient, "connect", connect),
    ):
        yield


def _framed(device: str, content: bytes, question: int) -> bytes:
    if device.startswith(modbus.TCP):
        return question.to_bytes(2, "big") + bytes(2) + (1 + len(content)).to_bytes(2, "big") + bytes([UNIT]) + content
    frame = bytes([UNIT]) + content
    return frame + crc16(frame)


def answers(data: bytes) -> None:
    """Whatever comes instead of an answer is told apart from one, and the next question is answered."""
    loop = VirtualLoop(Random(0))
    device = "tcp:unit" if number(data, 0, 2) else "/dev/ttyUSB0"
    wires: list[_Wire] = []
    try:
        with _lines(loop, wires):
            asked = _asked(Master(device, 19_200, "none", 1, 0.5), parts(data[1:])[:ANSWERS_MAX], wires)
            loop.run_until_complete(asked)
    finally:
        loop.end()


async def _asked(master: Master, said: Sequence[bytes], wires: list[_Wire]) -> None:
    assert await master.open() is None
    for question, part in enumerate(said, 1):
        function, count = FUNCTIONS[number(part, 0, 4)], COUNTS[number(part, 1, 4)]
        content = part[3:]
        framed = content if number(part, 2, 2) else _framed(master.device, content, question)
        wires[-1].answers = [part[2:3] + framed]
        reply: Reply = await master.read(UNIT, function, 0, count)
        match reply:
            case Answer(found):
                assert len(found) == count
                most = 1 if function in (COILS, DISCRETE) else 0xFFFF
                assert all(type(value) is int and 0 <= value <= most for value in found)
            case Exceptional(code):
                assert 0 <= code <= 255
                assert words(reply)
            case Silent() | Garbled() | Gone():
                assert words(reply)
    await asyncio.sleep(2.0)  # what is late has come
    wires[-1].answers = [b"\x3f" + _framed(master.device, bytes((HOLDING, 2, 0x12, 0x34)), _next(master))]
    assert await master.read(UNIT, HOLDING, 0, 1) == Answer((0x1234,))
    master.close()


def _next(master: Master) -> int:
    assert master._client is not None
    return master._client.ctx.next_tid + 1


def _answers() -> list[bytes]:
    right = b"\x02\x00\x3e" + bytes((HOLDING, 2, 0xAB, 0xCD))
    refused = b"\x03\x01\x08" + bytes((0x80 | INPUT, 2))
    bits = b"\x00\x02\x00" + bytes((COILS, 2, 0x55, 1))
    echo = b"\x02\x00E" + bytes((HOLDING, 2, 0xAB, 0xCD))
    noise = b"\x02\x03\x01\x00\xff\x07\x03\x02"
    return [
        head + CUT.join((right, refused, bits, echo, noise, right)[first:])
        for head in (b"\0", b"\1")
        for first in (0, 3)
    ]


def _values() -> list[bytes]:
    return [bytes([chosen]) + bytes(range(200)) for chosen in range(7)] + [b"\x01" + b"\x7f\xc0\x00\x00" * 40]


logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
WATCHED: Final = ("gateway.drivers.modbus", "gateway.sensing.reply")
TARGETS: Final = (
    Target(
        "modbus-profile", profile, lambda: [text.encode() for text in (EVERYTHING, *_packaged())],
        ("gateway.sensing.profile", "gateway.sensing.toml_lines", "gateway.sensing.registers"), shape="text",
        words=(b"[[point]]", b"[[point.threshold]]", b"[[output]]", b"function = ", b"register = 65535", b"bit = 15",
               b"type = ", b"above = ", b"rising = ", b"nan", b"inf", b"-1", b"1e308", b"true", b"[point]"),
    ),
    Target("modbus-values", values, _values, ("gateway.sensing.registers", "gateway.sensing.threshold"), most=400),
    Target(
        "modbus-answers", answers, _answers, WATCHED, most=1200,
        words=(CUT, b"\x03\x02", b"\x83\x02", b"\x01\x01\x01", b"\x02\x00\x00", b"\x2b\x0e\x01", b"\x14", b"\x18"),
    ),
)  # fmt: skip
