"""The centre's end of MQTT: every broker's arrivals in, receipts and heartbeats out."""

from gateway.c5.receiver.receiver import Receiver, Sink

__all__ = ["Receiver", "Sink"]
