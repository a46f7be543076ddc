"""Modbus RTU units on a line, written by hand: no line of this is the gateway's, or of the library that it uses.

A unit is a set of registers and bits. What can be wrong with one is done to it by `fault`: it is mute, it answers with
an exception, its answers are damaged, or they come late. Frames that aren't for a unit, or are damaged, it ignores, as
real ones do.

Source: Modbus Application Protocol Specification V1.1b3; Modbus over Serial Line V1.02.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final, Literal

from firmware_sim.line import Line

COILS, DISCRETE, HOLDING, INPUT, WRITE_COIL, WRITE_REGISTER = 1, 2, 3, 4, 5, 6
QUESTION: Final = 8  # bytes of each question that we understand
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
TURNAROUND: Final = 0.005  # seconds that a unit takes to think

Fault = Literal["none", "mute", "refuse", "damage", "late"]


def crc16(data: bytes) -> bytes:
    """Return the check of a frame, low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc.to_bytes(2, "little")


@dataclass
class Unit:
    """One unit: by function, what stands at each address; `late_s` is how late it is with the fault `late`."""

    address: int
    registers: dict[int, dict[int, int]] = field(default_factory=dict)
    fault: Fault = "none"
    late_s: float = 1.0
    asked: int = 0
    written: list[tuple[int, int, int]] = field(default_factory=list)

    def answer(self, question: bytes) -> bytes | None:
        """Return the answer to a whole frame, or None: it isn't for this unit, or the unit is mute."""
        if len(question) != QUESTION or crc16(question[:-2]) != question[-2:] or question[0] != self.address:
            return None
        self.asked += 1
        if self.fault == "mute":
            return None
        function = question[1]
        first, second = int.from_bytes(question[2:4], "big"), int.from_bytes(question[4:6], "big")
        told = ILLEGAL_ADDRESS if self.fault == "refuse" else self._told(function, first, second)
        body = bytes((self.address, function | 0x80, told)) if isinstance(told, int) else question[:2] + told
        frame = body + crc16(body)
        return frame[:-1] + bytes((frame[-1] ^ 0xFF,)) if self.fault == "damage" else frame

    def _told(self, function: int, first: int, second: int) -> bytes | int:
        """Return what follows the function, or an exception's code."""
        match function:
            case 1 | 2 | 3 | 4:
                table = self.registers.get(function, {})
                values = [table.get(first + n) for n in range(second)]
                if not values or None in values:
                    return ILLEGAL_ADDRESS
                known = [value for value in values if value is not None]
                if function in (HOLDING, INPUT):
                    return bytes((2 * second,)) + b"".join(value.to_bytes(2, "big") for value in known)
                bits = sum(1 << n for n, value in enumerate(known) if value)
                size = (second + 7) // 8
                return bytes((size,)) + bits.to_bytes(size, "little")
            case 5 | 6:
                table = self.registers.get(COILS if function == WRITE_COIL else HOLDING, {})
                if first not in table:
                    return ILLEGAL_ADDRESS
                if function == WRITE_COIL and second not in (0, 0xFF00):
                    return ILLEGAL_VALUE
                table[first] = int(second == 0xFF00) if function == WRITE_COIL else second
                self.written.append((function, first, second))
                return first.to_bytes(2, "big") + second.to_bytes(2, "big")
            case _:
                return ILLEGAL_FUNCTION


class Units:
    """All units of a line. With `baud`, questions and answers take the line's time, as copper would.

    `turnaround` is how long a unit thinks.
    """

    def __init__(
        self, line: Line, units: list[Unit], *, baud: int | None = None, turnaround: float = TURNAROUND
    ) -> None:
        self.units = {unit.address: unit for unit in units}
        self._line = line
        self._baud = baud
        self._turnaround = turnaround
        self._heard = bytearray()
        line.attach(self._hear)

    def _hear(self, chunk: bytes) -> None:
        self._heard += chunk
        while len(self._heard) >= QUESTION:
            question = bytes(self._heard[:QUESTION])
            if crc16(question[:-2]) != question[-2:]:
                del self._heard[0]
                continue
            del self._heard[:QUESTION]
            unit = self.units.get(question[0])
            if unit is None or (answer := unit.answer(question)) is None:
                continue
            after = self._turnaround + (unit.late_s if unit.fault == "late" else 0.0)
            if self._baud:
                after += (len(question) + len(answer)) * 11 / self._baud  # 8 bits, parity or a second stop bit
            asyncio.get_running_loop().call_later(after, self._line.to_gateway, answer)
