"""A contact on a line of a real kernel: its edges at C5 with the kernel's time, one event for a bounce, none lost."""

import time
from datetime import datetime, timedelta

import pytest

from tests.support.measured import Measured
from tests.vm.machine import Machine
from tests.vm.site import Site

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

BUTTON, GATE, LAMP = 1, 2, 5
EDGES, UNREAD = 600, 256  # made, and what the driver has the kernel keep
TYPES = ("panic.pressed", "panic.released")
# The record's time is the edge's age taken from the wall clock: two clocks, read one after the other on a busy machine.
SLACK = timedelta(milliseconds=250)
BURST = 20  # presses told one by one (gateway/sensing/contact.py)


def machine_time(machine: Machine) -> datetime:
    return datetime.fromisoformat(machine.shell("date -u +%Y-%m-%dT%H:%M:%S.%6NZ").strip())


@pytest.mark.smoke
def test_a_press_is_at_c5_with_the_time_at_which_the_kernel_saw_it(site: Site) -> None:
    machine = site.machine
    before = [len(site.told(type_)) for type_ in TYPES]
    site.freeze()  # nobody reads: only the kernel can know when it was
    earliest = machine_time(machine)
    machine.pin(BUTTON, True)
    latest = machine_time(machine)
    time.sleep(3)
    machine.shell(f"kill -CONT {site.pid}")
    (pressed,) = site.heard(["panic.pressed"], 1, before[0])
    machine.pin(BUTTON, False)
    (released,) = site.heard(["panic.released"], 1, before[1])
    assert (pressed["gateway"], pressed["device"], pressed["lane"]) == ("gw-1", "lobby-button", "alarm")
    assert pressed["data"] == {}  # by its edge; a level that was found would say so
    assert earliest - SLACK <= datetime.fromisoformat(pressed["occurred"]) <= latest + SLACK
    assert datetime.fromisoformat(released["occurred"]) > latest


def bounce(machine: Machine) -> float:
    """Close the contact as a bad one does: 11 edges in 20 ms; return the seconds that it took."""
    began = time.monotonic()
    for edge in range(11):
        time.sleep(max(0.0, began + edge * 0.002 - time.monotonic()))
        machine.pin(BUTTON, edge % 2 == 0)
    return time.monotonic() - began


@pytest.mark.smoke
def test_a_contact_that_bounces_makes_one_event(site: Site, measured: Measured) -> None:
    for _ in range(10):
        before = [len(site.told(type_)) for type_ in TYPES]
        began = time.monotonic()
        took = bounce(site.machine)
        site.heard(["panic.pressed"], 1, before[0])
        reached = time.monotonic() - began
        site.machine.pin(BUTTON, False)
        site.heard(["panic.released"], 1, before[1])
        if took < 0.03:  # what the settings call a bounce; a host too busy to make one tries again
            break
        time.sleep(1)
    assert took < 0.03
    assert [len(site.told(type_)) for type_ in TYPES] == [count + 1 for count in before]
    measured("virtual machine: first edge of a bounce to C5", "s", round(reached, 2), None)
    measured("virtual machine: its boot", "s", round(site.machine.boot_took), None)
    measured("virtual machine: start of the service, to its record at C5", "s", round(site.start_took), None)


def test_edges_that_nobody_read_in_time_are_noticed_and_no_press_is_lost_or_invented(site: Site) -> None:
    machine = site.machine
    opened, chattering = (len(site.told(type_)) for type_ in ("tamper.opened", "device.chattering"))
    lost = site.input("gate")["edges_lost"]
    site.freeze()
    for edge in range(EDGES):
        machine.pin_and_wait(GATE, edge % 2 == 0)
    machine.shell(f"kill -CONT {site.pid}")
    site.heard(["device.chattering"], 2, chattering, within=150)  # at once, and the rest a minute later
    told, counted = site.told("tamper.opened")[opened:], site.told("device.chattering")[chattering:]
    assert BURST <= len(told) <= BURST + 4
    gate = site.input("gate")
    assert (gate["active"], gate["trouble"]) == (False, None)
    noticed = gate["edges_lost"] - lost + UNREAD  # by the kernel, whose numbers these are
    assert EDGES - 4 <= noticed <= EDGES  # an interrupt that is late under emulation may make one of two
    presses = len(told) + sum(line["data"]["count"] for line in counted)
    assert presses in {noticed // 2, (noticed + 1) // 2}
    assert f"edges came faster than they could be read, {gate['edges_lost']} are lost" in site.journal()
