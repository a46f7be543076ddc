"""A contact's events become records, and whoever pressed is answered on the outputs that the settings name."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.clock import EpochClock, FieldClock
from gateway.control.feedback import OFF, TONE, Order, Pattern
from gateway.delivery.item import Item, Note, Run
from gateway.event import TEST, Lane, Position
from gateway.sensing.contact import ACTIVE, IDLE, STUCK, Contact
from gateway.signing.chain import Chain
from gateway.signing.cose import Signer
from gateway.tasks.inputs import WAITING_MAX, Inputs, told
from gateway.tasks.recorder import Recorder
from tests.support.memory import NOW_US, Clock, Store, read

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), b"thumb678")
SITE, HALL = Position(1, 2), Position(3, 4)
SLOW, STEADY = Order(Pattern.SLOW), Order(Pattern.STEADY)


class Lobby:
    """A gateway's inputs: a button with a light and a buzzer, a door, and a button that must not be noticed."""

    def __init__(self, state: int = IDLE, notes: tuple[Note, ...] = (), ordinal: int = 2) -> None:
        self.clock, self.store = Clock(), Store()
        self.shown: list[tuple[str, Order]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        field = FieldClock(self.clock, None, datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC))
        chains = {lane: Chain("gw-1", b"epoch--2", lane, None, SIGNER) for lane in Lane}
        self.recorder = Recorder(chains, ordinal, self.store, EpochClock(field).occurred, SITE)
        button = Contact(
            "button", "panic.pressed", "panic.released", debounce=0.03, stuck_s=300, position=HALL, state=state
        )
        door = Contact("door", "door.opened", None, debounce=0.03, stuck_s=None)
        silent = Contact("silent", "panic.silent", None, debounce=0.03, stuck_s=300)
        self.inputs = Inputs(
            [(button, "light", "buzzer"), (door, None, None), (silent, "light", "buzzer")],
            self.recorder,
            self.store,
            self.clock,
            lambda name, order: self.shown.append((name, order)),
            later=lambda wait, call: self.timers.append((self.clock.now + wait, call)),
            notes=notes,
        )
        self._numbers: dict[str, int] = {}

    def move(self, name: str, *, active: bool, at: float | None = None) -> bool:
        """An edge of a line, read 250 µs after it."""
        self._numbers[name] = number = self._numbers.get(name, 0) + 1
        return self.inputs.edges(name, [(round((at or self.clock.now - 0.000_25) * 1e9), active, number)])

    def press(self, name: str = "button") -> None:
        self.move(name, active=True)
        self.clock.now += 1
        self.move(name, active=False)

    @property
    def records(self) -> list[tuple[str, str, Lane, int, Any]]:
        """(type, source, lane, µs since the beginning, data) of all that was recorded."""
        found = [read(entry.item.wire) for entry in self.store.entries]
        return [(one.type, one.source, one.lane, one.occurred_us - NOW_US, one.data) for one in found]

    def again(self) -> "Lobby":
        """The gateway's next start, on what the store keeps; the lights are ready."""
        notes = [*(note for entry in self.store.entries for note in entry.notes), *self.store.notes]
        latest = {(note.source, note.what): note for note in notes}
        lobby = Lobby(notes=tuple(latest.values()), ordinal=3)
        for _at, ready in lobby.timers:
            ready()
        lobby.timers.clear()
        return lobby

    @property
    def lights(self) -> list[Order]:
        return [order for name, order in self.shown if name == "light"]

    def receipt(self, first: int, last: int, lane: Lane = Lane.ALARM) -> None:
        self.inputs.receipted([Run(lane, 2, first, last)])


def pressed(name: str, on: str, ordinal: int, sequence: int, stage: int) -> tuple[Note, ...]:
    """What is noted of an input's last press."""
    noted = {"ordinal": ordinal, "sequence": sequence, "stage": stage}
    return tuple(Note(name, f"press.{on}.{what}", value) for what, value in noted.items())


def test_after_a_restart_a_light_shows_what_has_become_of_the_last_press_and_goes_on_with_it() -> None:
    lobby = Lobby()
    lobby.press()
    lobby.press("silent")
    again = lobby.again()
    assert (again.lights, again.inputs.stage("button")) == ([SLOW], 1)
    again.receipt(1, 2)
    assert again.lights == [SLOW, STEADY], "what C5 receipts only after the start"
    again = again.again()
    assert (again.lights, again.inputs.stage("button")) == ([], 0), "of stages that were noted alone"
    lobby.receipt(1, 1)
    again = lobby.again()
    assert again.lights == [], "a later press may have died with the power, and who made it is looking"
    assert again.inputs.acknowledged("button", (Lane.ALARM, 2, 2)) == "nothing", "the silent press"
    assert again.inputs.acknowledged("button", (Lane.ALARM, 2, 1)) == "now"
    assert again.inputs.acknowledged("button", (Lane.ALARM, 2, 1)) == "before"
    assert again.store.notes == [pressed("button", "panic.pressed", 2, 1, 3)[2]]
    again.press()
    assert again.inputs.at((Lane.ALARM, 3, 1)) == "button"
    assert again.lights == [STEADY, OFF], "of another press"
    assert again.inputs.acknowledged("button", (Lane.ALARM, 2, 1)) == "nothing"


class Shared(Lobby):
    """A button and a door whose lane is another, with one light."""

    def __init__(self, notes: tuple[Note, ...] = (), ordinal: int = 2) -> None:
        super().__init__(notes=notes, ordinal=ordinal)
        self.timers.clear()
        self.inputs = Inputs(
            [
                (Contact("button", "panic.pressed", None, debounce=0.03, stuck_s=None), "light", None),
                (Contact("door", "door.opened", None, debounce=0.03, stuck_s=None), "light", None),
                (Contact("silent", "panic.silent", None, debounce=0.03, stuck_s=None), "light", None),
            ],
            self.recorder,
            self.store,
            self.clock,
            lambda name, order: self.shown.append((name, order)),
            later=lambda wait, call: self.timers.append((self.clock.now + wait, call)),
            notes=notes,
        )


def test_a_light_of_several_inputs_shows_the_least_of_their_presses() -> None:
    lobby = Shared()
    lobby.press("silent")
    lobby.press("door")
    stored = lobby.store.entries[-1].stored
    assert stored is not None
    stored()
    lobby.receipt(1, 9, Lane.STATUS)
    assert lobby.lights == [OFF, SLOW, STEADY]
    lobby.press()
    stored = lobby.store.entries[-1].stored
    assert stored is not None
    stored()
    assert lobby.lights[3:] == [OFF, SLOW]
    assert lobby.inputs.acknowledged("door", (Lane.STATUS, 2, 1)) == "now"
    assert lobby.lights[5:] == [SLOW], "the button's press is known here alone"
    notes = {(note.source, note.what): note for entry in lobby.store.entries for note in entry.notes}
    notes |= {(note.source, note.what): note for note in lobby.store.notes}
    again = Shared(tuple(notes.values()), ordinal=3)
    for _at, ready in again.timers:
        ready()
    assert again.lights == [SLOW]
    again.receipt(1, 9)
    assert again.lights == [SLOW, STEADY]


def test_a_press_of_which_only_half_is_noted_or_that_meant_something_else_then_is_none() -> None:
    other = pressed("button", "medical.requested", 2, 1, 2)
    for notes in (other, pressed("button", "panic.pressed", 2, 1, 7), pressed("button", "panic.pressed", 2, 1, 2)[1:]):
        lobby = Lobby(notes=notes)
        assert (lobby.timers, lobby.inputs.stage("button")) == ([], 0)


def test_a_press_is_recorded_with_the_kernel_s_time_at_the_input_s_place() -> None:
    lobby = Lobby()
    lobby.press()
    assert lobby.records == [
        ("panic.pressed", "button", Lane.ALARM, -250, None),
        ("panic.released", "button", Lane.STATUS, 999_750, None),
    ]
    pressed = read(lobby.store.entries[0].item.wire)
    assert (pressed.position, pressed.event_number, pressed.clock.monotonic_ms) == (HALL, None, 0)


def test_an_input_without_a_place_of_its_own_is_where_the_gateway_is() -> None:
    lobby = Lobby()
    lobby.move("door", active=True)
    assert read(lobby.store.entries[0].item.wire).position == SITE


def test_a_gap_asks_for_the_level() -> None:
    lobby = Lobby()
    lobby._numbers["button"] = 2
    assert lobby.move("button", active=True)
    assert lobby.inputs.lost("button") == 2
    assert not lobby.move("button", active=False, at=1010.0)


def test_what_was_told_is_stored_with_the_record_that_tells_it() -> None:
    lobby = Lobby()
    lobby.move("button", active=True)
    lobby.clock.now += 400
    lobby.inputs.tick(lobby.clock.now)
    lobby.move("button", active=False)
    assert [(read(entry.item.wire).type, entry.notes) for entry in lobby.store.entries] == [
        ("panic.pressed", (Note("button", "panic.pressed", ACTIVE), *pressed("button", "panic.pressed", 2, 1, 1))),
        ("device.stuck", (Note("button", "panic.pressed", STUCK),)),
        ("panic.released", (Note("button", "panic.pressed", None),)),
    ]
    assert lobby.store.notes == []


def test_an_end_that_has_no_record_is_remembered_without_one() -> None:
    lobby = Lobby()
    lobby.press("door")
    assert [entry.notes for entry in lobby.store.entries] == [
        (Note("door", "door.opened", ACTIVE), *pressed("door", "door.opened", 2, 1, 1))
    ]
    assert lobby.store.notes == [Note("door", "door.opened", None)]


def test_what_is_noted_is_what_was_told_unless_the_input_means_something_else_now() -> None:
    notes = [Note("button", "panic.pressed", ACTIVE), Note("door", "door.opened", STUCK), Note("x", "door.opened", 7)]
    asked = [("button", "panic.pressed"), ("button", "fire.reported"), ("door", "door.opened"), ("x", "door.opened")]
    assert [told(name, on, notes) for name, on in asked] == [ACTIVE, IDLE, STUCK, IDLE]


def test_a_button_that_is_held_over_a_start_makes_no_second_alarm() -> None:
    lobby = Lobby(state=ACTIVE)
    lobby.inputs.taken("button")
    lobby.inputs.level("button", active=True)
    assert lobby.records == []


def test_a_line_that_is_active_at_the_first_start_is_an_alarm() -> None:
    lobby = Lobby()
    lobby.inputs.taken("button")
    lobby.inputs.level("button", active=True)
    assert lobby.records == [("panic.pressed", "button", Lane.ALARM, 0, {"found": True})]


# Where memory is full.


def test_a_press_that_there_is_no_room_for_waits_and_keeps_its_time() -> None:
    lobby = Lobby()
    lobby.store.full = True
    lobby.press()
    lobby.clock.now += 10
    lobby.inputs.tick(lobby.clock.now)
    assert (lobby.records, lobby.store.notes) == ([], [])
    lobby.store.full = False
    lobby.inputs.tick(lobby.clock.now)
    assert lobby.records == [
        ("panic.pressed", "button", Lane.ALARM, -250, None),
        ("panic.released", "button", Lane.STATUS, 999_750, None),
    ]
    lobby.inputs.tick(lobby.clock.now)
    assert len(lobby.records) == 2


def test_a_press_that_waited_is_no_test_for_maintenance_that_began_after_it() -> None:
    lobby = Lobby()
    lobby.store.full = True
    lobby.press("silent")
    lobby.clock.now += 9
    lobby.recorder.flags = lambda event: TEST if event.age_ms < 5000 else 0
    lobby.store.full = False
    lobby.inputs.tick(lobby.clock.now)
    assert read(lobby.store.entries[0].item.wire).flags == 0


def test_a_mistake_on_the_way_out_neither_loses_what_waits_nor_records_it_twice() -> None:
    lobby = Lobby()
    lobby.store.full = True
    for _ in range(3):
        lobby.clock.now += 5
        lobby.press("silent")
    lobby.store.full = False

    def mistake(_item: Item) -> None:
        lobby.recorder.offer = lambda _item: None
        raise RuntimeError

    lobby.recorder.offer = mistake
    with pytest.raises(RuntimeError):
        lobby.inputs.tick(lobby.clock.now)
    lobby.inputs.tick(lobby.clock.now)
    lobby.inputs.tick(lobby.clock.now)
    assert [record[3] for record in lobby.records] == [4_999_750, 10_999_750, 16_999_750]


def test_what_waits_is_bounded_and_the_first_is_kept() -> None:
    lobby = Lobby()
    lobby.store.full = True
    for _ in range(500):
        lobby.clock.now += 60
        lobby.press()
    assert lobby.inputs.dropped > 0
    lobby.store.full = False
    lobby.inputs.tick(lobby.clock.now)
    assert len(lobby.records) == WAITING_MAX
    assert lobby.records[0][:1] + lobby.records[0][3:4] == ("panic.pressed", 59_999_750)


# Stages.


def test_whoever_pressed_sees_each_stage_when_it_is_true() -> None:
    lobby = Lobby()
    lobby.press()
    assert lobby.shown == [("light", OFF)]
    lobby.store.commit()
    assert lobby.shown[1:] == [("light", SLOW)]
    lobby.receipt(1, 1)
    assert lobby.shown[2:] == [("light", STEADY)]
    assert lobby.inputs.acknowledged("button", (Lane.ALARM, 2, 1)) == "now"
    assert lobby.shown[3:] == [("light", STEADY), ("buzzer", Order(Pattern.TONE, TONE))]
    assert lobby.inputs.acknowledged("button", (Lane.ALARM, 2, 1)) == "before"
    assert len(lobby.shown) == 5, "once"


def test_without_a_disk_nothing_is_shown_before_c5_has_it() -> None:
    lobby = Lobby()
    lobby.press()
    lobby.receipt(1, 7)
    assert lobby.lights == [OFF, STEADY]
    lobby.store.commit()
    assert lobby.lights == [OFF, STEADY], "a stage that comes late is not a step back"


def test_another_press_begins_anew_and_what_comes_of_the_one_before_is_not_shown() -> None:
    lobby = Lobby()
    lobby.press()
    lobby.store.commit()
    lobby.clock.now += 5
    lobby.press()
    assert lobby.lights == [OFF, SLOW, OFF]
    lobby.receipt(1, 1)
    assert lobby.lights == [OFF, SLOW, OFF]
    lobby.receipt(2, 2)
    assert lobby.lights == [OFF, SLOW, OFF, STEADY]


def test_a_silent_press_shows_and_sounds_nothing_at_any_stage() -> None:
    lobby = Lobby()
    lobby.press("silent")
    lobby.store.commit()
    lobby.receipt(1, 1)
    assert lobby.inputs.acknowledged("silent", (Lane.ALARM, 2, 1)) == "now"
    assert (lobby.shown, lobby.inputs.stage("silent")) == ([], 3)


def test_an_input_without_outputs_goes_through_its_stages_all_the_same() -> None:
    lobby = Lobby()
    lobby.press("door")
    lobby.store.commit()
    assert lobby.inputs.stage("door") == 1
    lobby.receipt(1, 1, Lane.STATUS)
    assert (lobby.inputs.stage("door"), lobby.shown) == (2, [])


def test_an_operator_s_answer_to_a_press_before_the_start_is_shown_too() -> None:
    lobby = Lobby()
    assert lobby.inputs.acknowledged("button", (Lane.ALARM, 2, 1)) == "nothing", "of this start's alarms none is its"
    assert lobby.inputs.acknowledged("button", (Lane.ALARM, 1, 8)) == "now"
    assert lobby.lights == [STEADY]


def test_an_operator_s_answer_to_an_earlier_press_is_not_shown_as_one_to_the_last() -> None:
    lobby = Lobby()
    lobby.press()
    lobby.clock.now += 5
    lobby.press()
    assert lobby.inputs.at((Lane.ALARM, 2, 2)) == "button"
    assert lobby.inputs.acknowledged("button", (Lane.ALARM, 2, 1)) == "nothing"
    assert lobby.inputs.acknowledged("button", (Lane.ALARM, 1, 2)) == "nothing"
    assert lobby.inputs.acknowledged("button", None) == "nothing"
    assert (lobby.lights, lobby.inputs.stage("button")) == ([OFF, OFF], 0)


def test_a_light_that_is_back_shows_what_it_showed_last() -> None:
    lobby = Lobby()
    lobby.inputs.relit("light")
    assert lobby.shown == []
    lobby.press()
    lobby.store.commit()
    lobby.inputs.relit("light")
    lobby.receipt(1, 1)
    lobby.inputs.relit("light")
    lobby.inputs.relit("buzzer")
    assert lobby.shown == [("light", one) for one in (OFF, SLOW, SLOW, STEADY, STEADY)]


def test_what_is_no_input_has_no_place() -> None:
    lobby = Lobby()
    assert ("button" in lobby.inputs, "nobody" in lobby.inputs) == (True, False)
    assert lobby.inputs.at((Lane.ALARM, 2, 1)) is None


def test_a_press_that_a_bounce_left_is_told_when_the_bounce_is_over_not_at_the_next_tick() -> None:
    """The kernel can't debounce everywhere: a press 25 ms after the release is among the release's bounces."""
    lobby = Lobby()
    for at, active in ((1000.0, True), (1002.0, False), (1002.025, True), (1002.026, False), (1002.027, True)):
        lobby.clock.now = at
        lobby.move("button", active=active, at=at)
    assert [type_ for type_, *_rest in lobby.records] == ["panic.pressed", "panic.released"]
    while lobby.timers:
        (at, call), lobby.timers = lobby.timers[0], lobby.timers[1:]
        lobby.clock.now = at
        call()
    assert [type_ for type_, *_rest in lobby.records] == ["panic.pressed", "panic.released", "panic.pressed"]
    assert lobby.clock.now < 1002.06


def test_an_input_that_is_held_down_is_among_the_stuck() -> None:
    lobby = Lobby()
    lobby.move("button", active=True)
    lobby.clock.now += 300
    lobby.inputs.tick(lobby.clock.now)
    assert lobby.inputs.stuck == ["button"]
    assert lobby.records[-1] == ("device.stuck", "button", Lane.STATUS, 300_000_000, {"count": 1, "active_s": 300})
