"""Commands to the gateway itself: nothing is begun that was not understood, and the reply comes first."""

import asyncio
import hashlib
from typing import Any

import pytest

from gateway.errors import SettingsError
from gateway.tasks.orders.order import Done, Order
from gateway.tasks.orders.service import Service, tell_settings, untold
from tests.unit.tasks.test_intake import ID, KNOWN, Line


class Machine:
    def __init__(self) -> None:
        self.line = Line(state=KNOWN)
        self.happened: list[tuple[str, str]] = []
        self.service = Service(
            "gw-1", self.line.recorder, apply=self.apply, revoke=self.revoke,
            restart=lambda cause: self.happened.append(("restart", cause)),
        )  # fmt: skip

    async def apply(self, toml: str) -> str:
        if "broker" in toml:
            raise SettingsError("broker: only a technician can set this")
        self.happened.append(("apply", toml))
        return "ab" * 32

    async def revoke(self, device: str) -> None:
        self.happened.append(("revoke", device))


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_settings_are_applied_reported_and_begun_with_after_the_reply(machine: Machine) -> None:
    done = asyncio.run(machine.service.apply_settings(Order("config.apply", {"toml": "x"}, "boss")))
    assert (done.outcome, done.result) == ("done", {"sha256": "ab" * 32})
    assert machine.happened == [("apply", "x")], "no restart before the reply"
    assert [(record.type, record.data) for record in machine.line.records] == [
        ("config.changed", {"sha256": "ab" * 32})
    ]
    done.then()
    assert machine.happened[1:] == [("restart", "settings")]


def test_settings_of_which_c5_was_not_told_for_a_power_cut_came_between_are_told_at_the_start(
    machine: Machine,
) -> None:
    digest, empty = "ab" * 32, hashlib.sha256(b"").hexdigest()
    assert untold("gw-1", (), None) is None, "none was ever applied"
    assert untold("gw-1", (), digest) == digest
    tell_settings("gw-1", machine.line.recorder, digest)
    notes = machine.line.store.entries[-1].notes
    assert untold("gw-1", notes, digest) is None
    assert untold("gw-1", notes, None) == empty, "taken back"
    tell_settings("gw-1", machine.line.recorder, empty)
    assert untold("gw-1", machine.line.store.entries[-1].notes, None) is None
    assert [record.data for record in machine.line.records] == [{"sha256": digest}, {"sha256": empty}]


def test_settings_that_are_refused_change_and_restart_nothing(machine: Machine) -> None:
    with pytest.raises(SettingsError):
        asyncio.run(machine.service.apply_settings(Order("config.apply", {"toml": "[[broker]]"}, "boss")))
    assert (machine.happened, machine.line.records) == ([], [])


@pytest.mark.parametrize("arguments", [{}, {"toml": 7}, {"toml": b"x"}])
def test_settings_are_a_text(machine: Machine, arguments: dict[str, Any]) -> None:
    done = asyncio.run(machine.service.apply_settings(Order("config.apply", arguments, "boss")))
    assert (done.outcome, machine.happened) == ("failed", [])


def test_a_device_is_revoked_by_its_id(machine: Machine) -> None:
    done = asyncio.run(machine.service.revoke_device(Order("device.revoke", {"device": ID}, "boss")))
    assert done == Done("done", noted={"device": ID}, then=done.then)
    assert machine.happened == [("revoke", ID)]
    assert asyncio.run(machine.service.revoke_device(Order("device.revoke", {}, "boss"))).outcome == "failed"


def test_a_restart_is_answered_before_it_begins(machine: Machine) -> None:
    answers: list[Done] = []
    machine.service.restart(Order("gateway.restart", {}, "boss"), answers.append)
    assert ([done.outcome for done in answers], machine.happened) == (["done"], [])
    answers[0].then()
    assert machine.happened == [("restart", "command")]
