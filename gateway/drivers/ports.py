"""The serial ports of this machine: what each is, and by which name it is found again after the next start.

pyserial's own list knows neither names that stay, nor a Pi's UARTs, nor whose console occupies one; what it reads of
USB is read here, from the same files.

    /sys/class/tty/NAME/device    a port with hardware behind it, and above it the USB device or the UART's driver
    /sys/class/tty/console/active the kernel's consoles
    /dev/serial/by-id, by-path    udev's names that stay
    /dev/serial0, /dev/serial1    Raspberry Pi OS: the UART on pins 8 and 10, the one of Bluetooth; on a Pi 5 serial0 is
                                  the debug connector's (ttyAMA10), and ttyAMA0 is on the pins
    /dev/console                  the kernel's console, whichever port that is
    /proc/PID/fd                  who has a port open, where we may look

`root` is where these folders are.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Kind = Literal["usb", "header", "bluetooth", "debug", "uart", "other"]

# Who makes the chips of serial adapters, and the kernel's driver for them.
ADAPTERS: Final = {"0403": "ftdi_sio", "10c4": "cp210x", "1a86": "ch341", "067b": "pl2303"}
TEXT_MAX: Final = 120  # characters of what a device calls itself
_ACM: Final = ("02", "02")  # class and subclass of a USB interface: communication, abstract control (a serial port)
_NUMBERLESS: Final = frozenset({"", "0001"})  # what stands for a serial number where the maker gave none
_USBFS: Final = "usbfs"  # in the place of a driver: a program has taken the device from the kernel
_LAYERS: Final = frozenset({"port", "ctrl"})  # of the kernel's serial core since 6.5, between a port and its driver
_GHOST: Final = "serial8250"  # ports that the kernel keeps ready for cards, most of them without hardware
_DEBUG, _PINS = "ttyAMA10", "ttyAMA0"  # of a Raspberry Pi 5


@dataclass(frozen=True, slots=True)
class Port:
    """One port. `twin`: another adapter has, or would have, the same name under /dev/serial/by-id; it is not used."""

    device: str
    stable: str
    kind: Kind
    description: str = ""
    serial_number: str = ""
    driver: str = ""  # the kernel's
    console: bool = False
    twin: bool = False


@dataclass(frozen=True, slots=True)
class Driverless:
    """A USB device that is a serial port, and that the kernel has no driver bound to; `module` would be it.

    `taken`: a program holds it through usbfs, as brltty does.
    """

    usb: str  # vendor:product
    description: str
    module: str
    taken: bool = False


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a port open."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Holders:
    """Who has what open; `complete` is False where processes of others can't be looked into."""

    of: dict[str, tuple[Holder, ...]]  # by the port's device
    complete: bool


def listed(root: Path = Path("/")) -> list[Port]:
    """Return the ports with hardware behind them, sorted by name."""
    consoles = _line(root / "sys/class/tty/console/active").split()
    names = sorted(path.parent.name for path in (root / "sys/class/tty").glob("*/device"))
    usb = {name: _usb(root / "sys/class/tty" / name / "device") for name in names}
    places: dict[tuple[str, ...], set[Path]] = {}
    for one in usb.values():
        if one is not None:
            places.setdefault(one.called, set()).add(one.place)
    twins = {one for one in usb.values() if one and (one.serial in _NUMBERLESS or len(places[one.called]) > 1)}
    links = list(_links(root))
    if _DEBUG in names:
        links = [(link, target) for link, target in links if not link.endswith("/serial0")]
    return [
        _port(root, name, usb[name], links, console=name in consoles, twin=usb[name] in twins)
        for name in names
        if not _ghost(root / "sys/class/tty" / name)
    ]


def by_name(device: str, root: Path = Path("/")) -> Port:
    """Return a port that was named and is none of those that are listed."""
    consoles = ["console", *_line(root / "sys/class/tty/console/active").split()]
    return Port(device, device, "other", console=Path(device).name in consoles)


@dataclass(frozen=True, slots=True)
class _Usb:
    place: Path  # of the device
    called: tuple[str, ...]  # what udev makes its name from
    description: str
    serial: str


def _port(root: Path, name: str, usb: _Usb | None, links: list[tuple[str, str]], *, console: bool, twin: bool) -> Port:
    device = str(root / "dev" / name)
    own = [link for link, target in links if target == os.path.realpath(device)]
    by = {kind: [link for link in own if f"/serial/by-{kind}/" in link] for kind in ("id", "path")}
    fixed = [link for link in own if link.endswith("/serial0")]
    stable = [*([] if twin else by["id"]), *fixed, *by["path"], device][0]
    kind: Kind = "uart"
    if usb is not None:
        kind = "usb"
    elif fixed or (name == _PINS and (root / "sys/class/tty" / _DEBUG).exists()):
        kind = "header"
    elif any(link.endswith("/serial1") for link in own):
        kind = "bluetooth"
    elif name == _DEBUG:
        kind = "debug"
    driver = _driver(root / "sys/class/tty" / name / "device")
    description, serial = (usb.description, usb.serial) if usb else ("", "")
    return Port(device, stable, kind, description, serial, driver, console, twin)


def _links(root: Path) -> Iterator[tuple[str, str]]:
    """Yield each name that stays, and the file that it leads to."""
    found: list[Path] = []
    for folder in (root / "dev/serial/by-id", root / "dev/serial/by-path"):
        with suppress(OSError):  # there is none, or the last adapter was pulled out just now
            found += sorted(folder.iterdir())
    for path in [*found, root / "dev/serial0", root / "dev/serial1"]:
        if path.is_symlink():
            yield str(path), os.path.realpath(path)


def _usb(device: Path) -> _Usb | None:
    above = [device.resolve(), *device.resolve().parents]
    for place in above:
        if vendor := _line(place / "idVendor"):
            interface = next((number for path in above if (number := _line(path / "bInterfaceNumber"))), "")
            description = " ".join(filter(None, (_line(place / "manufacturer"), _line(place / "product"))))
            serial = _line(place / "serial")
            called = (vendor, _line(place / "idProduct"), description, serial, interface)
            return _Usb(place, called, description, serial)
    return None


def _driver(device: Path) -> str:
    for place in (device.resolve(), *device.resolve().parents):
        driver = place / "driver"
        if driver.is_symlink() and (name := driver.resolve().name) not in _LAYERS:
            return name
    return ""


def _ghost(tty: Path) -> bool:
    kind = _line(tty / "type")
    return kind == "0" or (not kind and _driver(tty / "device") == _GHOST)


def driverless(root: Path = Path("/")) -> list[Driverless]:
    """Return the USB devices that would be serial ports if the kernel had its driver."""
    found = {}
    for interface in sorted((root / "sys/bus/usb/devices").glob("*:*")):
        above = interface.resolve().parent
        vendor = _line(above / "idVendor")
        kind = (_line(interface / "bInterfaceClass"), _line(interface / "bInterfaceSubClass"))
        module = "cdc_acm" if kind == _ACM else ADAPTERS.get(vendor, "")
        driver = (interface / "driver").resolve().name if (interface / "driver").is_symlink() else ""
        if module and driver in ("", _USBFS):
            usb = f"{vendor}:{_line(above / 'idProduct')}"
            found[above] = Driverless(usb, _line(above / "product"), module, taken=driver == _USBFS)
    return list(found.values())


def holders(devices: Iterable[str], root: Path = Path("/")) -> Holders:
    """Return which processes, beside this one, have these ports open."""
    numbers = {number: device for device in devices if (number := _number(Path(device))) is not None}
    found: dict[str, set[Holder]] = {}
    seen, complete = set(), True
    for process in (root / "proc").glob("[0-9]*"):
        pid = int(process.name)
        try:
            open_files = list((process / "fd").iterdir())
        except FileNotFoundError:  # it ended meanwhile
            continue
        except PermissionError:
            complete = False
            continue
        seen.add(pid)
        for path in open_files if pid != os.getpid() else ():
            try:
                number = _number(path) if str(path.readlink()).startswith("/dev/") else None
            except PermissionError:  # root in a container may list another's files, and not look at them
                complete = False
                break
            except OSError:  # closed meanwhile
                continue
            if (device := numbers.get(number or -1)) is not None:
                found.setdefault(device, set()).add(Holder(_line(process / "comm"), pid))
    ordered = {device: tuple(sorted(who, key=lambda each: each.pid)) for device, who in found.items()}
    return Holders(ordered, complete and 1 in seen)  # without the first process others are hidden too


def _number(path: Path) -> int | None:
    """Return the device's number, the same under each of its names; None if this is no device."""
    with suppress(OSError, ValueError):
        status = path.stat()
        return status.st_rdev if stat.S_ISCHR(status.st_mode) else None
    return None


def _line(path: Path) -> str:
    """Return a file's first line as it may be shown; nothing where there is none, or we may not read it."""
    try:
        line = path.read_text(errors="replace").partition("\n")[0].strip()
    except OSError:
        return ""
    return "".join(letter for letter in line if letter.isprintable())[:TEXT_MAX]
