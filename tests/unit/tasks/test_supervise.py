"""Supervision at its seam: frames heard and noise in, records out; then a restart with what was noted."""

from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.delivery.item import Note
from gateway.event import UNPROVEN, Lane, Position
from gateway.fieldlink.message import EventMessage, Heartbeat, Upward
from gateway.registry.devices import Device
from gateway.sensing.policy import Policy
from gateway.signing.chain import Chain
from gateway.signing.cose import Signer
from gateway.signing.record import Clock as Quality
from gateway.tasks.recorder import Recorder
from gateway.tasks.supervise import Supervise
from tests.support.memory import NOW_US, Clock, Store, read

ID, KEY, PLACE = "0c500042", bytes(range(16)), Position(1, 2)
PANIC, RELEASED, LOW, RESTORED = 1, 16, 18, 19


class Site:
    """A supervised device and a line, their records, and what is noted of them."""

    def __init__(self, notes: tuple[Note, ...] = (), *, policy: Policy | None = None) -> None:
        self.clock, self.store = Clock(), Store()
        signer = Signer(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), b"thumb678")
        recorder = Recorder(
            {lane: Chain("gw-1", b"epoch--2", lane, None, signer) for lane in Lane}, 2, self.store,
            lambda _age_ms, _at_ns: (NOW_US, Quality(2, 5, 0)), None,
        )  # fmt: skip
        self.supervise = Supervise(policy or Policy(), recorder, self.store, self.clock, notes, gateway="gw-1")
        self.supervise.watch({ID: Device(ID, "C5-BTN", KEY, "lobby", PLACE)})
        self.supervise.port("radio")
        self.number = 0

    def pass_(self, seconds: float) -> None:
        """Let time pass, with a tick at least each second."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now = min(until, self.clock.now + 1.0)
            self.supervise.tick()

    def heard(self, message: Upward | None = None, flags: int = 0) -> None:
        self.supervise.heard(ID, message, flags)

    def event(self, kind: int, millivolts: int | None = None) -> None:
        self.number += 1
        self.heard(EventMessage(self.number, kind, 0, millivolts))

    def told(self) -> list[tuple[str, str, Mapping[str, Any] | None]]:
        """Type, source and data of every record so far."""
        records = [read(entry.item.wire) for entry in self.store.entries]
        return [(record.type, record.source, record.data) for record in records]

    @property
    def notes(self) -> dict[tuple[str, str], int | None]:
        """All notes, as the store has them: those of records too."""
        notes = [*self.store.notes, *(note for entry in self.store.entries for note in entry.notes)]
        return {(note.source, note.what): note.value for note in notes}


def test_a_device_that_falls_silent_is_lost_once_and_restored_once_with_its_place() -> None:
    site = Site()
    site.pass_(600)
    site.heard(flags=UNPROVEN)
    site.heard()
    assert site.told() == [("device.lost", ID, {"silent_s": 180}), ("device.restored", ID, {"silent_s": 600})]
    records = [read(entry.item.wire) for entry in site.store.entries]
    assert [(record.position, record.flags) for record in records] == [(PLACE, 0), (PLACE, UNPROVEN)]
    assert [entry.notes for entry in site.store.entries] == [
        (Note(ID, "device.lost", 180),), (Note(ID, "device.lost", None),),
    ]  # fmt: skip


def test_after_a_restart_lost_is_not_told_again_and_restored_is() -> None:
    site = Site((Note(ID, "device.lost", 180),))
    site.pass_(3600)
    assert site.told() == []
    assert site.supervise.glance(ID)["lost"]
    site.heard()
    assert site.told() == [("device.restored", ID, {"silent_s": 3780})]


def test_a_restart_makes_nobody_lost_and_a_longer_interval_is_remembered() -> None:
    site = Site()
    site.heard(Heartbeat(5, interval_s=600))
    assert site.store.notes == [Note(ID, "interval", 600)]
    site = Site((Note(ID, "interval", 600),))
    site.pass_(1799)
    assert site.told() == []
    site.pass_(1)
    assert site.told() == [("device.lost", ID, {"silent_s": 1800})]


def test_a_gateway_that_was_stopped_for_hours_reports_nobody() -> None:
    site = Site()
    site.pass_(100)
    site.clock.now += 20_000
    site.supervise.tick()
    site.heard()
    site.pass_(179)
    assert site.told() == []


def test_what_memory_has_no_room_for_is_told_later() -> None:
    site = Site()
    site.store.full = True
    site.pass_(400)
    assert (site.told(), site.notes) == ([], {})
    site.store.full = False
    site.pass_(10)
    assert [type_ for type_, _source, _data in site.told()] == ["device.lost"]
    site.store.full = True
    site.heard()
    site.store.full = False
    site.heard()
    assert [type_ for type_, _source, _data in site.told()] == ["device.lost", "device.restored"]


def test_a_battery_is_told_low_by_its_millivolts_once_and_restored_once() -> None:
    site = Site()
    for millivolts in (2450, 2390, 2380, 2380, 2380, 2380, 2380, 2380, 2500, 2380, 2380, 2900, 2900):
        site.heard(Heartbeat(5, millivolts))
        site.pass_(60)
    assert site.told() == [
        ("battery.low", ID, {"battery_mv": 2380}),
        ("battery.restored", ID, {"battery_mv": 2900}),
    ]


def test_a_device_that_tells_of_its_battery_itself_makes_no_second_record() -> None:
    site = Site()
    for _minute in range(20):
        site.event(LOW, 2390) if site.number == 0 else site.heard(Heartbeat(5, 2390))
        site.pass_(60)
    assert site.told() == [], "its events are records by themselves"
    assert site.supervise.glance(ID)["troubles"] == ["battery low"]
    assert site.notes == {(ID, "battery.own"): 1, (ID, "battery.low"): 0}
    after = Site((Note(ID, "battery.own", 1), Note(ID, "battery.low", 0)))
    assert after.supervise.glance(ID)["troubles"] == ["battery low"]
    after.event(RESTORED, 2900)
    assert after.supervise.glance(ID)["troubles"] == []
    assert after.told() == []


def test_a_battery_that_was_told_low_before_a_restart_is_not_told_again_and_its_end_is() -> None:
    site = Site((Note(ID, "battery.low", 0),))
    for millivolts in (2390, 2390, 2390, 2390, 2390, 2390, 2390, 2900):
        site.heard(Heartbeat(5, millivolts))
        site.pass_(60)
    assert site.told() == [("battery.restored", ID, {"battery_mv": 2900})]


def test_a_jammed_line_is_told_once_and_its_end_once_also_over_a_restart() -> None:
    site = Site()
    for _second in range(60):
        site.supervise.noise("radio", 400)
        site.pass_(1)
        site.heard()
    assert site.told() == [("radio.jammed", "radio", {"port": "radio", "noise": 400})]
    assert site.supervise.troubles == ["the line of port radio is jammed: devices on it may not be heard"]
    site = Site((Note("radio", "radio.jammed", 0),))
    site.pass_(29)
    assert site.told() == []
    site.pass_(2)
    assert site.told() == [("radio.cleared", "radio", {"port": "radio", "noise": 0})]
    assert site.supervise.troubles == []


def test_a_chattering_device_is_told_once_a_minute() -> None:
    site = Site()
    for _second in range(150):
        site.event(PANIC)
        site.event(PANIC)
        site.pass_(1)
    assert site.told() == [
        ("device.chattering", ID, {"count": 61}),
        ("device.chattering", ID, {"count": 119}),
        ("device.chattering", ID, {"count": 120}),
    ]


def test_a_button_that_is_held_down_is_told_once_and_known_again_after_a_restart() -> None:
    site = Site()
    site.event(PANIC)
    site.pass_(700)
    assert [type_ for type_, _source, _data in site.told()] == ["device.lost"], "it has told of no release yet"
    site.event(RELEASED)
    assert site.notes[ID, "releases"] == 1
    site = Site((Note(ID, "releases", 1),))
    site.event(PANIC)
    for _minute in range(30):
        site.heard()
        site.pass_(60)
    assert site.told() == [("device.stuck", ID, {"count": 1})]
    assert site.supervise.glance(ID)["troubles"] == ["its button is held down: it can't call again"]
    site.event(RELEASED)
    assert site.supervise.glance(ID)["troubles"] == []


def test_an_open_case_is_shown_until_it_is_closed() -> None:
    site = Site()
    site.event(6)
    assert site.supervise.glance(ID)["troubles"] == ["its case is open"]
    site.event(17)
    assert site.supervise.glance(ID)["troubles"] == []


def test_a_port_that_its_line_and_its_driver_lose_is_lost_once() -> None:
    site = Site()
    site.supervise.port_lost("radio", "unplugged")
    site.supervise.port_lost("radio", "it hung", "driver")
    site.supervise.port_restored("radio")
    assert site.told() == [("port.lost", "radio", {"port": "radio", "reason": "unplugged"})]
    site.supervise.port_restored("radio", "driver")
    assert site.told()[1:] == [("port.restored", "radio", {"port": "radio"})]


def test_a_port_that_was_lost_before_a_restart_and_is_well_now_is_told_as_restored() -> None:
    site = Site((Note("radio", "port.lost", 0),))
    site.supervise.port_restored("radio", "driver")
    site.supervise.port_restored("radio", "driver")
    assert site.told() == [("port.restored", "radio", {"port": "radio"})]


def test_a_port_of_which_memory_could_not_take_the_record_is_told_later() -> None:
    site = Site()
    site.store.full = True
    site.supervise.port_lost("radio", "unplugged")
    site.store.full = False
    site.pass_(1)
    assert site.told() == [("port.lost", "radio", {"port": "radio", "reason": "unplugged"})]


def left(source: str, by: str) -> tuple[str, str, Mapping[str, Any]]:
    """What ends everything that C5 holds open of a source."""
    data = {"name": "device.revoke", "commander": by, "outcome": "done", "device": source}
    return "command.executed", "gw-1", data


def test_a_device_with_another_key_begins_anew_and_one_that_is_revoked_is_not_missed() -> None:
    site = Site((Note(ID, "device.lost", 180), Note(ID, "battery.low", 0)))
    site.supervise.watch({ID: Device(ID, "C5-BTN", bytes(16), "lobby", PLACE)})
    assert site.supervise.glance(ID)["troubles"] == []
    site.supervise.watch({})
    site.pass_(600)
    assert site.told() == [left(ID, "technician"), left(ID, "technician")], "the one before, and this one"
    with pytest.raises(KeyError):
        site.heard()


def test_c5_is_told_of_each_device_that_goes_whoever_has_revoked_it() -> None:
    site = Site()
    other = Device("0c500043", "C5-BTN", KEY, "gate", PLACE)
    site.supervise.watch({ID: Device(ID, "C5-BTN", KEY, "lobby", PLACE), other.id: other})
    site.supervise.watch({ID: Device(ID, "C5-BTN", KEY, "lobby", PLACE)})
    assert site.told() == [left("0c500043", "technician")], "at once: what forgets it goes into the same transaction"
    site.supervise.revoked("0c500044")
    assert site.told()[1:] == [left("0c500044", "technician")], "so does what went while the service was down"


@pytest.mark.parametrize("seconds", range(600, 611))
def test_a_device_under_the_number_of_one_that_is_no_more_is_lost_only_after_c5_knows_of_that(seconds: int) -> None:
    site = Site()
    site.store.full = True
    site.supervise.watch({ID: Device(ID, "C5-BTN", bytes(16), "lobby", PLACE)})
    site.pass_(seconds)
    site.store.full = False
    site.pass_(700)
    assert [type_ for type_, _source, _data in site.told()] == ["command.executed", "device.lost"]


def test_nor_is_its_battery_low_before_c5_knows_of_that() -> None:
    site = Site()
    site.store.full = True
    site.supervise.watch({ID: Device(ID, "C5-BTN", bytes(16), "lobby", PLACE)})
    for _minute in range(20):
        site.pass_(60)
        site.heard(Heartbeat(5, 2390))
    site.store.full = False
    site.heard(Heartbeat(5, 2390))
    assert site.told() == [], "it would be the old one's, and end with that"
    site.pass_(60)
    site.heard(Heartbeat(5, 2390))
    assert [type_ for type_, _source, _data in site.told()] == ["command.executed", "battery.low"]


def test_a_device_that_was_revoked_while_the_service_was_down_is_told_once_there_is_room() -> None:
    site = Site()
    site.store.full = True
    site.supervise.revoked("0c500043")
    site.pass_(5)
    assert site.told() == []
    site.store.full = False
    site.pass_(5)
    assert site.told() == [left("0c500043", "technician")]


def test_status_says_in_words_what_is_wrong_with_a_device() -> None:
    site = Site((Note(ID, "battery.low", 0),))
    site.pass_(600)
    assert site.supervise.troubles == [
        f"device {ID} lobby: lost, nothing heard for 10 min: a press would not be heard, battery low"
    ]
    assert site.supervise.glance(ID) == {
        "lost": True, "silent_s": 600.0, "battery_mv": None,
        "troubles": ["lost, nothing heard for 10 min: a press would not be heard", "battery low"],
        "wrong": [{"what": "lost", "silent_s": 600}, {"what": "battery"}],
    }  # fmt: skip


def test_a_heartbeat_without_an_interval_means_the_usual_one_again() -> None:
    site = Site((Note(ID, "interval", 600),))
    site.heard(Heartbeat(5))
    site.heard(Heartbeat(5))
    assert site.store.notes == [Note(ID, "interval", None)]
    site.pass_(180)
    assert site.told() == [("device.lost", ID, {"silent_s": 180})]


def test_what_memory_has_no_room_for_is_not_in_the_log_at_every_try(caplog: pytest.LogCaptureFixture) -> None:
    site = Site((Note(ID, "releases", 1),))
    site.event(PANIC)
    site.store.full = True
    for _minute in range(30):
        for _second in range(60):
            site.supervise.noise("radio", 400)
            site.heard()
            site.pass_(1)
    assert caplog.messages == []
    site.store.full = False
    for _second in range(10):
        site.supervise.noise("radio", 400)
        site.pass_(1)
    assert sorted(type_ for type_, _source, _data in site.told()) == ["device.stuck", "radio.jammed"]
    assert len(caplog.messages) == 2


def test_events_too_many_to_be_told_without_room_are_counted_in_the_next_report() -> None:
    site = Site()
    site.store.full = True
    for _ in range(61):
        site.event(PANIC)
    site.store.full = False
    site.pass_(60)
    assert site.told() == [("device.chattering", ID, {"count": 61})]


def test_a_local_source_that_is_configured_no_more_has_left() -> None:
    site = Site()
    site.supervise.gone({"analytics"}, ("analytics", "help"))
    site.pass_(1)
    assert site.told() == [left("help", "settings")]


def test_troubles_of_what_is_configured_no_more_end_and_its_notes_with_that() -> None:
    notes = (
        Note("old", "port.lost", 0), Note("old", "radio.jammed", 0), Note("button", "panic.pressed", 1),
        Note("radio", "port.lost", 0), Note(ID, "device.lost", 180), Note("gnss", "port.lost", 0),
        Note("gnss", "position.moved", 7),
    )  # fmt: skip
    site = Site(notes)
    site.supervise.gone({"radio"})
    site.store.full = True
    site.pass_(1)
    site.store.full = False
    site.pass_(2)
    assert site.told() == [
        ("port.restored", "old", {"port": "old"}),
        ("radio.cleared", "old", {"port": "old", "noise": 0}),
        left("button", "settings"),
        ("port.restored", "gnss", {"port": "gnss"}),
        left("gnss", "settings"),
    ]
    assert site.notes == {
        ("old", "port.lost"): None, ("old", "radio.jammed"): None, ("button", "panic.pressed"): None,
        ("gnss", "port.lost"): None, ("gnss", "position.moved"): None,
    }  # fmt: skip


def test_a_port_is_not_well_as_long_as_its_line_or_its_driver_says_so() -> None:
    site = Site()
    assert site.supervise.fault("radio") is None
    site.supervise.port_lost("radio", "it hung", "driver")
    assert site.supervise.fault("radio") == "it hung"
    site.supervise.port_restored("radio", "driver")
    assert site.supervise.fault("radio") is None
