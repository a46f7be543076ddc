"""What a technician revokes while it is lost is a trouble at C5 no more: through the whole gateway and C5's ledger."""

import asyncio

import pytest

from gateway import status
from gateway.registry.devices import Device, Registry
from gateway.signing import cose, record
from tests.simulation import world
from tests.simulation.scenario import Simulation

pytestmark = pytest.mark.timeout(300)


class Revoked(Simulation):
    """Two devices fall silent; one is revoked beside the running service, the other while it is down."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.open: list[list[str]] = []
        self.told: list[object] = []

    async def _life(self) -> None:
        self._build()
        self.centre.start()
        self.gateway.start()
        for device in self.devices:
            device.power_on(1)
        await asyncio.sleep(60)
        one, other = self.devices[0], self.devices[1]
        one.power_cut()
        other.power_cut()
        await asyncio.sleep(500)
        self._look()
        assert self.gateway.app is not None
        await status.answer(self.gateway.app, {"do": "revoke", "device": one.id})
        await asyncio.sleep(30)
        self._look()
        await self.gateway.stop()
        Registry(world.home().folder / "gateway").revoke(other.id)
        self.gateway.start()
        await asyncio.sleep(60)
        self._look()
        query = "SELECT wire FROM records WHERE type = 'command.executed' ORDER BY id"
        for (wire,) in self.centre.disk.look(self.checker._ledger_path, query):
            envelope = cose.parse(wire, "record")
            assert isinstance(envelope, cose.Envelope)
            executed = record.decode(envelope.payload)
            assert isinstance(executed, record.Record)
            self.told.append(executed.data)

    def _look(self) -> None:
        query = "SELECT detail FROM reports WHERE open AND type = 'device.lost' ORDER BY detail"
        lost = [detail for (detail,) in self.centre.disk.look(self.checker._ledger_path, query)]
        self.open.append([device.id for device in self.devices[:2] if device.id in lost])


def test_a_lost_device_that_is_revoked_at_the_gateway_is_lost_at_c5_no_more() -> None:
    site = Revoked(3)
    one, other = world.home().labels[:2]
    try:
        assert site.run().broken is None
    finally:
        registry = Registry(world.home().folder / "gateway")
        for label in (one, other):
            if label.device not in registry.devices():
                registry.enrol(Device(label.device, label.model, label.key))
    assert site.open == [[one.device, other.device], [other.device], []]
    assert site.told == [
        {"name": "device.revoke", "commander": "technician", "outcome": "done", "device": label.device}
        for label in (one, other)
    ]
