"""Lines that can't be had: a technician reads who or what is in the way, and they are taken when it is gone."""

import pytest

from tests.vm.site import Site

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]


def test_a_line_that_another_program_holds_is_named_with_its_holder_and_taken_when_it_is_free(site: Site) -> None:
    held = "line 4 of /dev/gpiochip0 is held by alarm-panel: stop that, or take another line"
    assert site.input("door")["trouble"] == held
    detected = len(site.told("intrusion.detected"))
    site.machine.shell("systemctl stop panel")
    site.machine.until(lambda: site.input("door")["trouble"] is None, "the line that was let go")
    site.machine.pin(4, True)
    (door,) = site.heard(["intrusion.detected"], 1, detected)
    site.machine.pin(4, False)
    assert door["device"] == "door"


def test_a_line_that_the_chip_has_not_is_named(site: Site) -> None:
    wrong = "/dev/gpiochip0 has no line 12: gpioinfo lists its lines and their names"
    assert site.input("ghost")["trouble"] == wrong
    assert wrong in site.journal()


def test_without_the_right_to_open_the_chip_it_says_so_and_is_back_when_it_is_given(site: Site) -> None:
    machine = site.machine
    machine.shell("systemctl stop c5-gateway; chmod 0600 /dev/gpiochip0")
    site.start()
    forbidden = "/dev/gpiochip0 may not be opened: the service's user must be in the group gpio"
    assert {site.input(name)["trouble"] for name in ("lobby-button", "gate", "door", "ghost")} == {forbidden}
    machine.shell("udevadm trigger --action=change --subsystem-match=gpio")  # the rule that ships gives it
    machine.until(lambda: site.input("lobby-button")["trouble"] is None, "the line, once it may be had")
    pressed = len(site.told("panic.pressed"))
    machine.pin(1, True)
    site.heard(["panic.pressed"], 1, pressed)
    machine.pin(1, False)
