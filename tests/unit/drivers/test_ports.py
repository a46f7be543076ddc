"""Which ports a machine has, by which name they stay, and who has them, read from folders that are handed in."""

import os
from pathlib import Path

import pytest

from gateway.drivers.ports import Driverless, Holder, Holders, Port, driverless, holders, listed
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


def test_who_has_a_port_open_is_told_under_any_of_its_names(cabinet: Cabinet) -> None:
    near, far = os.openpty()
    try:
        cabinet.uart("ttyAMA0", "uart-pl011", os.ttyname(far))
        cabinet.process(812, "ModemManager", "/dev/null", os.ttyname(far))
        cabinet.process(77, "minicom", "dev/ttyAMA0", "dev/gone")
        cabinet.process(os.getpid(), "ourselves", os.ttyname(far))
        device = str(cabinet.root / "dev/ttyAMA0")
        both = (Holder("minicom", 77), Holder("ModemManager", 812))
        assert holders([device], cabinet.root) == Holders({device: both}, complete=True)
    finally:
        os.close(near)
        os.close(far)
