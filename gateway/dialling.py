"""How this gateway connects: to each broker with its own certificate, in the protocol that the broker speaks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gateway.clock import FieldClock
from gateway.config import GatewaySettings
from gateway.delivery import timing
from gateway.errors import LinkError
from gateway.mqtt import Broker, Connection, Message, Will
from gateway.mqtt.version import Version
from gateway.tasks.path import Dial
from gateway.text import _
from gateway.tls import client_context
from gateway.world import World

RECEIVE_MAXIMUM: Final = 64  # unacknowledged messages towards us; receipts are small and few


def dialler(settings: GatewaySettings, world: World, clock: FieldClock) -> Dial:
    """Return what opens a connection to a broker of the settings by its name, `host:port`."""
    brokers: dict[str, Broker] = {}
    versions: dict[str, Version] = {}
    for table in settings.broker:
        files = settings.identity
        context = None
        if table.tls:
            assert files.tls_certificate is not None
            assert files.tls_key is not None
            context = client_context(files.trust_anchors, files.tls_certificate, files.tls_key, clock.instead)
        name = f"{table.host}:{table.port}"
        brokers[name] = Broker(table.host, table.port, table.protocol, context)
        versions[name] = Version(name, table.protocol)

    async def dial(
        name: str,
        will: tuple[str, bytes],
        on_message: Callable[[Message], None],
        on_closed: Callable[[str], None],
    ) -> Connection:
        version, now = versions[name], world.clock.monotonic
        try:
            connection = await world.connect(
                replace(brokers[name], protocol=version.ask(now())),
                settings.gateway.id,
                keepalive=settings.delivery.keepalive,
                will=Will(*will),
                session_expiry=0,
                receive_maximum=RECEIVE_MAXIMUM,
                on_message=on_message,
                on_closed=on_closed,
                deadline=timing.dial(settings.delivery.profile),
            )
        except LinkError as error:
            version.failed()
            kept = _("Nothing is lost: what has not been delivered is kept, and sent when a broker answers.")
            raise LinkError(error.what, f"{error.hint} {kept}".strip()) from error
        version.spoken(connection.protocol, now())
        return connection

    return dial
