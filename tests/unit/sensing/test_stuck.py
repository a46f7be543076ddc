"""A button that is held down, in literal seconds."""

from gateway.sensing.stuck import Button


def test_a_press_without_its_release_is_stuck_when_the_device_tells_of_releases() -> None:
    button = Button(600.0)
    button.pressed(1, 0.0)
    button.released(2)
    assert (button.deadline, button.presses) == (None, 1)
    button.pressed(3, 100.0)
    button.pressed(4, 200.0)
    assert (button.deadline, button.presses) == (700.0, 2)
    button.stuck = True
    button.pressed(5, 800.0)
    assert (button.deadline, button.presses) == (None, 3), "once"
    button.released(6)
    assert (button.held, button.stuck) == (False, False)
    button.pressed(7, 900.0)
    assert (button.deadline, button.presses) == (1500.0, 1)


def test_of_a_device_that_never_tells_of_releases_nothing_is_known() -> None:
    button = Button(600.0)
    for number in range(1, 10):
        button.pressed(number, float(number))
    assert button.deadline is None


def test_a_release_that_was_overtaken_by_the_next_press_does_not_end_it() -> None:
    button = Button(600.0, releases=True)
    button.pressed(3, 0.0)
    button.released(2)
    assert button.deadline == 600.0
    button.released(4)
    button.pressed(3, 1.0)
    assert button.deadline is None, "it was released since"
