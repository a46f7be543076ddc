"""Whether what should stand still stands where it stood."""

from random import Random

import pytest

from gateway.sensing.fix import Fix
from gateway.sensing.wander import Learning, Place, Wander, middle

TOWER = Place(8.157, -77.69)
METRE = 1 / 111_195  # degrees of latitude


def fixed(wander: Wander, metres: float, at: float, accuracy_m: float | None = 5.0) -> bool:
    return wander.fixed(Fix(TOWER.latitude + metres * METRE, TOWER.longitude, accuracy_m, at))


def test_it_is_moved_when_it_was_outside_for_the_whole_time_and_not_before() -> None:
    wander = Wander(TOWER, 50, 60)
    assert next(second for second in range(100) if fixed(wander, 200, float(second))) == 60
    assert wander.distance_m == pytest.approx(200, abs=0.1)


def test_an_echo_of_seconds_and_one_fix_inside_are_no_journey() -> None:
    wander = Wander(TOWER, 50, 60)
    assert not any(fixed(wander, 300 if second % 40 else 10, float(second)) for second in range(1000))


def test_a_fix_is_outside_only_where_its_own_inaccuracy_can_not_explain_it() -> None:
    wander = Wander(TOWER, 50, 60)
    assert not any(fixed(wander, 60, float(second), 20.0) for second in range(200))
    assert any(fixed(wander, 60, 200.0 + second, 5.0) for second in range(200))


def test_an_outage_begins_the_time_anew_for_away_and_for_back() -> None:
    wander = Wander(TOWER, 50, 60)
    assert not any(fixed(wander, 150, float(second)) for second in range(9))
    assert next(second for second in range(3600, 3700) if fixed(wander, 150, float(second))) == 3660
    assert all(fixed(wander, 3, 3660.0 + second) for second in range(1, 10))
    assert next(second for second in range(7200, 7300) if not fixed(wander, 3, float(second))) == 7260


def test_a_receiver_that_speaks_each_ten_seconds_moves_too_with_ten_fixes() -> None:
    wander = Wander(TOWER, 50, 60)
    assert next(second for second in range(0, 200, 10) if fixed(wander, 150, float(second))) == 90


def test_a_fix_that_decides_nothing_begins_nothing_anew() -> None:
    wander = Wander(TOWER, 50, 60)
    told = (second for second in range(200) if fixed(wander, 75, float(second), 27.5 if second % 50 == 49 else 5.0))
    assert next(told) == 60


def test_a_fix_of_unknown_accuracy_is_not_the_best() -> None:
    wander = Wander(TOWER, 50, 60)
    assert not any(fixed(wander, 74, float(second), None) for second in range(200))
    assert any(fixed(wander, 76, 200.0 + second, None) for second in range(200))


def test_the_middle_of_fixes_leaves_an_echo_out_and_holds_on_the_date_line() -> None:
    fixes = [Fix(1.0, 179.9999 if number % 2 else -179.9999, 5.0, float(number)) for number in range(9)]
    found = middle([*fixes, Fix(1.01, 179.99, 5.0, 9.0)])
    assert found.latitude == pytest.approx(1.0)
    assert abs(found.longitude) == pytest.approx(180.0, abs=1.1e-4)


def test_back_is_well_inside_and_for_as_long() -> None:
    wander = Wander(TOWER, 50, 60, moved=True)
    assert all(fixed(wander, 30, float(second)) for second in range(200)), "inside, and not well"
    assert next(second for second in range(200, 300) if not fixed(wander, 20, float(second))) == 260
    assert not fixed(wander, 200, 301.0)


def test_a_place_is_learnt_from_fixes_that_agree_for_ten_minutes() -> None:
    learning, random = Learning(50), Random(7)
    found = None
    for second in range(700):
        north, east = (random.gauss(0, 3) * METRE for _ in range(2))
        found = learning.fixed(Fix(TOWER.latitude + north, TOWER.longitude + east, 4.5, float(second)))
        if found:
            break
    assert second == 600
    assert found is not None
    assert found.latitude == pytest.approx(TOWER.latitude, abs=METRE)
    assert found.longitude == pytest.approx(TOWER.longitude, abs=METRE)


def test_a_truck_that_brings_the_mast_does_not_teach_its_way() -> None:
    learning = Learning(50)
    for second in range(1200):
        assert learning.fixed(Fix(TOWER.latitude - second * 10 * METRE, TOWER.longitude, 4.5, float(second))) is None


def test_a_place_on_the_date_line_is_there_and_not_on_the_other_side_of_the_earth() -> None:
    learning = Learning(50)
    for second in range(601):
        found = learning.fixed(Fix(1.0, 179.9999 if second % 2 else -179.9999, 4.5, float(second)))
    assert found is not None
    assert abs(found.longitude) == pytest.approx(180.0, abs=1e-6)


@pytest.mark.parametrize("place", [Place(0, 0), Place(-90, -180), Place(90, 180), TOWER, Place(-33.8567, 151.2152)])
def test_a_place_goes_into_a_note_and_comes_back(place: Place) -> None:
    packed = place.pack()
    assert 0 <= packed < 2**63, "what a store holds"
    assert tuple(Place.unpack(packed)) == pytest.approx(tuple(place))
