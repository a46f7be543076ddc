"""Commands to the field: a device's output, a device that shows itself, an output of the gateway's own.

A device answers in its own time: the reply says what it answered, or that it didn't. It is asked again after 1, 2 and
4 s and given up 8 s after that (`fieldlink.commands`).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.tasks.orders.order import Answer, Done, Order, failed, is_number

if TYPE_CHECKING:
    from gateway.errors import Refused
    from gateway.fieldlink.message import Result

OUTPUT, IDENTIFY = 2, 3  # Field Link commands
OUTPUT_MAX: Final = 255
SECONDS_MAX: Final = 3600
IDENTIFY_SECONDS: Final = 30
_STATUSES: Final = {
    1: "the device doesn't know this command",
    2: "the device refuses the arguments",
    3: "the device is busy",
    4: "the device failed",
}
_SILENT: Final = "the device didn't answer, or started anew meanwhile"


class Devices(Protocol):
    """The enrolled devices."""

    def __contains__(self, device: object) -> bool:
        """Whether this device is enrolled."""

    def ask(
        self, device: str, command: int, arguments: Mapping[int, Any], ended: "Callable[[Result | None], None]"
    ) -> "Refused | None":
        """Ask something of an enrolled device; `ended` gets the answer in its time, unless this is refused."""


class Outputs(Protocol):
    """The gateway's own outputs."""

    def set(self, name: str, *, on: bool, seconds: float | None) -> str | float | None:
        """Set an output, for so long or until told, and no longer than it may be on.

        Returns what is in the way, if anything is; else for how many seconds it is on, None: until told.
        """


class Units(Protocol):
    """The units on the gateway's buses."""

    def __contains__(self, name: object) -> bool:
        """Whether there is a unit of this name."""

    def switch(
        self, unit: str, output: str, ended: Callable[[str | None], None], *, on: bool, seconds: float | None
    ) -> None:
        """Switch an output of a unit; `ended` hears what is in the way, or None: it is done."""


class Peripherals(Units, Protocol):
    """The peripherals on the gateway's OSDP lines."""

    def identify(self, name: str, seconds: float, ended: Callable[[str | None], None]) -> None:
        """Have a peripheral show itself; `ended` hears what is in the way, or None: it is done."""


class Field:
    """Carries out what C5 wants of the field."""

    def __init__(
        self, gateway: str, devices: Devices, outputs: Outputs, units: Units, peripherals: Peripherals
    ) -> None:
        self._gateway = gateway
        self._units = units
        self._peripherals = peripherals
        self._devices = devices
        self._outputs = outputs

    def set_output(self, order: Order, answer: Answer) -> None:
        """Switch an output of a device, or, by its name, of the gateway itself."""
        get = order.arguments.get
        device, output, on, seconds = get("device", self._gateway), get("output"), get("on"), get("seconds")
        if type(on) is not bool or not (seconds is None or is_number(seconds, 1, SECONDS_MAX)):
            answer(failed(f"on must be true or false, seconds 1 to {SECONDS_MAX} or absent (until told)"))
        elif (side := self._side(device)) is not None or device == self._gateway:
            if type(output) is not str:
                answer(failed("output must be the name of an output of the gateway, or of the unit"))
                return
            if side is not None:
                side.switch(device, output[:64], partial(_ended, answer), on=on, seconds=seconds)
                return
            became = self._outputs.set(output[:64], on=on, seconds=seconds)
            if isinstance(became, str):
                answer(failed(became))
            else:
                shortened = became is not None and became != seconds
                answer(Done("done", f"for {became:g} s" if shortened else None))
        elif type(output) is not int or not is_number(output, 0, OUTPUT_MAX):
            answer(failed(f"output must be the number of an output of the device, 0 to {OUTPUT_MAX}"))
        else:
            arguments: dict[int, Any] = {1: output, 2: on}
            self._ask(device, OUTPUT, arguments if seconds is None else {**arguments, 3: seconds}, answer)

    def identify(self, order: Order, answer: Answer) -> None:
        """Have a device show itself."""
        seconds = order.arguments.get("seconds", IDENTIFY_SECONDS)
        if not is_number(seconds, 1, SECONDS_MAX):
            answer(failed(f"seconds must be 1 to {SECONDS_MAX}, or absent ({IDENTIFY_SECONDS})"))
        elif type(device := order.arguments.get("device")) is str and device in self._peripherals:
            self._peripherals.identify(device, seconds, partial(_ended, answer))
        else:
            self._ask(order.arguments.get("device"), IDENTIFY, {1: seconds}, answer)

    def _side(self, device: object) -> Units | None:
        """Return whose output it is, if it is one by its name."""
        if type(device) is not str:
            return None
        return next((side for side in (self._units, self._peripherals) if device in side), None)

    def _ask(self, device: object, command: int, arguments: Mapping[int, Any], answer: Answer) -> None:
        if type(device) is not str or device not in self._devices:
            answer(failed("device must be a device that is enrolled here"))
            return
        refused = self._devices.ask(device, command, arguments, lambda result: answer(_read(result)))
        if refused is not None:
            answer(failed(refused.reason))


def _ended(answer: Answer, wrong: str | None) -> None:
    answer(Done("done") if wrong is None else failed(wrong))


def _read(result: "Result | None") -> Done:
    """Return what a device's answer means."""
    if result is None:
        return failed(_SILENT)
    if result.status == 0:
        return Done("done", result.text)
    said = _STATUSES.get(result.status, f"the device answered {result.status}")
    return failed(f"{said}: {result.text}" if result.text else said)
