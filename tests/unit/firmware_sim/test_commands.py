"""What `firmware-sim device` says of what it is commanded."""

import pytest

from firmware_sim.commands import obeyed
from gateway.fieldlink.message import Command


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (Command(7, 3, {1: 30}), "command 7: shows itself for 30 s"),
        (Command(8, 2, {1: 2, 2: True, 3: 60}), "command 8: output 2 on for 60 s"),
        (Command(9, 2, {1: 2, 2: True}), "command 9: output 2 on"),
        (Command(10, 2, {1: 2, 2: False}), "command 10: output 2 off"),
        (Command(11, 6, {1: bytes(8)}), "command 11: obeyed, of kind 6"),
    ],
)
def test_each_command_that_the_device_obeys_is_a_line(command: Command, said: str) -> None:
    assert obeyed(command) == said
