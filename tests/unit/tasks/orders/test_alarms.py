"""`alarm.acknowledge`: who pressed is told that an operator has seen it, in the same call; nobody else is."""

from typing import Any

import pytest

from gateway.control.maintenance import Maintenance
from gateway.delivery.item import EventState, Run
from gateway.event import TEST, UNPROVEN, Event, Lane
from gateway.sensing.contact import Contact
from gateway.tasks.inputs import Inputs
from gateway.tasks.orders.alarms import Alarms
from gateway.tasks.orders.maintenance import Works
from gateway.tasks.orders.order import Done
from gateway.tasks.said import Self
from gateway.topics import Route
from tests.unit.tasks.test_intake import ID, KNOWN, Line

EPOCH, EARLIER, FORGOTTEN = b"\0\0\0\2....", b"\0\0\0\1....", b"\0\0\0\1forg"
ALARM = f"gw-1/{EPOCH.hex()}/alarm"
BEFORE = f"gw-1/{EARLIER.hex()}/alarm"
SEEN = {"status": "acknowledged", "operator": "ana"}
NO_WORD = "status must be one of acknowledged, dispatched, resolved, false-alarm, operator a name of 64 characters"
NO_SOURCE = "device must be a device or an input, event_number the number that the device gave"
STRANGER = "0badc0de is neither a device that is enrolled here nor an input of this gateway"
TOLD_3 = [(8, {1: 5, 2: 3})]


class Desk(Line):
    """A line, a device, two buttons by wire, and an operator at C5 who has seen what came from them."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**({"state": KNOWN} | more))
        self.lit: list[str] = []
        buttons = [
            (Contact(name, on, None, debounce=0.03, stuck_s=None), name, None)
            for name, on in (("lobby-button", "panic.pressed"), ("desk-button", "panic.silent"))
        ]
        self.buttons = Inputs(
            buttons,
            self.recorder,
            self.store,
            self.clock,
            lambda name, _order: self.lit.append(name),
            later=lambda _wait, _call: None,
        )
        own = Self(Route("a", "b", "gw-1"), EPOCH, 2, 2, None, b"", None, 30)  # type: ignore[arg-type]  # signs nothing
        ordinals = {EARLIER: 1, EPOCH: 2}
        self.alarms = Alarms(own, ordinals, self.intake, self.buttons, self.recorder)

    def touch(self, button: str) -> None:
        """Press a button by wire and let it go."""
        self.buttons.level(button, active=True)
        self.clock.now += 5
        self.buttons.level(button, active=False)

    def seen(self, record: str, **more: Any) -> Done:
        wanted = {"record": record, "device": ID, "event_number": 5, **SEEN, **more}
        return self.alarms.acknowledge({key: value for key, value in wanted.items() if value is not None})


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_stage_is_told_in_the_call_that_brings_the_command_so_within_no_time_at_all(desk: Desk) -> None:
    desk.press(5)
    desk.store.commit()
    desk.intake.receipted([Run(Lane.ALARM, 2, 1, 1)])
    desk.told()
    before = desk.clock.now
    assert desk.seen(f"{ALARM}/1") == Done("done", result={"told": "now"})
    assert (desk.told(), desk.clock.now) == (TOLD_3, before)
    record = desk.records[-1]
    assert (record.type, record.lane, record.source, record.event_number, record.data) == (
        "alarm.acknowledged", Lane.STATUS, ID, None, {"record": f"{ALARM}/1", **SEEN},
    )  # fmt: skip
    assert desk.store.entries[-1].acknowledges == (ID, 5), "durable with the record"


def test_a_device_that_slept_is_told_again_at_its_next_frame_and_then_no_more(desk: Desk) -> None:
    desk.press(5)
    desk.seen(f"{ALARM}/1")
    desk.told()
    desk.say(desk.frame(3, {1: 60}))
    assert desk.told() == TOLD_3
    desk.say(desk.frame(3, {1: 60}))
    assert desk.told() == []


def test_a_device_not_heard_since_the_start_is_told_at_its_next_frame() -> None:
    desk = Desk(events=(EventState(ID, 4, Lane.ALARM, 1, 9, 2),))
    assert desk.seen(f"{BEFORE}/9", event_number=4).result == {"told": "next"}
    assert desk.told() == []
    desk.say(desk.frame(3, {1: 60}))
    assert desk.told() == [(8, {1: 4, 2: 3})]


def test_after_a_restart_of_the_gateway_the_press_that_was_seen_is_told_though_its_release_is_newer() -> None:
    events = (EventState(ID, 3, Lane.ALARM, 1, 8, 3), EventState(ID, 4, Lane.STATUS, 1, 2, 2))
    desk = Desk(events=events)
    desk.say(desk.frame(3, {1: 60}))
    assert desk.told() == [(8, {1: 3, 2: 3}), (8, {1: 4, 2: 2})]


def test_a_receipt_that_comes_later_lowers_nothing(desk: Desk) -> None:
    desk.press(5)
    desk.seen(f"{ALARM}/1")
    desk.told()
    desk.store.commit()
    desk.intake.receipted([Run(Lane.ALARM, 2, 1, 1)])
    assert desk.told() == []
    desk.press(5)
    assert desk.told() == TOLD_3, "told again is the highest"


def test_a_later_status_of_the_same_alarm_is_recorded_and_told_to_nobody(desk: Desk) -> None:
    desk.press(5)
    desk.seen(f"{ALARM}/1")
    desk.told()
    assert desk.seen(f"{ALARM}/1", status="dispatched").result == {"told": "before"}
    assert (desk.told(), desk.records[-1].data["status"]) == ([], "dispatched")  # type: ignore[index]


@pytest.mark.parametrize("kind", [2, 3], ids=["silent", "duress"])
def test_a_silent_press_is_acknowledged_like_any_other_for_its_device_shows_nothing_of_itself(
    desk: Desk, kind: int
) -> None:
    desk.press(5, kind)
    assert desk.seen(f"{ALARM}/1").result == {"told": "now"}
    assert desk.told() == TOLD_3


LOBBY = {"device": "lobby-button", "event_number": None}


def test_an_input_is_lit_by_its_name_and_the_record_of_its_last_press(desk: Desk) -> None:
    desk.press(5)
    assert desk.seen(f"{ALARM}/1", **LOBBY).text == f"that record is event 5 of {ID}"
    desk.touch("lobby-button")
    desk.lit.clear()
    assert desk.seen(f"{ALARM}/2", **LOBBY).result == {"told": "now"}
    assert desk.seen(f"{ALARM}/2", **LOBBY, status="resolved").result == {"told": "before"}
    assert (desk.lit, desk.buttons.stage("lobby-button")) == (["lobby-button"], 3)
    assert desk.records[-1].source == "lobby-button"


def test_what_an_operator_says_of_an_earlier_press_is_not_shown_as_said_of_the_last(desk: Desk) -> None:
    desk.touch("lobby-button")
    desk.touch("lobby-button")
    assert desk.seen(f"{ALARM}/1", **LOBBY, status="false-alarm").result == {"told": "nothing"}
    assert desk.seen(f"{BEFORE}/7", **LOBBY).result == {"told": "nothing"}
    assert desk.buttons.stage("lobby-button") == 0
    assert desk.records[-1].type == "alarm.acknowledged", "it was said all the same"


def test_a_press_of_another_input_lights_nobody(desk: Desk) -> None:
    desk.touch("desk-button")
    desk.touch("lobby-button")
    before = len(desk.records)
    assert desk.seen(f"{ALARM}/1", **LOBBY) == Done("failed", "that record is a press of desk-button")
    assert desk.seen(f"{ALARM}/2") == Done("failed", "that record is a press of lobby-button"), "a device's neither"
    assert (desk.buttons.stage("lobby-button"), desk.told(), len(desk.records)) == (0, [], before)


def test_an_input_that_nobody_pressed_since_the_start_is_lit_for_a_record_before_it_alone(desk: Desk) -> None:
    desk.say(desk.frame(2, b"\xff unreadable"))
    assert desk.seen(f"{ALARM}/1", **LOBBY).result == {"told": "nothing"}
    assert desk.lit == []
    assert desk.seen(f"{BEFORE}/7", **LOBBY).result == {"told": "now"}
    assert desk.seen(f"gw-1/{FORGOTTEN.hex()}/alarm/1", device="desk-button", event_number=None).result == {
        "told": "now"
    }
    assert desk.lit == ["lobby-button"], "who must not be noticed isn't"


def test_of_an_epoch_that_nobody_knows_here_any_more_only_what_a_device_can_have_kept_is_promised(desk: Desk) -> None:
    desk.press(5)
    forgotten = f"gw-1/{FORGOTTEN.hex()}/alarm/1"
    assert desk.seen(forgotten, event_number=37).result == {"told": "now"}
    assert desk.seen(forgotten, event_number=38).text == f"{ID} has told no event 38"


def test_who_pressed_is_told_nothing_that_could_not_be_recorded(desk: Desk) -> None:
    desk.press(5)
    desk.told()
    desk.store.full = True
    said = desk.seen(f"{ALARM}/1")
    assert (said.outcome, desk.told()) == ("failed", [])
    assert said.text == "this gateway can't store anything, and has no room in memory to record it"


def test_an_alarm_that_has_no_number_is_recorded_and_there_is_nobody_to_tell(desk: Desk) -> None:
    desk.say(desk.frame(2, b"\xff unreadable"))
    assert desk.seen(f"{ALARM}/1", event_number=None).result == {"told": "nothing"}
    assert desk.told() == []


@pytest.mark.parametrize(
    ("record", "more", "reason"),
    [
        ("a press", {}, "record must be a record's identity: gateway/epoch/alarm/sequence"),
        (f"gw-2/{EPOCH.hex()}/alarm/1", {}, "record is another gateway's"),
        (f"gw-1/{EPOCH.hex()}/status/1", {}, "record is no alarm"),
        (f"gw-1/{b'....'.hex()}{b'....'.hex()}/alarm/1", {}, "record is of an epoch that this gateway has not had"),
        (f"{ALARM}/4", {}, "only 3 alarms were signed in this epoch"),
        (f"{ALARM}/2", {}, f"that record is event 6 of {ID}"),
        (f"{ALARM}/3", {}, f"event 5 of {ID} is the alarm 1 of that epoch"),
        (f"{ALARM}/3", {"event_number": 8}, f"{ID} has told no event 8"),
        (f"{ALARM}/1", {"event_number": 6}, f"that record is event 5 of {ID}"),
        (f"{ALARM}/1", {"event_number": None}, f"that record is event 5 of {ID}"),
        (f"{ALARM}/3", {"event_number": 7}, f"event 7 of {ID} is no alarm"),
        (f"{BEFORE}/1", {"device": "0badc0de"}, STRANGER),
        (f"{ALARM}/1", {"status": "seen"}, NO_WORD),
        (f"{ALARM}/1", {"operator": ""}, NO_WORD),
        (f"{ALARM}/1", {"operator": "a\nb"}, NO_WORD),
        (f"{ALARM}/1", {"event_number": True}, NO_SOURCE),
        (f"{ALARM}/1", {"event_number": 0}, NO_SOURCE),
        (f"{ALARM}/1", {"device": 7}, NO_SOURCE),
    ],
)  # fmt: skip
def test_what_does_not_agree_with_itself_tells_nobody_and_records_nothing(
    desk: Desk, record: str, more: dict[str, Any], reason: str
) -> None:
    desk.press(5)
    desk.press(6)
    desk.say(desk.frame(2, b"\xff unreadable"))
    desk.press(7, kind=16)
    before = len(desk.records)
    assert desk.seen(record, **more) == Done("failed", reason)
    assert (desk.told(), len(desk.records)) == ([], before)


@pytest.mark.parametrize("record", [f"{BEFORE}/77", f"gw-1/{FORGOTTEN.hex()}/alarm/1"])
def test_what_an_earlier_start_recorded_and_lost_may_be_acknowledged_by_its_record(desk: Desk, record: str) -> None:
    desk.press(5)  # told again by its device, after the record before it died with the power
    assert desk.seen(record).result == {"told": "now"}
    assert desk.told() == TOLD_3
    assert desk.seen(record, event_number=9).result == {"told": "now"}, "and what hasn't come again yet"


def test_what_has_fallen_out_of_the_window_is_taken_as_it_is_said(desk: Desk) -> None:
    for number in range(5, 105):
        desk.press(number)
    assert desk.intake.place(ID, 5) is None
    assert desk.seen(f"{ALARM}/1").outcome == "done"
    assert desk.seen(f"{ALARM}/100").text == f"that record is event 104 of {ID}"


def test_maintenance_flags_what_happens_in_it_and_holds_nothing_back() -> None:
    desk = Desk()
    works = Works("gw-1", Maintenance("gw-1"), desk.recorder, desk.clock, desk.intake.__contains__)
    desk.press(5)
    assert works.begin({"minutes": 10, "reason": "yearly test", "device": ID}).outcome == "done"
    desk.press(6, age_ms=0)
    desk.clock.now += 5.0
    desk.press(7, age_ms=4_000)
    desk.press(8, age_ms=6_000)  # before it began: somebody may be in need
    desk.clock.now += 595.0
    works.tick(desk.clock.now)
    desk.press(9)
    alarms = [record for record in desk.records if record.lane is Lane.ALARM]
    assert [(record.event_number, record.flags) for record in alarms] == [(5, 0), (6, TEST), (7, TEST), (8, 0), (9, 0)]
    (ended,) = [record for record in desk.records if record.lane is Lane.STATUS]
    assert (ended.type, ended.source, ended.flags, ended.data) == (
        "command.executed", "gw-1", 0,
        {"name": "maintenance.end", "commander": "gw-1", "outcome": "done", "reason": "its time is up", "device": ID},
    )  # fmt: skip
    desk.store.commit()
    assert [payload[2] for _type, payload in desk.told()] == [1] * 5


def test_a_test_of_an_unproven_device_carries_both_flags() -> None:
    desk = Desk(state=None)
    works = Works("gw-1", Maintenance("gw-1"), desk.recorder, desk.clock, desk.intake.__contains__)
    works.begin({"minutes": 1, "reason": "new"})
    desk.press(1, age_ms=0)
    desk.recorder.record(Event("port.lost", "radio", data={"port": "radio", "reason": "unplugged"}))
    assert [record.flags for record in desk.records] == [TEST | UNPROVEN, 0], "a port's trouble is real"
