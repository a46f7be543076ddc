"""What goes out next, as a transcript: offered, sent, acknowledged; its order, slots and sizes."""

import pytest

from gateway.delivery.item import After, Run
from gateway.delivery.pace import SEQUENCE_MAX, Sent
from gateway.delivery.schedule import Schedule
from gateway.event import Lane
from tests.unit.delivery.kit import (
    ALARM,
    STATUS,
    TELEMETRY,
    a_connection,
    a_schedule,
    an_item,
    batches_sent,
    read_all,
    runs_sent,
    some_items,
)


def test_a_record_signed_just_now_leaves_alone_and_at_once() -> None:
    schedule = a_connection()
    schedule.offer(an_item(ALARM, 1))
    (batch,) = batches_sent(schedule)
    assert (batch.run, batch.payload, batch.count) == (Run(ALARM, 1, 1, 1), b"\x01" * 100, 1)
    assert schedule.next(0.0) is None


def test_without_a_connection_nothing_leaves_and_nothing_is_kept() -> None:
    schedule = a_schedule()
    schedule.offer(an_item(ALARM, 1))
    assert schedule.next(0.0) is None
    assert schedule.want() == []
    schedule.connected(20)
    assert schedule.next(0.0) is None
    assert schedule.want() == [After(ALARM, None), After(STATUS, None), After(TELEMETRY, None)]
    assert schedule.want() == [], "each is wanted once"


def test_a_fresh_alarm_goes_before_its_own_lane_s_backlog_and_before_every_other_lane() -> None:
    stored = [*some_items(ALARM, 1, 3), *some_items(STATUS, 1, 2), *some_items(TELEMETRY, 1, 2)]
    schedule = a_connection(20, stored)
    schedule.offer(an_item(ALARM, 9))
    assert runs_sent(schedule) == [
        Run(ALARM, 1, 9, 9),
        Run(ALARM, 1, 1, 3),
        Run(STATUS, 1, 1, 2),
        Run(TELEMETRY, 1, 1, 2),
    ]


def test_the_lanes_above_have_slots_of_their_own() -> None:
    stored = some_items(TELEMETRY, 1, 40, size=SEQUENCE_MAX)
    schedule = a_connection(16, stored)
    assert len(runs_sent(schedule)) == 12, "a quarter is left"
    for sequence in range(1, 10):
        schedule.offer(an_item(STATUS, sequence, size=SEQUENCE_MAX))
    assert runs_sent(schedule) == [Run(STATUS, 1, n, n) for n in (1, 2)], "an eighth is left"
    for sequence in range(1, 10):
        schedule.offer(an_item(ALARM, sequence, size=SEQUENCE_MAX))
    assert runs_sent(schedule) == [Run(ALARM, 1, n, n) for n in (1, 2)], "and no more than the broker allows"


@pytest.mark.parametrize(("receive_maximum", "telemetry"), [(2, 1), (3, 1), (4, 2), (5, 1)])
def test_in_the_smallest_window_an_alarm_finds_a_slot_whatever_else_is_on_its_way(
    receive_maximum: int, telemetry: int
) -> None:
    schedule = a_schedule()
    schedule.connected(receive_maximum, besides=3)
    read_all(schedule, [*some_items(TELEMETRY, 1, 9, size=SEQUENCE_MAX), *some_items(STATUS, 1, 9, size=SEQUENCE_MAX)])
    besides: list[Sent] = []
    while len(besides) < 3 and schedule.room_besides:
        besides.append(schedule.besides(100, 0.0))
    batches = batches_sent(schedule)
    assert len(besides) + len(batches) == receive_maximum - 1
    schedule.offer(an_item(ALARM, 1))
    (alarm,) = batches_sent(schedule)
    assert alarm.run == Run(ALARM, 1, 1, 1)
    schedule.offer(an_item(ALARM, 2))
    assert not runs_sent(schedule), "that would burst the window"
    for sent in besides:
        schedule.answered(sent, 0.0)
    for batch in batches:
        schedule.acknowledged(batch, 0.0)
    assert runs_sent(schedule)[0] == Run(ALARM, 1, 2, 2)
    schedule = a_schedule()
    schedule.connected(receive_maximum, besides=3)
    read_all(schedule, some_items(TELEMETRY, 1, 9, size=SEQUENCE_MAX))
    assert len(runs_sent(schedule)) == telemetry


def test_in_a_window_of_one_nothing_else_goes_before_an_alarm_that_waits() -> None:
    schedule = a_schedule()
    schedule.connected(1, besides=3)
    read_all(schedule, some_items(TELEMETRY, 1, 1, size=SEQUENCE_MAX))
    (telemetry,) = batches_sent(schedule)
    schedule.offer(an_item(ALARM, 1))
    assert not schedule.room_besides
    schedule.acknowledged(telemetry, 0.0)
    assert not schedule.room_besides, "the slot is the alarm's"
    (alarm,) = batches_sent(schedule)
    assert alarm.run == Run(ALARM, 1, 1, 1)
    schedule.refused(alarm, 0.0, 1)
    schedule.offer(an_item(ALARM, 2))
    assert schedule.room_besides, "held back, it waits for nobody's slot"
    schedule.tick(1.0)
    assert not schedule.room_besides
    schedule.carry(frozenset())
    assert schedule.room_besides, "nor where it isn't carried"


def test_an_acknowledgement_frees_a_slot_for_the_gravest_first() -> None:
    schedule = a_connection(1, some_items(TELEMETRY, 1, 2, size=SEQUENCE_MAX))
    (first,) = batches_sent(schedule)
    schedule.offer(an_item(ALARM, 1))
    assert schedule.next(0.0) is None
    schedule.acknowledged(first, 0.0)
    assert runs_sent(schedule) == [Run(ALARM, 1, 1, 1)]


def test_a_backlog_travels_in_sequences_of_16_kib_of_one_epoch_each() -> None:
    stored = [*some_items(TELEMETRY, 4, 7, ordinal=1, size=5000), *some_items(TELEMETRY, 1, 2, ordinal=2, size=5000)]
    schedule = a_connection(20, stored)
    sent: list[Run] = []
    while (batch := schedule.next(0.0)) is not None:
        sent.append(batch.run)
        schedule.acknowledged(batch, 0.0)
    assert sent == [Run(TELEMETRY, 1, 4, 6), Run(TELEMETRY, 1, 7, 7), Run(TELEMETRY, 2, 1, 2)]


def test_telemetry_gathers_while_a_publish_of_it_is_unanswered() -> None:
    schedule = a_connection()
    schedule.offer(an_item(TELEMETRY, 1))
    (first,) = batches_sent(schedule)
    for sequence in (2, 3):
        schedule.offer(an_item(TELEMETRY, sequence))
    assert runs_sent(schedule) == [], "one is on its way, and these would not fill the next"
    schedule.offer(an_item(STATUS, 1))
    assert runs_sent(schedule) == [Run(STATUS, 1, 1, 1)], "the lanes above don't wait"
    schedule.acknowledged(first, 0.0)
    assert runs_sent(schedule) == [Run(TELEMETRY, 1, 2, 3)]


def test_telemetry_that_fills_a_publish_does_not_wait_for_an_answer() -> None:
    schedule = a_connection()
    schedule.offer(an_item(TELEMETRY, 1))
    assert runs_sent(schedule) == [Run(TELEMETRY, 1, 1, 1)]
    schedule.offer(an_item(TELEMETRY, 2, size=SEQUENCE_MAX))
    assert runs_sent(schedule) == [Run(TELEMETRY, 1, 2, 2)]


def test_telemetry_that_is_being_read_waits_until_it_fills_a_publish() -> None:
    stored = some_items(TELEMETRY, 1, 400)
    schedule = a_schedule()
    schedule.connected(20)
    (want,) = (want for want in schedule.want() if want.lane is TELEMETRY)
    schedule.loaded(want, stored[:200], complete=False)
    (first,) = batches_sent(schedule)
    assert first.run == Run(TELEMETRY, 1, 1, 163)
    (want,) = schedule.want()
    schedule.acknowledged(first, 0.0)
    assert runs_sent(schedule) == []
    schedule.loaded(want, stored[200:], complete=False)
    assert runs_sent(schedule) == [Run(TELEMETRY, 1, 164, 326)]


def test_a_fresh_alarm_goes_past_a_full_window_and_past_the_alarms_that_waited() -> None:
    stored = [
        *some_items(ALARM, 1, 9, size=300),
        *some_items(STATUS, 1, 2, size=300),
        *some_items(TELEMETRY, 1, 9, size=300),
    ]
    schedule = Schedule()
    schedule.connected(20)
    read_all(schedule, stored)
    assert runs_sent(schedule) == [Run(ALARM, 1, 1, 1), Run(ALARM, 1, 2, 2)], "a kibibyte"
    schedule.offer(an_item(ALARM, 10))
    schedule.offer(an_item(ALARM, 11))
    assert runs_sent(schedule) == [Run(ALARM, 1, 10, 11)]


def test_what_waits_for_room_in_the_window_is_not_overtaken_by_a_lane_below() -> None:
    schedule = Schedule()
    schedule.connected(20)
    read_all(schedule, [*some_items(STATUS, 1, 2, size=600), *some_items(TELEMETRY, 1, 9, size=10)])
    (first,) = batches_sent(schedule)
    assert first.run == Run(STATUS, 1, 1, 1), "and the telemetry would have had room beside it"
    schedule.acknowledged(first, 1.0)
    assert runs_sent(schedule) == [Run(STATUS, 1, 2, 2), Run(TELEMETRY, 1, 1, 9)]


def test_of_the_alarms_that_waited_one_publish_is_always_on_its_way() -> None:
    schedule = Schedule()
    schedule.connected(20)
    read_all(schedule, some_items(TELEMETRY, 1, 9, size=900))
    assert runs_sent(schedule) == [Run(TELEMETRY, 1, 1, 1)]
    schedule.carry(frozenset({STATUS, TELEMETRY}))
    schedule.carry(frozenset(Lane))
    read_all(schedule, some_items(ALARM, 1, 3, size=900))
    assert runs_sent(schedule) == [Run(ALARM, 1, 1, 1)]


def test_alarms_that_waited_leave_a_slot_to_one_signed_just_now() -> None:
    schedule = a_connection(8, some_items(ALARM, 1, 9, size=SEQUENCE_MAX))
    assert len(runs_sent(schedule)) == 7
    schedule.offer(an_item(ALARM, 10))
    assert runs_sent(schedule) == [Run(ALARM, 1, 10, 10)]


def test_what_goes_out_besides_takes_room_until_it_is_answered() -> None:
    schedule = Schedule()
    schedule.connected(20)
    state = schedule.besides(900, 0.0)
    read_all(schedule, some_items(TELEMETRY, 1, 1))
    assert schedule.next(0.0) is None
    schedule.answered(state, 1.0)
    assert runs_sent(schedule) == [Run(TELEMETRY, 1, 1, 1)]


def test_a_publish_is_half_as_long_after_a_disconnect_however_often_that_is_told() -> None:
    schedule = a_schedule()
    schedule.connected(20)
    schedule.disconnected()
    schedule.disconnected()
    schedule.connected(20)
    read_all(schedule, some_items(STATUS, 1, 200))
    assert runs_sent(schedule) == [Run(STATUS, 1, 1, 81), Run(STATUS, 1, 82, 162), Run(STATUS, 1, 163, 200)]


def test_a_sequence_has_no_holes() -> None:
    stored = [an_item(STATUS, n) for n in (1, 2, 4, 5, 9)]
    assert runs_sent(a_connection(20, stored)) == [Run(STATUS, 1, 1, 2), Run(STATUS, 1, 4, 5), Run(STATUS, 1, 9, 9)]


def test_a_broker_s_packet_limit_bounds_a_sequence_but_never_stops_a_record() -> None:
    schedule = a_schedule()
    schedule.connected(20, 250)
    read_all(schedule, [*some_items(STATUS, 1, 3), an_item(STATUS, 4, size=4000)])
    assert runs_sent(schedule) == [Run(STATUS, 1, 1, 2), Run(STATUS, 1, 3, 3), Run(STATUS, 1, 4, 4)]
