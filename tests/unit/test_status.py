"""What the command line asks of a running gateway, where a card stalls or refuses."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway import status
from gateway.errors import C5Error, StoreError
from gateway.registry.devices import Device, Registry

KNOWN = Device("0c500042", "PB-1", bytes(16), "lobby", None)


class Gateway:
    """A registry on a disk, and who is heard."""

    def __init__(self, folder: Path, before: Callable[[], object]) -> None:
        self.registry = Registry(folder)
        self.registry.enrol(KNOWN)
        self.before = before
        self.heard = {KNOWN.id: KNOWN}
        self.world = SimpleNamespace(beside=self.beside)
        self.intake = SimpleNamespace(
            glance=lambda: [{"id": id_} for id_ in self.heard],
            revoke=self.heard.pop,
            enrol=lambda device: self.heard.update({device.id: device}),
        )
        self.outbox = SimpleNamespace(forget=lambda _device: None)
        self.supervise = SimpleNamespace(watch=lambda _devices: None)

    async def beside(self, call: Callable[..., Any], *args: Any) -> Any:
        if call != self.registry.devices:
            await asyncio.to_thread(self.before)
        return await asyncio.to_thread(call, *args)

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        return await status.answer(cast("Any", self), request)


def test_a_device_that_is_revoked_is_heard_no_more_though_who_asked_had_no_patience_with_the_card(
    tmp_path: Path,
) -> None:
    stalled = threading.Event()

    async def story() -> set[str]:
        gateway = Gateway(tmp_path, lambda: stalled.wait(10))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await gateway.ask({"do": "revoke", "device": KNOWN.id})
        assert set(gateway.heard) == {KNOWN.id}, "the card stalls still"
        stalled.set()
        async with asyncio.timeout(5):
            while gateway.heard:  # noqa: ASYNC110  # what is awaited has no event of its own
                await asyncio.sleep(0.01)
        return set(gateway.heard)

    assert asyncio.run(story()) == set()


def test_what_is_in_the_file_counts_though_the_change_ended_with_an_error(tmp_path: Path) -> None:
    async def story() -> None:
        def refuse() -> None:
            Registry(tmp_path).revoke(KNOWN.id)
            raise StoreError("the disk gave an error after all was written")

        gateway = Gateway(tmp_path, refuse)
        with pytest.raises(C5Error, match="after all was written"):
            await gateway.ask({"do": "revoke", "device": KNOWN.id})
        assert gateway.heard == {}

    asyncio.run(story())
