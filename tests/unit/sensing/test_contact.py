"""A contact's edges and levels become events: nothing pressed is lost, and nothing invented."""

import pytest

from gateway.event import Event, Position
from gateway.sensing.contact import ACTIVE, BURST, IDLE, STUCK, Contact, Edge

MS = 1_000_000  # ns
PLACE = Position(81_570_000, -776_900_000)


def _contact(on: str = "panic.pressed", off: str | None = "panic.released", state: int = IDLE) -> Contact:
    return Contact("lobby", on, off, debounce=0.03, stuck_s=300.0, position=PLACE, state=state)


def _edges(*at_ms: int, first: int = 1, active: bool = True) -> list[Edge]:
    """Return edges that alternate, at these times."""
    return [(at * MS, active == (n % 2 == 0), first + n) for n, at in enumerate(at_ms)]


def _pressed(at_ms: int) -> Event:
    return Event("panic.pressed", "lobby", position=PLACE, at_ns=at_ms * MS)


def _released(at_ms: int) -> Event:
    return Event("panic.released", "lobby", position=PLACE, at_ns=at_ms * MS)


def _found(type_: str) -> Event:
    return Event(type_, "lobby", position=PLACE, data={"found": True})


def test_a_press_and_its_release_are_told_with_the_kernel_s_time() -> None:
    contact = _contact()
    assert contact.edges(_edges(1000, 1800)) == ([_pressed(1000), _released(1800)], False)


def test_a_bouncing_contact_makes_one_event_at_its_first_edge() -> None:
    contact = _contact()
    eleven = _edges(1000, 1002, 1004, 1006, 1008, 1010, 1012, 1014, 1016, 1018, 1020)
    assert contact.edges(eleven) == ([_pressed(1000)], False)
    assert contact.tick(1.2) == []
    assert contact.edges(_edges(2000, 2003, 2005, first=12, active=False)) == ([_released(2000)], False)
    assert contact.tick(2.2) == []


def test_a_bounce_that_comes_one_edge_at_a_time_is_the_same_bounce() -> None:
    contact = _contact()
    events = [event for edge in _edges(1000, 1002, 1004, 1006, 1008) for event in contact.edges([edge])[0]]
    assert events == [_pressed(1000)]


def test_a_tap_that_is_over_before_the_bounce_is_told_whole() -> None:
    contact = _contact()
    assert contact.edges(_edges(1000, 1010))[0] == [_pressed(1000)]
    assert contact.settles_at == 1.04
    assert contact.tick(1.039) == []
    assert contact.tick(1.04) == [_released(1010)]
    assert contact.settles_at is None


def test_what_a_bounce_has_left_is_told_before_the_next_edge() -> None:
    contact = _contact()
    assert contact.edges(_edges(1000, 1010, 5000))[0] == [_pressed(1000), _released(1010), _pressed(5000)]


def test_an_input_whose_end_has_no_name_tells_the_beginning_alone() -> None:
    contact = _contact("panic.silent", None)
    types = [event.type for event in contact.edges(_edges(1000, 2000, 3000, 4000))[0]]
    assert types == ["panic.silent", "panic.silent"]


# Edges that were lost.


@pytest.mark.parametrize(
    ("missing", "then_active", "told"),
    [
        (1, False, [_pressed(9000), _released(9000)]),  # pressed in the gap; what we see is its end
        (2, True, [_pressed(9000), _released(9000), _pressed(9000)]),
        (3, False, [_pressed(9000), _released(9000)]),
    ],
)
def test_a_gap_on_an_idle_line_is_a_press(missing: int, then_active: bool, told: list[Event]) -> None:
    contact = _contact()
    contact.edges(_edges(1000, 2000))
    events, gap = contact.edges([(9000 * MS, then_active, 3 + missing)])
    assert ([event for event in events if event.type != "device.chattering"], gap) == (told, True)
    assert contact.lost == missing


def test_a_gap_before_the_first_edge_of_all_is_seen_too() -> None:
    contact = _contact()
    assert contact.edges([(5000 * MS, False, 2)])[0] == [_pressed(5000), _released(5000)]


def test_one_lost_edge_of_a_held_button_is_its_release_and_two_are_a_release_and_a_press() -> None:
    one, two = _contact(), _contact()
    one.edges(_edges(1000))
    assert one.edges([(9000 * MS, True, 3)]) == ([_released(9000), _pressed(9000)], True)
    two.edges(_edges(1000))
    assert two.edges([(9000 * MS, False, 4)]) == ([_released(9000), _pressed(9000), _released(9000)], True)


def test_further_presses_of_a_gap_are_counted() -> None:
    contact = _contact()
    events, _gap = contact.edges([(9000 * MS, True, 41)])  # 40 edges: 20 times pressed and released
    chattering = Event("device.chattering", "lobby", position=PLACE, data={"count": 19})
    assert events == [_pressed(9000), chattering, _released(9000), _pressed(9000)]


def test_a_gap_within_one_bounce_is_that_bounce() -> None:
    contact = _contact()
    contact.edges(_edges(1000, 1002))
    assert contact.edges([(1029 * MS, True, 30)]) == ([], True)
    assert contact.lost == 27


def test_the_level_read_after_a_gap_is_the_truth() -> None:
    contact = _contact()
    contact.edges([(9000 * MS, True, 3)])
    assert contact.level(9.5, active=True) == []
    assert contact.level(9.6, active=False) == [_found("panic.released")]


def test_numbers_begin_again_after_the_last_and_when_the_line_is_taken_again() -> None:
    contact = _contact()
    contact.edges(_edges(1000, 2000))
    contact.taken()
    assert contact.edges(_edges(3000, 4000)) == ([_pressed(3000), _released(4000)], False)
    contact._next = 2**32 - 1
    wrapped = [(5000 * MS, True, 2**32 - 1), (6000 * MS, False, 0)]
    assert contact.edges(wrapped) == ([_pressed(5000), _released(6000)], False)


# Levels.


def test_a_change_that_no_edge_told_of_is_found_once_and_its_late_edge_is_no_other() -> None:
    contact = _contact()
    assert contact.level(10.0, active=True) == [_found("panic.pressed")]
    assert contact.level(12.0, active=True) == []
    assert contact.edges([(9_999 * MS, True, 1)]) == ([], False)
    assert contact.edges([(20_000 * MS, False, 2)])[0] == [_released(20_000)]


def test_a_level_read_during_a_bounce_waits_for_its_end() -> None:
    contact = _contact()
    contact.edges(_edges(1000))
    assert contact.level(1.01, active=False) == []
    assert contact.level(1.02, active=True) == []
    assert contact.tick(2.0) == []


# At a start.


def test_a_line_that_is_active_at_the_start_was_pressed_meanwhile() -> None:
    contact = _contact()
    assert contact.level(5.0, active=True) == [_found("panic.pressed")]
    assert contact.state == ACTIVE


def test_a_press_that_was_told_before_the_start_is_not_told_again() -> None:
    contact = _contact(state=ACTIVE)
    assert contact.level(5.0, active=True) == []
    assert contact.edges(_edges(9000, active=False))[0] == [_released(9000)]
    assert contact.edges(_edges(10_000, first=2))[0] == [_pressed(10_000)]


def test_a_button_let_go_while_we_were_away_is_found_released() -> None:
    contact = _contact(state=ACTIVE)
    assert contact.level(5.0, active=False) == [_found("panic.released")]
    assert contact.state == IDLE


def test_a_record_says_which_state_it_leaves() -> None:
    contact = _contact()
    types = ("panic.pressed", "panic.released", "device.stuck", "device.chattering")
    assert [contact.after(type_) for type_ in types] == [ACTIVE, IDLE, STUCK, None]


# Stuck.


def _stuck(active_s: int) -> Event:
    return Event("device.stuck", "lobby", position=PLACE, data={"count": 1, "active_s": active_s})


def test_a_stuck_contact_is_told_once_and_anew_after_a_release() -> None:
    contact = _contact()
    contact.edges(_edges(1000))
    assert contact.tick(300.9) == []
    assert contact.tick(301.0) == [_stuck(300)]
    assert contact.tick(5000.0) == []
    assert contact.edges(_edges(6_000_000, 6_001_000, first=2, active=False))[0][0].type == "panic.released"
    assert contact.tick(6301.0) == [_stuck(300)]


def test_a_contact_that_was_stuck_before_the_start_is_not_told_again() -> None:
    contact = _contact(state=STUCK)
    assert contact.level(5.0, active=True) == []
    assert contact.tick(1000.0) == []


def test_a_contact_held_over_the_start_is_stuck_after_its_time_from_the_start() -> None:
    contact = _contact(state=ACTIVE)
    contact.level(5.0, active=True)
    assert contact.tick(304.9) == []
    assert contact.tick(305.0) == [_stuck(300)]


def test_a_door_may_stay_open() -> None:
    door = Contact("door", "door.opened", "door.closed", debounce=0.03, stuck_s=None)
    door.edges(_edges(1000))
    assert door.tick(1e6) == []


# Chattering.


def test_a_contact_that_flutters_is_limited_and_counted_and_its_first_event_is_told() -> None:
    contact = _contact()
    times = [1000 + 50 * n for n in range(200)]  # 100 presses in ten seconds
    events, _gap = contact.edges(_edges(*times))
    presses = [event for event in events if event.type == "panic.pressed"]
    assert presses[0] == _pressed(1000)
    assert len(presses) == BURST
    assert [event.data for event in events if event.type == "device.chattering"] == [{"count": 1}]
    assert contact.state == IDLE
    chattering = Event("device.chattering", "lobby", position=PLACE, data={"count": 79})
    assert contact.tick(100.0) == [chattering]
    assert contact.tick(1000.0) == []


def test_a_press_that_was_limited_and_is_held_is_told_within_a_minute_and_its_release_with_it() -> None:
    contact = _contact()
    times = [1000 + 50 * n for n in range(2 * BURST + 1)]  # the last one is held
    contact.edges(_edges(*times))
    assert contact.tick(times[-1] / 1000 + 60) == [_pressed(times[-1])]
    assert contact.edges(_edges(90_000, first=2 * BURST + 2, active=False))[0] == [_released(90_000)]


def test_a_minute_gives_one_press_back() -> None:
    contact = _contact()
    contact.edges(_edges(*[1000 + 50 * n for n in range(2 * BURST)]))
    events, _gap = contact.edges(_edges(63_000, 64_000, 65_000, 66_000, first=2 * BURST + 1))
    assert [event.type for event in events] == ["panic.pressed", "panic.released", "device.chattering"]
