"""A board against the gateway's own session: both ends of the real protocol, without a line or a clock."""

from itertools import count
from random import Random
from typing import Any

from firmware_sim.battery import Battery
from firmware_sim.board import Happened, Machine, Send, Told
from firmware_sim.flash import MemoryFlash, Reserved
from gateway.fieldlink import actions as gateway_actions
from gateway.fieldlink import framing, message, seal
from gateway.fieldlink.actions import CommandEnded, Heard, NewEvent, Proven, RepeatedEvent
from gateway.fieldlink.freshness import Counters
from gateway.fieldlink.label import Label
from gateway.fieldlink.message import EventMessage, Heartbeat, Hello, Measurement, Reading, Result
from gateway.fieldlink.session import DeviceSession

LABEL = Label("0c500042", "PB-1", bytes(range(16)))


def a_board(flash: MemoryFlash | None = None, **behaviour: Any) -> Machine:
    return Machine(LABEL, flash or MemoryFlash(), Random(1), **behaviour)


def a_session(counters: Counters | None = Counters(0, bytes(8)), first_number: int = 1000) -> DeviceSession:  # noqa: B008  # frozen
    random = count(1)
    return DeviceSession(
        LABEL.device,
        LABEL.key,
        counters=counters,
        events={},
        highest_event=0,
        first_number=first_number,
        challenge=lambda: bytes([next(random)] * 8),
    )


def said(actions: Any) -> list[tuple[int, message.Upward]]:
    """Open what a board sends: counter and message."""
    return [(header.counter, message.read_upward(header.type, text)) for header, text, _ in map(opened, wires(actions))]


def wires(actions: Any) -> list[bytes]:
    return [action.wire for action in actions if isinstance(action, Send | gateway_actions.Send)]


def opened(wire: bytes) -> tuple[seal.Header, bytes, bytes]:
    [frame] = framing.Decoder().feed(wire)
    assert isinstance(frame, framing.Frame)
    header = seal.read_header(frame.body)
    assert isinstance(header, seal.Header)
    plaintext = seal.Cipher(LABEL.key).open(frame.body)
    assert plaintext is not None
    return header, plaintext, frame.body


def up(session: DeviceSession, actions: Any, now: float) -> list[Any]:
    heard: list[Any] = []
    for wire in wires(actions):
        header, _, body = opened(wire)
        heard += session.receive(header, body, now)
    return heard


def down(board: Machine, actions: Any, now: float) -> list[Any]:
    return [action for wire in wires(actions) for action in board.receive(wire, now)]


def test_a_board_says_hello_and_then_lives_by_heartbeats() -> None:
    board = a_board(heartbeat=20.0, battery_mv=2900, rssi_dbm=-70)
    assert said(board.start(100.0)) == [(1, Hello("2.4.1", "PB-1", 1, 0))]
    assert board.deadline == 120.0
    assert board.tick(119.9) == []
    assert said(board.tick(120.0)) == [(2, Heartbeat(20, 2900, -70, None, 20))]
    assert board.deadline == 140.0


def test_a_press_is_shown_as_far_as_it_has_come() -> None:
    board, session = a_board(), a_session()
    up(session, board.start(0.0), 0.0)
    number, actions = board.press(1, 0.0)
    assert number == 1
    assert up(session, actions, 0.0) == [NewEvent(EventMessage(1, 1, 0, 2980), unproven=False)]
    session.recorded(1)
    assert (board.indicator, board.unacknowledged) == (0, 1)
    assert down(board, session.stage(1, 1), 0.1) == [Told(1, 1)]
    assert (board.indicator, board.unacknowledged) == (1, 0)
    assert down(board, session.stage(1, 2), 0.2) == [Told(1, 2)]
    assert down(board, session.stage(1, 3), 0.3) == [Told(1, 3)]
    assert board.indicator == 3


def test_an_event_is_told_again_in_a_new_frame_with_its_age_grown() -> None:
    board = a_board()
    board.start(0.0)
    [(first, _)] = said(board.press(1, 10.0)[1])
    at = board.deadline
    assert at is not None
    [(second, again)] = said(board.tick(at))
    assert second == first + 1
    assert again == EventMessage(1, 1, round((at - 10.0) * 1000), 2980)


def test_a_silent_press_shows_nothing_at_any_stage() -> None:
    board, session = a_board(), a_session()
    up(session, board.start(0.0), 0.0)
    up(session, board.press(1, 0.0)[1], 0.0)
    session.recorded(1)
    down(board, session.stage(1, 1), 0.0)
    for number, kind in ((2, 2), (3, 3)):
        up(session, board.press(kind, 1.0)[1], 1.0)
        session.recorded(number)
        assert down(board, session.stage(number, 2), 1.0) == [Told(number, 2)]
        assert board.indicator == 1  # as it was


def test_an_acknowledgement_heard_twice_or_from_a_recording_is_not_taken() -> None:
    board, session = a_board(), a_session()
    up(session, board.start(0.0), 0.0)
    up(session, board.press(1, 0.0)[1], 0.0)
    session.recorded(1)
    acks = session.stage(1, 1)
    assert down(board, acks, 0.1) == [Told(1, 1)]
    assert down(board, acks, 0.2) == []
    recorded = session.stage(1, 2)
    board.start(1.0)
    assert down(board, recorded, 1.1) == []


def test_counters_and_event_numbers_are_never_used_again_after_a_power_cut() -> None:
    flash = MemoryFlash()
    used: list[int] = []
    events: list[int | None] = []
    for start in range(5):
        board = a_board(flash)
        actions = board.start(float(start))
        for _ in range(30):
            number, press = board.press(1, float(start))
            events.append(number)
            actions += press
        used += [counter for counter, _ in said(actions)]
    assert len(set(used)) == len(used)
    assert used == sorted(used)
    assert events == list(range(1, 151))


def test_at_most_64_counters_are_reserved_ahead() -> None:
    flash = MemoryFlash(Reserved(1000, 0))
    board = a_board(flash)
    board.start(0.0)
    assert flash.load() == Reserved(1064, 0)
    for _ in range(63):
        board.measure([], 0.0)
    assert flash.load() == Reserved(1064, 0)
    assert said(board.measure([], 0.0)) == [(1065, Measurement((), 0))]
    assert flash.load() == Reserved(1128, 0)


def test_a_board_that_can_not_read_its_counters_has_a_fault_and_is_silent() -> None:
    board = a_board(MemoryFlash(None))
    assert board.start(0.0) == []
    assert board.fault
    assert board.press(1, 1.0) == (None, [])
    assert board.measure([Reading(1, 2, 0)], 1.0) == []
    assert board.tick(1e6) == []
    assert board.deadline is None


def test_a_board_full_of_alarms_keeps_no_more_and_uses_no_number() -> None:
    board = a_board()
    board.start(0.0)
    for _ in range(32):
        board.press(1, 0.0)
    assert board.press(1, 0.0) == (None, [])
    assert board.unacknowledged == 32


def test_a_battery_that_falls_and_rises_says_so_once_each() -> None:
    board = a_board()
    board.start(0.0)
    assert said(board.battery(2300, 0.0)[1]) == [(2, EventMessage(1, 18, 0, 2300))]
    assert board.battery(2200, 0.0) == (None, [])
    assert said(board.battery(2900, 0.0)[1]) == [(3, EventMessage(2, 19, 0, 2900))]


def test_keys_of_newer_firmware_go_out_with_the_event() -> None:
    board = a_board()
    board.start(0.0)
    [(_, event)] = said(board.press(200, 0.0, {6: {1: True}})[1])
    assert event == EventMessage(
        1, 200, 0, 2980, None, bytes.fromhex("a5010102" + "18c8" + "0300" + "04190ba4" + "06a101f5")
    )


def test_a_board_of_unknown_counter_proves_itself() -> None:
    board, session = a_board(MemoryFlash(Reserved(5000, 7))), a_session(counters=None)
    actions = up(session, board.start(0.0), 0.0)
    assert actions[0] == Heard(Hello("2.4.1", "PB-1", 1, 7), unproven=True)
    assert Proven() in up(session, down(board, actions, 0.0), 0.0)
    assert not session.unproven


def test_a_reboot_is_answered_first() -> None:
    board, session = a_board(), a_session()
    up(session, board.start(0.0), 0.0)
    answer = session.command(5, None, 1.0)
    assert isinstance(answer, tuple)
    number, actions = answer
    heard = up(session, down(board, actions, 1.0), 1.0)
    assert heard[0] == CommandEnded(number, Result(number, 0))
    assert heard[-1] == Heard(Hello("2.4.1", "PB-1", 4, 0), unproven=False)


def test_a_repeated_press_after_a_gateway_restart_is_answered() -> None:
    board, session = a_board(), a_session()
    up(session, board.start(0.0), 0.0)
    up(session, board.press(1, 0.0)[1], 0.0)
    session.recorded(1)
    restarted = DeviceSession(
        LABEL.device,
        LABEL.key,
        counters=session.counters,
        events={1: 1},
        highest_event=1,
        first_number=3,  # below that of before
        challenge=lambda: bytes(8),
    )
    actions = up(restarted, board.tick(0.4), 0.4)
    assert actions[0] == RepeatedEvent(1)
    assert down(board, actions, 0.5) == [Told(1, 1)]


def test_noise_and_frames_of_others_change_nothing() -> None:
    board = a_board()
    board.start(0.0)
    stranger = DeviceSession(
        "0c500043", LABEL.key, counters=None, events={}, highest_event=0, first_number=1, challenge=lambda: bytes(8)
    )
    header = seal.Header(3, seal.Direction.UP, "0c500043", 1)
    frame = seal.Cipher(LABEL.key).seal(header, message.encode(Heartbeat(1)))
    assert down(board, stranger.receive(header, frame, 0.0), 0.0) == []
    assert board.receive(b"\x00noise\x00" + b"x" * 5000 + b"\x00", 0.0) == []


def nothing_refused(**but: int) -> dict[str, int]:
    return {"asleep": 0, "garbled": 0, "others": 0, "forged": 0, "replayed": 0, "ignored": 0} | but


def test_a_board_that_sleeps_hears_only_just_after_its_own_frame_and_learns_the_stage_then() -> None:
    board, session = a_board(awake=0.5, heartbeat=60.0), a_session()
    up(session, board.start(0.0), 0.0)
    _, press = board.press(1, 1.0)
    assert press[0] == Happened(1, 1)
    up(session, press, 1.0)
    session.recorded(1)
    assert down(board, session.stage(1, 1), 1.4) == [Told(1, 1)]
    missed = session.stage(1, 3)  # an operator acknowledged, when the radio was off
    assert not board.listens(1.5)
    assert down(board, missed, 1.5) == []
    assert (board.indicator, board.refused) == (1, nothing_refused(asleep=len(wires(missed)[0])))
    again = up(session, board.tick(60.0), 60.0)
    assert down(board, again, 60.1) == [Told(1, 3)]
    assert board.indicator == 3


def test_half_a_frame_before_falling_asleep_does_not_spoil_the_next_one() -> None:
    board, session = a_board(awake=0.5), a_session()
    up(session, board.start(0.0), 0.0)
    up(session, board.press(1, 0.0)[1], 0.0)
    session.recorded(1)
    [told] = wires(session.stage(1, 1))
    assert board.receive(told[:9], 0.4) == []
    assert board.receive(told[9:], 0.6) == []
    up(session, board.press(1, 1.0)[1], 1.0)
    session.recorded(2)
    assert down(board, session.stage(2, 1), 1.1) == [Told(2, 1)]


def test_a_battery_discharges_by_time_by_frame_and_by_load_and_is_said_to_be_low_once() -> None:
    board = a_board(battery=Battery(2401.0, idle=3.6, frame=0.25), heartbeat=10.0)
    said_of_it = [message for _, message in said(board.start(0.0))]
    for beat in range(1, 200):
        said_of_it += [message for _, message in said(board.tick(beat * 10.0))]
        if board.unacknowledged:
            break
    assert said_of_it[-2] == EventMessage(1, 18, 0, 2399)
    assert beat == 6  # 0.6 mV for a minute's idling, seven frames of 0.25
    assert board.battery(2399, 71.0) == (None, [])
    _, restored = board.battery(2980, 72.0)
    assert said(restored)[-1][1] == EventMessage(2, 19, 0, 2980)


def test_an_output_that_is_on_draws_on_the_battery() -> None:
    board, session = a_board(battery=Battery(3000.0, load=360.0), heartbeat=10.0), a_session()
    up(session, board.start(0.0), 0.0)
    ordered = session.command(2, {1: 1, 2: True, 3: 300}, 0.0)
    assert isinstance(ordered, tuple)
    down(board, ordered[1], 0.0)
    board.tick(10.0)
    assert board.battery_mv == 2999


def test_a_battery_that_falls_while_all_places_hold_alarms_is_told_later() -> None:
    board = a_board(heartbeat=10.0)
    board.start(0.0)
    for _ in range(32):
        board.press(1, 0.0)
    assert board.battery(2300, 1.0) == (None, [])
    session = a_session()
    up(session, board.tick(2.0), 2.0)
    session.recorded(1)
    down(board, session.stage(1, 1), 2.0)
    assert Happened(33, 18) in board.tick(10.0)


def test_recordings_repeats_forgeries_and_the_words_of_others_move_nothing_and_each_is_counted() -> None:
    board, session = a_board(), a_session()
    up(session, board.start(0.0), 0.0)
    up(session, board.press(1, 0.0)[1], 0.0)
    session.recorded(1)
    stored = session.stage(1, 1)
    ordered = session.command(2, {1: 1, 2: True, 3: 300}, 0.0)
    assert isinstance(ordered, tuple)
    assert down(board, stored, 0.1) == [Told(1, 1)]
    down(board, ordered[1], 0.1)
    withheld = session.command(2, {1: 1, 2: False}, 0.2)
    assert isinstance(withheld, tuple)
    newer = session.command(3, {1: 5}, 0.3)
    assert isinstance(newer, tuple)
    down(board, newer[1], 0.3)

    seen = board.orders.shown(0.5), board.indicator, len(board.orders.carried_out)
    assert down(board, stored, 0.5) == []  # a recording of an answer
    assert down(board, ordered[1], 0.5) == []  # and of a command
    assert down(board, withheld[1], 0.5) == []  # one that was held back, and comes after a newer one
    [body] = [opened(wire)[2] for wire in wires(session.stage(1, 2))]
    for at in (6, 13, 14, -1):  # counter, number, payload, tag
        forged = bytearray(body)
        forged[at] ^= 1
        assert board.receive(framing.encode(bytes(forged)), 0.5) == []
    assert board.receive(wires(board.measure([], 0.5))[0], 0.5) == []  # its own echo
    stranger = bytearray(body)
    stranger[2:6] = bytes.fromhex("0c500043")
    assert board.receive(framing.encode(bytes(stranger)), 0.5) == []
    assert board.receive(b"\0noise\0", 0.5) == []
    assert (board.orders.shown(0.5), board.indicator, len(board.orders.carried_out)) == seen
    assert board.refused == nothing_refused(replayed=3, forged=4, others=2, garbled=1)


def test_an_authentic_word_that_means_nothing_to_the_board_is_counted() -> None:
    board = a_board()
    [(counter, _)] = said(board.start(0.0))
    header = seal.Header(15, seal.Direction.DOWN, LABEL.device, counter, 1)
    assert board.receive(framing.encode(seal.Cipher(LABEL.key).seal(header, b"\xa0")), 0.1) == []
    assert board.refused == nothing_refused(ignored=1)
