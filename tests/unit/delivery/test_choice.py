"""Which path carries: the preferred one that works, at once away from it, and back only when it has held."""

from gateway.delivery.choice import Choice


def _choice(count: int = 2, chance: float = 0.0) -> Choice:
    return Choice(count, 60.0, lambda: chance)


def _both() -> Choice:
    choice = _choice()
    choice.connected(0, 0.0)
    choice.connected(1, 0.0)
    return choice


def test_none_carries_while_none_is_connected() -> None:
    choice = _choice()
    assert choice.active is None
    choice.connected(1, 0.0)
    assert choice.active == 1
    choice.disconnected(1)
    assert choice.active is None
    assert choice.deadline is None


def test_at_the_start_the_preferred_takes_over_as_soon_as_it_is_there() -> None:
    choice = _choice()
    choice.connected(1, 0.0)
    choice.connected(0, 0.3)
    assert choice.active == 0


def test_the_next_takes_over_at_once_and_the_preferred_returns_when_it_has_held_and_c5_was_heard_on_it() -> None:
    choice = _both()
    choice.disconnected(0)
    assert choice.active == 1
    choice.connected(0, 100.0)
    assert (choice.active, choice.deadline) == (1, 160.0)
    choice.heard(0, 110.0)
    choice.tick(159.9)
    assert choice.active == 1
    choice.tick(160.0)
    assert (choice.active, choice.deadline) == (0, None)


def test_the_preferred_does_not_return_where_c5_was_not_heard_since() -> None:
    choice = _both()
    choice.heard(0, 1.0)
    choice.disconnected(0)
    choice.connected(0, 100.0)
    choice.tick(500.0)
    assert choice.active == 1
    choice.heard(0, 510.0)
    assert choice.active == 0


def test_one_that_fails_again_while_it_is_held_begins_anew() -> None:
    choice = _both()
    choice.disconnected(0)
    choice.connected(0, 100.0)
    choice.heard(0, 101.0)
    choice.disconnected(0)
    choice.connected(0, 150.0)
    choice.heard(0, 151.0)
    choice.tick(160.0)
    assert choice.active == 1
    choice.tick(210.0)
    assert choice.active == 0


def test_returns_are_spread_over_half_as_long_again() -> None:
    choice = _choice(chance=1.0)
    choice.disconnected(0)
    choice.connected(1, 0.0)
    choice.connected(0, 0.0)
    assert choice.deadline == 90.0


def test_a_silent_centre_moves_delivery_and_so_does_its_return() -> None:
    choice = _both()
    choice.silent(0)
    assert choice.active == 1
    choice.heard(0, 100.0)
    assert (choice.active, choice.deadline) == (1, 160.0)
    choice.heard(0, 110.0)
    choice.tick(160.0)
    assert choice.active == 0


def test_where_nothing_works_the_one_that_carries_goes_on() -> None:
    choice = _both()
    choice.silent(0)
    choice.silent(1)
    assert choice.active == 1
    choice.disconnected(1)
    assert choice.active == 0, "silent, and the only connection"


def test_a_refusal_moves_delivery_and_is_forgotten_after_a_while() -> None:
    choice = _both()
    choice.refused(0, 0.0)
    assert choice.active == 1
    choice.heard(0, 10.0)
    choice.refused(0, 30.0)
    choice.tick(59.9)
    assert choice.active == 1
    choice.tick(60.0)
    assert choice.active == 0


def test_a_refusal_outlives_the_connection_that_ended_with_it() -> None:
    choice = _both()
    choice.refused(0, 0.0)
    choice.disconnected(0)
    choice.connected(0, 0.5)
    choice.refused(1, 1.0)
    assert choice.active == 1, "no worse than the other, and it carries"


def test_the_only_path_carries_whatever_it_refuses() -> None:
    choice = _choice(1)
    choice.connected(0, 0.0)
    choice.refused(0, 1.0)
    assert (choice.active, choice.deadline) == (0, None)


def test_the_most_preferred_that_works_takes_over_among_many() -> None:
    choice = _choice(4)
    for path in (3, 1, 0):
        choice.connected(path, 0.0)
    choice.disconnected(0)
    assert choice.active == 1
    choice.disconnected(1)
    assert choice.active == 3
    choice.connected(2, 5.0)
    assert choice.active == 2, "it has never failed"
