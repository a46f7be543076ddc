"""One machine for all tests of this folder: it boots once, and is gone when they are done, however they end."""

import contextlib
from collections.abc import Generator, Iterator

import pytest

from tests.vm.machine import MachineFailedError
from tests.vm.site import Site

# Line 4 is held by another program before the service comes, and there is no line 12.
TABLES = """
[[input]]
name = "lobby-button"
chip = "/dev/gpiochip0"
line = 1
on = "panic.pressed"
off = "panic.released"
active_low = false
bias = "as-is"
indicator = "lamp"
[[input]]
name = "gate"
chip = "/dev/gpiochip0"
line = 2
on = "tamper.opened"
off = "tamper.closed"
active_low = false
bias = "as-is"
debounce_ms = 0
indicator = "gate-lamp"
[[input]]
name = "door"
chip = "/dev/gpiochip0"
line = 4
on = "intrusion.detected"
active_low = false
bias = "as-is"
[[input]]
name = "ghost"
chip = "/dev/gpiochip0"
line = 12
on = "fire.reported"
[[port]]
name = "radio"
device = "/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_1-0000:00:04.0-1-if00-port0"
[[output]]
name = "lamp"
chip = "/dev/gpiochip0"
line = 5
kind = "led"
[[output]]
name = "gate-lamp"
chip = "/dev/gpiochip0"
line = 6
kind = "led"
max_on_s = 4
"""
HOLDER = """
import signal, gpiod
held = gpiod.request_lines("/dev/gpiochip0", consumer="alarm-panel", config={4: None})
signal.pause()
"""
USED = "import gpiod; print(int(gpiod.Chip('/dev/gpiochip0').get_line_info(4).used))"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    site = getattr(item, "funcargs", {}).get("site")
    if report.failed and report.when == "call" and isinstance(site, Site):
        with contextlib.suppress(MachineFailedError, OSError):
            report.sections.append(("what the service and systemd said", site.journal()[-6000:]))
        report.sections.append(("what the machine's console said", site.machine.console[-2000:]))
    return report


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("vm")) as made:
        yield made


@pytest.fixture(scope="session")
def site(machine: Site) -> Site:
    """The post at work, with another program in the way of one of its lines."""
    inside = machine.machine
    inside.run("systemd-run", "--unit=panel", "/opt/c5-gateway/bin/python3", "-c", HOLDER)
    inside.until(lambda: inside.python(USED), "the other program on its line")
    machine.start(TABLES)
    return machine
