"""Which downward frames a board takes."""

from firmware_sim.downward import Downward


def test_only_a_counter_that_was_sent_is_answered() -> None:
    downward = Downward()
    assert not downward.accept(1, 5, 0.0)
    downward.sent(65, 0.0)
    downward.sent(66, 0.1)
    assert not downward.accept(64, 5, 0.2)
    assert not downward.accept(67, 5, 0.2)
    assert downward.accept(66, 5, 0.2)


def test_counter_and_number_together_must_grow() -> None:
    downward = Downward()
    for counter in (1, 2, 3):
        downward.sent(counter, 0.0)
    assert downward.accept(1, 500, 0.0)
    assert not downward.accept(1, 500, 0.0)
    assert not downward.accept(1, 499, 0.0)
    assert downward.accept(2, 3, 0.0)  # the gateway started again
    assert not downward.accept(1, 501, 0.0)
    assert downward.accept(2, 4, 0.0)


def test_a_counter_is_answered_for_ten_minutes() -> None:
    downward = Downward()
    downward.sent(1, 0.0)
    assert downward.accept(1, 1, 600.0)
    assert not downward.accept(1, 2, 600.1)
    downward.sent(2, 700.0)
    assert not downward.accept(1, 3, 700.0)
    assert downward.accept(2, 3, 700.0)
