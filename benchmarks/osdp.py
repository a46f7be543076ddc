"""Input change → verified at C5 over OSDP at 9600 baud, on a secure channel; alone, and one of four, one of them dead.

What the bus allows is a poll: a peripheral speaks when it is asked. libosdp has nothing to ask within 50 ms of an
answer, and an answer takes its bytes' time on the line; so a change waits for half a period on average and for a whole
one at most, in any program that uses this library. Changes come at random, against the polls. The naive script is the
library's own Python class with its thread, up to its event handler: neither signed, nor stored, nor sent.
"""

import asyncio
import json
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from osdp import Channel, ControlPanel, LibFlag, PDInfo

from benchmarks import site as sites
from benchmarks.figures import Figure, percentile, spread
from benchmarks.process import until
from benchmarks.received import us
from benchmarks.site import Site
from firmware_sim.osdp import Peripheral
from firmware_sim.pty import PseudoTerminal
from gateway.drivers.osdp_keys import KeyFiles
from gateway.drivers.serial_port import opened
from gateway.sensing.osdp import Keys

BAUD: Final = 9600
INPUTS: Final = 6
PRESSES: Final = 20  # of each input: as many as a contact tells without a pause
KEY: Final = bytes(range(16))
LINES: Final = {"alone": 1, "four": 4}
WARM: Final = 2.0


class Presses:
    """Presses one peripheral's inputs at random moments, and counts its polls."""

    def __init__(self, peripheral: Peripheral) -> None:
        self.peripheral = peripheral
        self.pressed: defaultdict[int, list[int]] = defaultdict(list)  # by input: nanoseconds since 1970
        self._polls: list[float] = []
        self._sends = peripheral.send
        peripheral.send = self._send  # type: ignore[method-assign]  # each answer is a poll's

    def _send(self, frame: bytes) -> None:
        self._polls.append(time.monotonic())
        self._sends(frame)

    async def press(self, count: int, seed: int) -> None:
        """Press each input so often."""
        chance = random.Random(seed)
        for _turn in range(count):
            for number in range(INPUTS):
                self.pressed[number].append(time.time_ns())
                self.peripheral.set_input(number, active=True)
                await asyncio.sleep(chance.uniform(0.08, 0.2))
                self.peripheral.set_input(number, active=False)
                await asyncio.sleep(chance.uniform(0.08, 0.2))

    @property
    def period(self) -> float:
        """Milliseconds between two polls, as most were; a press's second order comes sooner."""
        return 1000 * percentile([b - a for a, b in zip(self._polls, self._polls[1:], strict=False)], 0.9)


async def measure(site: Site) -> list[Figure]:
    """Press alone on a line, then on a line of four, then with one of the four dead; and at the naive script's."""
    home = site.home / "osdp"
    home.mkdir()
    figures: list[Figure] = []
    naive_period, naive_waits = await _naive(home / "naive")
    naive = spread(naive_waits)
    for name, others in LINES.items():
        period, waits, dead = await _ours(site, home / name, others)
        what = "" if others == 1 else f", one of {others} on the line"
        theirs = naive if others == 1 else {}
        figures.append(Figure(f"from poll to poll{what}", "ms", period, naive_period if others == 1 else None))
        figures += [
            Figure(
                f"input change → verified at C5, {share}{what}", "ms", value, theirs.get(share),
                goal=2 * period if share == "p99" else None,
            )
            for share, value in spread(waits).items()
        ]  # fmt: skip
        if dead:
            figures += [
                Figure(f"the same, one of them dead, {share}", "ms", value) for share, value in spread(dead).items()
            ]
    return figures


async def _ours(site: Site, home: Path, count: int) -> tuple[float, list[float], list[float]]:
    """Return the poll period, how long each press took, and the same with one of the others dead."""
    lines = {name: PseudoTerminal(home.with_name(f"{home.name}-{name}"), baud=BAUD) for name in ("radio", "bus")}
    ours = sites.Ours(site, home, lines["radio"].path)
    tables = f'\n[[port]]\nname = "bus"\ndriver = "osdp"\ndevice = "{lines["bus"].path}"\nbaud = {BAUD}\n'
    for address in range(count):
        tables += f'[[peripheral]]\nname = "p{address}"\nport = "bus"\naddress = {address}\n'
        tables += "".join(
            f'[[peripheral.input]]\nname = "p{address}-{number}"\nnumber = {number}\non = "panic.pressed"\n'
            for number in range(INPUTS)
        )
        KeyFiles(ours.state_dir).write(f"p{address}", Keys(KEY))
    config = home / "gateway.toml"
    config.write_text(config.read_text() + tables)
    peripherals = [Peripheral(lines["bus"], address, inputs=INPUTS, key=KEY) for address in range(count)]
    presses = Presses(peripherals[0])
    async with site.broker, lines["radio"], lines["bus"], ours.receiver("--output", "jsonl") as receiver:
        for peripheral in peripherals:
            peripheral.start()
        async with ours.gateway():
            await until(lambda: all(one.commands for one in peripherals), 15.0, every=0.05)
            await asyncio.sleep(WARM)
            half = PRESSES if count == 1 else PRESSES // 2
            await presses.press(half, 1)
            period = presses.period
            if count > 1:
                peripherals[-1].stop()
                await presses.press(PRESSES - half, 2)
            await asyncio.sleep(WARM)
        verified = _verified(receiver.out)
    waits: tuple[list[float], list[float]] = ([], [])
    for number, pressed in presses.pressed.items():
        came = verified[f"p0-{number}"]
        assert len(came) == len(pressed), (number, len(came), len(pressed))
        for index, (at_ns, at_us) in enumerate(zip(pressed, came, strict=True)):
            waits[index >= half].append(at_us / 1000 - at_ns / 1e6)
    return period, *waits


def _verified(path: Path) -> defaultdict[str, list[int]]:
    """Return when each press of each input was verified: microseconds since 1970."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for line in path.read_text().splitlines():
        said = json.loads(line)
        if said["type"] == "panic.pressed":
            found[said["device"]].append(us(said["verified"]))
    return found


class _Naive(Channel):  # type: ignore[misc]  # the library has no types
    """A serial port as the library's example has it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.port = opened(str(path), BAUD)

    def read(self, max_bytes: int) -> bytes:
        return bytes(self.port.read(max_bytes))

    def write(self, buf: bytes) -> int:
        return int(self.port.write(buf) or 0)

    def flush(self) -> None:
        self.port.flush()


async def _naive(path: Path) -> tuple[float, list[float]]:
    """Return the poll period, and how long each press took to the event handler."""
    came: defaultdict[int, list[int]] = defaultdict(list)
    levels = [0] * INPUTS

    def handler(_peripheral: int, event: dict[str, Any]) -> int:
        for number, level in enumerate(event.get("report", b"")):
            if level > levels[number]:
                came[number].append(time.time_ns())
            levels[number] = level
        return 0

    async with PseudoTerminal(path, baud=BAUD) as line:
        peripheral = Peripheral(line, 1, inputs=INPUTS, key=KEY)
        presses = Presses(peripheral)
        peripheral.start()
        channel = _Naive(path)
        panel = ControlPanel(
            [PDInfo(1, channel, scbk=KEY, flags=[LibFlag.EnforceSecure])], log_level=0, event_handler=handler
        )
        panel.start()
        await asyncio.sleep(WARM)
        await presses.press(PRESSES, 1)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(panel.stop)
        channel.port.close()
    waits = [
        (at - pressed) / 1e6
        for number, moments in presses.pressed.items()
        for pressed, at in zip(moments, came[number], strict=True)
    ]
    return presses.period, waits
