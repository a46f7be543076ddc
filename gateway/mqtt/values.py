"""What is said to and heard from a broker."""

import ssl
from dataclasses import dataclass
from typing import Literal

Protocol = Literal["5", "3.1.1"]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, and how to speak to it. Whether it may be without TLS is for the settings to judge."""

    host: str
    port: int
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us, at QoS 1, when the connection ends without a goodbye."""

    topic: str
    payload: bytes
    retain: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """What arrived. The topic is the broker's claim."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    retain: bool
