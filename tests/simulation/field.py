"""The field: serial lines with real device logic at their far end, and everything that a line does to bytes.

A `Bus` is one line with its devices. The gateway opens it through `World.line`; `firmware_sim.faults` spoils what
passes. Devices are `firmware_sim.board.Machine`: the simulation gives them time, fingers and power cuts, their flash
survives.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import copy_context
from random import Random
from typing import Any, Final

from firmware_sim.board import BROWN_OUT, Action, Happened, Machine, Send, Told
from firmware_sim.faults import Faults, Likelihoods
from firmware_sim.flash import MemoryFlash
from firmware_sim.unacknowledged import KEPT_MAX
from gateway.delivery.backoff import Backoff
from gateway.fieldlink import framing, seal
from gateway.fieldlink.label import Label
from gateway.fieldlink.message import Reading
from tests.simulation.check import Checker
from tests.simulation.loop import PROCESS
from tests.simulation.trace import Trace

BAUD: Final = 11_520.0  # bytes a second at 115 200 8N1
RETRY_MIN, RETRY_MAX = 0.1, 5.0
AROUND: Final = 3.0
QUIET: Final = Likelihoods()


class Bus:
    """One line."""

    def __init__(self, name: str, random: Random, trace: Trace, checker: Checker) -> None:
        self.name = name
        self.plugged = True
        self.devices: list[Device] = []
        self.port: SimulatedPort | None = None
        self.checker = checker
        self.trace = trace
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._faults = Faults(QUIET, 0)
        self._up_free = 0.0
        self._down_free = 0.0

    def disturb(self, likelihoods: Likelihoods) -> None:
        """Have bytes spoilt from now on."""
        self._faults = Faults(likelihoods, self._random.getrandbits(32))

    def unplug(self) -> None:
        """Pull the adapter out."""
        self.plugged = False
        if self.port is not None:
            self.port.end(f"{self.name} was unplugged")

    def upward(self, device: "Device", wire: bytes, event: int | None) -> None:
        """A device sends."""
        self._up_free = max(self._loop.time(), self._up_free) + len(wire) / BAUD
        for delay, chunk in self._faults.apply(wire):
            counter = _header(wire).counter
            self._loop.call_at(self._up_free + delay, self._arrive, device, chunk, event, counter, chunk == wire)

    def _arrive(self, device: "Device", chunk: bytes, event: int | None, counter: int, whole: bool) -> None:
        port = self.port
        if port is None or not port.alive:
            return
        if whole:
            self.checker.frame(device.id, counter, event)
            port.take(chunk)
        else:  # perhaps the frame is in it
            self.checker.frame(device.id, counter, None)
            at = self._random.randrange(len(chunk) + 1)
            port.take(chunk[:at])
            port.take(chunk[at:])

    def downward(self, data: bytes) -> None:
        """The gateway sends: every device on the line hears it."""
        self._down_free = max(self._loop.time(), self._down_free) + len(data) / BAUD
        whole = [device for device in self.devices if device.id == _header(data).device]
        for delay, chunk in self._faults.apply(data):
            hearers = whole if chunk == data else self.devices  # a whole frame says nothing to the others
            self._loop.call_at(self._down_free + delay, self._heard, hearers, chunk)

    def _heard(self, hearers: "list[Device]", chunk: bytes) -> None:
        if self.plugged:
            for device in hearers:
                device.hear(chunk)


def _header(wire: bytes) -> seal.Header:
    frames = framing.Decoder().feed(wire)
    header = seal.read_header(frames[-1].body)  # type: ignore[union-attr]  # a device's or gateway's own frame
    assert isinstance(header, seal.Header)
    return header


class SimulatedPort:
    """What the gateway holds of a line: the interface of `drivers.serial_port.SerialPort`."""

    def __init__(
        self,
        bus: Bus,
        *,
        received: Callable[[bytes], None],
        lost: Callable[[str], None],
        restored: Callable[[], None],
        random: Callable[[], float],
    ) -> None:
        self.trouble: str | None = None
        self._bus = bus
        self._received = received
        self._lost = lost
        self._restored = restored
        self._backoff = Backoff(RETRY_MIN, RETRY_MAX, random)
        self._ended: asyncio.Future[str] | None = None
        self._process = PROCESS.get()
        self._context = copy_context()

    async def run(self, beat: Callable[[], None]) -> None:
        """Keep the line open."""
        while True:
            beat()
            if not self._bus.plugged:
                self._fail(f"{self._bus.name} is not there")
            else:
                try:
                    self._fail(await self._serve(beat))
                finally:
                    self.close()
            await asyncio.sleep(self._backoff.next())

    async def _serve(self, beat: Callable[[], None]) -> str:
        self._ended = ended = asyncio.get_running_loop().create_future()
        self._bus.port = self
        while not (await asyncio.wait({ended}, timeout=AROUND))[0]:
            self._backoff.reset()
            if self.trouble is not None:
                self.trouble = None
                self._restored()
            beat()
        return str(ended.result())

    def close(self) -> None:
        """Let go of the line."""
        if self._bus.port is self:
            self._bus.port = None

    @property
    def alive(self) -> bool:
        """Whether the process that opened it is."""
        return self._process is None or self._process.alive

    def take(self, chunk: bytes) -> None:
        """Bytes have arrived."""
        if chunk and self.alive:
            self._context.run(self._received, chunk)

    def write(self, data: bytes) -> None:
        """Write to the line; without one, nothing."""
        if self._bus.port is self and self.alive:
            self._bus.downward(data)

    def end(self, reason: str) -> None:
        """The line is gone."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(reason)

    def _fail(self, reason: str) -> None:
        if self.trouble is None:
            self._lost(reason)
        self.trouble = reason


class Device:
    """A device with its finger, its battery and its flash."""

    def __init__(self, bus: Bus, label: Label, seed: str, heartbeat: float) -> None:
        self.id = label.device
        self.bus = bus
        self.on = False
        self.machine = Machine(label, MemoryFlash(), Random(seed), heartbeat=heartbeat)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        bus.devices.append(self)

    def power_on(self, cause: int = BROWN_OUT) -> None:
        """Start."""
        self.on = True
        self.bus.checker.device_started(self.id)
        self._perform(self.machine.start(self._loop.time(), cause))

    def power_cut(self) -> None:
        """Stop; what it had not been told of is forgotten."""
        self.on = False
        self.bus.checker.device_forgot(self.id)
        if self._timer is not None:
            self._timer.cancel()

    def press(self, kind: int) -> None:
        """Press a button, if there is power and room."""
        if self.on:
            self._perform(self.machine.press(kind, self._loop.time())[1])

    def measure(self, readings: Sequence[Reading]) -> None:
        """Send readings."""
        if self.on:
            self._perform(self.machine.measure(readings, self._loop.time()))

    def hear(self, chunk: bytes) -> None:
        """Bytes on the line."""
        if self.on:
            self._perform(self.machine.receive(chunk, self._loop.time()))

    def _tick(self) -> None:
        self._perform(self.machine.tick(self._loop.time()))

    def _perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Happened(event, kind):
                    self.bus.trace(f"{self.id} event {event} kind {kind}")
                    self.bus.checker.pressed(self.id, event, kind)
                    if self.machine.unacknowledged == KEPT_MAX:  # an older one may have given way
                        self.bus.checker.pushed_out(self.id, self.machine.kept)
                case Send(wire, event):
                    self.bus.upward(self, wire, event)
                case Told(event, stage):
                    self.bus.trace(f"{self.id} event {event} told {stage}")
                    self.bus.checker.told(self.id, event, stage)
        if self._timer is not None:
            self._timer.cancel()
        if self.on and (deadline := self.machine.deadline) is not None:
            self._timer = self._loop.call_at(deadline, self._tick)


def line_maker(buses: dict[str, Bus]) -> Callable[..., Any]:
    """Return what `World.line` is: the line by its device's name."""

    def make(device: str, _baud: int, **callbacks: Any) -> SimulatedPort:
        return SimulatedPort(buses[device], **callbacks)

    return make
