"""32 Modbus units on one bus at 19 200 baud, read once a second, then one of them dead; the line takes its time.

Each unit is asked for eight registers: 8 bytes out, 21 back, 11 bits each, 3.5 characters of silence and 5 ms of
thought, together some 25 ms, or 0.8 s of each second for all. Without a pause they are asked as fast as the line goes:
what a dead unit takes, the others lose. The naive script is the loop that everybody writes first, with the same library
and timeout: all units in turn, three tries again for each.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pymodbus.client import AsyncModbusSerialClient
from pymodbus.exceptions import ModbusException

from benchmarks.figures import Figure
from benchmarks.site import Site
from firmware_sim import modbus
from firmware_sim.pty import PseudoTerminal
from gateway.drivers.modbus import Master
from gateway.sensing.profile import Point
from gateway.sensing.registers import Read
from gateway.sensing.reply import Fault
from gateway.tasks.bus import Bus, Station

UNITS: Final = 32
BAUD: Final = 19_200
REGISTERS: Final = 8
TIMEOUT: Final = 0.1
PERIOD: Final = 1.0
SECONDS: Final = 30.0
WARM: Final = 3.0
DEAD: Final = "u17"


class _Counted:
    """Counts answers, and notes the longest wait between two of one unit."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.gaps: dict[str, float] = defaultdict(float)
        self._at: dict[str, float] = {}

    def answered(self, unit: str, _read: Read, _values: Mapping[str, Any], now: float) -> None:
        self.gaps[unit] = max(self.gaps[unit], now - self._at.get(unit, now))
        self._at[unit] = now
        self.answers[unit] += 1

    def refused(self, unit: str, read: Read, fault: Fault, now: float) -> None:
        raise AssertionError(f"{unit} refused {read} at {now}: {fault}")

    def failed(self, unit: str, _fault: Fault, _now: float, *, lost: bool) -> None:
        self.answers[f"{unit} {lost}"] += 1

    def begin(self) -> None:
        """Forget what was before."""
        self.answers.clear()
        self.gaps.clear()
        self._at.clear()

    @property
    def others(self) -> int:
        """Answers of all but the dead one."""
        return sum(count for unit, count in self.answers.items() if not unit.startswith(DEAD))


async def measure(site: Site) -> list[Figure]:
    """Poll by the second, then without a pause; each with all alive and with one dead."""
    home = site.home / "modbus"
    home.mkdir()
    by_second = await _ours(home / "second", PERIOD)
    flat_out = await _ours(home / "flat-out", 0.01)
    alive, dead = await _naive(home / "naive")
    goal = 0.98 * (UNITS - 1) / PERIOD
    rate = "answers a second of the others"
    return [
        Figure("longest wait for a unit that is read each second", "s", by_second[0][1], goal=1.3),
        Figure("the same, one of 32 dead", "s", by_second[1][1], goal=1.3),
        Figure(f"{rate}, one dead, asked each second", "1/s", by_second[1][0], goal=goal, better="more"),
        Figure(f"{rate}, asked without a pause", "1/s", flat_out[0][0], naive=alive, better="more"),
        Figure("the same, one of 32 dead", "1/s", flat_out[1][0], naive=dead, better="more"),
        Figure(
            "what the dead one costs the others", "%", 100 * (1 - flat_out[1][0] / flat_out[0][0]),
            naive=100 * (1 - dead / alive), goal=10.0,
        ),
    ]  # fmt: skip


def _units(line: PseudoTerminal) -> dict[str, modbus.Unit]:
    units = [modbus.Unit(n, {4: dict.fromkeys(range(REGISTERS), n)}) for n in range(1, UNITS + 1)]
    modbus.Units(line, units, baud=BAUD)
    return {f"u{unit.address}": unit for unit in units}


async def _ours(path: Path, period: float) -> list[tuple[float, float]]:
    """Return answers a second of the others and the longest wait, with all alive and then with one dead."""
    points = tuple(Point(f"p{n}", 4, n, "u16", quantity="current_a") for n in range(REGISTERS))
    read, counted = Read(4, 0, REGISTERS, period, points), _Counted()
    async with PseudoTerminal(path) as line:
        units = _units(line)
        bus = Bus(
            "bus", lambda: Master(str(path), BAUD, "none", 1, TIMEOUT),
            {name: Station(unit.address, (read,)) for name, unit in units.items()}, TIMEOUT,
            hearer=counted, lost=print, restored=lambda: None, random=lambda: 0.5,
        )  # fmt: skip
        running = asyncio.create_task(bus.run())
        found = []
        for fault in ("none", "mute"):
            units[DEAD].fault = "mute" if fault == "mute" else "none"
            await asyncio.sleep(WARM if fault == "none" else 0.0)  # the first silences count too
            counted.begin()
            began = time.monotonic()
            await asyncio.sleep(SECONDS)
            gaps = [gap for unit, gap in counted.gaps.items() if not unit.startswith(DEAD)]
            found.append((counted.others / (time.monotonic() - began), max(gaps)))
        running.cancel()
        await asyncio.wait([running])
    return found


async def _naive(path: Path) -> tuple[float, float]:
    """Return answers a second of the others, with all alive and then with one dead."""
    async with PseudoTerminal(path) as line:
        units = _units(line)
        client = AsyncModbusSerialClient(str(path), baudrate=BAUD, timeout=TIMEOUT)
        await client.connect()
        found = []
        for fault in ("none", "mute"):
            units[DEAD].fault = "mute" if fault == "mute" else "none"
            began, answers = time.monotonic(), 0
            while time.monotonic() < began + SECONDS:
                for name, unit in units.items():
                    try:
                        await client.read_input_registers(0, count=REGISTERS, device_id=unit.address)
                        answers += name != DEAD
                    except ModbusException:
                        await client.connect()
            found.append(answers / (time.monotonic() - began))
        client.close()
    return found[0], found[1]
