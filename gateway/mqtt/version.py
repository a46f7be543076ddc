"""In which version of MQTT a broker is spoken to, where the settings leave that open.

MQTT 5 is asked for first, and 3.1.1 where the broker refuses it (`Connection.open`). What came of that is remembered,
so that not every connection is tried twice, until the broker can't be reached, this program ends, or an hour has
passed: a broker that was updated meanwhile is spoken to in the newer one with the next connection.
"""

import logging
from typing import Final, Literal

from gateway.mqtt.explain import explain_older
from gateway.mqtt.values import Protocol

log = logging.getLogger(__name__)

REMEMBERED: Final = 3600.0  # seconds


class Version:
    """What is known of one broker. `asked` is the setting. Times are monotonic seconds."""

    def __init__(self, broker: str, asked: Literal["auto", "5", "3.1.1"]) -> None:
        self._broker = broker
        self._asked = asked
        self._older_until: float | None = None
        self._told = False

    def ask(self, now: float) -> Literal["auto", "5", "3.1.1"]:
        """Return what to ask for now."""
        if self._older_until is not None and now < self._older_until:
            return "3.1.1"
        return self._asked

    def spoken(self, protocol: Protocol, now: float) -> None:
        """Note what a connection came to speak."""
        if self._asked != "auto" or protocol == "5":
            self._older_until, self._told = None, False
            return
        if self._older_until is None or now >= self._older_until:
            self._older_until = now + REMEMBERED
        if not self._told:
            self._told = True
            log.warning("%s: %s. %s", self._broker, *explain_older())

    def failed(self) -> None:
        """Note that it can't be reached: who knows what comes back."""
        self._older_until = None
