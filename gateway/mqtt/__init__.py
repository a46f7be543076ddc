"""MQTT towards one broker: what goes out and comes in, and what the broker says of it."""

from gateway.mqtt.connection import Connection
from gateway.mqtt.values import Broker, Message, Will

__all__ = ["Broker", "Connection", "Message", "Will"]
