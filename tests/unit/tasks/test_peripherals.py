"""Peripherals at their seam: what they report goes in, records and orders come out; then a restart with its notes."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.clock import EpochClock, FieldClock
from gateway.delivery.item import Item, Note, Run
from gateway.event import Lane, Position
from gateway.sensing.contact import Contact
from gateway.sensing.osdp import (
    AskInputs,
    AskLocal,
    InputsReport,
    Keys,
    Lamp,
    LocalReport,
    Order,
    SetOutput,
    Show,
    Sound,
)
from gateway.signing.chain import Chain
from gateway.signing.cose import Signer
from gateway.tasks.inputs import told
from gateway.tasks.osdp_link import Done, Link
from gateway.tasks.peripherals import Input, Output, Peripheral, Peripherals
from gateway.tasks.recorder import Recorder
from tests.support.memory import Clock, Store, read

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), b"thumb678")
PLACE = Position(1, 2)


class Wire:
    """The bus: what it was asked to tell. What becomes of it is known when the bus has come to it (`turn`)."""

    def __init__(self) -> None:
        self.links = {"gate": Link("gate", 1, Keys(bytes(16)))}
        self.orders: list[Order] = []
        self.waiting: list[Done] = []
        self.away = False

    def order(self, _name: str, order: Order, done: Done = lambda _wrong: None) -> bool:
        if not self.away:
            self.orders.append(order)
            self.waiting.append(done)
        return not self.away

    def turn(self, wrong: str | None = None) -> None:
        """Have all that waits done, or not."""
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done(wrong)

    def taken(self) -> list[Order]:
        found, self.orders = self.orders, []
        return found


class Gate:
    """A gateway with one peripheral: a button, a silent one, a door, a siren, a light."""

    def __init__(self, notes: tuple[Note, ...] = ()) -> None:
        self.clock, self.store, self.wire = Clock(), Store(), Wire()
        self.now = 100.0
        self.timers: list[Callable[[], None]] = []
        field = FieldClock(self.clock, None, datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC))
        chains = {lane: Chain("gw-1", b"epoch--2", lane, None, SIGNER) for lane in Lane}
        self.recorder = Recorder(chains, 2, self.store, EpochClock(field).occurred, None)

        def given(name: str, number: int, on: str, off: str | None, *, inverted: bool = False) -> Input:
            state = told(name, on, notes)
            contact = Contact(name, on, off, debounce=0.0, stuck_s=300, position=PLACE, state=state)
            return Input(number, inverted, contact)

        gate = Peripheral(
            "gate",
            "bus",
            1,
            {
                "panic": given("panic", 0, "panic.pressed", "panic.released"),
                "silent": given("silent", 1, "panic.silent", None),
                "door": given("door", 2, "door.opened", "door.closed", inverted=True),
            },
            {"siren": Output(0, 60)},
            indicator=True,
            position=PLACE,
        )
        self.peripherals = Peripherals(
            [gate], self.recorder, self.store, self.clock, notes,
            later=lambda _wait, call: self.timers.append(call), now=lambda: self.now,
        )  # fmt: skip
        self.peripherals.buses = {"bus": self.wire}  # type: ignore[dict-item]  # what is asked of a bus here
        for ready in self.timers:
            ready()

    def connect(self, *levels: bool, tampered: bool = False, unpowered: bool = False) -> None:
        """Have it come, and say how it is."""
        self.peripherals.live("gate", self.now)
        self.peripherals.settled("gate")
        self.report(*levels)
        self.peripherals.reported("gate", LocalReport(tampered, unpowered))
        self.wire.turn()
        self.peripherals.heard("gate", self.now)

    def report(self, *levels: bool) -> None:
        self.peripherals.reported("gate", InputsReport(levels))

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.clock.now += seconds
        self.peripherals.tick(self.now, self.clock.now)

    def receipt(self, lane: Lane, sequence: int) -> None:
        self.peripherals.inputs.receipted([Run(lane, 2, sequence, sequence)])

    @property
    def told(self) -> list[tuple[str, str, Any]]:
        found: list[Item] = [entry.item for entry in self.store.entries]
        return [(one.type, one.source, one.data) for one in map(read, (item.wire for item in found))]

    def again(self) -> "Gate":
        notes = [*(note for entry in self.store.entries for note in entry.notes), *self.store.notes]
        return Gate(tuple({(note.source, note.what): note for note in notes}.values()))


IDLE = (False, False, True)  # the door's contact is closed while the door is


def test_a_connection_is_first_heard_out_and_then_asked_and_all_is_put_as_it_should_be() -> None:
    gate = Gate()
    gate.peripherals.live("gate", 100.0)
    assert gate.wire.taken() == [SetOutput(0, on=False), Show(Lamp.OFF)]
    gate.peripherals.settled("gate")
    assert gate.wire.taken() == [AskInputs(), AskLocal()]
    gate.report(*IDLE)
    assert gate.told == []


def test_a_press_is_an_event_and_its_stages_are_shown() -> None:
    gate = Gate()
    gate.connect(*IDLE)
    gate.wire.taken()
    gate.report(True, False, True)
    assert gate.told == [("panic.pressed", "panic", None)]
    gate.store.commit()
    gate.receipt(Lane.ALARM, 1)
    assert gate.peripherals.inputs.acknowledged("panic", (Lane.ALARM, 2, 1)) == "now"
    assert gate.wire.taken() == [
        Show(Lamp.OFF), Show(Lamp.SLOW), Show(Lamp.STEADY), Show(Lamp.STEADY), Sound(on=True),
    ]  # fmt: skip
    gate.report(False, False, True)
    assert gate.told[1:] == [("panic.released", "panic", None)]


def test_a_silent_press_is_told_and_shows_nothing_at_any_stage() -> None:
    gate = Gate()
    gate.connect(*IDLE)
    gate.wire.taken()
    gate.report(False, True, True)
    gate.store.commit()
    gate.receipt(Lane.ALARM, 1)
    assert gate.peripherals.inputs.acknowledged("silent", (Lane.ALARM, 2, 1)) == "now"
    assert (gate.told, gate.wire.taken()) == ([("panic.silent", "silent", None)], [])


def test_what_changed_while_it_was_away_is_told_as_found_and_nothing_twice() -> None:
    gate = Gate()
    gate.connect(True, False, True, tampered=True, unpowered=True)
    assert gate.told == [
        ("panic.pressed", "panic", {"found": True}), ("tamper.opened", "gate", None), ("power.lost", "gate", None),
    ]  # fmt: skip
    gate.connect(True, False, False, tampered=True)
    assert gate.told[3:] == [("door.opened", "door", {"found": True}), ("power.restored", "gate", None)]
    after = gate.again()
    after.connect(True, False, True, tampered=True)
    assert after.told == [("door.closed", "door", {"found": True})]
    after.connect(*IDLE)
    assert after.told[1:] == [("panic.released", "panic", {"found": True}), ("tamper.closed", "gate", None)]


def test_it_is_lost_once_over_a_restart_too_with_what_is_wrong() -> None:
    gate = Gate()
    gate.connect(*IDLE)
    gate.now = 103.0
    for at, lost in ((101.0, False), (102.0, False), (103.0, True), (106.0, True)):
        gate.peripherals.failed("gate", "silent", at, lost=lost)
    assert gate.told == [("device.lost", "gate", {"silent_s": 3, "fault": "silent"})]
    (trouble,) = gate.peripherals.troubles
    assert trouble.startswith("peripheral gate (address 1 on bus): no answer: is it powered, are its address")
    after = gate.again()
    after.peripherals.failed("gate", "key", 105.0, lost=True)
    assert after.told == []
    assert "it answers, but not with its key" in after.peripherals.troubles[0]
    after.now = 110.0
    after.connect(*IDLE)
    assert after.told == [("device.restored", "gate", {"silent_s": 5})]
    assert after.peripherals.troubles == []


ON, OFF = SetOutput(0, on=True), SetOutput(0, on=False)


def on(gate: Gate) -> bool:
    return bool(gate.peripherals.glance("gate", gate.now)["outputs"][0]["on"])


def test_an_output_is_on_for_as_long_as_it_may_told_again_meanwhile_and_off_after_a_power_cut() -> None:
    gate, said = Gate(), list[str | None]()
    gate.connect(*IDLE)
    gate.wire.taken()
    gate.peripherals.switch("gate", "siren", said.append, on=True, seconds=None)
    gate.wire.turn()
    for _second in range(59):
        gate.later(1)
    assert gate.wire.taken() == [ON] * 6, "every ten seconds: it goes off by itself when nobody does"
    gate.peripherals.live("gate", gate.now)
    assert gate.wire.taken() == [ON, Show(Lamp.OFF)], "it came back within its time"
    gate.wire.turn()
    gate.later(1)
    gate.wire.turn()
    assert (gate.wire.taken(), on(gate)) == ([OFF], False)
    gate.peripherals.switch("gate", "siren", said.append, on=True, seconds=30)
    gate.wire.turn()
    gate.wire.away = True
    gate.later(30)
    gate.wire.away = False
    gate.wire.taken()
    gate.peripherals.live("gate", gate.now)
    assert gate.wire.taken()[0] == OFF, "its time was over while it was away"
    gate.peripherals.switch("gate", "horn", said.append, on=True, seconds=None)
    gate.wire.away = True
    gate.peripherals.switch("gate", "siren", said.append, on=True, seconds=None)
    assert said == [
        None, None, "gate has no output of this name; its outputs: siren", "gate: it is not connected",
    ]  # fmt: skip


def test_to_be_off_is_told_until_it_is_done() -> None:
    gate, said = Gate(), list[str | None]()
    gate.connect(*IDLE)
    gate.peripherals.switch("gate", "siren", said.append, on=True, seconds=5)
    gate.wire.turn()
    gate.wire.taken()
    gate.wire.away = True
    gate.later(5)
    gate.wire.away = False
    gate.later(1)
    gate.wire.turn("its connection broke before that was done")
    assert (gate.wire.taken(), on(gate)) == ([OFF], True)
    gate.later(1)
    gate.wire.turn()
    gate.later(1)
    assert (gate.wire.taken(), on(gate)) == ([OFF], False)
    gate.peripherals.switch("gate", "siren", said.append, on=True, seconds=5)
    gate.wire.turn()
    gate.wire.away = True
    gate.peripherals.switch("gate", "siren", said.append, on=False, seconds=None)
    gate.wire.away = False
    gate.wire.taken()
    gate.later(1)
    gate.wire.turn()
    assert (gate.wire.taken(), on(gate)) == ([OFF], False)
    assert said == [None, None, "gate: it is not connected"]


def test_what_was_not_switched_on_is_not_on_and_a_later_on_counts() -> None:
    gate, said = Gate(), list[str | None]()
    gate.connect(*IDLE)
    gate.peripherals.switch("gate", "siren", said.append, on=True, seconds=None)
    gate.wire.turn("it refuses that")
    assert (said, on(gate)) == (["it refuses that"], False)
    gate.wire.taken()
    gate.peripherals.live("gate", gate.now)
    assert gate.wire.taken()[0] == OFF
    gate.peripherals.switch("gate", "siren", said.append, on=True, seconds=1)
    gate.wire.turn()
    gate.later(1)
    gate.peripherals.switch("gate", "siren", said.append, on=True, seconds=9)
    gate.wire.turn()
    assert on(gate), "to be off was told before"


def test_it_shows_itself_for_a_time_or_until_a_press_and_then_what_it_should() -> None:
    gate, said = Gate(), list[str | None]()
    gate.connect(*IDLE)
    gate.report(True, False, True)
    gate.store.commit()
    gate.wire.taken()
    gate.peripherals.identify("gate", 30, said.append)
    gate.wire.turn()
    gate.peripherals.live("gate", gate.now)
    assert gate.wire.taken() == [Show(Lamp.FAST), OFF, Show(Lamp.FAST)], "and still after a power cut"
    gate.later(30)
    assert gate.wire.taken() == [Show(Lamp.SLOW)]
    gate.peripherals.identify("gate", 30, said.append)
    gate.receipt(Lane.ALARM, 1)
    assert gate.wire.taken() == [Show(Lamp.FAST), Show(Lamp.STEADY)]
    gate.wire.turn()
    gate.later(30)
    assert (gate.wire.taken(), said) == ([], [None, None])


def test_one_that_does_not_say_how_its_inputs_are_is_a_trouble() -> None:
    gate = Gate()
    gate.peripherals.live("gate", gate.now)
    gate.peripherals.settled("gate")
    gate.wire.turn("this peripheral has none, or not so many")
    gate.peripherals.heard("gate", gate.now)
    assert gate.peripherals.trouble("gate") == (
        "it does not say how its inputs are: a press may not be heard. Is it a model with inputs?"
    )
    gate.connect(*IDLE)
    assert gate.peripherals.trouble("gate") is None


def test_that_it_is_back_is_told_when_there_is_room() -> None:
    gate = Gate()
    gate.connect(*IDLE)
    gate.peripherals.failed("gate", "silent", 103.0, lost=True)
    gate.store.full = True
    gate.connect(*IDLE)
    assert [one[0] for one in gate.told] == ["device.lost"]
    gate.store.full = False
    gate.peripherals.heard("gate", gate.now)
    gate.peripherals.heard("gate", gate.now)
    assert [one[0] for one in gate.told] == ["device.lost", "device.restored"]


def test_what_is_wrong_with_it_is_said_and_no_key() -> None:
    gate = Gate()
    gate.connect(False, False)
    assert gate.peripherals.trouble("gate") == "it has only 2 inputs, and the settings name more"
    gate.wire.links["gate"].counts["doubled"] = 1
    gate.peripherals.heard("gate", gate.now)
    assert gate.peripherals.trouble("gate") == (
        "two peripherals answer at its address: give each an address of its own"
    )
    gate.wire.links["gate"].keys = Keys()
    assert gate.peripherals.trouble("gate") == (
        "it has no key yet and is not heard: c5-gateway peripheral install gate"
    )
    gate.wire.links["gate"].unreadable = "the key of gate can't be read: it is damaged. Do this"
    assert gate.peripherals.trouble("gate") == "the key of gate can't be read: it is damaged. Do this"
    gate.wire.links["gate"].installing_until = 200.0
    gate.wire.links["gate"].keys = Keys(None, b"0123456789abcdef")
    glance = gate.peripherals.glance("gate", gate.now)
    assert "it is being installed" in glance["trouble"]
    assert "0123" not in str(glance)
    assert b"0123456789abcdef".hex() not in str(glance)


def test_what_there_was_no_room_for_is_told_when_there_is() -> None:
    gate = Gate()
    gate.store.full = True
    gate.connect(*IDLE, tampered=True)
    assert gate.told == []
    gate.store.full = False
    gate.wire.links["gate"].live = True
    gate.later(1)
    assert gate.told == [("tamper.opened", "gate", None)]
