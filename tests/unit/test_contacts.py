"""Inputs by wire, as the settings have them wired up."""

import asyncio
from typing import Any, cast

from gateway.contacts import Contacts
from gateway.delivery.item import Note
from gateway.world import World
from tests.simulation import contacts
from tests.simulation.world import settings
from tests.support.memory import Store
from tests.unit.tasks.test_recorder import _recorder


def test_what_became_of_a_press_before_the_start_is_known_after_it() -> None:
    noted = {"ordinal": 1, "sequence": 7, "stage": 2}
    notes = tuple(Note("lobby-button", f"press.panic.pressed.{what}", value) for what, value in noted.items())

    async def stage() -> int:
        wired = Contacts(settings(1, 20, 1, contacts.TABLES), World())
        wired.wire(_recorder(store := Store()), store, cast("Any", None), notes)
        return wired.inputs.stage("lobby-button")

    assert asyncio.run(stage()) == 2
