"""What is flagged as a test, and until when."""

from gateway.control.maintenance import SCOPES_MAX, Maintenance, Work
from gateway.event import ALARMS, TEST

ID, OTHER, GATEWAY = "0c500042", "lobby-button", "gw-1"


def flags(maintenance: Maintenance, now: float, happened_at: float | None = None) -> tuple[int, int, int]:
    at = now if happened_at is None else happened_at
    device, other, gateway = (maintenance.flags("panic.pressed", source, at, now) for source in (ID, OTHER, GATEWAY))
    return device, other, gateway


def test_one_device_or_all_are_flagged_and_never_the_gateway_itself() -> None:
    maintenance = Maintenance(GATEWAY)
    assert flags(maintenance, 1.0) == (0, 0, 0)
    assert maintenance.begin(ID, 10, "new battery", now=1.0)
    assert flags(maintenance, 2.0) == (TEST, 0, 0)
    assert maintenance.begin(None, 5, "walk test", now=2.0)
    assert flags(maintenance, 2.0) == (TEST, TEST, 0)
    assert maintenance.works(2.0) == [Work(ID, "new battery", 1.0, 601.0), Work(None, "walk test", 2.0, 302.0)]
    assert maintenance.end(ID) == [Work(ID, "new battery", 1.0, 601.0)]
    assert flags(maintenance, 2.0) == (TEST, TEST, 0)
    assert [work.scope for work in maintenance.end()] == [None]
    assert flags(maintenance, 2.0) == (0, 0, 0)
    assert maintenance.end() == []


def test_it_ends_by_itself_to_the_second_whoever_asks_and_is_told_once() -> None:
    maintenance = Maintenance(GATEWAY)
    maintenance.begin(None, 480, "a long day", now=100.0)
    assert maintenance.tick(28_899.9) == []
    assert flags(maintenance, 28_899.9) == (TEST, TEST, 0)
    assert flags(maintenance, 28_900.0) == (0, 0, 0)
    assert maintenance.works(28_900.0) == []
    assert [work.scope for work in maintenance.tick(28_900.0)] == [None]
    assert maintenance.tick(28_901.0) == []


def test_what_happened_before_it_began_is_real_however_late_it_comes() -> None:
    maintenance = Maintenance(GATEWAY)
    maintenance.begin(ID, 10, "new battery", now=100.0)
    assert flags(maintenance, 130.0, happened_at=99.9) == (0, 0, 0)
    assert flags(maintenance, 130.0, happened_at=100.0) == (TEST, 0, 0)


def test_begun_again_it_goes_on_from_its_first_beginning() -> None:
    maintenance = Maintenance(GATEWAY)
    maintenance.begin(ID, 1, "one", now=0.0)
    maintenance.begin(ID, 10, "two", now=30.0)
    assert maintenance.works(61.0) == [Work(ID, "two", 0.0, 630.0)]
    maintenance.begin(ID, 1, "three", now=700.0)
    assert maintenance.works(700.0) == [Work(ID, "three", 700.0, 760.0)]


def test_there_is_room_for_so_many_and_for_those_that_are_in_it() -> None:
    maintenance = Maintenance(GATEWAY)
    for number in range(SCOPES_MAX):
        assert maintenance.begin(f"{number:08x}", 1, "x", now=0.0)
    assert not maintenance.begin("one-more", 1, "x", now=0.0)
    assert maintenance.begin("00000000", 2, "x", now=0.0)


def test_what_somebody_does_there_is_flagged_and_a_trouble_that_lasts_is_not() -> None:
    maintenance = Maintenance(GATEWAY)
    maintenance.begin(None, 10, "walk test", now=0.0)
    caused = [
        *(ALARMS - {"position.moved"}),
        "panic.released",
        "tamper.closed",
        "test.pressed",
        "door.opened",
        "door.closed",
    ]
    assert {type_ for type_ in caused if not maintenance.flags(type_, ID, 1.0, 1.0)} == set()
    lasting = [
        "device.lost", "device.restored", "device.stuck", "device.chattering", "battery.low", "power.lost",
        "device.unauthenticated", "device.replayed", "alarm.acknowledged", "device.joined", "measurement",
        "position.moved",
    ]  # fmt: skip
    assert {type_ for type_ in lasting if maintenance.flags(type_, ID, 1.0, 1.0)} == set()


def test_a_walk_ends_its_own_maintenance_and_c5_ends_all() -> None:
    maintenance = Maintenance(GATEWAY)
    maintenance.begin(None, 60, "electricians", now=0.0)
    maintenance.begin(None, 3, "walk test", now=1.0, walk="a")
    maintenance.begin(None, 3, "walk test", now=2.0, walk="b")
    assert maintenance.end(walk="a") == [Work(None, "walk test", 1.0, 181.0, "a")]
    assert maintenance.end(walk="a") == []
    assert [work.walk for work in maintenance.works(3.0)] == [None, "b"]
    assert [work.walk for work in maintenance.end()] == [None, "b"]
