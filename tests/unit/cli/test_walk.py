"""What a walk test makes of what the service says: a line for each new thing, and a report."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import walk as walks
from gateway.cli.walk import Seen, Walk, told
from gateway.control.maintenance import Maintenance
from gateway.errors import C5Error
from gateway.tasks.orders.maintenance import Works
from tests.support.memory import Clock
from tests.unit.tasks.test_intake import Line


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


def test_no_stage_is_said_to_be_earlier_than_the_one_below_it() -> None:
    walk = Walk([device("0c500001")], goal="2")
    assert walk.look([device("0c500001", number=5, s2=8)])[1:] == ["0c500001 PB-1: received at C5 after 8 ms"]
    assert walk.look([device("0c500001", number=5, s1=9, s2=8)]) == ["0c500001 PB-1: stored after 9 ms"]
    assert walk.seen["0c500001"].stages_ms == {"1": 9, "2": 9}, "C5's receipt was here before the disk's answer"


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
    document: dict[str, Any] = {
        "gateway": {"id": "gw-1", "agency": "senafront", "site": "yaviza"}, "version": "1.0", "technician": "Eva",
        "began": "2026-11-22T04:00:00Z", "ended": "2026-11-22T04:10:00Z", "stopped": "the service isn't running",
        "unknown": ["gate-panic"], "untried": ["analytics"],
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
        "Not tried: gate-panic. They are in the settings, and the running service doesn't know them: restart it",
        "Not tried: analytics. Nobody presses them: have each raise an event, and look for it at C5",
        "It was cut short: the service isn't running",
    ]
    document |= {"devices": document["devices"][:1], "unknown": [], "untried": []}
    assert told(document)[-2] == "1 of 1 device came as far as it must"


class Service:
    """What the running service would answer; a minute passes between two looks, and `happens` at each."""

    def __init__(self, happens: Callable[["Service"], None]) -> None:
        self.clock = Clock()
        self.works = Works("gw-1", Maintenance("gw-1"), Line().recorder, self.clock, lambda _source: True)
        self.happens = happens
        self.looks = 0
        self.running = True
        self.devices = [device("0c500001")]
        self.peripherals: list[dict[str, Any]] = []
        self.sources: list[dict[str, Any]] = []

    def ask(self, _state_dir: Path, request: dict[str, Any]) -> dict[str, Any] | None:
        if not self.running:
            return None
        if request["do"] == "status":
            self.looks += 1
            self.clock.now += 60.0
            self.works.tick(self.clock.now)
            self.happens(self)
            return {
                "devices": self.devices, "inputs": [], "peripherals": self.peripherals, "sources": self.sources,
                "maintenance": self.works.glance(),
            }  # fmt: skip
        done = self.works.by_hand(request["name"], request["arguments"])
        if done.outcome != "done":
            raise C5Error(done.text or "")
        return {}


def walked(
    monkeypatch: pytest.MonkeyPatch, settings: Path, happens: Callable[[Service], None]
) -> tuple[bool, str | None, list[Any]]:
    """Walk until what happens ends it; return what is right, why it stopped, and what is under maintenance then."""
    service = Service(happens)
    for name, value in {"ask": service.ask, "LOOK": 0.0, "LINGER": 0.0, "RENEW": 0.0}.items():
        monkeypatch.setattr(walks, name, value)
    right = walks.run(settings, settings.parent / "walked", minutes=1, technician="Eva", as_json=False)
    stopped = json.loads((settings.parent / "walked.json").read_text())["stopped"]
    service.running = True
    return right, stopped, [work["walk"] for work in service.works.glance()]


def pressed(service: Service) -> None:
    service.devices = [device("0c500001", number=1, s1=1, s2=2)]


def test_maintenance_is_renewed_as_long_as_the_walk_lasts_and_then_ended(
    monkeypatch: pytest.MonkeyPatch, settings: Path
) -> None:
    def happens(service: Service) -> None:
        if service.looks == 9:
            pressed(service)

    assert walked(monkeypatch, settings, happens) == (True, None, [])


def test_a_walk_whose_maintenance_is_ended_by_another_stops_and_is_not_right(
    monkeypatch: pytest.MonkeyPatch, settings: Path
) -> None:
    def happens(service: Service) -> None:
        if service.looks == 3:
            service.works.end({})
            pressed(service)

    reason = "maintenance has been ended by somebody else, or the service has started anew"
    assert walked(monkeypatch, settings, happens) == (False, reason, [])


def test_a_walk_ends_its_own_maintenance_and_leaves_c5_s(monkeypatch: pytest.MonkeyPatch, settings: Path) -> None:
    def happens(service: Service) -> None:
        if service.looks == 3:
            service.works.begin({"minutes": 60, "reason": "electricians"})
            pressed(service)

    assert walked(monkeypatch, settings, happens) == (True, None, [None])


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_whatever_signal_ends_the_walk_maintenance_is_ended_and_the_report_written(
    monkeypatch: pytest.MonkeyPatch, settings: Path, number: signal.Signals
) -> None:
    before = [signal.getsignal(one) for one in signal.Signals if one not in {signal.SIGKILL, signal.SIGSTOP}]

    def happens(service: Service) -> None:
        if service.looks == 4:
            os.kill(os.getpid(), number)

    assert walked(monkeypatch, settings, happens) == (False, None, [])
    assert before == [signal.getsignal(one) for one in signal.Signals if one not in {signal.SIGKILL, signal.SIGSTOP}]


def test_maintenance_that_could_not_be_ended_is_said_to_go_on(monkeypatch: pytest.MonkeyPatch, settings: Path) -> None:
    def happens(service: Service) -> None:
        if service.looks >= 3:
            raise C5Error("the running service does not answer: timed out")

    right, stopped, left = walked(monkeypatch, settings, happens)
    assert (right, len(left)) == (False, 1)
    assert stopped == (
        "the running service does not answer: timed out. "
        "Maintenance could not be ended, and goes on for 3 minutes at most: "
        "the running service does not answer: timed out"
    )


WIRED = """[[port]]
name = "gates"
driver = "osdp"
device = "/dev/nothing"
[[peripheral]]
name = "gate"
port = "gates"
address = 1
[[peripheral.input]]
name = "gate-panic"
number = 0
on = "panic.pressed"
[local_input]
address = "127.0.0.1"
certificate = "tls.pem"
key = "tls.key"
[[source]]
name = "help"
types = ["panic.pressed"]
token_file = "help.token"
[[source]]
name = "analytics"
types = ["intrusion.detected"]
token_file = "analytics.token"
"""


@pytest.mark.parametrize("known", [True, False])
def test_no_report_is_right_with_a_wired_button_or_a_help_point_that_was_not_tried(
    monkeypatch: pytest.MonkeyPatch, settings: Path, *, known: bool
) -> None:
    settings.write_text(settings.read_text() + WIRED)

    def happens(service: Service) -> None:
        pressed_too = service.looks >= 3
        pressed(service)
        if known or service.looks > 1:  # what comes after the walk began is of the next one
            last = device("", number=1 if pressed_too else None, s1=1, s2=2)["last_press"]
            service.peripherals = [{"inputs": [{"name": "gate-panic", "last_press": last}]}]
            service.sources = [{"name": name, "last_press": last} for name in ("help", "analytics")]
        if service.looks == 1:
            service.devices = [device("0c500001")]

    assert walked(monkeypatch, settings, happens) == (known, None, [])
    report = json.loads((settings.parent / "walked.json").read_text())
    assert [(one["id"], one["model"], one["right"]) for one in report["devices"]] == [
        ("0c500001", "PB-1", True),
        *([("gate-panic", "OSDP", True), ("help", "HTTPS", True)] if known else []),
    ]
    assert (report["unknown"], report["untried"]) == ([] if known else ["gate-panic", "help"], ["analytics"])
