"""What time it is where the machine's clock may be wrong."""

from gateway.wall import Judged, Reading, Stepped, Steps, Wall

BUILT = 1_795_000_000_000_000  # 2026-11-18: no time before it is right
STORED = BUILT + 30 * 86_400_000_000
ENDS = BUILT + 365 * 86_400_000_000
UNKNOWN = 2**32 - 1
BOOT = 8_000_000  # eight seconds after 1970 began


def wall(stored_us: int | None = STORED) -> Wall:
    return Wall(stored_us, BUILT, ENDS, now=100.0)


def unset(wall_us: int, now: float) -> Reading:
    return Reading(wall_us, 0, UNKNOWN, now)


def test_after_a_boot_in_1970_the_time_is_the_stored_floor_carried_on() -> None:
    field = wall()
    assert field.judge(unset(BOOT, 100.0)) == Judged(STORED, 1, UNKNOWN, doubted=True)
    assert field.judge(unset(BOOT + 7_500_000, 107.5)) == Judged(STORED + 7_500_000, 1, UNKNOWN, doubted=True)


def test_without_a_stored_floor_or_with_one_that_cant_be_right_the_build_is_the_floor() -> None:
    for stored_us in (None, BUILT - 1, 0, ENDS + 1):
        assert wall(stored_us).judge(unset(BOOT, 100.0)) == Judged(BUILT, 1, UNKNOWN, doubted=True)


def test_a_clock_that_nobody_vouches_for_is_used_between_the_floor_and_the_end_of_the_certificates() -> None:
    field = wall()
    for wall_us in (STORED - 1_000_000, STORED, ENDS):
        assert field.judge(unset(wall_us, 100.0)) == Judged(wall_us, 0, UNKNOWN, doubted=False)
    for wall_us in (STORED - 1_000_001, ENDS + 1):
        assert field.judge(unset(wall_us, 100.0)) == Judged(STORED, 1, UNKNOWN, doubted=True)
    battery = Reading(STORED + 5, 1, UNKNOWN, 100.0)
    assert field.judge(battery) == Judged(STORED + 5, 1, UNKNOWN, doubted=False)


def test_a_clock_that_was_never_set_does_not_catch_up_with_the_floor_by_waiting() -> None:
    hour = 3_600_000_000
    field = wall()
    assert field.judge(unset(STORED - hour, 100.0)).us == STORED
    assert field.judge(unset(STORED, 3700.0)) == Judged(STORED + hour, 1, UNKNOWN, doubted=True)


def test_a_synchronised_clock_is_right_and_sets_the_floor_backwards_too() -> None:
    field = wall()
    for wall_us in (STORED + 900_000_000, BUILT, ENDS + 1):
        assert field.judge(Reading(wall_us, 2, 40, 200.0)) == Judged(wall_us, 2, 40, doubted=False)
        assert field.floor_us(201.0) == wall_us + 1_000_000
    lost = BUILT + 10
    assert field.judge(Reading(lost, 2, 40, 300.0)).us == lost
    assert field.judge(unset(BOOT, 310.0)) == Judged(lost + 10_000_000, 1, UNKNOWN, doubted=True)


def test_a_synchronised_clock_that_shows_a_time_before_the_build_is_not_right_and_moves_nothing() -> None:
    field = wall()
    assert field.judge(Reading(BUILT - 1, 2, 40, 100.0)) == Judged(STORED, 1, UNKNOWN, doubted=True)
    assert field.floor_us(100.0) == STORED


def test_a_clock_that_nobody_vouches_for_never_moves_the_floor() -> None:
    field = wall()
    field.judge(unset(ENDS - 1, 100.0))
    assert field.floor_us(101.0) == STORED + 1_000_000


def test_a_step_is_told_once_with_what_the_clock_would_have_shown() -> None:
    steps = Steps(BOOT, now=100.0)
    assert steps.look(BOOT + 1_000_000, 101.0) is None
    assert steps.look(STORED, 102.0) == Stepped(BOOT + 2_000_000, STORED)
    assert steps.look(STORED + 1_000_000, 103.0) is None
    assert steps.look(STORED - 3_600_000_000, 104.0) == Stepped(STORED + 2_000_000, STORED - 3_600_000_000)
    assert steps.look(STORED - 3_599_000_000, 105.0) is None


def test_a_clock_that_is_turned_slowly_and_one_that_is_set_by_less_than_a_second_have_not_stepped() -> None:
    steps = Steps(0, now=0.0)
    slow = [steps.look(round(second * 1_000_400), float(second)) for second in range(1, 10_000)]  # 400 ppm: 4 s in all
    assert slow == [None] * 9_999
    assert steps.look(10_000 * 1_000_400 + 990_000, 10_000.0) is None


def test_small_steps_that_come_to_more_than_a_second_are_one() -> None:
    steps = Steps(0, now=0.0)
    assert steps.look(1_600_000, 1.0) is None
    assert steps.look(3_200_000, 2.0) == Stepped(2_000_500, 3_200_000)


def test_satellites_tell_the_time_where_the_machine_does_not_and_leave_the_floor_as_it_is() -> None:
    field = wall()
    now_us = STORED + 5 * 86_400_000_000
    assert field.judge(unset(BOOT, 100.0), (now_us, 925)) == Judged(now_us, 3, 925, doubted=True)
    near = now_us + 59_000_000
    assert field.judge(unset(near, 101.0), (now_us + 1_000_000, 925)).doubted is False
    assert field.floor_us(101.0) == STORED + 1_000_000, "who deceives a receiver must not outlive a restart"
    assert field.unbelieved is None


def test_when_satellites_tell_no_more_their_time_is_carried_on_whatever_the_machine_shows() -> None:
    field = wall()
    field.judge(unset(BOOT, 100.0), (STORED + 10, 925))
    assert field.judge(unset(BOOT, 160.0)) == Judged(STORED + 60_000_010, 1, UNKNOWN, doubted=True)
    off = unset(STORED + 7_200_000_000, 170.0)
    assert field.judge(off) == Judged(STORED + 70_000_010, 1, UNKNOWN, doubted=True)


def test_a_synchronised_machine_comes_before_satellites() -> None:
    field = wall()
    assert field.judge(Reading(STORED, 2, 40, 100.0), (STORED + 900_000, 925)) == Judged(STORED, 2, 40, doubted=False)
    assert field.unbelieved is None
    assert field.judge(unset(STORED + 60_000_000, 160.0), (STORED + 60_500_000, 925)).source == 3


def test_a_machine_that_claims_a_time_before_the_build_is_corrected_by_satellites() -> None:
    told = (STORED + 10, 925)
    assert wall().judge(Reading(BUILT - 1, 2, 40, 100.0), told) == Judged(STORED + 10, 3, 925, doubted=True)


def test_satellites_that_tell_a_time_that_can_not_be_are_not_believed() -> None:
    rollover = 1024 * 7 * 86_400_000_000
    for told_us, why in ((STORED - rollover, "early"), (BUILT - 1, "early"), (STORED - 2_000_001, "early"),
                         (ENDS + 1, "late")):  # fmt: skip
        field = wall()
        assert field.judge(unset(BOOT, 100.0), (told_us, 925)) == Judged(STORED, 1, UNKNOWN, doubted=True)
        assert field.unbelieved == why
        field.judge(unset(BOOT, 101.0))
        assert field.unbelieved is None


def test_satellites_that_disagree_with_the_clock_that_was_synchronised_are_not_believed_even_after_that_has_ended() -> (
    None
):
    field = wall()
    field.judge(Reading(STORED, 2, 40, 100.0), (STORED + 3_600_000_000, 925))
    assert field.unbelieved == "apart"
    judged = field.judge(unset(STORED + 100_000_000, 200.0), (STORED + 3_700_000_000, 925))
    assert (judged, field.unbelieved) == (Judged(STORED + 100_000_000, 0, UNKNOWN, doubted=False), "apart")
    field.judge(unset(STORED, 200.0), (STORED - 3_500_000_000, 925))
    assert field.unbelieved == "apart"


def test_whether_satellites_jump_is_theirs_to_say_and_what_they_told_last_is_carried_on() -> None:
    field = wall()
    field.judge(unset(BOOT, 100.0), (STORED + 18_000_000, 925))
    assert field.judge(unset(BOOT, 101.0), (STORED + 1_000_000, 925)) == Judged(
        STORED + 1_000_000, 3, 925, doubted=True
    )
    assert field.judge(unset(BOOT, 102.0)) == Judged(STORED + 2_000_000, 1, UNKNOWN, doubted=True)


def test_what_satellites_tell_judges_nothing() -> None:
    field = wall()
    told = (STORED + 60 * 86_400_000_000, 925)
    assert field.judge(unset(BOOT, 100.0), told).source == 3
    assert field.firm(unset(BOOT, 101.0)) == Judged(STORED + 1_000_000, 1, UNKNOWN, doubted=True)
    battery = Reading(STORED + 5_000_000, 1, UNKNOWN, 102.0)
    assert field.judge(battery, told).source == 3
    assert field.firm(battery) == Judged(STORED + 5_000_000, 1, UNKNOWN, doubted=False)


def test_a_synchronised_clock_ends_what_satellites_told() -> None:
    field = wall()
    field.judge(unset(BOOT, 100.0), (STORED + 3_600_000_000, 925))
    field.judge(Reading(STORED, 2, 40, 101.0))
    assert field.judge(unset(STORED + 1_000_000, 102.0)) == Judged(STORED + 1_000_000, 0, UNKNOWN, doubted=False)
