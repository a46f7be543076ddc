"""A machine's serial ports as its folders show them (/sys, /dev, /proc), with pseudo-terminals for the ports."""

import os
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Cabinet:
    """A root folder to be filled."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("sys/class/tty/console", "sys/bus/usb/devices", "dev/serial/by-id", "dev/serial/by-path"):
            (root / folder).mkdir(parents=True)
        self.write("sys/class/tty/console/active", "tty0\n")
        self.process(1, "systemd")

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def link(self, path: str, target: str) -> None:
        """Link a path to another, both below the root, or to one outside of it."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target if target.startswith("/dev/") else os.path.relpath(self.root / target, place.parent))

    def tty(self, name: str, device: str, terminal: str | None) -> None:
        """Have a port with this hardware behind it, and this terminal in its place."""
        self.link(f"sys/class/tty/{name}/device", device)
        if terminal is not None:
            self.link(f"dev/{name}", terminal)

    def usb(
        self, name: str, terminal: str | None = None, *, socket: str = "1-1.2", serial: str = "", by_id: bool = True,
        usb: str = "0403:6001", product: str = "FT232R USB UART",
    ) -> None:  # fmt: skip
        """Plug an adapter into a socket; one without `name` has no driver."""
        device, interface = f"sys/devices/usb1/{socket}", f"{socket}:1.0"
        vendor, _colon, number = usb.partition(":")
        for file, text in {"idVendor": vendor, "idProduct": number, "product": product, "serial": serial}.items():
            if text:
                self.write(f"{device}/{file}", text + "\n")
        self.write(f"{device}/{interface}/bInterfaceNumber", "00\n")
        self.write(f"{device}/{interface}/bInterfaceClass", "ff\n")
        self.link(f"sys/bus/usb/devices/{interface}", f"{device}/{interface}")
        if not name:
            return
        (self.root / "sys/bus/usb/drivers/ftdi_sio").mkdir(parents=True, exist_ok=True)
        self.link(f"{device}/{interface}/driver", "sys/bus/usb/drivers/ftdi_sio")
        (self.root / device / interface / name).mkdir()
        self.tty(name, f"{device}/{interface}/{name}", terminal)
        self.link(f"dev/serial/by-path/platform-usb-0:{socket}:1.0-port0", f"dev/{name}")
        if by_id:
            marked = f"_{serial}" if serial else ""
            self.link(f"dev/serial/by-id/usb-FTDI_{product.replace(' ', '_')}{marked}-if00-port0", f"dev/{name}")

    def uart(self, name: str, driver: str, terminal: str | None = None, *, kind: str = "32", layer: str = "") -> None:
        """Have a UART of the machine's own; `layer` is what newer kernels put between it and its driver."""
        device = f"sys/devices/platform/{name}.serial"
        (self.root / device / layer).mkdir(parents=True)
        (self.root / "sys/bus/platform/drivers" / driver).mkdir(parents=True, exist_ok=True)
        self.link(f"{device}/driver", f"sys/bus/platform/drivers/{driver}")
        if layer:
            (self.root / "sys/bus/serial-base/drivers/port").mkdir(parents=True, exist_ok=True)
            self.link(f"{device}/{layer}/driver", "sys/bus/serial-base/drivers/port")
        self.write(f"sys/class/tty/{name}/type", kind + "\n")
        self.tty(name, f"{device}/{layer}".rstrip("/"), terminal)

    def process(self, pid: int, name: str, *files: str) -> None:
        """Run a process that has these open."""
        self.write(f"proc/{pid}/comm", name + "\n")
        (self.root / f"proc/{pid}/fd").mkdir()
        for number, file in enumerate(files):
            self.link(f"proc/{pid}/fd/{number + 3}", file)

    def take(self, socket: str) -> None:
        """Have a program take the adapter in this socket from the kernel, as brltty does."""
        (self.root / "sys/bus/usb/drivers/usbfs").mkdir(parents=True, exist_ok=True)
        self.link(f"sys/devices/usb1/{socket}/{socket}:1.0/driver", "sys/bus/usb/drivers/usbfs")


@contextmanager
def talker(said: bytes = b"") -> Iterator[str]:
    """Yield the name of a terminal whose far end says this again and again; its near end is nobody's."""
    near, far = os.openpty()
    tty.setraw(far)
    name = os.ttyname(far)
    os.close(far)
    stop = threading.Event()

    def talk() -> None:
        os.set_blocking(near, False)
        while not stop.wait(0.03):
            try:
                os.write(near, said)
            except BlockingIOError:
                continue

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield name
    finally:
        stop.set()
        thread.join()
        os.close(near)
