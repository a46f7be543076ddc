"""How long the outbox lasts, by lane."""

from gateway.delivery.autonomy import Rates, hours
from gateway.event import Lane

ALARM, STATUS, TELEMETRY = Lane
MB = 1024 * 1024


def test_the_rate_is_that_of_the_last_three_hours() -> None:
    rates = Rates(now=0.0)
    assert rates.per_second(0.0) == {ALARM: 0.0, STATUS: 0.0, TELEMETRY: 0.0}
    for minute in range(60):
        rates.signed(TELEMETRY, 6000, minute * 60.0)
    rates.signed(ALARM, 3600, 3590.0)
    assert rates.per_second(3600.0) == {ALARM: 1.0, STATUS: 0.0, TELEMETRY: 100.0}
    assert rates.per_second(2 * 3600.0) == {ALARM: 0.5, STATUS: 0.0, TELEMETRY: 50.0}
    assert rates.per_second(5 * 3600.0) == {ALARM: 0.0, STATUS: 0.0, TELEMETRY: 0.0}


def test_a_step_ends_after_ten_minutes_sharp() -> None:
    rates = Rates(now=0.0)
    rates.signed(STATUS, 10_800, 0.0)
    rates.signed(STATUS, 10_800, 600.0)
    assert rates.per_second(10_800.0)[STATUS] == 2.0
    assert rates.per_second(11_400.0)[STATUS] == 1.0, "of the two, the first is three hours old"


def test_a_start_s_own_records_are_no_flood() -> None:
    rates = Rates(now=100.0)
    rates.signed(STATUS, 600, 100.1)
    assert rates.per_second(101.0)[STATUS] == 10.0


def test_lanes_begin_to_lose_in_their_order() -> None:
    rates = {ALARM: 10.0, STATUS: 90.0, TELEMETRY: 700.0}
    held = {ALARM: 0, STATUS: 8 * MB, TELEMETRY: 80 * MB}
    assert hours(rates, held, used=110 * MB, shared=956 * MB, file=1020 * MB) == {
        TELEMETRY: round(846 * MB / 1000 / 3600, 1),  # 1000 bytes a second on the disk
        STATUS: round(946 * MB / 125 / 3600, 1),  # the telemetry that is there leaves before
        ALARM: round(1020 * MB / 12.5 / 3600, 1),  # and all of the status
    }


def test_a_lane_of_which_nothing_comes_has_no_end_and_a_full_one_none_left() -> None:
    assert hours({TELEMETRY: 8.0}, {TELEMETRY: MB}, used=4 * MB, shared=3 * MB, file=12 * MB) == {
        ALARM: None, STATUS: None, TELEMETRY: 0.0,
    }  # fmt: skip
    assert hours({}, {}, used=0, shared=MB, file=MB) == {ALARM: None, STATUS: None, TELEMETRY: None}
