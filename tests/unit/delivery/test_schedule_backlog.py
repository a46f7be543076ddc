"""What the outbox holds, read in pieces while more comes: nothing is lost, and nothing sent twice."""

import pytest

from gateway.delivery.coverage import Coverage
from gateway.delivery.item import After, Run
from gateway.delivery.lane import FRESH_MAX
from gateway.delivery.pace import Pace
from gateway.delivery.schedule import Schedule
from gateway.event import Lane
from tests.unit.delivery.kit import (
    ALARM,
    STATUS,
    TELEMETRY,
    WIDE,
    a_connection,
    a_schedule,
    an_item,
    batches_sent,
    read_all,
    runs_sent,
    some_items,
)


def test_a_reading_that_was_asked_for_before_the_connection_ended_is_not_taken() -> None:
    schedule = a_schedule()
    schedule.connected(20)
    before = schedule.want()
    schedule.disconnected()
    schedule.connected(20)
    for want in before:
        schedule.loaded(want, some_items(want.lane, 1, 2), complete=True)
    assert runs_sent(schedule) == []
    assert len(schedule.want()) == 3


def test_what_is_missing_and_was_never_sent_on_this_connection_comes_with_the_backlog() -> None:
    stored = some_items(STATUS, 1, 3)
    schedule = a_schedule()
    schedule.connected(20)
    schedule.requested(Run(STATUS, 1, 1, 3), 0.0)
    assert [want for want in read_all(schedule, stored) if want.lane is STATUS] == [After(STATUS, None)]
    assert runs_sent(schedule) == [Run(STATUS, 1, 1, 3)]


def test_what_a_salvage_puts_behind_a_reading_that_is_under_way_goes_when_that_has_passed_it_by() -> None:
    schedule = a_schedule()
    schedule.connected(20)
    (want,) = (want for want in schedule.want() if want.lane is ALARM)
    salvaged, newer = an_item(ALARM, 7), an_item(ALARM, 1, ordinal=5)
    assert schedule.requested(Run(ALARM, 1, 7, 7), 0.0) == []
    schedule.loaded(want, [newer], complete=True)
    read_all(schedule, [salvaged, newer])
    assert runs_sent(schedule) == [Run(ALARM, 5, 1, 1), Run(ALARM, 1, 7, 7)]


@pytest.mark.parametrize(("lane", "seconds"), [(ALARM, 5.0), (STATUS, 60.0), (TELEMETRY, 60.0)])
def test_what_could_not_be_read_is_wanted_again_soon_if_it_is_alarms(lane: Lane, seconds: float) -> None:
    schedule = a_schedule()
    schedule.connected(20)
    for want in schedule.want():
        schedule.unread(want, [], 0.0)
    schedule.tick(seconds - 0.1)
    assert lane not in {want.lane for want in schedule.want()}
    schedule.tick(seconds)
    assert lane in {want.lane for want in schedule.want()}


def test_alarms_asked_for_during_a_salvage_go_out_piece_by_piece_and_only_what_is_missing_waits() -> None:
    schedule = a_connection(stored=some_items(ALARM, 1, 9))
    for batch in batches_sent(schedule):
        schedule.acknowledged(batch, 0.0)
    assert schedule.requested(Run(ALARM, 1, 1, 9), 1.0) == []
    (want,) = schedule.want()
    assert want == Run(ALARM, 1, 1, 9)
    schedule.unread(want, [an_item(ALARM, 1), *some_items(ALARM, 3, 4)], 1.0)  # a piece, and 2 may yet be found
    (want,) = schedule.want()
    assert want == Run(ALARM, 1, 5, 9)
    schedule.unread(want, some_items(ALARM, 5, 8), 1.0)
    (want,) = schedule.want()
    assert want == Run(ALARM, 1, 9, 9)
    schedule.unread(want, [], 1.0)
    assert runs_sent(schedule) == [Run(ALARM, 1, 1, 1), Run(ALARM, 1, 3, 8)]
    schedule.tick(5.9)
    assert schedule.want() == []
    schedule.tick(6.0)
    assert read_all(schedule, some_items(ALARM, 1, 9)) == [Run(ALARM, 1, 2, 2), Run(ALARM, 1, 9, 9)]


def test_what_was_declared_lost_and_is_found_is_sent_whatever_a_receipt_has_said_of_it_before() -> None:
    coverage = Coverage()
    coverage.forgo([Run(ALARM, 1, 1, 3)], (2, 1), lost=True)
    schedule = Schedule(coverage=coverage, pace=Pace(start=WIDE))
    schedule.connected(20)
    assert read_all(schedule, []) == [After(lane, None) for lane in Lane]
    found = Run(ALARM, 1, 1, 3)
    coverage.found(found)
    assert schedule.requested(found, 0.0) == []
    assert schedule.receipted([found]) == [], "C5 covers what was declared, be it there or not"
    assert read_all(schedule, some_items(ALARM, 1, 3)) == [found]
    (batch,) = batches_sent(schedule)
    assert batch.run == found
    schedule.acknowledged(batch, 1.0)
    assert schedule.receipted([found]) == [found]


def test_records_committed_while_the_backlog_is_read_are_neither_lost_nor_sent_twice() -> None:
    schedule = a_schedule()
    schedule.connected(20)
    want = next(want for want in schedule.want() if want.lane is STATUS)
    schedule.offer(an_item(STATUS, 3))  # after the reading's snapshot
    schedule.loaded(want, some_items(STATUS, 1, 2), complete=True)
    assert runs_sent(schedule) == [Run(STATUS, 1, 1, 2)]
    assert read_all(schedule, some_items(STATUS, 1, 3))[-1] == After(STATUS, (1, 2))
    assert runs_sent(schedule) == [Run(STATUS, 1, 3, 3)]
    schedule.offer(an_item(STATUS, 4))
    assert runs_sent(schedule) == [Run(STATUS, 1, 4, 4)], "caught up: at once from now on"


def test_an_alarm_offered_while_the_backlog_is_read_goes_once() -> None:
    schedule = a_schedule()
    schedule.connected(20)
    want = schedule.want()[0]
    schedule.offer(an_item(ALARM, 3))
    assert runs_sent(schedule) == [Run(ALARM, 1, 3, 3)]
    schedule.loaded(want, some_items(ALARM, 1, 3), complete=True)  # it was durable by the time of the reading
    assert runs_sent(schedule) == [Run(ALARM, 1, 1, 2)]


def test_a_long_backlog_is_read_a_piece_at_a_time() -> None:
    stored = some_items(TELEMETRY, 1, 40, size=8192)
    schedule = a_schedule()
    schedule.connected(100)
    positions = []
    sent: list[int] = []
    for _ in range(20):
        wants = [want for want in schedule.want() if want.lane is TELEMETRY]
        for want in wants:
            assert isinstance(want, After)
            positions.append(want.position)
            after = want.position[1] if want.position else 0
            schedule.loaded(want, stored[after : after + 16], complete=after + 16 >= len(stored))
        for batch in batches_sent(schedule):
            sent += range(batch.run.first, batch.run.last + 1)
    assert positions == [None, (1, 16), (1, 32)]
    assert sent == list(range(1, 41))


def test_more_fresh_records_than_memory_holds_come_from_the_outbox_in_their_order() -> None:
    for lane in Lane:
        schedule = a_connection(1)
        schedule.offer(an_item(ALARM, 1, ordinal=9))
        (blocking,) = batches_sent(schedule)
        stored = some_items(lane, 1, FRESH_MAX + 20)
        for item in stored:
            schedule.offer(item)
        assert read_all(schedule, stored) == [After(lane, None)]
        schedule.acknowledged(blocking, 0.0)
        sent: list[int] = []
        while (batch := schedule.next(0.0)) is not None:
            sent += range(batch.run.first, batch.run.last + 1)
            schedule.acknowledged(batch, 0.0)
        assert sent == list(range(1, FRESH_MAX + 21)), lane
