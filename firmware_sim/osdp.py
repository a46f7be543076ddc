"""OSDP peripherals on a line, each on libosdp's own peripheral device: inputs, outputs, an LED, a buzzer, a cover.

    async with PseudoTerminal(path) as line:
        gate = Peripheral(line, 1, inputs=2, outputs=1)       # as it left the factory: the default key alone
        gate.start()
        gate.set_input(0, active=True)

What is set is reported at the next poll, as real ones do it; what it is told can be seen (`outputs`, `led`, `buzzes`).
An output that is told to be on for a time goes off by itself.
Its key stays with it over `stop` and `start`, as in its flash; `reset` puts it back into the state of the factory.

libosdp's binding to Python can't answer how the inputs are, and drops a reference of others' at each command: commands
are taken by a callback in ctypes, from the C library that the binding carries.
"""

import ctypes
import math
import time
from typing import Any, Final

from firmware_sim.line import Line

INPUTS, OUTPUTS, LEDS, BUZZERS, CHECK, SECURITY = 1, 2, 4, 5, 8, 9  # capabilities
TIMED: Final = 3  # the level of outputs that can be on for a time
REPORT_MAX: Final = 64
COLOURS: Final = {0: "off", 1: "red", 2: "green", 3: "amber", 4: "blue"}
_CONTEXT: Final = 80  # where the binding's object has libosdp's, in 3.2.9: a head, a base of 40 bytes, three pointers


class _Led(ctypes.Structure):
    _fields_ = (
        ("control", ctypes.c_uint8),
        ("on_count", ctypes.c_uint8),
        ("off_count", ctypes.c_uint8),
        ("on_color", ctypes.c_uint8),
        ("off_color", ctypes.c_uint8),
        ("timer", ctypes.c_uint16),
    )


class _Lights(ctypes.Structure):
    _fields_ = (
        ("reader", ctypes.c_uint8),
        ("number", ctypes.c_uint8),
        ("temporary", _Led),
        ("permanent", _Led),
    )


class _Status(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("count", ctypes.c_int), ("report", ctypes.c_uint8 * REPORT_MAX))


class _Union(ctypes.Union):
    _fields_ = (("led", _Lights), ("status", _Status), ("bytes", ctypes.c_uint8 * 32), ("room", ctypes.c_uint8 * 256))


class _Command(ctypes.Structure):
    """struct osdp_cmd of libosdp 3.2.9."""

    _fields_ = (
        ("next", ctypes.c_void_p),
        ("previous", ctypes.c_void_p),
        ("id", ctypes.c_int),
        ("flags", ctypes.c_uint32),
        ("of", _Union),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Command))


class _Channel:
    """What libosdp takes for a line."""

    def __init__(self, peripheral: "Peripheral") -> None:
        self.id = 0
        self.heard = b""
        self._peripheral = peripheral

    def read(self, most: int) -> bytes:
        taken, self.heard = self.heard[:most], self.heard[most:]
        return taken

    def write(self, frame: bytes) -> int:
        self._peripheral.send(frame)
        return len(frame)

    def flush(self) -> None:
        self.heard = b""


class Peripheral:
    """One peripheral. Several share a line by their addresses, as on copper."""

    def __init__(
        self, line: Line, address: int, *, inputs: int = 2, outputs: int = 1, key: bytes | None = None
    ) -> None:
        self.address = address
        self.inputs = [False] * inputs
        self._on_until = [-math.inf] * outputs
        self.key = key  # None: it has the default key, and takes any that it is set by it
        self.tampered = self.unpowered = False
        self.led: tuple[str, int, int] = ("off", 0, 0)  # colour, on for, off for (tenths of a second)
        self.buzzes = 0
        self.muted = False
        self.keys_set = 0
        self.commands = 0
        self.refuses = set[int]()  # commands by their numbers in libosdp, as `osdp_sys.CMD_BUZZER`
        self._line = line
        self._device: Any = None
        self._channel = _Channel(self)
        self._callback = _Callback(self._told)

    @property
    def outputs(self) -> list[bool]:
        """Which outputs are on."""
        now = time.monotonic()
        return [now < until for until in self._on_until]

    # Its life.

    def start(self) -> None:
        """Come up, with what its flash has."""
        import osdp_sys  # noqa: PLC0415  # a run without OSDP does without it

        osdp_sys.set_loglevel(osdp_sys.LOG_EMERG)
        settings = {
            "name": f"pd-{self.address}",
            "address": self.address,
            "flags": 0 if self.key is None else osdp_sys.FLAG_ENFORCE_SECURE,
            "scbk": self.key,
            "channel": self._channel,
            "version": 1,
            "model": 1,
            "vendor_code": 0x0C5,
            "serial_number": self.address,
            "firmware_version": 1,
        }
        has = {INPUTS: len(self.inputs), OUTPUTS: len(self._on_until), LEDS: 1, BUZZERS: 1, CHECK: 0, SECURITY: 1}
        self._device = osdp_sys.PeripheralDevice(
            settings,
            capabilities=[
                {"function_code": code, "compliance_level": TIMED if code == OUTPUTS else 1, "num_items": count}
                for code, count in has.items()
            ],
        )
        library = ctypes.CDLL(osdp_sys.__file__)
        context = ctypes.c_void_p.from_address(id(self._device) + _CONTEXT)
        library.osdp_pd_set_command_callback(context, self._callback, None)
        self._on_until = [-math.inf] * len(self._on_until)
        self.led = ("off", 0, 0)
        self._line.attach(self._hear)

    def stop(self) -> None:
        """Lose power."""
        self._line.detach(self._hear)
        self._device = None

    def mute(self) -> None:
        """Answer nothing, and live on."""
        self.muted = True

    def heal(self) -> None:
        """Answer again."""
        self.muted = False

    def reset(self) -> None:
        """Put it back into the state of the factory: the default key."""
        self.stop()
        self.key = None
        self.start()

    # What happens at it.

    def set_input(self, number: int, *, active: bool) -> None:
        """Press, open, release."""
        self.inputs[number] = active
        self._report(_inputs(), bytes(self.inputs))

    def tamper(self, *, opened: bool) -> None:
        """Open or close its cover."""
        self.tampered = opened
        self._report(_local(), bytes((self.tampered, self.unpowered)))

    def power(self, *, present: bool) -> None:
        """Take its supply away, or give it back; it has a battery."""
        self.unpowered = not present
        self._report(_local(), bytes((self.tampered, self.unpowered)))

    def _report(self, kind: int, report: bytes) -> None:
        import osdp_sys  # noqa: PLC0415  # as above

        if self._device is not None and report:
            self._device.submit_event({"event": osdp_sys.EVENT_STATUS, "type": kind, "report": report})

    # The line.

    def send(self, frame: bytes) -> None:
        """Have a frame leave, unless it is mute."""
        if not self.muted:
            self._line.write(frame)

    def _hear(self, chunk: bytes) -> None:
        if self.muted or self._device is None:
            return
        self._channel.heard += chunk
        for _step in range(4):
            self._device.refresh()

    def _told(self, _argument: object, pointer: Any) -> int:
        command = pointer.contents
        self.commands += 1
        import osdp_sys  # noqa: PLC0415  # as above

        if command.id in self.refuses:
            return -1
        raw = bytes(command.of.bytes)
        if command.id == osdp_sys.CMD_OUTPUT:
            on_for = {2: math.inf, 4: math.inf, 5: (raw[2] | raw[3] << 8) / 10}.get(raw[1], -math.inf)
            self._on_until[raw[0]] = time.monotonic() + on_for
        elif command.id == osdp_sys.CMD_LED:
            led = command.of.led.permanent
            self.led = (COLOURS.get(led.on_color, "?"), led.on_count, led.off_count)
        elif command.id == osdp_sys.CMD_BUZZER:
            self.buzzes += raw[1] != 1
        elif command.id == osdp_sys.CMD_KEYSET:
            self.key = raw[2 : 2 + raw[1]]
            self.keys_set += 1
        elif command.id == osdp_sys.CMD_STATUS:
            inputs = command.of.status.type == _inputs()
            report = bytes(self.inputs) if inputs else bytes((self.tampered, self.unpowered))
            command.of.status.count = len(report)
            ctypes.memmove(command.of.status.report, report, len(report))
        return 0


def _inputs() -> int:
    import osdp_sys  # noqa: PLC0415  # as above

    return int(osdp_sys.STATUS_REPORT_INPUT)


def _local() -> int:
    import osdp_sys  # noqa: PLC0415  # as above

    return int(osdp_sys.STATUS_REPORT_LOCAL)
