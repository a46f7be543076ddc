"""What a commander sends, and what of a gateway's states and replies he believes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.c5.orders import ARGUMENTS, Counterpart, odd_arguments, read_arguments, shown
from gateway.c5.signers import Signers
from gateway.errors import Refused
from gateway.signing import message
from gateway.signing.message import Reply
from gateway.signing.record import INT_MAX
from gateway.topics import Route
from tests.unit.c5.kit import EPOCH, NEXT_EPOCH, NOON_US, Gateway, Site, flip

NAME = "pa-dar-0017"
ROUTE = Route("senafront", "yaviza-tower-3", NAME)
ID = b"sixteen bytes id"
RECORD = "record: an alarm's identity as c5-receiver watch shows it, gateway/epoch/alarm/sequence"
REPLY = Reply(NAME, ID, NOON_US, "done", None, {"queued": 3})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("authority"))


def counterpart(site: Site, *known: Gateway) -> Counterpart:
    found = Counterpart(NAME, Signers(site.anchors))
    for gateway in known:
        found.certificates(gateway.certificates, NOON_US)
    return found


@pytest.mark.parametrize(
    ("pairs", "read"),
    [
        ([], {}),
        (
            ["lane=telemetry", f"epoch={EPOCH.hex()}", "from=1", f"to={INT_MAX}"],
            {"lane": 2, "epoch": EPOCH, "from": 1, "to": INT_MAX},
        ),
        (["operator=007", "status=false-alarm"], {"operator": "007", "status": "false-alarm"}),
        (["reason=a=b"], {"reason": "a=b"}),
        (
            ["output=2", "on=true", "seconds=60", "device=0c500042"],
            {"output": 2, "on": True, "seconds": 60, "device": "0c500042"},
        ),
        (["output=2", "on=true"], {"output": "2", "on": True}),
        (["output=siren", "on=true"], {"output": "siren", "on": True}),
        (["on=false"], {"on": False}),
    ],
)  # fmt: skip
def test_arguments_have_the_types_that_wire_md_gives_them(pairs: list[str], read: dict[str, Any]) -> None:
    assert read_arguments(pairs) == read


@pytest.mark.parametrize(
    ("name", "keys", "odd"),
    [
        ("ping", [], None),
        ("ping", ["device"], "ping: device unknown; it takes nothing"),
        ("maintenance.begin", ["minutes", "reason"], None),
        ("maintenance.begin", ["minutes", "reason", "device"], None),
        (
            "maintenance.begin",
            ["minutes", "devcie"],
            "maintenance.begin: reason missing, devcie unknown; it takes device?, minutes, reason",
        ),
        ("device.revoke", [], "device.revoke: device missing; it takes device"),
        (
            "pong",
            ["whatever"],
            f"there is no command pong, but: {', '.join(ARGUMENTS)}",
        ),
    ],
)
def test_a_mistyped_or_missing_argument_is_told_before_anything_is_sent(
    name: str, keys: list[str], odd: str | None
) -> None:
    assert odd_arguments(name, dict.fromkeys(keys, "x")) == odd


@pytest.mark.parametrize(
    ("changed", "odd"),
    [
        ({}, None),
        ({"status": "seen"}, "status: one of acknowledged, dispatched, resolved, false-alarm"),
        ({"operator": "a\nb"}, "operator: a name of at most 64 characters"),
        ({"operator": "a" * 65}, "operator: a name of at most 64 characters"),
        ({"record": "12"}, RECORD),
        ({"record": f"pa-dar-0017/{EPOCH.hex()}/status/12"}, RECORD),
        ({"record": f"pa-dar-0017/{EPOCH.hex()}/alarm/0"}, RECORD),
    ],
)
def test_an_acknowledgement_that_no_gateway_takes_is_told_before_it_is_sent(
    changed: dict[str, str], odd: str | None
) -> None:
    given = {"record": f"pa-dar-0017/{EPOCH.hex()}/alarm/12", "device": "0c500042", "status": "resolved"}
    assert odd_arguments("alarm.acknowledge", {**given, "operator": "ana", "event_number": 7, **changed}) == odd


@pytest.mark.parametrize(
    "pair",
    ["lane=2", "lane=", "epoch=1", "epoch=00000029F70FEE95", "from=one", "from=-1", "to=", "to=١", "on=1",
     f"to={INT_MAX + 1}", "from", "=1"],
)  # fmt: skip
def test_arguments_that_are_none_are_refused(pair: str) -> None:
    assert isinstance(read_arguments([pair]), Refused)


def test_a_key_that_comes_twice_is_refused() -> None:
    assert isinstance(read_arguments(["from=1", "from=2"]), Refused)


def test_the_newest_state_says_where_a_gateway_is_and_in_which_epoch(site: Site) -> None:
    first = Gateway(site.own("gateway", NAME))
    second = Gateway(first.own, NEXT_EPOCH)
    found = counterpart(site, first)
    old, new = first.state(connection=9), second.state()
    for wire in (old, new, old):
        found.heard(ROUTE, wire, NOON_US)
    assert found.state is not None
    assert (found.state.epoch, found.state.online, found.route) == (NEXT_EPOCH, True, ROUTE)
    found.heard(ROUTE, second.state(online=False), NOON_US)
    assert not found.state.online
    found.heard(ROUTE, second.state(connection=2), NOON_US)
    found.heard(ROUTE, second.state(online=False, connection=1), NOON_US)
    assert found.state.online, "an older connection's end ends nothing of the newer one"


def test_a_state_that_came_before_the_certificates_counts_once_they_are_there(site: Site) -> None:
    gateway = Gateway(site.own("gateway", NAME))
    found = counterpart(site)
    found.heard(ROUTE, gateway.state(), NOON_US)
    assert found.state is None
    found.certificates(gateway.certificates, NOON_US)
    assert found.state is not None


def test_states_that_prove_nothing_change_nothing(site: Site) -> None:
    gateway, other = Gateway(site.own("gateway", NAME)), Gateway(site.own("gateway", "pa-dar-0018"))
    found = counterpart(site, gateway, other)
    for route, wire in (
        (ROUTE, flip(gateway.state())),
        (ROUTE, other.state()),
        (ROUTE, gateway.state(site="elsewhere")),  # its topic isn't where it says that it is
        (replace(ROUTE, agency="another"), gateway.state()),
        (ROUTE, b""),
    ):
        found.heard(route, wire, NOON_US)
        assert found.state is None
    found.certificates(b"\x80", NOON_US)
    assert found.route is None


def signed(gateway: Gateway, reply: Reply = REPLY) -> bytes:
    return gateway.signer.sign("reply", message.encode(reply))


def test_its_own_reply_to_this_command_is_believed(site: Site) -> None:
    gateway = Gateway(site.own("gateway", NAME))
    assert counterpart(site, gateway).reply(signed(gateway), ID, NOON_US) == REPLY


def test_no_other_reply_is_believed(site: Site) -> None:
    gateway, other = Gateway(site.own("gateway", NAME)), Gateway(site.own("gateway", "pa-dar-0018"))
    found = counterpart(site, gateway, other)
    late_us = NOON_US + 4000 * 86_400_000_000
    wire = signed(gateway)
    for forged, now_us in (
        *((flip(wire, at), NOON_US) for at in range(0, len(wire), 7)),
        (signed(other), NOON_US),
        (signed(gateway, replace(REPLY, gateway="pa-dar-0018")), NOON_US),
        (signed(gateway, replace(REPLY, id=b"another command.")), NOON_US),
        (gateway.signer.sign("receipt", message.encode(REPLY)), NOON_US),
        (wire, late_us),
        (b"", NOON_US),
    ):
        assert isinstance(found.reply(forged, ID, now_us), Refused)
    assert isinstance(counterpart(site).reply(wire, ID, NOON_US), Refused), "by nobody who is known"


def test_a_revoked_gateway_s_reply_is_not_believed(site: Site) -> None:
    gateway = Gateway(site.own("gateway", NAME))
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOON_US)
    found = Counterpart(NAME, Signers(site.anchors, site.revocations(gateway.own, at=at)))
    found.certificates(gateway.certificates, NOON_US)
    assert isinstance(found.reply(signed(gateway), ID, NOON_US), Refused)


def test_a_result_is_shown_as_text_can_hold_it() -> None:
    assert shown({"queued": 3, "epoch": EPOCH}) == {"queued": 3, "epoch": EPOCH.hex()}
    assert shown(None) == {}
