"""Millivolts and a device's own word, in literal seconds."""

from gateway.sensing.battery import Battery


def test_low_is_what_stays_low_for_five_minutes_and_is_told_until_it_was() -> None:
    battery = Battery(2400, 2600)
    assert battery.measured(2399, 0.0) is None
    assert battery.measured(2390, 299.9) is None
    assert battery.measured(2399, 300.0) is True
    assert battery.measured(2399, 360.0) is True, "nobody said that it was told"
    battery.low = True
    assert battery.measured(2399, 420.0) is None


def test_a_moment_below_is_nothing() -> None:
    battery = Battery(2400, 2600)
    assert battery.measured(2300, 0.0) is None
    assert battery.measured(2400, 200.0) is None
    assert battery.measured(2300, 400.0) is None
    assert battery.measured(2300, 699.9) is None
    assert battery.measured(2300, 700.0) is True


def test_restored_is_the_upper_threshold_alone() -> None:
    battery = Battery(2400, 2600, low=True)
    assert battery.measured(2599, 0.0) is None
    assert battery.measured(2600, 60.0) is False
    battery.low = False
    assert battery.measured(2450, 120.0) is None


def test_a_device_that_judges_itself_is_believed() -> None:
    battery = Battery(2400, 2600)
    assert battery.measured(2390, 0.0) is None
    assert battery.said(7, low=True)
    assert (battery.low, battery.own) == (True, True)
    assert battery.measured(2390, 600.0) is None, "one trouble, one record"
    assert battery.measured(2980, 660.0) is None
    assert battery.low
    assert battery.said(8, low=False)
    assert not battery.low


def test_its_older_word_that_comes_late_is_not_its_last() -> None:
    battery = Battery(2400, 2600)
    assert battery.said(8, low=False)
    assert not battery.said(7, low=True)
    assert not battery.low


def test_zero_is_a_device_without_a_battery() -> None:
    battery = Battery(2400, 2600)
    assert [battery.measured(0, now) for now in (0.0, 300.0, 600.0)] == [None, None, None]
    assert battery.millivolts is None
