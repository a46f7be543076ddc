"""The service as installed, on a real systemd: shut in, watched, restarted, and its outputs off whatever happens."""

import asyncio
import re
import time

import pytest

from tests.support.measured import Measured
from tests.vm.site import START_WITHIN, Site

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

BUTTON, GATE, LAMP, GATE_LAMP = 1, 2, 5, 6
EXPOSURE = 2.0  # of 10, as tests/systemd has it


def test_the_running_service_is_shut_in(site: Site) -> None:
    judged = site.machine.run("systemd-analyze", "security", "--no-pager", "c5-gateway", within=120).out
    assert float(re.findall(r"level for c5-gateway.service: ([\d.]+)", judged)[0]) <= EXPOSURE
    held = site.machine.shell(f"cat /proc/{site.pid}/status")
    assert re.findall(r"^(CapEff|NoNewPrivs|Seccomp):\s*(\S+)", held, re.MULTILINE) == [
        ("CapEff", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ]


def test_an_output_goes_off_after_its_time_whatever_keeps_it_on(site: Site) -> None:
    machine = site.machine
    machine.pin(GATE, True)
    machine.until(lambda: machine.driven(GATE_LAMP), "the light that says C5 has it")
    machine.until(lambda: machine.driven(GATE_LAMP) is False, "its four seconds to be over")
    assert machine.driven(GATE_LAMP) is False
    machine.pin(GATE, False)


def test_a_killed_service_is_back_with_its_outputs_off_and_everything_it_had_stored(
    site: Site, measured: Measured
) -> None:
    machine = site.machine
    types = ("panic.pressed", "tamper.opened", "gateway.started")
    pressed, opened, started = (len(site.told(type_)) for type_ in types)
    machine.pin(BUTTON, True)
    site.heard(["panic.pressed"], 1, pressed)
    machine.until(lambda: machine.driven(LAMP), "the light that says C5 has it")
    site.broker.kill()
    machine.pin(BUTTON, False)
    machine.pin(GATE, True)  # stored here alone
    machine.until(lambda: site.waiting("alarm") == 1, "a record that waits")
    killed = site.pid
    machine.shell(f"kill -KILL {killed}")
    began = time.monotonic()
    assert machine.driven(LAMP)  # this chip goes on driving what nobody holds
    machine.until(lambda: machine.driven(LAMP) is False, "the light off", START_WITHIN)
    measured("virtual machine: SIGKILL to the outputs off", "s", round(time.monotonic() - began), None)
    machine.until(lambda: site.pid not in (0, killed), "a new process", START_WITHIN)
    machine.pin(GATE, False)
    asyncio.run(site.broker.start())
    site.heard(["gateway.started"], 1, started, START_WITHIN)
    site.heard(["tamper.opened"], 1, opened)
    assert len(site.told("panic.pressed")) == pressed + 1


def test_a_service_that_hangs_is_killed_and_started_anew(site: Site) -> None:
    machine = site.machine
    started, hanging = len(site.told("gateway.started")), site.pid
    site.freeze()  # the watchdog is fed by nobody for 30 s; SIGABRT is not heard either
    machine.until(lambda: site.pid not in (0, hanging), "a new process", START_WITHIN + 90)
    site.heard(["gateway.started"], 1, started, START_WITHIN)
    assert "Watchdog timeout" in machine.shell("journalctl -u c5-gateway --no-pager -o cat _PID=1")
