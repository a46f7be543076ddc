"""Units at their seam: what was read goes in, records and notes come out; then a restart with what was noted."""

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.delivery.item import Note
from gateway.event import Lane, Position
from gateway.sensing.profile import Output, Profile, parse
from gateway.sensing.registers import reads
from gateway.sensing.reply import Answer, Exceptional, Reply, Silent, words
from gateway.signing.chain import Chain
from gateway.signing.cose import Signer
from gateway.signing.record import Clock as Quality
from gateway.tasks.bus import Done
from gateway.tasks.recorder import Recorder
from gateway.tasks.units import Unit, Units
from tests.support.memory import NOW_US, Store, read

PLACE = Position(1, 2)
PROFILE = parse(
    """
title = "A cabinet"
source = "this test"

[[point]]
quantity = "battery_v"
function = 4
register = 0
type = "u16"
scale = 0.01
[[point.threshold]]
below = 11.5
hysteresis = 0.5
on = "battery.low"
off = "battery.restored"

[[point]]
quantity = "temperature_c"
function = 4
register = 1
type = "f32"
[[point.threshold]]
above = 55
hysteresis = 3

[[point]]
name = "rear"
function = 2
register = 0
on = "door.opened"
off = "door.closed"

[[point]]
name = "help"
function = 2
register = 1
on = "panic.silent"

[[output]]
name = "load"
function = 5
register = 2
""",
    "cabinet", "cabinet.toml",
)  # fmt: skip
BITS, WORDS = reads(PROFILE)

Told = list[tuple[str, str, Mapping[str, Any] | None]]


class Wire:
    """The bus: what it was asked to write."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str, bool]] = []
        self.reply: Reply | None = Answer(())

    def write(self, unit: str, output: Output, done: Done, *, on: bool) -> bool:
        if self.reply is None:
            return False
        self.written.append((unit, output.name, on))
        done(self.reply)
        return True


class Site:
    """One unit and its records."""

    def __init__(self, notes: tuple[Note, ...] = (), profile: Profile = PROFILE) -> None:
        self.store, self.wire = Store(), Wire()
        signer = Signer(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), b"thumb678")
        recorder = Recorder(
            {lane: Chain("gw-1", b"epoch--2", lane, None, signer) for lane in Lane}, 2, self.store,
            lambda _age_ms, _at_ns: (NOW_US, Quality(2, 5, 0)), None,
        )  # fmt: skip
        unit = Unit("cabinet", "bus", 1, profile, 60.0, PLACE, unread=set(reads(profile)))
        self.units = Units([unit], recorder, self.store, notes)
        self.units.lines = {"bus": self.wire}
        self._seen = 0

    def words(self, now: float, battery: float = 12.6, temperature: float | None = 30.0) -> None:
        values = {"battery_v": battery, "temperature_c": temperature}
        self.units.answered("cabinet", WORDS, values, now)

    def bits(self, now: float, *, rear: bool = False, help_: bool = False) -> None:
        self.units.answered("cabinet", BITS, {"rear": rear, "help": help_}, now)

    def told(self) -> Told:
        """Type, source and data of the records since this was last asked."""
        new, self._seen = self.store.entries[self._seen :], len(self.store.entries)
        return [(said.type, said.source, said.data) for said in (read(entry.item.wire) for entry in new)]

    @property
    def notes(self) -> tuple[Note, ...]:
        """What a start would find."""
        notes = [*self.store.notes, *(note for entry in self.store.entries for note in entry.notes)]
        found = {(note.source, note.what): note for note in notes}
        return tuple(note for note in found.values() if note.value is not None)


def test_a_measurement_comes_when_all_was_read_once_and_then_by_its_interval() -> None:
    site = Site()
    site.words(0.0)
    assert site.told() == []
    site.bits(0.1)
    assert site.told() == [("measurement", "cabinet", {"values": {"battery_v": 12.6, "temperature_c": 30.0}})]
    for now in range(10, 60, 10):
        site.words(float(now), 12.5)
    assert site.told() == []
    site.words(60.2, 12.4, None)
    assert site.told() == [("measurement", "cabinet", {"values": {"battery_v": 12.4}})]
    record = read(site.store.entries[0].item.wire)
    assert (record.lane, record.position) == (Lane.TELEMETRY, PLACE)
    assert site.units.trouble("cabinet") == "it has no value for temperature_c: is the sensor connected?"


def test_a_threshold_is_told_once_each_way_with_its_value_and_limit() -> None:
    site = Site()
    for now, temperature in enumerate((54, 55.1, 56, 54, 52.1, 52, 54)):
        site.words(float(now), temperature=temperature)
    assert site.told() == [
        ("threshold.exceeded", "cabinet", {"quantity": "temperature_c", "value": 55.1, "limit": 55.0}),
        ("threshold.restored", "cabinet", {"quantity": "temperature_c", "value": 52.0, "limit": 55.0}),
    ]


def test_a_threshold_may_mean_a_flat_battery() -> None:
    site = Site()
    site.words(0.0, 11.4)
    site.words(1.0, 12.0)
    told = {"quantity": "battery_v", "limit": 11.5}
    assert site.told() == [
        ("battery.low", "cabinet", {**told, "value": 11.4, "battery_mv": 11400}),
        ("battery.restored", "cabinet", {**told, "value": 12.0, "battery_mv": 12000}),
    ]


def test_a_door_is_told_when_it_opens_and_closes_and_an_alarm_without_an_end_each_time() -> None:
    site = Site()
    for now, rear, help_ in ((0, False, False), (1, True, True), (2, True, True), (3, False, False), (4, False, True)):
        site.bits(float(now), rear=rear, help_=help_)
    assert site.told() == [
        ("door.opened", "cabinet", {"point": "rear"}),
        ("panic.silent", "cabinet", {"point": "help"}),
        ("door.closed", "cabinet", {"point": "rear"}),
        ("panic.silent", "cabinet", {"point": "help"}),
    ]
    assert [read(entry.item.wire).lane for entry in site.store.entries[:2]] == [Lane.STATUS, Lane.ALARM]


def test_what_was_told_before_a_restart_is_not_told_again_and_its_end_is() -> None:
    before = Site()
    before.words(0.0, temperature=60)
    before.bits(0.0, rear=True, help_=True)
    assert len(before.told()) == 4  # the measurement too
    after = Site(before.notes)
    after.words(0.0, temperature=53)  # within the hysteresis
    after.bits(0.0, rear=True, help_=True)
    assert [type_ for type_, *_ in after.told()] == ["measurement"]
    after.words(1.0, temperature=50)
    after.bits(1.0)
    assert [type_ for type_, *_ in after.told()] == ["threshold.restored", "door.closed"]
    assert after.notes == ()


def test_what_memory_had_no_room_for_is_told_at_the_next_reading() -> None:
    site = Site()
    site.store.full = True
    site.bits(0.0, rear=True, help_=True)
    site.words(0.0)
    assert site.told() == []
    site.store.full = False
    site.bits(1.0, rear=True, help_=True)
    assert [type_ for type_, *_ in site.told()] == ["door.opened", "panic.silent", "measurement"]


def test_a_unit_that_is_silent_is_lost_once_and_restored_once() -> None:
    site = Site()
    site.words(100.0)
    for now, lost in ((110.0, False), (114.0, False), (121.0, True), (136.0, True)):
        site.units.failed("cabinet", Silent(), now, lost=lost)
    assert site.told() == [("device.lost", "cabinet", {"silent_s": 21})]
    assert site.units.glance("cabinet", 140.0) == {
        "name": "cabinet", "port": "bus", "address": 1, "profile": "cabinet", "heard_s": 40.0, "values": {},
        "counts": {"answers": 1, "exceptions": 0, "silent": 4, "garbled": 0}, "lost": True,
        "trouble": "no answer: is it powered, are its address, baud rate and parity right, are A and B swapped?",
    }  # fmt: skip
    after = Site(site.notes)
    after.units.failed("cabinet", Silent(), 10.0, lost=True)
    after.words(130.0)
    after.words(131.0)
    assert after.told() == [("device.restored", "cabinet", {"silent_s": 120})]
    assert after.notes == ()


def test_an_exception_is_a_trouble_of_the_profile_and_the_unit_lives() -> None:
    site = Site()
    site.words(0.0)
    site.units.refused("cabinet", BITS, Exceptional(2), 1.0)
    assert site.units.troubles == [f"unit cabinet (address 1 on bus): register 0 (function 2): {words(Exceptional(2))}"]
    assert [type_ for type_, *_ in site.told()] == ["measurement"]
    site.bits(2.0)
    assert site.units.troubles == []


def _switch(site: Site, output: str, now: float, *, on: bool, seconds: float | None = None) -> list[str | None]:
    ended: list[str | None] = []
    site.units.switch("cabinet", output, ended.append, on=on, seconds=seconds, now=now)
    return ended


def test_an_output_is_switched_when_it_is_asked_for_and_at_no_other_time() -> None:
    site = Site()
    site.words(0.0)
    site.units.tick(1e9)
    assert site.wire.written == []
    assert _switch(site, "load", 5.0, on=True) == [None]
    assert _switch(site, "siren", 5.0, on=True) == ["cabinet has no output of this name; its outputs: load"]
    site.units.tick(1e9)
    assert site.wire.written == [("cabinet", "load", True)]


def test_an_output_that_is_on_for_a_time_goes_off_then_though_the_gateway_was_killed() -> None:
    site = Site()
    assert _switch(site, "load", 5.0, on=True, seconds=60) == [None]
    site.units.tick(64.9)
    after = Site(site.notes)
    site.units.tick(65.0)
    assert site.wire.written == [("cabinet", "load", True), ("cabinet", "load", False)]
    assert site.notes == ()
    after.wire.reply = None  # the line isn't there yet
    after.units.tick(1.0)
    after.wire.reply = Answer(())
    after.units.tick(3.0)
    assert after.wire.written == []
    after.units.tick(6.0)
    after.units.tick(1e9)
    assert after.wire.written == [("cabinet", "load", False)]
    assert after.notes == ()


def test_an_output_on_for_a_time_goes_off_although_a_second_order_was_refused() -> None:
    site = Site()
    assert _switch(site, "load", 5.0, on=True, seconds=60) == [None]
    site.wire.reply = Exceptional(6)
    assert _switch(site, "load", 6.0, on=True)[0] is not None
    site.wire.reply = Answer(())
    site.units.tick(65.0)
    assert site.wire.written[-1] == ("cabinet", "load", False)


def test_an_output_that_could_not_be_switched_says_why() -> None:
    site = Site()
    site.wire.reply = Exceptional(4)
    assert _switch(site, "load", 5.0, on=True, seconds=9) == [
        "cabinet: it answers with exception 4 (device failure): does its profile fit this model?"
    ]
    assert site.notes == ()
    site.wire.reply = None
    assert _switch(site, "load", 5.0, on=True) == ["cabinet: the line bus is lost, or busy"]
