"""Commands carried out, once."""

from typing import Any

import pytest

from firmware_sim.orders import Orders, Shown
from gateway.fieldlink.message import Command, Result


def test_an_output_is_on_for_its_time() -> None:
    orders = Orders()
    assert orders.obey(Command(1, 2, {1: 4, 2: True, 3: 30}), 100.0) == (Result(1, 0), False)
    assert orders.output_on(4, 129.9)
    assert not orders.output_on(4, 130.0)
    orders.obey(Command(2, 2, {1: 4, 2: True}), 200.0)
    assert orders.output_on(4, 1e9)
    orders.obey(Command(3, 2, {1: 4, 2: False}), 201.0)
    assert not orders.output_on(4, 201.0)


def test_what_was_commanded_is_to_be_seen_and_ends_by_itself() -> None:
    orders = Orders()
    assert orders.shown(0.0) == Shown("off", (), identifying=False)
    commands = [Command(1, 1, {1: 3}), Command(2, 2, {1: 4, 2: True, 3: 30}), Command(3, 2, {1: 1, 2: True})]
    commands.append(Command(4, 3, {1: 5}))
    for command in [*commands, Command(4, 3, {1: 5}), Command(5, 2, {1: 9})]:
        orders.obey(command, 100.0)
    assert orders.carried_out == commands
    assert orders.shown(104.9) == Shown("fast", (1, 4), identifying=True)
    assert orders.shown(105.0) == Shown("fast", (1, 4), identifying=False)
    assert orders.shown(130.0) == Shown("fast", (1,), identifying=False)
    assert orders.how_many_on(130.0) == 1


def test_a_repeated_number_is_answered_from_memory_and_not_carried_out_again() -> None:
    orders = Orders()
    orders.obey(Command(1, 1, {1: 3}), 0.0)
    orders.obey(Command(2, 1, {1: 0}), 1.0)
    assert orders.obey(Command(1, 1, {1: 3}), 2.0) == (Result(1, 0), False)
    assert orders.pattern == 0
    assert orders.obey(Command(3, 5), 3.0) == (Result(3, 0), True)
    assert orders.obey(Command(3, 5), 4.0) == (Result(3, 0), False)


def test_a_challenge_comes_back() -> None:
    assert Orders().obey(Command(9, 6, {1: b"12345678"}), 0.0) == (Result(9, 0, None, b"12345678"), False)


def test_identify_and_configure_are_done() -> None:
    orders = Orders()
    assert orders.obey(Command(1, 3, {1: 20}), 5.0) == (Result(1, 0), False)
    assert orders.obey(Command(2, 4, {7: 15}), 5.0) == (Result(2, 0), False)
    assert (orders.identify_until, orders.configuration) == (25.0, {7: 15})


@pytest.mark.parametrize(
    ("command", "arguments", "status"),
    [
        (0, None, 1),
        (7, {1: 1}, 1),
        (1, {1: 5}, 2),
        (1, None, 2),
        (1, {1: True}, 2),
        (2, {1: 1, 2: 1}, 2),
        (2, {1: 1, 2: True, 3: 3601}, 2),
        (2, {1: 1, 2: True, 3: "30"}, 2),
        (2, {2: True}, 2),
        (3, {}, 2),
        (6, {1: b"1234567"}, 2),
        (6, None, 2),
    ],
)
def test_what_can_not_be_obeyed_is_answered_and_nothing_changed(
    command: int, arguments: dict[int, Any] | None, status: int
) -> None:
    orders = Orders()
    assert orders.obey(Command(1, command, arguments), 0.0) == (Result(1, status), False)
    assert (orders.pattern, orders.outputs, orders.identify_until) == (0, {}, 0.0)
