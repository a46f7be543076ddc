"""Topics as wire.md, section 3, writes them."""

import pytest

from gateway.event import Lane
from gateway.topics import CENTRE, CENTRE_CERTIFICATES, Arrival, Route, is_part, parse

TOWER = Route("senafront", "yaviza-tower-3", "pa-dar-0017")


def test_a_gateways_topics() -> None:
    assert [TOWER.event(lane) for lane in Lane] == [
        "c5/v1/senafront/yaviza-tower-3/pa-dar-0017/event/alarm",
        "c5/v1/senafront/yaviza-tower-3/pa-dar-0017/event/status",
        "c5/v1/senafront/yaviza-tower-3/pa-dar-0017/event/telemetry",
    ]
    assert TOWER.topic("state") == "c5/v1/senafront/yaviza-tower-3/pa-dar-0017/state"


def test_the_longest_parts_are_read_and_a_longer_topic_is_none_of_ours() -> None:
    longest = Route("a" * 63, "b" * 63, "c" * 63)
    assert parse(longest.topic("event/telemetry")) == Arrival(longest, "event/telemetry")
    assert parse(longest.topic("state") + "x" * 60_000) is None


def test_a_channel_that_does_not_exist_is_our_own_bug() -> None:
    with pytest.raises(AssertionError):
        TOWER.topic("event")


@pytest.mark.parametrize(
    ("channel", "lane"),
    [
        ("event/alarm", Lane.ALARM),
        ("event/status", Lane.STATUS),
        ("event/telemetry", Lane.TELEMETRY),
        ("state", None),
        ("certificates", None),
        ("reply", None),
        ("receipt", None),
        ("command", None),
    ],
)
def test_a_topic_is_read_back(channel: str, lane: Lane | None) -> None:
    arrival = parse(TOWER.topic(channel))
    assert arrival == Arrival(TOWER, channel)
    assert arrival.lane == lane


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "c5/v1",
        CENTRE,
        CENTRE_CERTIFICATES,
        "c5/v1/certificates/c5-a",
        "c5/v2/senafront/tower/pa/state",
        "c5/v1/senafront/tower/state",
        "c5/v1/senafront/tower/pa/event",
        "c5/v1/senafront/tower/pa/event/",
        "c5/v1/senafront/tower/pa/event/alarm/more",
        "c5/v1/senafront/tower/pa/states",
        "c5/v1/senafront/tower/pa/State",
        "c5/v1/Senafront/tower/pa/state",
        "c5/v1/senafront//pa/state",
        "c5/v1/senafront/+/pa/state",
        "c5/v1/senafront/tower/pa\n/state",
        "c5/v1/senafront/tower/pa/state\n",
        "/c5/v1/senafront/tower/pa/state",
    ],
)
def test_anything_else_is_no_topic_of_a_gateway(topic: str) -> None:
    assert parse(topic) is None


@pytest.mark.parametrize("text", ["a", "0", "pa-dar-0017", "a" * 63, "0-"])
def test_what_a_topic_can_hold(text: str) -> None:
    assert is_part(text)


@pytest.mark.parametrize("text", ["", "-a", "A", "a_b", "a/b", "a.b", "ñ", "a" * 64, "a\n", "+", "#", "$sys", "²"])
def test_what_a_topic_cannot_hold(text: str) -> None:
    assert not is_part(text)
