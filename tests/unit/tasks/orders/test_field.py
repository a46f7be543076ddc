"""Commands to devices and outputs: what they are asked, and what their answers mean."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.control.maintenance import Maintenance
from gateway.fieldlink import framing, message, seal
from gateway.fieldlink.message import Command
from gateway.tasks.orders.field import Field
from gateway.tasks.orders.maintenance import Works
from gateway.tasks.orders.order import Done, Order
from gateway.tasks.orders.service import RENEWAL, renew
from tests.unit.tasks.test_intake import ID, KEY, KNOWN, Line

SILENT = "the device didn't answer, or started anew meanwhile"


class Outputs:
    def __init__(self) -> None:
        self.asked: list[tuple[str, bool, float | None]] = []

    def set(self, name: str, *, on: bool, seconds: float | None) -> str | float | None:
        self.asked.append((name, on, seconds))
        if name != "siren":
            return f"this gateway has no output {name}"
        return min(seconds or 300, 300) if on else None


class Units:
    """The gateway's units: one charger with a load."""

    def __contains__(self, name: object) -> bool:
        return name == "charger"

    def switch(
        self, unit: str, output: str, ended: Callable[[str | None], None], *, on: bool, seconds: float | None
    ) -> None:
        ended(None if (output, on, seconds) == ("load", True, 60) else f"{unit} has no output of this name")


class Peripherals(Units):
    """The gateway's OSDP peripherals: one with a siren."""

    def __contains__(self, name: object) -> bool:
        return name == "gate"

    def switch(
        self, unit: str, output: str, ended: Callable[[str | None], None], *, on: bool, seconds: float | None
    ) -> None:
        ended(None if (output, on, seconds) == ("siren", False, None) else f"{unit} has no output of this name")

    def identify(self, name: str, seconds: float, ended: Callable[[str | None], None]) -> None:
        ended(None if seconds == 30 else f"{name} is not connected")


class Panel(Line):
    """A line with a device that was heard, and what a commander may want of it."""

    def __init__(self) -> None:
        super().__init__(state=KNOWN)
        self.outputs = Outputs()
        self.units = Units()
        self.field = Field("gw-1", self.intake, self.outputs, self.units, Peripherals())
        self.done: list[Done] = []
        self.say(self.frame(3, {1: 60}))
        self.told()

    def output(self, **arguments: Any) -> list[Done]:
        self.field.set_output(Order("output.set", arguments, "boss"), self.done.append)
        return self.done

    def identify(self, **arguments: Any) -> list[Done]:
        self.field.identify(Order("device.identify", arguments, "boss"), self.done.append)
        return self.done

    def commands(self) -> list[Command]:
        """What the device was asked so far, repetitions included."""
        asked = []
        for wire in self.written:
            (found,) = framing.Decoder().feed(wire)
            assert isinstance(found, framing.Frame)
            plain = seal.Cipher(KEY).open(found.body)
            assert plain is not None
            said = message.read_downward(found.body[0] & 15, plain)
            if isinstance(said, Command):
                asked.append(said)
        return asked

    def answer(self, status: int, text: str | None = None) -> None:
        number = self.commands()[-1].number
        self.say(self.frame(5, {1: number, 2: status} if text is None else {1: number, 2: status, 3: text}))

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds * 2)):
            self.clock.now += 0.5
            self.intake.tick(self.clock.now)


@pytest.fixture
def panel() -> Panel:
    return Panel()


def test_a_device_s_output_is_switched_and_the_reply_waits_for_its_answer(panel: Panel) -> None:
    assert panel.output(device=ID, output=1, on=True, seconds=60) == []
    (asked,) = panel.commands()
    assert (asked.command, asked.arguments) == (2, {1: 1, 2: True, 3: 60})
    panel.answer(0)
    assert panel.done == [Done("done")]
    panel.answer(0)
    assert panel.done == [Done("done")], "a second answer is nobody's"


def test_until_told_has_no_seconds(panel: Panel) -> None:
    panel.output(device=ID, output=1, on=True)
    assert panel.commands()[0].arguments == {1: 1, 2: True}


def test_a_device_that_does_not_answer_is_asked_four_times_and_given_up(panel: Panel) -> None:
    panel.identify(device=ID)
    panel.passes(14.5)
    assert [(asked.command, asked.arguments) for asked in panel.commands()] == [(3, {1: 30})] * 4
    assert panel.done == []
    panel.passes(0.5)
    assert panel.done == [Done("failed", SILENT)]


@pytest.mark.parametrize("end", ["hello", "revoked"])
def test_a_device_that_starts_anew_or_is_revoked_meanwhile_has_not_done_it(panel: Panel, end: str) -> None:
    panel.output(device=ID, output=1, on=True)
    if end == "hello":
        panel.say(panel.frame(1, {1: "2.4.1", 2: "PB-1", 3: 1, 4: 0}))
    else:
        panel.intake.revoke(ID)
    assert panel.done == [Done("failed", SILENT)]


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (1, None, "the device doesn't know this command"),
        (2, None, "the device refuses the arguments"),
        (3, None, "the device is busy"),
        (4, "relay stuck", "the device failed: relay stuck"),
        (9, None, "the device answered 9"),
    ],
)
def test_what_the_device_answers_is_told(panel: Panel, status: int, text: str | None, reason: str) -> None:
    panel.output(device=ID, output=1, on=False)
    panel.answer(status, text)
    assert panel.done == [Done("failed", reason)]


def test_a_peripheral_is_switched_and_shows_itself_by_its_name(panel: Panel) -> None:
    assert panel.output(device="gate", output="siren", on=False) == [Done("done")]
    panel.done.clear()
    assert panel.output(device="gate", output="horn", on=True) == [Done("failed", "gate has no output of this name")]
    panel.done.clear()
    assert panel.identify(device="gate") == [Done("done")]
    panel.done.clear()
    assert panel.identify(device="gate", seconds=5) == [Done("failed", "gate is not connected")]


def test_a_device_that_was_not_heard_since_the_start_is_not_asked() -> None:
    panel = Panel.__new__(Panel)
    Line.__init__(panel, state=KNOWN)
    panel.field, panel.done = Field("gw-1", panel.intake, Outputs(), Units(), Peripherals()), []
    assert panel.identify(device=ID) == [Done("failed", "the device has not been heard since the gateway started")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"device": "0badc0de"}, {"device": 7}, {"output": -1}, {"output": 256}, {"output": "siren"}, {"output": True},
        {"output": None}, {"on": 1}, {"on": None}, {"seconds": 0}, {"seconds": 3601}, {"seconds": 1.5},
    ],
)  # fmt: skip
def test_arguments_that_are_none_ask_nothing_of_the_device(panel: Panel, wrong: dict[str, Any]) -> None:
    (done,) = panel.output(**({"device": ID, "output": 1, "on": True, "seconds": 5} | wrong))
    assert done.outcome == "failed"
    assert (panel.commands(), panel.outputs.asked) == ([], [])


@pytest.mark.parametrize("wrong", [{"device": "0badc0de"}, {"device": ID, "seconds": 0}, {}])
def test_nobody_shows_himself_who_was_not_meant(panel: Panel, wrong: dict[str, Any]) -> None:
    (done,) = panel.identify(**wrong)
    assert (done.outcome, panel.commands()) == ("failed", [])


def test_an_output_of_the_gateway_has_a_name(panel: Panel) -> None:
    assert panel.output(output="siren", on=True, seconds=30) == [Done("done")]
    for seconds in (None, 3600):
        assert Panel().output(output="siren", on=True, **({"seconds": seconds} if seconds else {})) == [
            Done("done", "for 300 s")
        ], "as long as it may"
    assert panel.output(device="gw-1", output="strobe", on=False)[1:] == [
        Done("failed", "this gateway has no output strobe")
    ]
    assert panel.outputs.asked == [("siren", True, 30), ("strobe", False, None)]
    assert panel.output(output=1, on=True)[-1].outcome == "failed"
    assert panel.commands() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"minutes": 0}, {"minutes": 481}, {"minutes": None}, {"minutes": "10"}, {"reason": ""}, {"reason": None},
        {"reason": "x" * 201}, {"reason": "a\nb"}, {"device": "0badc0de"}, {"device": 7},
    ],
)  # fmt: skip
def test_maintenance_of_nothing_or_for_no_time_does_not_begin(panel: Panel, wrong: dict[str, Any]) -> None:
    works = Works("gw-1", Maintenance("gw-1"), panel.recorder, panel.clock, panel.intake.__contains__)
    assert works.begin({"minutes": 10, "reason": "yearly test", "device": ID} | wrong).outcome == "failed"
    assert works.glance() == []


def test_maintenance_begins_and_ends_by_command_and_by_hand(panel: Panel) -> None:
    works = Works("gw-1", Maintenance("gw-1"), panel.recorder, panel.clock, panel.intake.__contains__)
    assert works.begin({"minutes": 10, "reason": "test"}) == Done("done", noted={"minutes": 10, "why": "test"})
    panel.clock.now += 61.0
    assert works.glance() == [{"device": None, "reason": "test", "minutes_left": 9, "walk": None}]
    walk = {"walk": "a", "minutes": 3, "reason": "walk test"}
    assert works.by_hand("maintenance.begin", walk).outcome == "done"
    assert works.by_hand("maintenance.begin", {**walk, "minutes": 0}).outcome == "failed"
    panel.clock.now += 60.0
    assert works.by_hand("maintenance.renew", {"walk": "a", "minutes": 3}).outcome == "done"
    assert works.by_hand("maintenance.renew", {"walk": "b", "minutes": 3}).outcome == "failed"
    assert [work["minutes_left"] for work in works.glance()] == [8, 3]
    assert works.by_hand("maintenance.end", {"walk": "a"}).outcome == "done"
    for name in ("maintenance.end", "maintenance.renew"):
        assert works.by_hand(name, {"walk": "a", "minutes": 3}).outcome == "failed", "it ended, and stays so"
    assert works.by_hand("maintenance.end", {}).outcome == "failed"
    assert works.end({"device": 7}).outcome == "failed"
    assert works.end({}) == Done("done", result={"ended": 1})
    by_hand = {"commander": "technician", "outcome": "done"}
    assert [(record.type, record.data) for record in panel.records] == [
        ("command.executed", {"name": "maintenance.begin", **by_hand, "minutes": 3, "why": "walk test"}),
        ("command.executed", {"name": "maintenance.end", **by_hand}),
    ]


def test_who_wants_new_certificates_is_told_who_can_install_them() -> None:
    done: list[Done] = []
    renew(Order("certificate.renew", {}, "boss"), done.append)
    assert done == [Done("failed", RENEWAL)]


def test_an_output_of_a_unit_is_switched_by_its_name() -> None:
    assert Panel().output(device="charger", output="load", on=True, seconds=60) == [Done("done")]
    assert Panel().output(device="charger", output="siren", on=True) == [
        Done("failed", "charger has no output of this name")
    ]
    assert Panel().output(device="charger", output=2, on=True) == [
        Done("failed", "output must be the name of an output of the gateway, or of the unit")
    ]
