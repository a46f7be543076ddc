"""paho-mqtt as we set it up: no reconnecting, no queue, and properties that are packed once."""

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.mqtt.stream import PACKET_MAX
from gateway.mqtt.values import Broker, Protocol, Will


@dataclass(frozen=True, slots=True)
class Terms:
    """What we ask of the broker, whichever version of MQTT it speaks."""

    client_id: str
    keepalive: int
    will: Will | None
    session_expiry: int  # 0: a clean start
    receive_maximum: int
    manual_ack: bool


def new_client(terms: Terms, protocol: Protocol) -> paho.Client:
    """Return a client for one connection."""
    modern = protocol == "5"
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        terms.client_id,
        clean_session=None if modern else terms.session_expiry == 0,
        protocol=MQTTProtocolVersion.MQTTv5 if modern else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
        manual_ack=terms.manual_ack,
    )
    client.max_inflight_messages = 0  # no limit of paho's own: it would queue behind it, and search that queue
    if terms.will:
        client.will_set(terms.will.topic, terms.will.payload, qos=1, retain=terms.will.retain)
    return client


def connect(client: paho.Client, broker: Broker, terms: Terms, protocol: Protocol) -> None:
    """Dial and write CONNECT; blocks. Raises what the network raises."""
    if protocol == "3.1.1":
        client.connect(broker.host, broker.port, terms.keepalive)
        return
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    properties.SessionExpiryInterval = terms.session_expiry
    properties.ReceiveMaximum = terms.receive_maximum
    properties.MaximumPacketSize = PACKET_MAX
    client.connect(
        broker.host, broker.port, terms.keepalive, clean_start=terms.session_expiry == 0, properties=properties
    )


class _Packed(Properties):
    """Properties as the bytes that they become: paho packs them anew for each message, which takes 20 µs."""

    def __init__(self, packed: bytes) -> None:
        self.__dict__["packed"] = packed

    def pack(self) -> bytes:
        return cast("bytes", self.__dict__["packed"])


@lru_cache(maxsize=16)
def publish_properties(content_type: str | None, user_properties: tuple[tuple[str, str], ...]) -> Properties | None:
    """Return the properties of a publish, packed."""
    if content_type is None and not user_properties:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
    if content_type is not None:
        properties.ContentType = content_type
    if user_properties:
        properties.UserProperty = list(user_properties)
    return _Packed(properties.pack())  # type: ignore[no-untyped-call]  # paho's
