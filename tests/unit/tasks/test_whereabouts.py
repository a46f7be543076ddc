"""A receiver at its seam: sentences go in, records and notes come out; then a restart with what was noted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.delivery.item import Entry, Note
from gateway.event import Event, Lane, Position
from gateway.sensing.fix import Said
from gateway.sensing.satellites import Satellites
from gateway.signing.chain import Chain
from gateway.signing.cose import Signer
from gateway.signing.record import Clock as Quality
from gateway.tasks.recorder import Recorder
from gateway.tasks.whereabouts import Rules, Whereabouts
from tests.support.memory import NOW_US, Store, read

TOWER = Position(81_570_000, -776_900_000, 500)
RULES = Rules("gps", mobile=False, moved_m=50, moved_s=60, position=TOWER)
METRE = 1 / 111_195  # degrees of latitude
Told = list[tuple[str, str, Mapping[str, Any] | None]]


class Noting(Store):
    """A store that knows in which order it was told what to note."""

    def __init__(self, notes: tuple[Note, ...]) -> None:
        super().__init__()
        self.noted: list[Note] = [*notes]

    def append(self, entry: Entry) -> None:
        super().append(entry)
        self.noted += entry.notes

    def remember(self, states: Sequence[Any], notes: Sequence[Any] = ()) -> None:
        super().remember(states, notes)
        self.noted += notes


class Site:
    """One receiver and its records."""

    def __init__(self, notes: tuple[Note, ...] = (), rules: Rules = RULES) -> None:
        self.store = Noting(notes)
        signer = Signer(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), b"thumb678")
        self.recorder = Recorder(
            {lane: Chain("gw-1", b"epoch--2", lane, None, signer) for lane in Lane}, 2, self.store,
            lambda _age_ms, _at_ns: (NOW_US, Quality(2, 5, 0)), rules.position,
        )  # fmt: skip
        self.satellites = Satellites(400)
        self.where = Whereabouts(rules, self.recorder, self.store, notes, satellites=self.satellites, now=0.0)
        self._seen = 0

    def stands(self, metres: float, begin: int, end: int) -> None:
        """Fixes each second, so far to the north of the tower."""
        for second in range(begin, end):
            latitude = 8.157 + metres * METRE
            said = Said(latitude, -77.69, valid=True, quality=1, satellites=9, hdop=1.0, second=float(second % 86_400))
            self.where.said(said, float(second))

    def seen(self, now: float, record: tuple[Lane, int, int] | None = None) -> bool:
        """An operator acknowledges the alarm, or what was recorded there."""
        return self.where.acknowledged(record, now)

    def told(self) -> Told:
        """Type, source and data of the records since this was last asked."""
        return [(said.type, said.source, said.data) for said in self.records()]

    def records(self) -> list[Any]:
        new, self._seen = self.store.entries[self._seen :], len(self.store.entries)
        return [read(entry.item.wire) for entry in new]

    @property
    def notes(self) -> tuple[Note, ...]:
        """What a start would find."""
        found = {(note.source, note.what): note for note in self.store.noted}
        return tuple(note for note in found.values() if note.value is not None)


def moved(metres: int) -> tuple[str, str, Mapping[str, Any] | None]:
    return ("position.moved", "gps", {"distance_m": metres})


def test_a_tower_that_is_carried_away_is_told_once_on_the_alarm_lane_with_where_it_is() -> None:
    site = Site()
    site.stands(3, 0, 100)
    assert site.told() == []
    site.stands(200, 100, 1000)
    (record,) = site.records()
    assert (record.lane, record.type, record.source, record.data) == (Lane.ALARM, *moved(200))
    assert record.position == Position(81_587_986, -776_900_000, 500)
    assert site.where.trouble(1000.0) == "the gateway is 200 m from where it should be"
    site.recorder.record(Event("test.pressed", "0c500001"))
    assert site.records()[0].position == TOWER, "a tower's other records keep the place of the settings"


def test_it_is_told_again_only_when_it_was_back_and_over_a_restart_not_at_all() -> None:
    site = Site()
    site.stands(200, 0, 100)
    assert site.told() == [moved(200)]
    site = Site(site.notes)
    assert site.where.trouble(0.0) == "the gateway is not where it should be"
    site.stands(200, 0, 100)
    assert site.told() == []
    site.stands(3, 100, 200)
    assert site.where.trouble(200.0) is None
    site.stands(300, 200, 300)
    assert site.told() == [moved(300)]


def test_a_place_that_was_learnt_is_noted_and_a_mast_that_was_carried_away_while_it_was_off_is_missed() -> None:
    learns = replace(RULES, position=None)
    site = Site(rules=learns)
    site.stands(0, 0, 700)
    assert [note.what for note in site.notes] == ["anchor"]
    assert site.where.glance(700.0)["anchor"] == {"latitude": 8.157, "longitude": -77.69}
    site = Site(site.notes, learns)
    site.stands(5000, 0, 100)
    assert site.told() == [moved(5000)]


def test_when_an_operator_has_seen_it_the_mast_is_watched_where_it_is_by_then() -> None:
    site = Site()
    assert not site.seen(0.0), "there is nothing to be seen"
    site.stands(200, 0, 100)
    assert site.seen(100.0)
    assert not site.seen(100.0)
    assert site.told() == [moved(200)]
    site = Site(site.notes)
    site.stands(200, 100, 300)
    assert (site.told(), site.where.trouble(300.0)) == ([], None)
    site.stands(400, 300, 400)
    assert site.told() == [moved(200)], "from where it was seen"
    site.stands(0, 400, 500)
    site.stands(60, 500, 600)
    assert site.told() == [moved(60)], "it was back, and is watched there again"
    assert [note.what for note in site.notes] == ["position.moved"]


def test_another_place_in_the_settings_ends_what_an_operator_has_seen() -> None:
    site = Site()
    site.stands(200, 0, 100)
    assert site.seen(100.0)
    other = replace(RULES, position=Position(81_570_000 + 90_000, -776_900_000))
    site = Site(site.notes, other)
    site.stands(200, 0, 100)
    assert site.told() == [moved(801)]
    assert [note.what for note in site.notes] == ["position.moved"]


def test_an_acknowledgement_before_the_first_fix_counts_and_the_second_journey_is_told() -> None:
    site = Site()
    site.stands(200, 0, 100)
    assert site.told() == [moved(200)]
    site = Site(site.notes)
    assert site.seen(1.0)
    assert not site.seen(2.0)
    site = Site(site.notes)
    site.stands(5000, 10, 200)
    assert (site.told(), site.where.trouble(200.0)) == ([], None), "where it was by then"
    site.stands(50_000, 200, 300)
    assert site.told() == [moved(45_000)]
    site = Site(site.notes)
    site.stands(3, 0, 100)
    assert site.notes == (), "back where it belongs"


def test_an_acknowledgement_waits_for_a_fix_that_is_not_old_and_for_more_than_one() -> None:
    site = Site()
    site.stands(200, 0, 100)
    site.stands(290, 100, 101)
    assert site.seen(101.0)
    assert site.where.glance(101.0)["anchor"] == {"latitude": 8.1587986, "longitude": -77.69}, "at once"
    site.stands(200, 101, 300)
    assert site.told() == [moved(200)], "one fix was an echo"
    site.stands(0, 300, 400)
    site.stands(200, 400, 500)
    assert site.told() == [moved(200)]
    assert site.seen(4000.0)
    site.stands(2000, 4000, 4001)
    assert site.where.glance(4001.0)["anchor"] is None
    site.stands(900, 4001, 4100)
    assert site.told() == [], "it is watched where it is by then, not where it was an hour ago"


def test_the_acknowledgement_of_an_older_alarm_is_none_of_the_newer() -> None:
    site = Site()
    site.stands(200, 0, 100)
    site.stands(3, 100, 200)
    site.stands(900, 200, 300)
    assert site.told() == [moved(200), moved(900)]
    for older in ((Lane.ALARM, 2, 1), (Lane.ALARM, 2, 3), (Lane.ALARM, 1, 2)):
        assert not site.seen(300.0, older)
    assert site.where.trouble(300.0) == "the gateway is 900 m from where it should be"
    again = Site(site.notes)
    assert not again.seen(0.0, (Lane.ALARM, 2, 2)), "told in an epoch before this one"
    assert again.seen(0.0, (Lane.ALARM, 1, 2))
    assert site.seen(300.0, (Lane.ALARM, 2, 2))


def test_what_was_told_of_one_place_is_not_told_of_another() -> None:
    site = Site()
    site.stands(200, 0, 100)
    there = replace(RULES, position=Position(81_587_986, -776_900_000))
    site = Site(site.notes, there)
    assert (site.notes, site.where.trouble(0.0)) == ((), None)
    site.stands(5200, 0, 100)
    assert site.told() == [moved(5000)]


def test_a_learnt_place_ends_with_one_in_the_settings_and_with_a_gateway_that_moves() -> None:
    learns = replace(RULES, position=None)
    learnt = Site(rules=learns)
    learnt.stands(0, 0, 700)
    for between in (replace(RULES, position=Position(81_660_000, -776_900_000)), replace(learns, mobile=True)):
        site = Site(learnt.notes, between)
        site.stands(1000, 0, 100)
        assert (site.told(), site.notes) == ([], ())
        site = Site(site.notes, learns)
        site.stands(1001, 0, 700)
        assert site.told() == []
        assert [note.what for note in site.notes] == ["anchor"]


def test_an_alarm_that_memory_had_no_room_for_is_told_when_there_is_room() -> None:
    site = Site()
    site.store.full = True
    site.stands(200, 0, 100)
    assert site.told() == []
    site.store.full = False
    for second in range(100, 102):
        site.where.said(Said(valid=False, quality=0), float(second))
        site.where.tick(float(second))
    assert site.told() == [moved(200)], "also where there are no more fixes"


def test_a_gateway_that_moves_says_in_each_record_where_it_is_and_how_sure_that_is_by_now() -> None:
    site = Site(rules=replace(RULES, mobile=True))
    assert site.recorder.position == TOWER
    site.stands(5000, 0, 100)
    assert site.recorder.position == Position(82_019_661, -776_900_000, 500)
    assert site.told() == []
    site.where.tick(99.99)
    assert site.recorder.position == Position(82_019_661, -776_900_000, 500)
    site.where.tick(100.1)
    assert site.recorder.position == Position(82_019_661, -776_900_000, 500 + 300)
    site.where.tick(160.0)
    assert site.recorder.position == Position(82_019_661, -776_900_000, 500 + 60 * 3000)


def test_a_receiver_that_says_nothing_is_lost_once_and_one_without_a_line_is_not() -> None:
    site = Site()
    site.where.tick(59.9)
    assert site.told() == []
    site.where.tick(60.0)
    site.where.tick(61.0)
    assert site.told() == [("device.lost", "gps", {"silent_s": 60})]
    assert site.where.trouble(75.0) == "nothing that can be read for 75 s: baud rate, wires, the receiver's supply"
    site = Site(site.notes)
    site.where.said(Said(), 10.0)
    assert site.told() == [("device.restored", "gps", {"silent_s": 60})]
    site.where.line(20.0, there=False)
    site.where.tick(500.0)
    assert (site.told(), site.where.trouble(500.0)) == ([], None)
    site.where.line(500.0, there=True)
    site.where.tick(560.0)
    assert site.told() == [("device.lost", "gps", {"silent_s": 60})]
    site.where.said(Said(), 570.0)
    assert site.told() == [("device.restored", "gps", {"silent_s": 560})]


def test_a_receiver_without_a_position_for_ten_minutes_is_a_trouble_and_not_lost() -> None:
    site = Site()
    site.stands(0, 0, 100)
    for second in range(100, 720, 10):
        site.where.said(Said(valid=False, quality=0), float(second))
        site.where.tick(float(second))
    assert site.where.trouble(698.0) is None
    assert site.where.trouble(699.0) == "no position for 10 min: does the antenna see the sky?"
    assert site.told() == []


def test_a_receiver_that_hangs_and_repeats_its_last_sentence_is_a_trouble() -> None:
    site = Site()
    site.stands(3, 0, 100)
    for second in range(100, 800):
        site.where.said(Said(8.157, -77.69, valid=True, quality=1, satellites=9, hdop=1.0, second=99.0), float(second))
    assert site.where.trouble(800.0) == "no position for 12 min: does the antenna see the sky?"
    assert site.where.glance(800.0)["fix_s"] == 701.0


def test_a_time_counts_only_beside_a_good_fix() -> None:
    site = Site()
    day = date(2027, 1, 15)
    for second in range(100):
        site.where.said(Said(second=28_800.0 + second, day=day), float(second))
    assert site.satellites.at(100.0) is None, "a receiver's own clock, before it has seen the sky"
    for second in range(100, 140):
        site.stands(0, second, second + 1)
        site.where.said(Said(8.157, -77.69, valid=False, second=28_800.0 + second, day=day), float(second))
    assert site.satellites.at(140.0) is None
    for second in range(140, 180):
        site.where.said(Said(8.157, -77.69, valid=True, second=28_800.0 + second, day=day), float(second))
    assert site.satellites.at(180.0) == (NOW_US + 180_000_000, 400)
