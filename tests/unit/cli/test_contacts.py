"""What `check` finds of GPIO lines, on the words of a chip that isn't there."""

from pathlib import Path

import pytest

from gateway import config
from gateway.cli import contacts

TABLES = """
[[input]]
name = "lobby"
chip = "/dev/gpiochip0"
line = 17
on = "panic.pressed"
[[output]]
name = "siren"
chip = "/dev/gpiochip0"
line = "GPIO17"
kind = "siren"
[[output]]
name = "lamp"
chip = "/dev/gpiochip1"
line = "GPIO17"
kind = "led"
[[output]]
name = "strobe"
chip = "/dev/gpiochip0"
line = "GPIO99"
kind = "strobe"
[[output]]
name = "beeper"
chip = "/dev/gpiochip0"
line = "GPIO98"
kind = "buzzer"
"""


def test_one_line_by_its_number_and_by_its_name_is_told(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.write_text(settings.read_text() + TABLES)
    lines = {17: 17, "GPIO17": 17}
    gone = "gpioinfo doesn't know it"
    monkeypatch.setattr(contacts, "try_line", lambda _chip, line: (lines.get(line), None if line in lines else gone))
    assert [(what, wrong) for what, wrong, _ in contacts.looked(config.load(settings))] == [
        ("input lobby", None),
        ("output siren", "line GPIO17 of /dev/gpiochip0 is used by lobby too"),
        ("output lamp", None),
        ("output strobe", gone),
        ("output beeper", gone),
    ]
