"""Asking what is on a port: one register of Modbus units, one poll of OSDP peripherals.

Both only read, and a unit that knows neither ignores both. All the same it is writing to something unknown, which is
why a person has to order it, and only a port that nobody has open is asked.

Modbus units are asked through pymodbus. libosdp can't ask without setting a connection up; its poll is eight bytes.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import serial

from gateway.drivers.listening import Closed, Ear, Told
from gateway.drivers.modbus import Master
from gateway.drivers.serial_port import explained
from gateway.sensing.profile import HOLDING
from gateway.sensing.recognise import BROADCAST, OsdpHeard, osdp_poll, recognised
from gateway.sensing.reply import Answer, Exceptional, Garbled, Gone
from gateway.text import _

# Rate and parity, as makers ship units; the standard's own (19 200, even) is rare.
MODBUS_LINES: Final = (
    (9600, "none"), (19_200, "none"), (115_200, "none"), (4800, "none"), (2400, "none"), (9600, "even"),
    (19_200, "even"),
)  # fmt: skip
MODBUS_FIRST: Final = range(1, 33)  # addresses that are asked at each; all of them where one has answered
MODBUS_ALL: Final = range(1, 248)
MODBUS_PATIENCE: Final = 0.15  # seconds: the slowest units that we know of think for 100 ms; the bytes come on top
MODBUS_BITS: Final = 16 * 11  # of a question and its answer
OSDP_RATES: Final = (9600, 19_200, 38_400, 57_600, 115_200)
OSDP_FIRST: Final = range(8)
OSDP_ALL: Final = range(127)
OSDP_PATIENCE: Final = 0.2  # seconds: the longest that a peripheral may take; most take 3 ms


@dataclass(frozen=True, slots=True)
class ModbusUnits:
    """Units that answered, and addresses whose answers came damaged. `echo`: the adapter hears its own questions.

    `lost`: why asking ended before all were asked, in words.
    """

    baud: int
    parity: str
    addresses: tuple[int, ...]
    damaged: tuple[int, ...] = ()
    echo: bool = False
    lost: str | None = None


@dataclass(frozen=True, slots=True)
class OsdpPeripherals:
    """Peripherals that replied. `secure`: one of them speaks over a secure channel alone; `lost` as of Modbus."""

    baud: int
    addresses: tuple[int, ...]
    secure: bool = False
    lost: str | None = None


async def modbus_units(device: str, told: Told = lambda _text: None) -> ModbusUnits | Closed | None:
    """Ask each address for one holding register; None if nobody answers. An exception is an answer."""
    poor: ModbusUnits | None = None
    for baud, parity in MODBUS_LINES:
        found = await _modbus(device, baud, parity, MODBUS_FIRST, told)
        if isinstance(found, Closed):
            if (baud, parity) == MODBUS_LINES[0]:
                return found
            continue  # a UART without parity, as a Pi's mini UART
        if found.lost is not None:
            return found
        if found.addresses:
            match await _modbus(device, baud, parity, MODBUS_ALL, told):
                case Closed(reason):
                    return replace(found, lost=reason)
                case more:
                    return replace(more, addresses=tuple(sorted({*found.addresses, *more.addresses})))
        if poor is None and (found.damaged or found.echo):
            poor = found
    return poor


async def _modbus(device: str, baud: int, parity: str, addresses: Sequence[int], told: Told) -> ModbusUnits | Closed:
    master = Master(device, baud, parity, 1, MODBUS_PATIENCE + MODBUS_BITS / baud)
    if (reason := await master.open()) is not None:
        return Closed(reason)
    answered, damaged, echo = list[int](), list[int](), False
    lost: str | None = None
    task = asyncio.current_task()
    try:
        for address in addresses:
            told(_("asking for Modbus at {baud}, address {address}").format(baud=baud, address=address))
            match await master.read(address, HOLDING, 0, 1):
                case Answer() | Exceptional():
                    answered.append(address)
                case Garbled(echo=True):
                    echo = True
                case Garbled():
                    damaged.append(address)
                case Gone(lost):
                    break
            if task is not None and task.cancelling():  # the library may have swallowed it beside an answer
                raise asyncio.CancelledError
    finally:
        master.close()
    return ModbusUnits(baud, parity, tuple(answered), tuple(damaged), echo, lost)


async def osdp_peripherals(device: str, told: Told = lambda _text: None) -> OsdpPeripherals | Closed | None:
    """Poll whoever is there, then each address where somebody is; None if nobody replies."""
    try:
        ear = Ear(device, OSDP_RATES[0])
    except (serial.SerialException, OSError, ValueError) as error:
        return Closed(explained(device, error))
    replies: list[OsdpHeard] = []
    rate, lost = OSDP_RATES[0], None
    try:
        for rate in OSDP_RATES:
            doing = _("asking for OSDP at {baud}").format(baud=rate)
            ear.tune(rate)
            for address in (BROADCAST, *OSDP_FIRST):
                told(doing)
                replies += await _polled(ear, address)
            if replies:
                doing = _("asking for OSDP at {baud}, address by address").format(baud=rate)
                for address in OSDP_ALL:
                    told(doing)
                    replies += await _polled(ear, address)
                break
    except OSError as error:  # a SerialException is one
        lost = explained(device, error)
    finally:
        ear.close()
    addresses = tuple(sorted({address for each in replies for address in each.addresses} - {BROADCAST}))
    if replies:
        return OsdpPeripherals(rate, addresses, any(each.secure for each in replies), lost)
    return None if lost is None else Closed(lost)


async def _polled(ear: Ear, address: int) -> list[OsdpHeard]:
    """Return what replied, if anybody did."""
    ear.say(osdp_poll(address))
    heard = recognised(await ear.hear(OSDP_PATIENCE, enough=_replied))
    return [heard] if isinstance(heard, OsdpHeard) and heard.addresses else []


def _replied(data: bytes) -> bool:
    heard = recognised(data)
    return isinstance(heard, OsdpHeard) and bool(heard.addresses)
