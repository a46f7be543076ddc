"""What a walk test makes of what the service says: a line for each new thing, and a report."""

from typing import Any

from gateway.cli.walk import Seen, Walk, told


def device(id_: str, name: str = "", number: int | None = None, **stages: int) -> dict[str, Any]:
    stages_ms = {key.removeprefix("s"): ms for key, ms in stages.items()}
    press = (
        None if number is None else {"number": number, "type": "panic.pressed", "ago_s": 1.0, "stages_ms": stages_ms}
    )
    return {"id": id_, "name": name, "model": "PB-1", "last_press": press}


def test_each_press_and_each_stage_is_a_line_once_and_what_was_before_is_none() -> None:
    walk = Walk([device("0c500001", "lobby", 4, s1=3), device("0c500002")], goal="2")
    assert walk.look([device("0c500001", "lobby", 4, s1=3, s2=80), device("0c500002")]) == []
    assert walk.look([device("0c500001", "lobby", 5, s1=12), device("0c500002")]) == [
        "0c500001 lobby: pressed (panic.pressed)",
        "0c500001 lobby: stored after 12 ms",
    ]
    assert walk.look([device("0c500001", "lobby", 5, s1=12, s2=240), device("0c500002")]) == [
        "0c500001 lobby: received at C5 after 240 ms"
    ]
    assert walk.look([device("0c500001", "lobby", 5, s1=12, s2=240), device("0c500002")]) == []
    assert [seen.id for seen in walk.missing] == ["0c500002"]
    assert walk.look([device("0c500001", "lobby", 5, s1=12, s2=240, s3=9000), device("0c500002", number=1, s2=1, s3=2)])
    assert (walk.missing, walk.acknowledged) == ([], True)


def test_who_presses_again_because_the_first_did_not_get_through_is_seen_again() -> None:
    walk = Walk([device("0c500001")], goal="2")
    walk.look([device("0c500001", number=1, s1=5)])
    walk.look([device("0c500001", number=2, s1=6, s2=50)])
    assert walk.seen["0c500001"] == Seen("0c500001", "", "PB-1", None, "panic.pressed", 2, {"1": 6, "2": 50})
    assert walk.look([device("0c500001", number=3)]) == [], "it has come as far as it must: playing counts no more"


def test_a_device_enrolled_meanwhile_is_of_the_next_walk() -> None:
    walk = Walk([device("0c500001")], goal="1")
    assert walk.look([device("0c500009", number=1, s1=1)]) == []


def test_the_report_says_of_each_device_how_far_it_came() -> None:
    document = {
        "gateway": {"id": "gw-1", "agency": "senafront", "site": "yaviza"}, "version": "1.0", "technician": "Eva",
        "began": "2026-11-22T04:00:00Z", "ended": "2026-11-22T04:10:00Z", "stopped": "the service isn't running",
        "devices": [
            {"id": "0c500001", "name": "lobby", "model": "PB-1", "type": "panic.pressed", "right": True,
             "stages_ms": {"1": 12, "2": 240, "3": 8000}},
            {"id": "0c500002", "name": "", "model": "PB-1", "type": None, "right": False, "stages_ms": {}},
        ],
    }  # fmt: skip
    assert told(document) == [
        "Walk test of gw-1, senafront/yaviza",
        "by Eva, 2026-11-22T04:00:00Z to 2026-11-22T04:10:00Z, version 1.0",
        "",
        (
            "ok      0c500001  lobby: panic.pressed, stored after 12 ms, received at C5 after 240 ms, "
            "acknowledged by an operator after 8000 ms"
        ),
        "MISSING 0c500002  PB-1: not pressed",
        "",
        "1 of 2 devices came as far as they must",
        "It was cut short: the service isn't running",
    ]
