"""One device's session as a transcript; the device's end is sealed by hand."""

from collections.abc import Mapping
from itertools import count
from typing import Any

from gateway.errors import Refused
from gateway.fieldlink import framing, message, seal
from gateway.fieldlink.actions import (
    Action,
    CommandEnded,
    Heard,
    NewEvent,
    Proven,
    RepeatedEvent,
    Replayed,
    Send,
    Unauthenticated,
    UnreadableEvent,
)
from gateway.fieldlink.freshness import Counters
from gateway.fieldlink.message import Ack, Command, EventMessage, Heartbeat, Hello, Ignored, Result, Unreadable
from gateway.fieldlink.session import DeviceSession

DEVICE = "0c500042"
KEY = bytes(range(16))
CIPHER = seal.Cipher(KEY)
PRESS = EventMessage(1, 1, 0)
HELLO = Hello("2.4.1", "PB-1", 1, 0)
BEAT = Heartbeat(60)


def a_session(
    *,
    counters: Counters | None = Counters(100, bytes(8)),  # noqa: B008  # frozen
    events: Mapping[int, int] | None = None,
    highest_event: int = 0,
) -> DeviceSession:
    random = count(1)
    return DeviceSession(
        DEVICE,
        KEY,
        counters=counters,
        events=events or {},
        highest_event=highest_event,
        first_number=1000,
        challenge=lambda: bytes([next(random)] * 8),
    )


FIRST_COMMAND = 0x01010101  # of the first challenge bytes


def raw(session: DeviceSession, counter: int, type_: int, plaintext: bytes, now: float = 0.0) -> list[Action]:
    header = seal.Header(type_, seal.Direction.UP, DEVICE, counter)
    return list(session.receive(header, CIPHER.seal(header, plaintext), now))


def hear(session: DeviceSession, counter: int, said: message.Sendable, now: float = 0.0) -> list[Any]:
    return told(raw(session, counter, message.type_of(said), message.encode(said), now))


def told(actions: list[Action]) -> list[Any]:
    """Open what is sent: (counter, number, message) in the place of each Send."""
    return [opened(action.wire) if isinstance(action, Send) else action for action in actions]


def opened(wire: bytes) -> tuple[int, int, message.Downward]:
    [frame] = framing.Decoder().feed(wire)
    assert isinstance(frame, framing.Frame)
    header = seal.read_header(frame.body)
    assert isinstance(header, seal.Header)
    assert (header.direction, header.device) == (seal.Direction.DOWN, DEVICE)
    plaintext = CIPHER.open(frame.body)
    assert plaintext is not None
    return header.counter, header.number, message.read_downward(header.type, plaintext)


def test_a_press_is_new_until_it_is_recorded_and_acknowledged_as_it_comes_along() -> None:
    session = a_session()
    assert hear(session, 101, PRESS) == [NewEvent(PRESS, unproven=False)]
    assert hear(session, 102, PRESS) == [NewEvent(PRESS, unproven=False)]  # no room for it yet
    session.recorded(1)
    assert hear(session, 103, PRESS) == [RepeatedEvent(1)]  # recorded, not durable: no answer
    assert told(session.stage(1, 1)) == [(103, 1000, Ack(1, 1))]
    assert hear(session, 104, PRESS) == [RepeatedEvent(1), (104, 1001, Ack(1, 1))]
    assert told(session.stage(1, 2)) == [(104, 1002, Ack(1, 2))]
    assert session.events == {1: 2}


def test_stages_2_and_3_are_told_again_at_the_next_frame_and_then_no_more() -> None:
    session = a_session(events={7: 1, 8: 1}, highest_event=8)
    hear(session, 101, BEAT)
    session.stage(7, 2)
    session.stage(8, 2)
    session.stage(7, 3)
    assert hear(session, 102, BEAT) == [
        Heard(BEAT, unproven=False),
        (102, 1003, Ack(8, 2)),
        (102, 1004, Ack(7, 3)),
    ]
    assert hear(session, 103, BEAT) == [Heard(BEAT, unproven=False)]


def test_an_event_is_handed_over_before_anything_is_sealed_for_its_device() -> None:
    session = a_session(events={7: 1}, highest_event=7)
    hear(session, 101, BEAT)
    session.stage(7, 2)
    header = seal.Header(message.Type.EVENT, seal.Direction.UP, DEVICE, 102)
    pressed = EventMessage(8, 1, 0)
    actions = iter(session.receive(header, CIPHER.seal(header, message.encode(pressed)), 0.0))
    assert next(actions) == NewEvent(pressed, unproven=False)
    session.recorded(8)
    assert told(session.stage(8, 1)) == [(102, 1001, Ack(8, 1))]
    assert told(list(actions)) == [(102, 1002, Ack(7, 2))]


def test_a_stage_of_a_number_that_was_not_there_yet_is_not_said_of_the_event_that_comes_under_it() -> None:
    session = a_session(events={7: 1}, highest_event=7)
    session.stage(9, 3)
    assert hear(session, 101, EventMessage(9, 1, 0)) == [NewEvent(EventMessage(9, 1, 0), unproven=False)]
    assert hear(session, 102, BEAT) == [Heard(BEAT, unproven=False)]


def test_an_event_repeated_after_its_receipt_is_answered_once_with_the_highest_stage() -> None:
    session = a_session(events={7: 1}, highest_event=7)
    hear(session, 101, BEAT)
    session.stage(7, 2)
    assert hear(session, 102, EventMessage(7, 1, 500)) == [RepeatedEvent(7), (102, 1001, Ack(7, 2))]


def test_a_stage_that_was_already_true_is_not_told() -> None:
    session = a_session(events={7: 2}, highest_event=7)
    hear(session, 101, BEAT)
    assert session.stage(7, 1) == []
    assert session.stage(7, 2) == []


def test_the_newest_event_that_c5_has_is_told_again_after_a_start() -> None:
    session = a_session(events={7: 2, 8: 2}, highest_event=8)
    assert hear(session, 101, BEAT) == [Heard(BEAT, unproven=False), (101, 1000, Ack(8, 2))]
    assert hear(session, 102, BEAT) == [Heard(BEAT, unproven=False)]


def test_of_what_an_operator_has_seen_the_newest_8_are_told_again_after_a_start() -> None:
    session = a_session(events={**dict.fromkeys(range(1, 11), 3), 11: 1}, highest_event=11)
    beat, *acks = hear(session, 101, BEAT)
    assert beat == Heard(BEAT, unproven=False)
    assert [ack for _counter, _number, ack in acks] == [Ack(number, 3) for number in range(3, 11)]


def test_nothing_is_sent_before_the_device_was_heard_and_it_is_told_then() -> None:
    session = a_session(events={7: 1}, highest_event=7)
    assert session.stage(7, 2) == []
    assert session.command(5, None, now=0.0) == Refused("the device has not been heard since the gateway started")
    assert hear(session, 101, BEAT) == [Heard(BEAT, unproven=False), (101, 1000, Ack(7, 2))]


def test_the_window_reaches_64_below_the_highest_and_what_is_below_is_new() -> None:
    session = a_session()
    for number in (10, 35, 36, 99):
        session.recorded(number)
    session.recorded(100)
    assert (session.highest_event, session.events) == (100, {36: 0, 99: 0, 100: 0})
    assert hear(session, 101, EventMessage(36, 1, 0)) == [RepeatedEvent(36)]
    assert hear(session, 102, EventMessage(35, 1, 0)) == [NewEvent(EventMessage(35, 1, 0), unproven=False)]
    assert hear(session, 103, EventMessage(98, 1, 0)) == [NewEvent(EventMessage(98, 1, 0), unproven=False)]
    session.recorded(35)
    assert session.events == {36: 0, 99: 0, 100: 0}
    assert told(session.stage(35, 1)) == [(103, 1000, Ack(35, 1))]


def test_a_frame_heard_twice_is_dropped_in_silence_and_an_old_one_is_a_replay() -> None:
    session = a_session()
    assert hear(session, 102, PRESS) == [NewEvent(PRESS, unproven=False)]
    assert hear(session, 102, PRESS) == []
    assert hear(session, 101, PRESS) == []
    assert hear(session, 101, PRESS) == [Replayed()]
    assert hear(session, 85, PRESS) == [Replayed()]
    assert hear(session, 102, BEAT) == [Replayed()]  # the same counter under another tag
    assert session.events == {}


def test_a_frame_under_another_key_changes_nothing() -> None:
    session = a_session()
    header = seal.Header(2, seal.Direction.UP, DEVICE, 500)
    forged = seal.Cipher(bytes(16)).seal(header, message.encode(PRESS))
    assert session.receive(header, forged, 0.0) == [Unauthenticated()]
    assert session.counters == Counters(100, bytes(8))


def test_an_echo_of_our_own_frame_is_nothing() -> None:
    session = a_session()
    header = seal.Header(8, seal.Direction.DOWN, DEVICE, 500, 1)
    assert session.receive(header, CIPHER.seal(header, message.encode(Ack(1, 1))), 0.0) == []
    assert session.counters == Counters(100, bytes(8))


def test_an_unreadable_event_and_an_unknown_type_are_heard_and_advance_the_counter() -> None:
    session = a_session()
    assert raw(session, 101, message.Type.EVENT, b"junk") == [UnreadableEvent(Unreadable(b"junk"), unproven=False)]
    assert raw(session, 102, 7, b"junk") == [Heard(Ignored(7, "unknown type"), unproven=False)]
    assert session.counters is not None
    assert (session.counters.last, session.counters.seen) == (102, 0b11)


def test_an_unknown_counter_is_challenged_until_the_right_bytes_come_back() -> None:
    session = a_session(counters=None)
    first = Command(FIRST_COMMAND, 6, {1: bytes([2] * 8)})
    assert session.unproven
    assert hear(session, 5000, PRESS, now=0.0) == [NewEvent(PRESS, unproven=True), (5000, 1000, first)]
    assert session.deadline == 1.0
    assert told(session.tick(0.9)) == []
    assert told(session.tick(1.0)) == [(5000, 1001, first)]
    assert told(session.tick(3.0)) == [(5000, 1002, first)]
    assert told(session.tick(7.0)) == [(5000, 1003, first)]
    assert told(session.tick(15.0)) == []
    assert session.deadline is None
    second = Command(FIRST_COMMAND + 1, 6, {1: bytes([3] * 8)})
    assert hear(session, 5001, BEAT, now=20.0) == [Heard(BEAT, unproven=True), (5001, 1004, second)]
    late = Result(FIRST_COMMAND, 0, None, bytes([2] * 8))
    assert hear(session, 5002, late, now=20.1) == [Heard(late, unproven=True)]
    right = Result(FIRST_COMMAND + 1, 0, None, bytes([3] * 8))
    assert hear(session, 5003, right, now=20.2) == [Proven(), Heard(right, unproven=False)]
    assert session.counters is not None
    assert session.counters.proven
    assert session.deadline is None


def test_wrong_bytes_prove_nothing_and_bring_a_new_challenge() -> None:
    session = a_session(counters=None)
    hear(session, 1, BEAT)
    wrong = Result(FIRST_COMMAND, 0, None, bytes(8))
    again = Command(FIRST_COMMAND + 1, 6, {1: bytes([3] * 8)})
    assert hear(session, 2, wrong) == [Heard(wrong, unproven=True), (2, 1001, again)]


def test_a_device_unproven_before_the_restart_still_is() -> None:
    session = a_session(counters=Counters(100, bytes(8), proven=False))
    assert hear(session, 101, BEAT)[0] == Heard(BEAT, unproven=True)


def test_a_command_is_sent_again_until_its_result_comes() -> None:
    session = a_session()
    hear(session, 101, BEAT)
    answer = session.command(2, {1: 1, 2: True}, now=10.0)
    assert not isinstance(answer, Refused)
    number, actions = answer
    command = Command(FIRST_COMMAND, 2, {1: 1, 2: True})
    assert (number, told(actions)) == (FIRST_COMMAND, [(101, 1000, command)])
    assert told(session.tick(11.0)) == [(101, 1001, command)]
    result = Result(FIRST_COMMAND, 0)
    assert hear(session, 102, result, now=11.5) == [
        CommandEnded(FIRST_COMMAND, result),
        Heard(result, unproven=False),
    ]
    assert session.deadline is None


def test_a_command_without_an_answer_ends_so() -> None:
    session = a_session()
    hear(session, 101, BEAT)
    session.command(5, None, now=0.0)
    for now in (1.0, 3.0, 7.0):
        assert len(session.tick(now)) == 1
    assert session.tick(15.0) == [CommandEnded(FIRST_COMMAND, None)]


def test_a_hello_ends_the_repeating() -> None:
    session = a_session()
    hear(session, 101, BEAT)
    session.command(5, None, now=0.0)
    assert hear(session, 102, HELLO) == [CommandEnded(FIRST_COMMAND, None), Heard(HELLO, unproven=False)]
    assert session.deadline is None


def test_a_device_that_answers_nothing_is_asked_at_most_eight_things() -> None:
    session = a_session()
    hear(session, 101, BEAT)
    for _ in range(8):
        assert not isinstance(session.command(5, None, now=0.0), Refused)
    assert session.command(5, None, now=0.0) == Refused("too many commands without an answer")


def test_what_waits_to_be_told_again_is_bounded() -> None:
    session = a_session()
    for number in range(1, 1001):
        session.stage(number, 2)
    acks = [action for action in hear(session, 101, BEAT) if isinstance(action, tuple)]
    assert [ack.event_number for _, _, ack in acks] == list(range(937, 1001))
