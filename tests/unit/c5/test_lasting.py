"""What a gateway's records say to be wrong is a trouble at C5 until they say that it has ended."""

from collections.abc import Mapping
from typing import Any

import pytest

from gateway.c5.centre import Centre
from gateway.c5.epochs import Epoch
from gateway.c5.lasting import NO_KEY, OF_ONE_MAX
from gateway.c5.values import Remember, Snapshot
from gateway.event import Lane
from tests.unit.c5.kit import EPOCH, NEXT_EPOCH, NOON_US, Gateway, Site, give, learn, tell


@pytest.fixture
def centre(site: Site) -> Centre:
    return site.centre()


def told(centre: Centre) -> list[tuple[str, str, bool]]:
    return [(t.report.type, t.report.text, t.report.open) for t in centre.reports.drain()]


def happen(centre: Centre, gateway: Gateway, *types: str, data: Mapping[str, Any] | None = None) -> None:
    give(centre, gateway, Lane.STATUS, [gateway.record(Lane.STATUS, type_, data=data) for type_ in types])


REVOKED = {"name": "device.revoke", "device": "0c500042", "outcome": "done"}
LOST = ("device.lost", "0c500042: nothing is heard of it: what is pressed or measured there does not arrive", True)
FOUND = ("device.lost", "0c500042: it has ended", False)


def test_a_lost_device_is_a_trouble_until_it_is_heard(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    happen(centre, gateway, "device.lost")
    assert told(centre) == [LOST]
    happen(centre, gateway, "device.lost", "battery.low")
    assert told(centre) == [("battery.low", "0c500042: its battery is low", True)], "once"
    happen(centre, gateway, "device.restored")
    assert told(centre) == [FOUND]
    happen(centre, gateway, "device.restored", "device.chattering")
    assert told(centre) == []


def test_a_peripheral_without_its_key_is_told_from_a_dead_one(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    happen(centre, gateway, "device.lost", data={"silent_s": 5, "fault": "key"})
    (lost,) = told(centre)
    assert lost[1] == f"0c500042: {NO_KEY}"


def test_of_one_source_so_many_troubles_are_held_and_what_it_says_besides_makes_no_other(
    centre: Centre, gateway: Gateway
) -> None:
    learn(centre, gateway)
    for number in range(3):
        happen(centre, gateway, "battery.low", data={"age_ms": 0, "limit": number})
    assert told(centre) == [("battery.low", "0c500042: its battery is low", True)]
    happen(centre, gateway, "battery.restored")
    assert told(centre) == [("battery.low", "0c500042: it has ended", False)]
    for number in range(OF_ONE_MAX + 3):
        happen(centre, gateway, "threshold.exceeded", data={"quantity": "level_m", "limit": number})
    assert len(told(centre)) == OF_ONE_MAX
    give(centre, gateway, Lane.STATUS, [gateway.record(Lane.STATUS, "port.lost", source="radio")])
    assert len(told(centre)) == 1, "another source's is held"


def test_a_record_that_comes_late_changes_nothing(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    lost = gateway.record(Lane.STATUS, "device.lost")
    restored = gateway.record(Lane.STATUS, "device.restored")
    give(centre, gateway, Lane.STATUS, [restored])
    give(centre, gateway, Lane.STATUS, [lost])
    assert told(centre) == []
    give(centre, gateway, Lane.STATUS, [gateway.record(Lane.STATUS, "device.lost")])
    after = Gateway(gateway.own, NEXT_EPOCH, before=gateway)
    late = gateway.record(Lane.STATUS, "device.lost")
    happen(centre, after, "device.restored")
    give(centre, gateway, Lane.STATUS, [late])
    assert told(centre) == [FOUND], "between two looks: lost, and found in the epoch after it"


def test_a_device_that_c5_revokes_is_lost_no_more(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    happen(centre, gateway, "device.lost")
    happen(centre, gateway, "command.executed", data=REVOKED | {"device": "0c500043"})
    happen(centre, gateway, "command.executed", data=REVOKED | {"outcome": "failed"})
    assert told(centre) == [LOST]
    happen(centre, gateway, "command.executed", data=REVOKED)
    assert told(centre) == [FOUND]


def test_a_revocation_that_comes_late_ends_nothing_that_began_after_it(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    revoked = gateway.record(Lane.STATUS, "command.executed", data=REVOKED)
    happen(centre, gateway, "device.lost")  # enrolled anew, and lost
    give(centre, gateway, Lane.STATUS, [revoked])
    assert told(centre) == [LOST]


def test_what_began_before_a_revocation_and_comes_after_it_lasts_for_nobody(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    lost = gateway.record(Lane.STATUS, "device.lost")
    happen(centre, gateway, "command.executed", data=REVOKED)
    give(centre, gateway, Lane.STATUS, [lost])
    assert told(centre) == []
    happen(centre, gateway, "device.lost")
    assert told(centre) == [LOST], "another one under its number"


def test_room_on_the_disk_ends_no_damage_and_each_quantity_ends_alone(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    happen(centre, gateway, "storage.low", "storage.degraded")
    happen(centre, gateway, "threshold.exceeded", data={"quantity": "supply_v"})
    assert len(told(centre)) == 3
    happen(centre, gateway, "storage.restored", data={"reason": "room"})
    happen(centre, gateway, "threshold.restored", data={"quantity": "temperature_c"})
    assert told(centre) == [("storage.low", "0c500042: it has ended", False)]
    happen(centre, gateway, "storage.restored", data={"reason": "writable"})
    happen(centre, gateway, "threshold.restored", data={"quantity": "supply_v"})
    assert told(centre) == [
        ("storage.degraded", "0c500042: it has ended", False),
        ("threshold.exceeded", "0c500042/supply_v: it has ended", False),
    ]


def test_two_limits_of_one_quantity_and_two_points_of_one_unit_are_troubles_of_their_own(
    centre: Centre, gateway: Gateway
) -> None:
    learn(centre, gateway)
    for limit in (30.0, 40.0):
        happen(centre, gateway, "threshold.exceeded", data={"quantity": "temperature_c", "value": 45.0, "limit": limit})
    for point in ("mains-a", "mains-b"):
        happen(centre, gateway, "power.lost", data={"point": point})
    assert len(told(centre)) == 4
    happen(centre, gateway, "threshold.restored", data={"quantity": "temperature_c", "value": 35.0, "limit": 40.0})
    happen(centre, gateway, "power.restored", data={"point": "mains-a"})
    assert told(centre) == [
        ("threshold.exceeded", "0c500042/temperature_c/40.0: it has ended", False),
        ("power.lost", "0c500042/mains-a: it has ended", False),
    ]


def test_what_was_wrong_with_a_disk_ends_at_the_next_start_which_tells_it_anew(
    centre: Centre, gateway: Gateway
) -> None:
    learn(centre, gateway)
    happen(centre, gateway, "storage.degraded", "device.lost")
    assert len(told(centre)) == 2
    happen(centre, gateway, "gateway.started")
    assert told(centre) == [("storage.degraded", "0c500042: it has ended", False)]


def test_what_lasted_before_c5_s_start_ends_after_it(site: Site, centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    happen(centre, gateway, "device.lost")
    (remember,) = tell(centre, gateway, gateway.state(), 0.0)
    assert isinstance(remember, Remember)
    open_ = [tally.report for tally in centre.reports.drain()]
    again = site.centre()
    signers = [(gateway.name, gateway.own.chain, NOON_US)]
    again.restore(Snapshot(signers, [], [], [(gateway.name, Epoch(EPOCH))], [remember.seen], [], open_), 0.0)
    happen(again, gateway, "device.restored")
    assert FOUND in told(again)


def test_a_gateway_that_says_to_hear_no_receipts_is_a_trouble_until_it_does(centre: Centre, gateway: Gateway) -> None:
    learn(centre, gateway)
    tell(centre, gateway, gateway.state(health={"links": {}, "unreceipted_s": 91}), 0.0)
    text = "the gateway has had no receipt for an alarm: the broker's access list must let it read …/receipt"
    assert told(centre) == [("receipts.unread", text, True)]
    tell(centre, gateway, gateway.state(), 1.0)
    assert told(centre) == [], "a state that doesn't say ends nothing"
    tell(centre, gateway, gateway.state(health={"links": {}}), 2.0)
    assert told(centre) == [("receipts.unread", "the gateway has our receipts again", False)]
