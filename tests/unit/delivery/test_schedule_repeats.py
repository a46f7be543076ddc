"""What is sent again: without a receipt, refused, asked for, while the centre is silent."""

from itertools import pairwise

import pytest

from gateway.delivery.coverage import Coverage
from gateway.delivery.item import Run
from gateway.delivery.pace import Pace
from gateway.delivery.schedule import UNRECEIPTED_MAX, Schedule
from gateway.event import Lane
from tests.unit.delivery.kit import (
    ALARM,
    STATUS,
    WIDE,
    a_connection,
    an_item,
    batches_sent,
    read_all,
    runs_sent,
    some_items,
)


def test_nothing_is_sent_twice_on_one_connection_while_its_receipt_may_still_come() -> None:
    stored = some_items(STATUS, 1, 3)
    schedule = a_connection(20, stored)
    for batch in batches_sent(schedule):
        schedule.acknowledged(batch, 10.0)
    assert schedule.deadline == 70.0
    schedule.tick(69.9)
    assert read_all(schedule, stored) == []
    assert runs_sent(schedule) == []


def test_what_no_receipt_covers_is_sent_again_60_s_after_its_puback() -> None:
    stored = some_items(STATUS, 1, 3)
    schedule = a_connection(20, stored)
    (batch,) = batches_sent(schedule)
    schedule.acknowledged(batch, 10.0)
    assert schedule.receipted([Run(STATUS, 1, 2, 2)]) == [Run(STATUS, 1, 2, 2)]
    schedule.tick(70.0)
    assert read_all(schedule, stored) == [Run(STATUS, 1, 1, 1), Run(STATUS, 1, 3, 3)]
    again = batches_sent(schedule)
    assert [batch.run for batch in again] == [Run(STATUS, 1, 1, 1), Run(STATUS, 1, 3, 3)]
    assert schedule.deadline is None, "in flight: its own 60 s have not begun"
    for batch in again:
        schedule.acknowledged(batch, 71.0)
    assert schedule.deadline == 131.0


def test_an_alarm_that_nobody_was_subscribed_to_is_sent_again_soon() -> None:
    schedule = a_connection(20, [*some_items(ALARM, 1, 1), *some_items(STATUS, 1, 1)])
    for batch in batches_sent(schedule):
        schedule.acknowledged(batch, 10.0, heard=False)
    schedule.tick(11.9)
    assert schedule.want() == []
    schedule.tick(12.0)
    assert schedule.want() == [Run(ALARM, 1, 1, 1)]
    assert schedule.deadline == 70.0, "the status lane's"


def test_a_receipt_ends_the_waiting() -> None:
    schedule = a_connection(20, some_items(ALARM, 1, 3))
    (batch,) = batches_sent(schedule)
    assert schedule.receipted([Run(ALARM, 1, 1, 3)]) == [Run(ALARM, 1, 1, 3)], "it may come before the PUBACK"
    schedule.acknowledged(batch, 10.0)
    assert schedule.deadline is None
    assert schedule.receipted([Run(ALARM, 1, 1, 3)]) == [], "known already"


def test_coverage_only_grows_and_only_what_is_new_is_told() -> None:
    schedule = a_connection()
    assert schedule.receipted([Run(ALARM, 1, 1, 3)]) == [Run(ALARM, 1, 1, 3)]
    assert schedule.receipted([Run(ALARM, 1, 1, 2), Run(ALARM, 1, 2, 5)]) == [Run(ALARM, 1, 4, 5)]
    assert schedule.receipted([Run(ALARM, 2, 1, 1)]) == [Run(ALARM, 2, 1, 1)], "another epoch is another chain"


def test_what_is_receipted_while_it_waits_to_be_sent_is_not_sent() -> None:
    schedule = a_connection(20, some_items(STATUS, 1, 5))
    schedule.receipted([Run(STATUS, 1, 2, 4)])
    assert runs_sent(schedule) == [Run(STATUS, 1, 1, 1), Run(STATUS, 1, 5, 5)]


@pytest.mark.parametrize("lane", Lane)
def test_what_is_receipted_while_it_waits_holds_up_nothing_behind_it(lane: Lane) -> None:
    older, newer = an_item(lane, 1), an_item(lane, 2)
    schedule = a_connection(stored=[older])
    schedule.offer(newer)
    schedule.receipted([Run(lane, 1, 1, 1)])
    assert runs_sent(schedule) == [Run(lane, 1, 2, 2)]
    schedule = a_connection(stored=[older])
    schedule.offer(newer)
    schedule.receipted([Run(lane, 1, 2, 2)])
    assert runs_sent(schedule) == [Run(lane, 1, 1, 1)]


def test_a_new_connection_sends_everything_unreceipted_again() -> None:
    stored = [*some_items(ALARM, 1, 2), *some_items(STATUS, 1, 3)]
    schedule = a_connection(20, stored)
    first, second = batches_sent(schedule)
    schedule.acknowledged(first, 1.0)
    schedule.receipted([Run(STATUS, 1, 1, 1)])
    schedule.disconnected()
    assert schedule.next(0.0) is None
    schedule.connected(20)
    schedule.acknowledged(second, 2.0)  # late news of the connection before
    assert schedule.deadline is None
    read_all(schedule, stored)
    assert runs_sent(schedule) == [Run(ALARM, 1, 1, 2), Run(STATUS, 1, 2, 3)]


def test_a_refusal_is_tried_again_after_1_2_4_up_to_30_s() -> None:
    stored = some_items(STATUS, 1, 1)
    schedule = a_connection(20, stored)
    waits, now = [], 0.0
    for tries in range(1, 8):
        (batch,) = batches_sent(schedule)
        schedule.refused(batch, now, tries)
        assert schedule.deadline is not None
        waits.append(schedule.deadline - now)
        now = schedule.deadline
        schedule.tick(now)
        read_all(schedule, stored)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_refused_lane_is_held_back_and_leaves_its_slot_to_the_others() -> None:
    stored = [*some_items(ALARM, 1, 1), *some_items(STATUS, 1, 1)]
    schedule = a_connection(1, stored)
    (batch,) = batches_sent(schedule)
    schedule.refused(batch, 0.0, 1)
    schedule.offer(an_item(ALARM, 2))
    assert runs_sent(schedule) == [Run(STATUS, 1, 1, 1)]


def test_a_refused_lane_is_held_back_over_the_next_connection_too() -> None:
    stored = [*some_items(ALARM, 1, 1), *some_items(STATUS, 1, 1)]
    schedule = a_connection(20, stored)
    alarm, _status = batches_sent(schedule)
    schedule.refused(alarm, 0.0, 3)
    schedule.disconnected()
    schedule.connected(20)
    read_all(schedule, stored)
    assert runs_sent(schedule) == [Run(STATUS, 1, 1, 1)]
    schedule.tick(3.9)
    assert runs_sent(schedule) == []
    schedule.tick(4.0)
    assert runs_sent(schedule) == [Run(ALARM, 1, 1, 1)]


def test_what_c5_says_is_missing_goes_again_if_the_broker_has_taken_it() -> None:
    stored = some_items(STATUS, 1, 9)
    schedule = a_connection(20, stored)
    (batch,) = batches_sent(schedule)
    schedule.acknowledged(batch, 0.0)
    schedule.requested(Run(STATUS, 1, 4, 5), 1.0)
    assert read_all(schedule, stored) == [Run(STATUS, 1, 4, 5)]
    assert runs_sent(schedule) == [Run(STATUS, 1, 4, 5)]
    schedule.requested(Run(STATUS, 1, 4, 5), 5.9)
    assert read_all(schedule, stored) == [], "not twice in 5 s"


def test_what_is_missing_but_in_flight_or_at_hand_is_on_its_way_already() -> None:
    stored = some_items(STATUS, 1, 3)
    schedule = a_connection(20, stored)
    schedule.requested(Run(STATUS, 1, 1, 3), 0.0)
    assert read_all(schedule, stored) == []
    (batch,) = batches_sent(schedule)
    schedule.requested(Run(STATUS, 1, 1, 3), 10.0)
    assert read_all(schedule, stored) == []
    schedule.acknowledged(batch, 11.0)
    schedule.requested(Run(STATUS, 1, 1, 3), 21.0)
    assert read_all(schedule, stored) == [Run(STATUS, 1, 1, 3)]


def test_being_asked_for_again_and_again_never_makes_more_repeats_than_records() -> None:
    stored = some_items(ALARM, 1, 9)
    schedule = a_connection(20, stored)
    now = 0.0
    for _ in range(40):  # C5 asks every 6 s for one that a broker swallows each time
        for batch in batches_sent(schedule):
            schedule.acknowledged(batch, now)
        now += 6.0
        schedule.requested(Run(ALARM, 1, 5, 5), now)
        schedule.tick(now)
        read_all(schedule, stored)
    sent: list[int] = []
    for _ in range(60):  # it asks no more: each record once a minute
        now += 1.0
        schedule.tick(now)
        read_all(schedule, stored)
        for batch in batches_sent(schedule):
            sent += range(batch.run.first, batch.run.last + 1)
            schedule.acknowledged(batch, now)
    assert sorted(sent) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_while_the_centre_is_silent_only_alarms_are_repeated_after_1_2_4_minutes() -> None:
    stored = [*some_items(ALARM, 1, 1), *some_items(STATUS, 1, 1)]
    schedule = a_connection(20, stored)
    schedule.silent(silent=True)
    now, tried = 0.0, []
    for _ in range(8):
        for batch in batches_sent(schedule):
            if batch.run.lane is ALARM:
                tried.append(now)
            schedule.acknowledged(batch, now)
        while not schedule._lanes[ALARM].again:
            assert schedule.deadline is not None
            now = schedule.deadline
            schedule.tick(now)
        assert {want.lane for want in read_all(schedule, stored)} == {ALARM}
    assert [later - earlier for earlier, later in pairwise(tried)] == [
        60.0, 120.0, 240.0, 480.0, 960.0, 960.0, 960.0,
    ]  # fmt: skip


def test_each_alarm_has_its_own_minutes_while_the_centre_is_silent() -> None:
    stored = some_items(ALARM, 1, 3)
    schedule = a_connection(20)
    schedule.silent(silent=True)
    tried: dict[int, list[float]] = {1: [], 2: [], 3: []}
    for now in range(400):
        if now in (0, 10, 300):
            schedule.offer(stored[(0, 10, 300).index(now)])
        schedule.tick(float(now))
        read_all(schedule, stored)
        for batch in batches_sent(schedule):
            tried[batch.run.first].append(float(now))
            schedule.acknowledged(batch, float(now))
    assert tried == {1: [0.0, 60.0, 180.0], 2: [10.0, 70.0, 190.0], 3: [300.0, 360.0]}


def test_everything_unreceipted_goes_again_when_the_centre_is_heard_again() -> None:
    stored = [*some_items(ALARM, 1, 1), *some_items(STATUS, 1, 2)]
    schedule = a_connection(20, stored)
    for batch in batches_sent(schedule):
        schedule.acknowledged(batch, 0.0)
    schedule.silent(silent=True)
    schedule.receipted([Run(STATUS, 1, 1, 1)])
    schedule.silent(silent=False)
    read_all(schedule, stored)
    assert runs_sent(schedule) == [Run(ALARM, 1, 1, 1), Run(STATUS, 1, 2, 2)]


def test_what_is_in_flight_when_the_centre_returns_still_holds_its_slot() -> None:
    schedule = a_connection(1, some_items(ALARM, 1, 1))
    schedule.silent(silent=True)
    (batch,) = batches_sent(schedule)
    schedule.silent(silent=False)
    read_all(schedule, some_items(ALARM, 1, 1))
    assert schedule.next(0.0) is None
    schedule.acknowledged(batch, 0.0)
    assert runs_sent(schedule) == [Run(ALARM, 1, 1, 1)]


def test_a_lane_with_too_much_unreceipted_waits_but_alarms_do_not() -> None:
    schedule = a_connection(65_535)
    for lane in (STATUS, ALARM):
        for sequence in range(2, 2 * UNRECEIPTED_MAX + 40, 2):  # holes: each a batch of its own
            schedule.offer(an_item(lane, sequence, size=1))
            for batch in batches_sent(schedule):
                schedule.acknowledged(batch, 0.0)
        assert len(schedule._lanes[lane].repeats) == UNRECEIPTED_MAX + (19 if lane is ALARM else 0)


def test_how_long_an_alarm_that_the_broker_has_waits_for_its_receipt_is_known() -> None:
    stored = [*some_items(ALARM, 1, 1), *some_items(STATUS, 1, 1)]
    schedule = a_connection(20, stored)
    assert schedule.unanswered(9.0) == 0.0, "without a PUBACK it may not have left"
    for batch in batches_sent(schedule):
        schedule.acknowledged(batch, 10.0)
    assert schedule.unanswered(60.0) == 50.0
    schedule.tick(70.0)
    read_all(schedule, stored)
    for batch in batches_sent(schedule):
        schedule.acknowledged(batch, 71.0)
    assert schedule.unanswered(110.0) == 100.0, "that it goes again makes it no younger"
    schedule.silent(silent=True)
    assert schedule.unanswered(120.0) == 0.0, "the centre's silence explains it"
    schedule.silent(silent=False)
    assert schedule.unanswered(120.0) == 0.0, "everything goes again, and has its time anew"
    read_all(schedule, stored)
    for batch in batches_sent(schedule):
        schedule.acknowledged(batch, 121.0)
    assert schedule.unanswered(131.0) == 10.0
    schedule.receipted([Run(ALARM, 1, 1, 1)])
    assert schedule.unanswered(132.0) == 0.0, "a status record is nobody's call for help"


def test_an_alarm_that_nobody_was_subscribed_to_waits_for_a_subscriber_and_not_for_a_receipt() -> None:
    schedule = a_connection(20, some_items(ALARM, 1, 1))
    for batch in batches_sent(schedule):
        schedule.acknowledged(batch, 10.0, heard=False)
    assert schedule.unanswered(110.0) == 0.0


def test_what_was_lost_and_found_is_not_had_by_a_broker_that_has_nobody_to_give_it_to() -> None:
    found = Run(ALARM, 1, 1, 1)
    coverage = Coverage(lost=[found])
    schedule = Schedule(coverage, Pace(start=WIDE))
    schedule.connected(20)
    read_all(schedule, some_items(ALARM, 1, 1))
    (batch,) = batches_sent(schedule)
    schedule.acknowledged(batch, 10.0, heard=False)
    assert schedule.receipted([found]) == [], "C5 says so since it was told that this is lost"
    schedule.tick(12.0)
    read_all(schedule, some_items(ALARM, 1, 1))
    (batch,) = batches_sent(schedule)
    schedule.acknowledged(batch, 12.0)
    assert schedule.receipted([found]) == [found]
