"""Frames of simulated devices in, records and answers out."""

from dataclasses import replace
from random import Random
from unittest import mock

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.delivery.item import DeviceState, EventState, Run
from gateway.errors import C5Error
from gateway.event import UNPROVEN, Lane, Position
from gateway.fieldlink import framing, seal
from gateway.fieldlink.actions import Action
from gateway.fieldlink.framing import Frame
from gateway.fieldlink.session import DeviceSession
from gateway.registry.devices import Device
from gateway.signing.chain import Chain
from gateway.signing.cose import Signer
from gateway.signing.record import Clock as Quality
from gateway.signing.record import Record
from gateway.tasks.intake import Intake
from gateway.tasks.recorder import Recorder
from tests.support.memory import NOW_US, Clock, Store, read

KEY, OTHER = bytes(range(16)), bytes(16)
ID, STRANGER = "0c500042", "0badc0de"
PANIC = 1


class Line:
    """A gateway's intake, a line to it, and a device at its end that never forgets a counter."""

    def __init__(self, *, state: DeviceState | None = None, events: tuple[EventState, ...] = ()) -> None:
        self.clock, self.store = Clock(), Store()
        signer = Signer(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), b"thumb678")
        self.recorder = recorder = Recorder(
            {lane: Chain("gw-1", b"epoch--2", lane, None, signer) for lane in Lane}, 2, self.store,
            lambda age_ms, _at_ns: (NOW_US - age_ms * 1000, Quality(2, 5, 0)), None,
        )  # fmt: skip
        self.intake = Intake("gw-1", recorder, self.store, self.clock, Random(7).randbytes)
        self.device = Device(ID, "C5-BTN", KEY, "lobby", Position(1, 2))
        self.intake.enrol(self.device, state, events)
        self.counter = 100
        self.written: list[bytes] = []
        self._told = 0

    def frame(self, type_: int, payload: object, *, device: str = ID, key: bytes = KEY, counter: int = 0) -> bytes:
        self.counter += 1
        header = seal.Header(type_, seal.Direction.UP, device, counter or self.counter)
        plain = payload if isinstance(payload, bytes) else cbor2.dumps(payload)
        return seal.Cipher(key).seal(header, plain)

    def say(self, body: bytes) -> bool:
        return self.intake.frame(body, self.written.append)

    def press(self, number: int, kind: int = PANIC, age_ms: int = 20) -> None:
        self.say(self.frame(2, {1: number, 2: kind, 3: age_ms}))

    def told(self) -> list[tuple[int, dict[int, object]]]:
        """(type, payload) of what the device was told since it was asked last, challenges left out."""
        new, self._told = self.written[self._told :], len(self.written)
        said = []
        for wire in new:
            for found in framing.Decoder().feed(wire):
                assert isinstance(found, Frame)
                plain = seal.Cipher(KEY).open(found.body)
                assert plain is not None
                said.append((found.body[0] & 15, cbor2.loads(plain)))
        return [(type_, payload) for type_, payload in said if (type_, payload.get(2)) != (9, 6)]

    @property
    def records(self) -> list[Record]:
        return [read(entry.item.wire) for entry in self.store.entries]

    def types(self) -> list[str]:
        return [record.type for record in self.records]


KNOWN = DeviceState(ID, 100, b"tag45678", 0, True, 4)


def test_a_press_is_one_record_whose_stages_are_told_as_they_become_true() -> None:
    line = Line(state=KNOWN)
    line.press(5)
    assert line.told() == [], "nothing is true yet"
    (record,) = line.records
    assert (record.type, record.source, record.event_number, record.position, record.flags) == (
        "panic.pressed", ID, 5, Position(1, 2), 0,
    )  # fmt: skip
    (entry,) = line.store.entries
    assert entry.device is not None
    assert entry.device == replace(
        KNOWN, counter=101, tag=entry.device.tag, seen=1, highest_event=5, key_id=entry.device.key_id
    )
    assert entry.device.key_id
    line.store.commit()
    assert line.told() == [(8, {1: 5, 2: 1})]
    line.intake.receipted([Run(Lane.ALARM, 2, 1, 1)])
    assert line.told() == [(8, {1: 5, 2: 2})]
    line.intake.receipted([Run(Lane.ALARM, 2, 1, 1)])
    assert line.told() == []


def test_a_press_that_comes_again_makes_no_second_record_and_is_answered_with_the_highest_stage() -> None:
    line = Line(state=KNOWN)
    line.press(5)
    line.press(5)
    assert line.told() == [], "no stage is true, so there is no answer"
    line.store.commit()
    line.told()
    line.press(5)
    assert line.told() == [(8, {1: 5, 2: 1})]
    assert line.types() == ["panic.pressed"]


def test_without_a_disk_the_first_that_the_device_hears_is_stage_2() -> None:
    line = Line(state=KNOWN)
    line.press(5)
    line.intake.receipted([Run(Lane.ALARM, 2, 1, 1)])
    assert line.told() == [(8, {1: 5, 2: 2})]
    line.store.commit()
    assert line.told() == [], "a lower stage is never told after a higher"


def test_a_press_for_which_there_is_no_room_is_not_accepted_not_answered_and_taken_when_there_is() -> None:
    line = Line(state=KNOWN)
    line.store.full = True
    line.press(5)
    assert (line.records, line.told(), line.intake.counts) == ([], [], {"no room": 1})
    line.store.full = False
    line.press(5)
    line.store.commit()
    assert (line.types(), line.told()) == (["panic.pressed"], [(8, {1: 5, 2: 1})])


def test_a_restart_knows_the_events_of_the_run_before_and_tells_their_stage_2() -> None:
    events = (EventState(ID, 3, Lane.ALARM, 1, 8, 2), EventState(ID, 4, Lane.ALARM, 1, 9, 1))
    line = Line(state=KNOWN, events=events)
    line.press(4)
    assert (line.types(), line.told()) == ([], [(8, {1: 4, 2: 1})])
    line.intake.receipted([Run(Lane.ALARM, 1, 1, 2**63 - 1)])
    assert line.told() == [(8, {1: 4, 2: 2})]
    line.press(3)
    assert (3, 2) in [(payload[1], payload[2]) for _type, payload in line.told()]


def test_a_device_of_unknown_counter_is_accepted_flagged_and_challenged() -> None:
    line = Line()
    line.press(1)
    assert [record.flags for record in line.records] == [UNPROVEN]
    assert len(line.written) == 1, "the challenge"


def test_a_replayed_frame_is_not_acted_on_and_reported_once_a_minute_with_its_count() -> None:
    line = Line(state=KNOWN)
    recording = line.frame(2, {1: 5, 2: PANIC, 3: 0})
    line.say(recording)
    for _ in range(30):
        line.counter += 1
        line.say(line.frame(3, {1: 60}))
    for _ in range(10):
        line.say(recording)
    assert line.types() == ["panic.pressed", "device.replayed"]
    line.clock.now += 59.9
    line.intake.tick(line.clock.now)
    assert len(line.records) == 2
    line.clock.now += 0.1
    line.intake.tick(line.clock.now)
    assert [(r.type, r.source, r.data) for r in line.records[1:]] == [
        ("device.replayed", ID, {"count": 1}),
        ("device.replayed", ID, {"count": 9}),
    ]


def test_the_same_frame_from_a_second_receiver_is_dropped_in_silence() -> None:
    line = Line(state=KNOWN)
    body = line.frame(2, {1: 5, 2: PANIC, 3: 0})
    line.say(body)
    line.say(body)
    assert (line.types(), line.intake.counts) == (["panic.pressed"], {})


def test_a_bad_tag_changes_nothing_and_is_reported_once_a_minute_with_its_count() -> None:
    line = Line(state=KNOWN)
    for _ in range(5):
        line.say(line.frame(2, {1: 5, 2: PANIC, 3: 0}, key=OTHER))
    line.clock.now += 60
    line.intake.tick(line.clock.now)
    assert [(r.type, r.source, r.data) for r in line.records] == [
        ("device.unauthenticated", ID, {"count": 1}),
        ("device.unauthenticated", ID, {"count": 4}),
    ]
    line.press(5)
    assert line.types()[-1] == "panic.pressed", "whatever counter the forged frames had"


def test_all_strangers_together_are_one_record_a_minute() -> None:
    line = Line(state=KNOWN)
    for stranger in range(1, 2000):
        line.say(line.frame(2, {1: 5, 2: PANIC, 3: 0}, device=f"{stranger:08x}", key=OTHER))
    line.clock.now += 60
    line.intake.tick(line.clock.now)
    assert [(r.type, r.source, r.data) for r in line.records] == [
        ("device.unknown", "gw-1", {"count": 1, "last_id": "00000001"}),
        ("device.unknown", "gw-1", {"count": 1998, "last_id": "000007cf"}),
    ]
    assert line.intake.deadline > line.clock.now


def test_a_stranger_is_shown_for_ten_minutes_or_until_it_is_enrolled() -> None:
    line = Line(state=KNOWN)
    assert line.intake.stranger is None
    line.say(line.frame(2, {1: 5, 2: PANIC, 3: 0}, device="00000001", key=OTHER))
    assert line.intake.stranger == "00000001"
    line.clock.now += 601
    assert line.intake.stranger is None
    line.say(line.frame(2, {1: 6, 2: PANIC, 3: 0}, device="00000001", key=OTHER))
    line.intake.enrol(Device("00000001", "PB-1", OTHER))
    assert line.intake.stranger is None


def test_an_unreadable_event_is_an_alarm_once_a_minute_for_as_long_as_it_goes_on() -> None:
    line = Line(state=KNOWN)
    recorded = []
    for second in range(0, 300, 15):
        line.clock.now = 1000.0 + second
        line.intake.tick(line.clock.now)
        before = len(line.records)
        line.say(line.frame(2, b"\xff not CBOR"))
        if len(line.records) > before:
            recorded.append(second)
    assert recorded == [0, 60, 120, 180, 240]
    first = line.records[0]
    assert (first.type, first.lane, first.data) == (
        "device.unrecognised",
        Lane.ALARM,
        {"payload": b"\xff not CBOR"},
    )
    assert line.told() == [], "it has no number: there is no ACK"
    assert line.intake.counts == {"unreadable": 20}


def test_an_event_of_unknown_kind_is_an_alarm_with_all_that_the_device_said() -> None:
    line = Line(state=KNOWN)
    line.press(5, kind=99)
    (record,) = line.records
    assert (record.type, record.lane, record.event_number) == ("device.unrecognised", Lane.ALARM, 5)
    assert record.data == {"kind": 99, "payload": cbor2.dumps({1: 5, 2: 99, 3: 20})}


def test_counters_that_no_record_carried_are_stored_within_10_s() -> None:
    line = Line(state=KNOWN)
    line.say(line.frame(3, {1: 60}))
    line.intake.tick(line.clock.now)
    assert line.store.remembered == []
    line.clock.now += 10
    line.intake.tick(line.clock.now)
    (state,) = line.store.remembered
    assert (state.device, state.counter, state.proven) == (ID, 101, True)
    line.clock.now += 10
    line.intake.tick(line.clock.now)
    assert len(line.store.remembered) == 1, "nothing new"


def test_a_revoked_device_is_a_stranger_and_is_told_nothing_more() -> None:
    line = Line(state=KNOWN)
    line.press(5)
    line.intake.revoke(ID)
    line.store.commit()
    line.intake.receipted([Run(Lane.ALARM, 2, 1, 1)])
    line.press(6)
    assert (line.types(), line.told()) == (["panic.pressed", "device.unknown"], [])


def test_a_device_with_a_new_key_is_not_told_of_the_old_one_s_events() -> None:
    line = Line(state=KNOWN)
    line.press(5)
    line.intake.enrol(Device(ID, "C5-BTN", OTHER))
    line.say(line.frame(3, {1: 60}, key=OTHER, counter=1))
    line.written.clear()
    line.intake.receipted([Run(Lane.ALARM, 2, 1, 1)])
    assert line.written == []


def test_enrolling_a_known_device_again_changes_its_name_and_keeps_its_counters() -> None:
    line = Line(state=KNOWN)
    line.press(5)
    line.intake.enrol(Device(ID, "C5-BTN", KEY, "gate"))
    line.press(5)
    assert (line.types(), line.intake.glance()[0]["name"]) == (["panic.pressed"], "gate")


def test_an_answer_goes_to_the_line_on_which_the_device_was_heard_last() -> None:
    line = Line(state=KNOWN)
    line.press(5)
    other: list[bytes] = []
    line.intake.frame(line.frame(3, {1: 60}), other.append)
    line.store.commit()
    assert (len(line.written), len(other)) == (0, 1)


def test_what_is_no_frame_of_ours_is_noise_and_an_echo_is_neither() -> None:
    line = Line(state=KNOWN)
    for noise in (b"", b"\x00" * 22, b"\xff" * 60, b"\x12" * 300):
        assert line.say(noise) is False
    header = seal.Header(8, seal.Direction.DOWN, ID, 1, 1)
    assert line.say(seal.Cipher(KEY).seal(header, cbor2.dumps({1: 1, 2: 1}))) is True
    assert (line.records, line.intake.counts) == ([], {"malformed": 4})


def test_a_device_that_was_not_heard_can_t_be_identified_and_the_technician_is_told_why() -> None:
    line = Line(state=KNOWN)
    told = []
    for device in (ID, STRANGER):
        try:
            line.intake.identify(device)
        except C5Error as error:
            told.append(error.what)
    assert told == [
        f"{ID}: the device has not been heard since the gateway started",
        f"{STRANGER} is not enrolled",
    ]
    line.say(line.frame(3, {1: 60}))
    line.intake.identify(ID, 5)
    assert [(type_, payload[2], payload[3]) for type_, payload in line.told()] == [(9, 3, {1: 5})]


def test_the_events_of_a_device_whose_receipt_is_awaited_are_bounded() -> None:
    line = Line(state=KNOWN)
    for number in range(5, 205):
        line.press(number)
    line.store.commit()
    line.told()
    line.intake.receipted([Run(Lane.ALARM, 2, 1, 200)])
    assert [payload[1] for _type, payload in line.told()] == list(range(141, 205)), "the newest 64"


def test_a_receipt_for_a_million_records_finds_the_one_that_is_awaited() -> None:
    line = Line(state=KNOWN)
    line.press(5)
    line.intake.receipted([Run(Lane.ALARM, 2, 1, 10**12)])
    assert line.told() == [(8, {1: 5, 2: 2})]


def test_a_tick_asks_only_devices_that_a_command_is_out_to() -> None:
    line = Line(state=KNOWN)
    for number in range(1, 33):
        line.intake.enrol(Device(f"0c51{number:04x}", "C5-BTN", KEY, "hall", None))
    asked: list[str] = []
    tick = DeviceSession.tick

    def noted(self: DeviceSession, now: float) -> list[Action]:
        asked.append(self.device)
        return tick(self, now)

    with mock.patch.object(DeviceSession, "tick", noted):
        now = line.clock.monotonic()
        line.intake.tick(now)
        line.press(5)
        line.intake.tick(now)
        assert asked == []
        line.intake.identify(ID)
        for wait in (1.0, 3.0, 7.0, 15.0):
            line.intake.tick(now + wait)
        assert asked == [ID] * 4
        line.intake.tick(now + 16.0)
        assert asked == [ID] * 4, "it answered nothing, and was given up"


def test_an_event_is_recorded_before_supervision_hears_of_it() -> None:
    """A mistake in supervision must not cost an alarm, whether it can be read or not."""

    def mistaken(*_heard: object) -> None:
        raise RuntimeError("a mistake")

    for payload, type_ in (({1: 5, 2: PANIC, 3: 0}, "panic.pressed"), (b"\xff", "device.unrecognised")):
        line = Line(state=KNOWN)
        line.intake.on_heard = mistaken
        with pytest.raises(RuntimeError, match="a mistake"):
            line.say(line.frame(2, payload))
        assert line.types() == [type_]


def test_an_unreadable_event_that_memory_has_no_room_for_is_recorded_when_it_comes_again() -> None:
    line = Line(state=KNOWN)
    line.store.full = True
    line.say(line.frame(2, b"\xff"))
    line.store.full = False
    line.clock.now += 0.25
    line.say(line.frame(2, b"\xff"))
    assert line.types() == ["device.unrecognised"]


def test_a_device_with_another_key_is_another_device() -> None:
    line = Line(state=KNOWN)
    assert not line.intake.enrol(line.device)
    assert line.intake.enrol(replace(line.device, key=OTHER))
    assert line.intake.enrol(replace(line.device, id=STRANGER))
