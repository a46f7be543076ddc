"""Which ports a machine has, by which name they stay, and who has them, read from folders that are handed in."""

import os
import re
from pathlib import Path

import pytest

from gateway.drivers.ports import ADAPTERS, Driverless, Holder, Holders, Port, by_name, driverless, holders, listed
from tests.support.cabinet import Cabinet


@pytest.fixture
def cabinet(tmp_path: Path) -> Cabinet:
    return Cabinet(tmp_path)


def test_an_adapter_has_the_name_that_stays_and_what_it_calls_itself(cabinet: Cabinet) -> None:
    cabinet.usb("ttyUSB0", "/dev/pts/100", serial="A10K2XYZ")
    dev = cabinet.root / "dev"
    assert listed(cabinet.root) == [
        Port(
            str(dev / "ttyUSB0"), str(dev / "serial/by-id/usb-FTDI_FT232R_USB_UART_A10K2XYZ-if00-port0"), "usb",
            "FT232R USB UART", "A10K2XYZ", "ftdi_sio",
        )
    ]  # fmt: skip


def test_two_adapters_that_can_t_be_told_apart_go_by_their_sockets(cabinet: Cabinet) -> None:
    cabinet.usb("ttyUSB0", "/dev/pts/100", socket="1-1.1", usb="1a86:7523", product="USB Serial")
    cabinet.usb("ttyUSB1", "/dev/pts/101", socket="1-1.2", usb="1a86:7523", product="USB Serial", by_id=False)
    by_path = cabinet.root / "dev/serial/by-path"
    assert [(port.stable, port.twin) for port in listed(cabinet.root)] == [
        (str(by_path / "platform-usb-0:1-1.1:1.0-port0"), True),
        (str(by_path / "platform-usb-0:1-1.2:1.0-port0"), True),
    ]


@pytest.mark.parametrize("serial", ["", "0001"])
def test_an_adapter_without_a_number_of_its_own_goes_by_its_socket_while_it_is_alone_too(
    cabinet: Cabinet, serial: str
) -> None:
    cabinet.usb("ttyUSB0", "/dev/pts/100", usb="10c4:ea60", product="CP2102", serial=serial)
    by_path = cabinet.root / "dev/serial/by-path/platform-usb-0:1-1.2:1.0-port0"
    assert [(port.stable, port.twin) for port in listed(cabinet.root)] == [(str(by_path), True)]


def test_two_ports_of_one_adapter_are_no_twins(cabinet: Cabinet) -> None:
    cabinet.usb("ttyUSB0", "/dev/pts/100", usb="9710:7840", product="4 port", serial="77")
    second = "sys/devices/usb1/1-1.2/1-1.2:1.0/ttyUSB1"
    (cabinet.root / second).mkdir()
    cabinet.tty("ttyUSB1", second, "/dev/pts/101")
    by_id = cabinet.root / "dev/serial/by-id"
    cabinet.link("dev/serial/by-id/usb-FTDI_4_port_77-if00-port1", "dev/ttyUSB1")
    assert [(port.stable, port.twin) for port in listed(cabinet.root)] == [
        (str(by_id / f"usb-FTDI_4_port_77-if00-port{number}"), False) for number in (0, 1)
    ]


def test_names_that_vanish_while_they_are_read_are_none(cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    cabinet.usb("ttyUSB0", "/dev/pts/100", serial="7")
    read = Path.iterdir

    def iterdir(path: Path) -> object:
        if path.name == "by-id":
            raise FileNotFoundError(2, "gone")
        return read(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    by_path = cabinet.root / "dev/serial/by-path/platform-usb-0:1-1.2:1.0-port0"
    assert [port.stable for port in listed(cabinet.root)] == [str(by_path)]


def test_a_console_that_is_named_by_its_own_name_is_one(cabinet: Cabinet) -> None:
    cabinet.write("sys/class/tty/console/active", "tty1 ttyS0\n")
    named = {name: by_name(name, cabinet.root).console for name in ("/dev/console", "/dev/tty1", "/dev/tty2")}
    assert named == {"/dev/console": True, "/dev/tty1": True, "/dev/tty2": False}


def test_without_udev_a_port_has_its_plain_name(cabinet: Cabinet) -> None:
    cabinet.uart("ttyO1", "omap_uart", "/dev/pts/100")
    dev = str(cabinet.root / "dev/ttyO1")
    assert listed(cabinet.root) == [Port(dev, dev, "uart", driver="omap_uart")]


def test_a_pi_s_uarts_are_told_apart_also_behind_newer_kernels_layer(cabinet: Cabinet) -> None:
    cabinet.uart("ttyAMA0", "uart-pl011", "/dev/pts/100", layer="ttyAMA0.serial:0")
    cabinet.uart("ttyS0", "bcm2835-aux-uart", "/dev/pts/101")
    cabinet.link("dev/serial0", "dev/ttyS0")
    cabinet.link("dev/serial1", "dev/ttyAMA0")
    cabinet.write("sys/class/tty/console/active", "tty1 ttyS0\n")
    dev = cabinet.root / "dev"
    assert listed(cabinet.root) == [
        Port(str(dev / "ttyAMA0"), str(dev / "ttyAMA0"), "bluetooth", driver="uart-pl011"),
        Port(str(dev / "ttyS0"), str(dev / "serial0"), "header", driver="bcm2835-aux-uart", console=True),
    ]


def test_on_a_pi_5_serial0_is_the_debug_connector_and_the_pins_are_another(cabinet: Cabinet) -> None:
    cabinet.uart("ttyAMA0", "uart-pl011", "/dev/pts/100")
    cabinet.uart("ttyAMA10", "uart-pl011", "/dev/pts/101")
    cabinet.link("dev/serial0", "dev/ttyAMA10")
    dev = cabinet.root / "dev"
    assert listed(cabinet.root) == [
        Port(str(dev / "ttyAMA0"), str(dev / "ttyAMA0"), "header", driver="uart-pl011"),
        Port(str(dev / "ttyAMA10"), str(dev / "ttyAMA10"), "debug", driver="uart-pl011"),
    ]


def test_ports_that_the_kernel_keeps_for_cards_are_none(cabinet: Cabinet) -> None:
    cabinet.uart("ttyS1", "serial8250", kind="0")
    cabinet.uart("ttyS2", "serial8250", kind="")
    cabinet.uart("ttyS3", "serial8250", kind="4")
    (cabinet.root / "sys/class/tty/tty7").mkdir()
    assert [Path(port.device).name for port in listed(cabinet.root)] == ["ttyS3"]


def test_what_a_device_calls_itself_can_t_move_a_terminal_s_cursor(cabinet: Cabinet) -> None:
    cabinet.usb("ttyUSB0", "/dev/pts/100", product="\x1b[2JFT" + "x" * 500, by_id=False)
    assert listed(cabinet.root)[0].description == "[2JFT" + "x" * 115


def test_a_machine_without_these_folders_has_no_ports(tmp_path: Path) -> None:
    assert listed(tmp_path) == []
    assert driverless(tmp_path) == []
    assert holders(["/dev/null"], tmp_path) == Holders({}, complete=False)


def test_an_adapter_without_its_driver_is_told_with_the_module_that_is_missing(cabinet: Cabinet) -> None:
    cabinet.usb("", socket="1-1.3", usb="1a86:7523", product="USB Serial")
    cabinet.usb("", socket="1-1.4", usb="dead:beef", product="A camera")
    cabinet.usb("ttyUSB0", "/dev/pts/100")
    assert driverless(cabinet.root) == [Driverless("1a86:7523", "USB Serial", "ch341")]


def test_an_adapter_that_a_program_has_taken_from_the_kernel_is_told(cabinet: Cabinet) -> None:
    cabinet.usb("", socket="1-1.3", usb="1a86:7523", product="USB Serial")
    cabinet.take("1-1.3")
    assert driverless(cabinet.root) == [Driverless("1a86:7523", "USB Serial", "ch341", taken=True)]


def test_only_the_serial_kind_of_communication_devices_is_a_port(cabinet: Cabinet) -> None:
    for socket, usb, subclass in (("1-1.3", "12d1:1506", "0e"), ("1-1.4", "1546:01a7", "02")):
        cabinet.usb("", socket=socket, usb=usb, product="stick")
        cabinet.write(f"sys/devices/usb1/{socket}/{socket}:1.0/bInterfaceClass", "02\n")
        cabinet.write(f"sys/devices/usb1/{socket}/{socket}:1.0/bInterfaceSubClass", subclass + "\n")
    assert driverless(cabinet.root) == [Driverless("1546:01a7", "stick", "cdc_acm")]


def test_the_udev_rule_keeps_modemmanager_from_the_adapters_that_are_known_and_from_no_modem() -> None:
    rules = Path("systemd/udev/70-c5-gateway.rules").read_text(encoding="utf-8")
    ignored = [line for line in rules.splitlines() if "ID_MM_PORT_IGNORE" in line]
    vendors = [match[1].split("|") for line in ignored if (match := re.search(r'ATTRS{idVendor}=="([^"]*)"', line))]
    assert vendors == [sorted(ADAPTERS), ["1546"]]
    assert [line for line in ignored if "idVendor" not in line and 'KERNEL=="ttyAMA*"' not in line] == []


def test_who_has_a_port_open_is_told_under_any_of_its_names(cabinet: Cabinet) -> None:
    near, far = os.openpty()
    try:
        cabinet.uart("ttyAMA0", "uart-pl011", os.ttyname(far))
        cabinet.process(812, "ModemManager", "/dev/null", os.ttyname(far))
        cabinet.process(77, "minicom", os.ttyname(far).replace("/dev/", "/dev/./"), "/dev/gone", "srv/file")
        cabinet.process(os.getpid(), "ourselves", os.ttyname(far))
        device = str(cabinet.root / "dev/ttyAMA0")
        both = (Holder("minicom", 77), Holder("ModemManager", 812))
        assert holders([device], cabinet.root) == Holders({device: both}, complete=True)
    finally:
        os.close(near)
        os.close(far)


def test_a_process_whose_files_may_be_listed_and_not_looked_at_is_not_seen(
    cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    cabinet.process(812, "root in a container", "/dev/null")
    followed: list[Path] = []

    def refuse(path: Path) -> Path:
        followed.append(path)
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "readlink", refuse)
    assert holders(["/dev/null"], cabinet.root) == Holders({}, complete=False)
    assert followed == [cabinet.root / "proc/812/fd/3"]
