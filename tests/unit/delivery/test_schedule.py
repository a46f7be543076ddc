"""What goes out next, as a transcript: offered, sent, acknowledged, read, receipted."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.delivery.item import After, Item, Run
from gateway.delivery.lane import FRESH_MAX, Batch
from gateway.delivery.pace import SEQUENCE_MAX, Pace
from gateway.delivery.schedule import UNRECEIPTED_MAX, Schedule
from gateway.event import Lane

ALARM, STATUS, TELEMETRY = Lane
WIDE = 1_000_000  # bytes: a window that never limits


def _item(lane: Lane, sequence: int, ordinal: int = 1, size: int = 100) -> Item:
    return Item(lane, ordinal, sequence, bytes([sequence % 256]) * size)


def _items(lane: Lane, first: int, last: int, ordinal: int = 1, size: int = 100) -> list[Item]:
    return [_item(lane, sequence, ordinal, size) for sequence in range(first, last + 1)]


def _schedule() -> Schedule:
    """Return a schedule on a link that bears everything."""
    return Schedule(pace=Pace(start=WIDE))


def _connected(receive_maximum: int = 20, stored: Iterable[Item] = ()) -> Schedule:
    """Return a schedule whose connection has just begun, and which has read what is stored."""
    schedule = _schedule()
    schedule.connected(receive_maximum)
    _read(schedule, list(stored))
    return schedule


def _read(schedule: Schedule, stored: list[Item], at_once: int = 10_000) -> list[After | Run]:
    """Be the outbox until nothing more is wanted; return what was."""
    wanted: list[After | Run] = []
    while wants := schedule.want():
        for want in wants:
            wanted.append(want)
            lane = [item for item in stored if item.lane is want.lane]
            match want:
                case Run(_, ordinal, first, last):
                    found = [i for i in lane if i.ordinal == ordinal and first <= i.sequence <= last]
                case After(_, position):
                    found = [i for i in lane if (i.ordinal, i.sequence) > (position or (0, 0))]
            schedule.loaded(want, found[:at_once], complete=len(found) <= at_once)
    return wanted


def _sent(schedule: Schedule) -> list[Run]:
    return [batch.run for batch in _batches(schedule)]


def _batches(schedule: Schedule) -> list[Batch]:
    sent = []
    while (batch := schedule.next(0.0)) is not None:
        sent.append(batch)
    return sent


def test_a_record_signed_just_now_leaves_alone_and_at_once() -> None:
    schedule = _connected()
    schedule.offer(_item(ALARM, 1))
    (batch,) = _batches(schedule)
    assert (batch.run, batch.payload, batch.count) == (Run(ALARM, 1, 1, 1), b"\x01" * 100, 1)
    assert schedule.next(0.0) is None


def test_without_a_connection_nothing_leaves_and_nothing_is_kept() -> None:
    schedule = _schedule()
    schedule.offer(_item(ALARM, 1))
    assert schedule.next(0.0) is None
    assert schedule.want() == []
    schedule.connected(20)
    assert schedule.next(0.0) is None
    assert schedule.want() == [After(ALARM, None), After(STATUS, None), After(TELEMETRY, None)]
    assert schedule.want() == [], "each is wanted once"


def test_a_fresh_alarm_goes_before_its_own_lane_s_backlog_and_before_every_other_lane() -> None:
    stored = [*_items(ALARM, 1, 3), *_items(STATUS, 1, 2), *_items(TELEMETRY, 1, 2)]
    schedule = _connected(20, stored)
    schedule.offer(_item(ALARM, 9))
    assert _sent(schedule) == [
        Run(ALARM, 1, 9, 9),
        Run(ALARM, 1, 1, 3),
        Run(STATUS, 1, 1, 2),
        Run(TELEMETRY, 1, 1, 2),
    ]


def test_the_lanes_above_have_slots_of_their_own() -> None:
    stored = _items(TELEMETRY, 1, 40, size=SEQUENCE_MAX)
    schedule = _connected(16, stored)
    assert len(_sent(schedule)) == 12, "a quarter is left"
    for sequence in range(1, 10):
        schedule.offer(_item(STATUS, sequence, size=SEQUENCE_MAX))
    assert _sent(schedule) == [Run(STATUS, 1, n, n) for n in (1, 2)], "an eighth is left"
    for sequence in range(1, 10):
        schedule.offer(_item(ALARM, sequence, size=SEQUENCE_MAX))
    assert _sent(schedule) == [Run(ALARM, 1, n, n) for n in (1, 2)], "and no more than the broker allows"


def test_an_acknowledgement_frees_a_slot_for_the_gravest_first() -> None:
    schedule = _connected(1, _items(TELEMETRY, 1, 2, size=SEQUENCE_MAX))
    (first,) = _batches(schedule)
    schedule.offer(_item(ALARM, 1))
    assert schedule.next(0.0) is None
    schedule.acknowledged(first, 0.0)
    assert _sent(schedule) == [Run(ALARM, 1, 1, 1)]


def test_a_backlog_travels_in_sequences_of_16_kib_of_one_epoch_each() -> None:
    stored = [*_items(TELEMETRY, 4, 7, ordinal=1, size=5000), *_items(TELEMETRY, 1, 2, ordinal=2, size=5000)]
    schedule = _connected(20, stored)
    sent: list[Run] = []
    while (batch := schedule.next(0.0)) is not None:
        sent.append(batch.run)
        schedule.acknowledged(batch, 0.0)
    assert sent == [Run(TELEMETRY, 1, 4, 6), Run(TELEMETRY, 1, 7, 7), Run(TELEMETRY, 2, 1, 2)]


def test_telemetry_gathers_while_a_publish_of_it_is_unanswered() -> None:
    schedule = _connected()
    schedule.offer(_item(TELEMETRY, 1))
    (first,) = _batches(schedule)
    for sequence in (2, 3):
        schedule.offer(_item(TELEMETRY, sequence))
    assert _sent(schedule) == [], "one is on its way, and these would not fill the next"
    schedule.offer(_item(STATUS, 1))
    assert _sent(schedule) == [Run(STATUS, 1, 1, 1)], "the lanes above don't wait"
    schedule.acknowledged(first, 0.0)
    assert _sent(schedule) == [Run(TELEMETRY, 1, 2, 3)]


def test_telemetry_that_fills_a_publish_does_not_wait_for_an_answer() -> None:
    schedule = _connected()
    schedule.offer(_item(TELEMETRY, 1))
    assert _sent(schedule) == [Run(TELEMETRY, 1, 1, 1)]
    schedule.offer(_item(TELEMETRY, 2, size=SEQUENCE_MAX))
    assert _sent(schedule) == [Run(TELEMETRY, 1, 2, 2)]


def test_telemetry_that_is_being_read_waits_until_it_fills_a_publish() -> None:
    stored = _items(TELEMETRY, 1, 400)
    schedule = _schedule()
    schedule.connected(20)
    (want,) = (want for want in schedule.want() if want.lane is TELEMETRY)
    schedule.loaded(want, stored[:200], complete=False)
    (first,) = _batches(schedule)
    assert first.run == Run(TELEMETRY, 1, 1, 163)
    (want,) = schedule.want()
    schedule.acknowledged(first, 0.0)
    assert _sent(schedule) == []
    schedule.loaded(want, stored[200:], complete=False)
    assert _sent(schedule) == [Run(TELEMETRY, 1, 164, 326)]


def test_a_fresh_alarm_goes_past_a_full_window_and_past_the_alarms_that_waited() -> None:
    stored = [*_items(ALARM, 1, 9, size=300), *_items(STATUS, 1, 2, size=300), *_items(TELEMETRY, 1, 9, size=300)]
    schedule = Schedule()
    schedule.connected(20)
    _read(schedule, stored)
    assert _sent(schedule) == [Run(ALARM, 1, 1, 1), Run(ALARM, 1, 2, 2)], "a kibibyte"
    schedule.offer(_item(ALARM, 10))
    schedule.offer(_item(ALARM, 11))
    assert _sent(schedule) == [Run(ALARM, 1, 10, 11)]


def test_what_waits_for_room_in_the_window_is_not_overtaken_by_a_lane_below() -> None:
    schedule = Schedule()
    schedule.connected(20)
    _read(schedule, [*_items(STATUS, 1, 2, size=600), *_items(TELEMETRY, 1, 9, size=10)])
    (first,) = _batches(schedule)
    assert first.run == Run(STATUS, 1, 1, 1), "and the telemetry would have had room beside it"
    schedule.acknowledged(first, 1.0)
    assert _sent(schedule) == [Run(STATUS, 1, 2, 2), Run(TELEMETRY, 1, 1, 9)]


def test_of_the_alarms_that_waited_one_publish_is_always_on_its_way() -> None:
    schedule = Schedule()
    schedule.connected(20)
    _read(schedule, _items(TELEMETRY, 1, 9, size=900))
    assert _sent(schedule) == [Run(TELEMETRY, 1, 1, 1)]
    schedule.carry(frozenset({STATUS, TELEMETRY}))
    schedule.carry(frozenset(Lane))
    _read(schedule, _items(ALARM, 1, 3, size=900))
    assert _sent(schedule) == [Run(ALARM, 1, 1, 1)]


def test_alarms_that_waited_leave_a_slot_to_one_signed_just_now() -> None:
    schedule = _connected(8, _items(ALARM, 1, 9, size=SEQUENCE_MAX))
    assert len(_sent(schedule)) == 7
    schedule.offer(_item(ALARM, 10))
    assert _sent(schedule) == [Run(ALARM, 1, 10, 10)]


def test_what_goes_out_besides_takes_room_until_it_is_answered() -> None:
    schedule = Schedule()
    schedule.connected(20)
    state = schedule.besides(900, 0.0)
    _read(schedule, _items(TELEMETRY, 1, 1))
    assert schedule.next(0.0) is None
    schedule.answered(state, 1.0)
    assert _sent(schedule) == [Run(TELEMETRY, 1, 1, 1)]


def test_a_publish_is_half_as_long_after_a_disconnect_however_often_that_is_told() -> None:
    schedule = _schedule()
    schedule.connected(20)
    schedule.disconnected()
    schedule.disconnected()
    schedule.connected(20)
    _read(schedule, _items(STATUS, 1, 200))
    assert _sent(schedule) == [Run(STATUS, 1, 1, 81), Run(STATUS, 1, 82, 162), Run(STATUS, 1, 163, 200)]


def test_a_sequence_has_no_holes() -> None:
    stored = [_item(STATUS, n) for n in (1, 2, 4, 5, 9)]
    assert _sent(_connected(20, stored)) == [Run(STATUS, 1, 1, 2), Run(STATUS, 1, 4, 5), Run(STATUS, 1, 9, 9)]


def test_a_broker_s_packet_limit_bounds_a_sequence_but_never_stops_a_record() -> None:
    schedule = _schedule()
    schedule.connected(20, 250)
    _read(schedule, [*_items(STATUS, 1, 3), _item(STATUS, 4, size=4000)])
    assert _sent(schedule) == [Run(STATUS, 1, 1, 2), Run(STATUS, 1, 3, 3), Run(STATUS, 1, 4, 4)]


def test_nothing_is_sent_twice_on_one_connection_while_its_receipt_may_still_come() -> None:
    stored = _items(STATUS, 1, 3)
    schedule = _connected(20, stored)
    for batch in _batches(schedule):
        schedule.acknowledged(batch, 10.0)
    assert schedule.deadline == 70.0
    schedule.tick(69.9)
    assert _read(schedule, stored) == []
    assert _sent(schedule) == []


def test_what_no_receipt_covers_is_sent_again_60_s_after_its_puback() -> None:
    stored = _items(STATUS, 1, 3)
    schedule = _connected(20, stored)
    (batch,) = _batches(schedule)
    schedule.acknowledged(batch, 10.0)
    assert schedule.receipted([Run(STATUS, 1, 2, 2)]) == [Run(STATUS, 1, 2, 2)]
    schedule.tick(70.0)
    assert _read(schedule, stored) == [Run(STATUS, 1, 1, 1), Run(STATUS, 1, 3, 3)]
    again = _batches(schedule)
    assert [batch.run for batch in again] == [Run(STATUS, 1, 1, 1), Run(STATUS, 1, 3, 3)]
    assert schedule.deadline is None, "in flight: its own 60 s have not begun"
    for batch in again:
        schedule.acknowledged(batch, 71.0)
    assert schedule.deadline == 131.0


def test_an_alarm_that_nobody_was_subscribed_to_is_sent_again_soon() -> None:
    schedule = _connected(20, [*_items(ALARM, 1, 1), *_items(STATUS, 1, 1)])
    for batch in _batches(schedule):
        schedule.acknowledged(batch, 10.0, heard=False)
    schedule.tick(11.9)
    assert schedule.want() == []
    schedule.tick(12.0)
    assert schedule.want() == [Run(ALARM, 1, 1, 1)]
    assert schedule.deadline == 70.0, "the status lane's"


def test_a_receipt_ends_the_waiting() -> None:
    schedule = _connected(20, _items(ALARM, 1, 3))
    (batch,) = _batches(schedule)
    assert schedule.receipted([Run(ALARM, 1, 1, 3)]) == [Run(ALARM, 1, 1, 3)], "it may come before the PUBACK"
    schedule.acknowledged(batch, 10.0)
    assert schedule.deadline is None
    assert schedule.receipted([Run(ALARM, 1, 1, 3)]) == [], "known already"


def test_coverage_only_grows_and_only_what_is_new_is_told() -> None:
    schedule = _connected()
    assert schedule.receipted([Run(ALARM, 1, 1, 3)]) == [Run(ALARM, 1, 1, 3)]
    assert schedule.receipted([Run(ALARM, 1, 1, 2), Run(ALARM, 1, 2, 5)]) == [Run(ALARM, 1, 4, 5)]
    assert schedule.receipted([Run(ALARM, 2, 1, 1)]) == [Run(ALARM, 2, 1, 1)], "another epoch is another chain"


def test_what_is_receipted_while_it_waits_to_be_sent_is_not_sent() -> None:
    schedule = _connected(20, _items(STATUS, 1, 5))
    schedule.receipted([Run(STATUS, 1, 2, 4)])
    assert _sent(schedule) == [Run(STATUS, 1, 1, 1), Run(STATUS, 1, 5, 5)]


@pytest.mark.parametrize("lane", Lane)
def test_what_is_receipted_while_it_waits_holds_up_nothing_behind_it(lane: Lane) -> None:
    older, newer = _item(lane, 1), _item(lane, 2)
    schedule = _connected(stored=[older])
    schedule.offer(newer)
    schedule.receipted([Run(lane, 1, 1, 1)])
    assert _sent(schedule) == [Run(lane, 1, 2, 2)]
    schedule = _connected(stored=[older])
    schedule.offer(newer)
    schedule.receipted([Run(lane, 1, 2, 2)])
    assert _sent(schedule) == [Run(lane, 1, 1, 1)]


def test_a_new_connection_sends_everything_unreceipted_again() -> None:
    stored = [*_items(ALARM, 1, 2), *_items(STATUS, 1, 3)]
    schedule = _connected(20, stored)
    first, second = _batches(schedule)
    schedule.acknowledged(first, 1.0)
    schedule.receipted([Run(STATUS, 1, 1, 1)])
    schedule.disconnected()
    assert schedule.next(0.0) is None
    schedule.connected(20)
    schedule.acknowledged(second, 2.0)  # late news of the connection before
    assert schedule.deadline is None
    _read(schedule, stored)
    assert _sent(schedule) == [Run(ALARM, 1, 1, 2), Run(STATUS, 1, 2, 3)]


def test_a_reading_that_was_asked_for_before_the_connection_ended_is_not_taken() -> None:
    schedule = _schedule()
    schedule.connected(20)
    before = schedule.want()
    schedule.disconnected()
    schedule.connected(20)
    for want in before:
        schedule.loaded(want, _items(want.lane, 1, 2), complete=True)
    assert _sent(schedule) == []
    assert len(schedule.want()) == 3


def test_a_refusal_is_tried_again_after_1_2_4_up_to_30_s() -> None:
    stored = _items(STATUS, 1, 1)
    schedule = _connected(20, stored)
    waits, now = [], 0.0
    for tries in range(1, 8):
        (batch,) = _batches(schedule)
        schedule.refused(batch, now, tries)
        assert schedule.deadline is not None
        waits.append(schedule.deadline - now)
        now = schedule.deadline
        schedule.tick(now)
        _read(schedule, stored)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_refused_lane_is_held_back_and_leaves_its_slot_to_the_others() -> None:
    stored = [*_items(ALARM, 1, 1), *_items(STATUS, 1, 1)]
    schedule = _connected(1, stored)
    (batch,) = _batches(schedule)
    schedule.refused(batch, 0.0, 1)
    schedule.offer(_item(ALARM, 2))
    assert _sent(schedule) == [Run(STATUS, 1, 1, 1)]


def test_a_refused_lane_is_held_back_over_the_next_connection_too() -> None:
    stored = [*_items(ALARM, 1, 1), *_items(STATUS, 1, 1)]
    schedule = _connected(20, stored)
    alarm, _status = _batches(schedule)
    schedule.refused(alarm, 0.0, 3)
    schedule.disconnected()
    schedule.connected(20)
    _read(schedule, stored)
    assert _sent(schedule) == [Run(STATUS, 1, 1, 1)]
    schedule.tick(3.9)
    assert _sent(schedule) == []
    schedule.tick(4.0)
    assert _sent(schedule) == [Run(ALARM, 1, 1, 1)]


def test_what_c5_says_is_missing_goes_again_if_the_broker_has_taken_it() -> None:
    stored = _items(STATUS, 1, 9)
    schedule = _connected(20, stored)
    (batch,) = _batches(schedule)
    schedule.acknowledged(batch, 0.0)
    schedule.requested(Run(STATUS, 1, 4, 5), 1.0)
    assert _read(schedule, stored) == [Run(STATUS, 1, 4, 5)]
    assert _sent(schedule) == [Run(STATUS, 1, 4, 5)]
    schedule.requested(Run(STATUS, 1, 4, 5), 5.9)
    assert _read(schedule, stored) == [], "not twice in 5 s"


def test_what_is_missing_but_in_flight_or_at_hand_is_on_its_way_already() -> None:
    stored = _items(STATUS, 1, 3)
    schedule = _connected(20, stored)
    schedule.requested(Run(STATUS, 1, 1, 3), 0.0)
    assert _read(schedule, stored) == []
    (batch,) = _batches(schedule)
    schedule.requested(Run(STATUS, 1, 1, 3), 10.0)
    assert _read(schedule, stored) == []
    schedule.acknowledged(batch, 11.0)
    schedule.requested(Run(STATUS, 1, 1, 3), 21.0)
    assert _read(schedule, stored) == [Run(STATUS, 1, 1, 3)]


def test_what_is_missing_and_was_never_sent_on_this_connection_comes_with_the_backlog() -> None:
    stored = _items(STATUS, 1, 3)
    schedule = _schedule()
    schedule.connected(20)
    schedule.requested(Run(STATUS, 1, 1, 3), 0.0)
    assert [want for want in _read(schedule, stored) if want.lane is STATUS] == [After(STATUS, None)]
    assert _sent(schedule) == [Run(STATUS, 1, 1, 3)]


def test_what_a_salvage_puts_behind_a_reading_that_is_under_way_goes_when_that_has_passed_it_by() -> None:
    schedule = _schedule()
    schedule.connected(20)
    (want,) = (want for want in schedule.want() if want.lane is ALARM)
    salvaged, newer = _item(ALARM, 7), _item(ALARM, 1, ordinal=5)
    assert schedule.requested(Run(ALARM, 1, 7, 7), 0.0) == []
    schedule.loaded(want, [newer], complete=True)
    _read(schedule, [salvaged, newer])
    assert _sent(schedule) == [Run(ALARM, 5, 1, 1), Run(ALARM, 1, 7, 7)]


@pytest.mark.parametrize(("lane", "seconds"), [(ALARM, 5.0), (STATUS, 60.0), (TELEMETRY, 60.0)])
def test_what_could_not_be_read_is_wanted_again_soon_if_it_is_alarms(lane: Lane, seconds: float) -> None:
    schedule = _schedule()
    schedule.connected(20)
    for want in schedule.want():
        schedule.unread(want, [], 0.0)
    schedule.tick(seconds - 0.1)
    assert lane not in {want.lane for want in schedule.want()}
    schedule.tick(seconds)
    assert lane in {want.lane for want in schedule.want()}


def test_being_asked_for_again_and_again_never_makes_more_repeats_than_records() -> None:
    stored = _items(ALARM, 1, 9)
    schedule = _connected(20, stored)
    now = 0.0
    for _ in range(40):  # C5 asks every 6 s for one that a broker swallows each time
        for batch in _batches(schedule):
            schedule.acknowledged(batch, now)
        now += 6.0
        schedule.requested(Run(ALARM, 1, 5, 5), now)
        schedule.tick(now)
        _read(schedule, stored)
    sent: list[int] = []
    for _ in range(60):  # it asks no more: each record once a minute
        now += 1.0
        schedule.tick(now)
        _read(schedule, stored)
        for batch in _batches(schedule):
            sent += range(batch.run.first, batch.run.last + 1)
            schedule.acknowledged(batch, now)
    assert sorted(sent) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_records_committed_while_the_backlog_is_read_are_neither_lost_nor_sent_twice() -> None:
    schedule = _schedule()
    schedule.connected(20)
    want = next(want for want in schedule.want() if want.lane is STATUS)
    schedule.offer(_item(STATUS, 3))  # after the reading's snapshot
    schedule.loaded(want, _items(STATUS, 1, 2), complete=True)
    assert _sent(schedule) == [Run(STATUS, 1, 1, 2)]
    assert _read(schedule, _items(STATUS, 1, 3))[-1] == After(STATUS, (1, 2))
    assert _sent(schedule) == [Run(STATUS, 1, 3, 3)]
    schedule.offer(_item(STATUS, 4))
    assert _sent(schedule) == [Run(STATUS, 1, 4, 4)], "caught up: at once from now on"


def test_an_alarm_offered_while_the_backlog_is_read_goes_once() -> None:
    schedule = _schedule()
    schedule.connected(20)
    want = schedule.want()[0]
    schedule.offer(_item(ALARM, 3))
    assert _sent(schedule) == [Run(ALARM, 1, 3, 3)]
    schedule.loaded(want, _items(ALARM, 1, 3), complete=True)  # it was durable by the time of the reading
    assert _sent(schedule) == [Run(ALARM, 1, 1, 2)]


def test_a_long_backlog_is_read_a_piece_at_a_time() -> None:
    stored = _items(TELEMETRY, 1, 40, size=8192)
    schedule = _schedule()
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
        for batch in _batches(schedule):
            sent += range(batch.run.first, batch.run.last + 1)
    assert positions == [None, (1, 16), (1, 32)]
    assert sent == list(range(1, 41))


def test_more_fresh_records_than_memory_holds_come_from_the_outbox_in_their_order() -> None:
    for lane in Lane:
        schedule = _connected(1)
        schedule.offer(_item(ALARM, 1, ordinal=9))
        (blocking,) = _batches(schedule)
        stored = _items(lane, 1, FRESH_MAX + 20)
        for item in stored:
            schedule.offer(item)
        assert _read(schedule, stored) == [After(lane, None)]
        schedule.acknowledged(blocking, 0.0)
        sent: list[int] = []
        while (batch := schedule.next(0.0)) is not None:
            sent += range(batch.run.first, batch.run.last + 1)
            schedule.acknowledged(batch, 0.0)
        assert sent == list(range(1, FRESH_MAX + 21)), lane


def test_while_the_centre_is_silent_only_alarms_are_repeated_after_1_2_4_minutes() -> None:
    stored = [*_items(ALARM, 1, 1), *_items(STATUS, 1, 1)]
    schedule = _connected(20, stored)
    schedule.silent(silent=True)
    now, tried = 0.0, []
    for _ in range(8):
        for batch in _batches(schedule):
            if batch.run.lane is ALARM:
                tried.append(now)
            schedule.acknowledged(batch, now)
        while not schedule._lanes[ALARM].again:
            assert schedule.deadline is not None
            now = schedule.deadline
            schedule.tick(now)
        assert {want.lane for want in _read(schedule, stored)} == {ALARM}
    assert [later - earlier for earlier, later in pairwise(tried)] == [
        60.0, 120.0, 240.0, 480.0, 960.0, 960.0, 960.0,
    ]  # fmt: skip


def test_each_alarm_has_its_own_minutes_while_the_centre_is_silent() -> None:
    stored = _items(ALARM, 1, 3)
    schedule = _connected(20)
    schedule.silent(silent=True)
    tried: dict[int, list[float]] = {1: [], 2: [], 3: []}
    for now in range(400):
        if now in (0, 10, 300):
            schedule.offer(stored[(0, 10, 300).index(now)])
        schedule.tick(float(now))
        _read(schedule, stored)
        for batch in _batches(schedule):
            tried[batch.run.first].append(float(now))
            schedule.acknowledged(batch, float(now))
    assert tried == {1: [0.0, 60.0, 180.0], 2: [10.0, 70.0, 190.0], 3: [300.0, 360.0]}


def test_everything_unreceipted_goes_again_when_the_centre_is_heard_again() -> None:
    stored = [*_items(ALARM, 1, 1), *_items(STATUS, 1, 2)]
    schedule = _connected(20, stored)
    for batch in _batches(schedule):
        schedule.acknowledged(batch, 0.0)
    schedule.silent(silent=True)
    schedule.receipted([Run(STATUS, 1, 1, 1)])
    schedule.silent(silent=False)
    _read(schedule, stored)
    assert _sent(schedule) == [Run(ALARM, 1, 1, 1), Run(STATUS, 1, 2, 2)]


def test_what_is_in_flight_when_the_centre_returns_still_holds_its_slot() -> None:
    schedule = _connected(1, _items(ALARM, 1, 1))
    schedule.silent(silent=True)
    (batch,) = _batches(schedule)
    schedule.silent(silent=False)
    _read(schedule, _items(ALARM, 1, 1))
    assert schedule.next(0.0) is None
    schedule.acknowledged(batch, 0.0)
    assert _sent(schedule) == [Run(ALARM, 1, 1, 1)]


def test_a_lane_with_too_much_unreceipted_waits_but_alarms_do_not() -> None:
    schedule = _connected(65_535)
    for lane in (STATUS, ALARM):
        for sequence in range(2, 2 * UNRECEIPTED_MAX + 40, 2):  # holes: each a batch of its own
            schedule.offer(_item(lane, sequence, size=1))
            for batch in _batches(schedule):
                schedule.acknowledged(batch, 0.0)
        assert len(schedule._lanes[lane].repeats) == UNRECEIPTED_MAX + (19 if lane is ALARM else 0)


class _World:
    """An outbox, a broker that loses, and a C5, around one schedule; whatever happens, nothing is lost."""

    def __init__(self) -> None:
        self.schedule = _schedule()
        self.stored: list[Item] = []
        self.signed = dict.fromkeys(Lane, 0)
        self.flight: list[Batch] = []
        self.received: set[tuple[Lane, int]] = set()
        self.now = 0.0
        self.connected = False
        self.sends: dict[tuple[Lane, int], int] = {}

    def sign(self, lane: Lane) -> None:
        self.signed[lane] += 1
        item = _item(lane, self.signed[lane], size=3000)
        self.schedule.offer(item)
        self.stored.append(item)

    def connect(self) -> None:
        self.connected = True
        self.sends.clear()
        self.schedule.connected(4)

    def disconnect(self) -> None:
        self.connected = False
        self.flight.clear()
        self.schedule.disconnected()

    def read(self, at_once: int) -> None:
        for want in self.schedule.want():
            lane = [item for item in self.stored if item.lane is want.lane]
            match want:
                case Run(_, _, first, last):
                    found = [i for i in lane if first <= i.sequence <= last]
                case After(_, position):
                    found = [i for i in lane if (i.ordinal, i.sequence) > (position or (0, 0))]
            self.schedule.loaded(want, found[:at_once], complete=len(found) <= at_once)

    def send(self) -> None:
        while (batch := self.schedule.next(self.now)) is not None:
            self.flight.append(batch)
            for sequence in range(batch.run.first, batch.run.last + 1):
                place = (batch.run.lane, sequence)
                self.sends[place] = self.sends.get(place, 0) + 1
        assert len(self.flight) <= 4, "never more than the broker allows"

    def acknowledge(self, *, arrives: bool) -> None:
        if self.flight:
            batch = self.flight.pop(0)
            self.schedule.acknowledged(batch, self.now)
            if arrives:
                self.received |= {(batch.run.lane, n) for n in range(batch.run.first, batch.run.last + 1)}

    def receipt(self) -> None:
        runs = [Run(lane, 1, n, n) for lane, n in sorted(self.received)]
        for run in self.schedule.receipted(runs):
            self.stored = [i for i in self.stored if i.lane is not run.lane or not run.first <= i.sequence <= run.last]


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sign"), st.sampled_from(Lane)),
        st.tuples(st.sampled_from(["connect", "disconnect", "send", "arrive", "swallow", "receipt"]), st.none()),
        st.tuples(st.just("read"), st.integers(1, 3)),
        st.tuples(st.just("pass"), st.sampled_from([1.0, 59.0, 61.0])),
        st.tuples(st.just("silent"), st.booleans()),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(_STEPS)
def test_whatever_happens_in_between_everything_arrives_in_the_end_and_nothing_repeats_without_reason(
    steps: list[tuple[str, object]],
) -> None:
    world = _World()
    repeatable = False
    for step, value in steps:
        match step, value:
            case "sign", Lane() as lane:
                world.sign(lane)
            case "connect", _:
                world.disconnect()
                world.connect()
                repeatable = False
            case "disconnect", _:
                world.disconnect()
            case "send", _:
                world.send()
            case "arrive" | "swallow", _:
                world.acknowledge(arrives=step == "arrive")
            case "receipt", _:
                world.receipt()
            case "read", int() as count:
                world.read(count)
            case "pass", float() as seconds:
                world.now += seconds
                world.schedule.tick(world.now)
                repeatable = True
            case "silent", bool() as silent:
                world.schedule.silent(silent=silent)
                repeatable = True
            case _:
                raise AssertionError(step)
        if world.connected and not repeatable:
            assert max(world.sends.values(), default=1) == 1
    world.disconnect()
    world.schedule.silent(silent=False)
    world.connect()
    for _ in range(100):
        world.read(3)
        world.send()
        world.acknowledge(arrives=True)
        world.receipt()
    assert world.stored == []
    assert world.received == {(lane, n) for lane, last in world.signed.items() for n in range(1, last + 1)}
    assert set(world.sends.values()) <= {1}
