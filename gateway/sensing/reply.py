"""What can become of a question to a Modbus unit, and how it is said to the technician who has to mend it.

The five are told apart because each is mended elsewhere: in the profile, at the unit, at the wires, at the adapter.
"""

from dataclasses import dataclass
from typing import Final

from gateway.text import _

EXCEPTIONS: Final = {  # Modbus Application Protocol Specification V1.1b3, section 7
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target failed to respond",
}
ABSENT: Final = frozenset({10, 11})  # what a gateway answers in the place of a unit that is silent
BUSY: Final = frozenset({5, 6})  # it can't just now


@dataclass(frozen=True, slots=True)
class Answer:
    """What was read, as many values as were asked for; after a write nothing."""

    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Exceptional:
    """The unit understood, and refuses."""

    code: int


@dataclass(frozen=True, slots=True)
class Silent:
    """Not one byte came."""


@dataclass(frozen=True, slots=True)
class Garbled:
    """Bytes came, and were no answer. `echo`: they began with our own question."""

    echo: bool = False


@dataclass(frozen=True, slots=True)
class Gone:
    """The line or the connection is gone."""

    reason: str


Reply = Answer | Exceptional | Silent | Garbled | Gone
Fault = Exceptional | Silent | Garbled | Gone


def words(fault: Fault) -> str:
    """Say what is wrong and where to look."""
    match fault:
        case Exceptional(code) if code in ABSENT:
            return _("the Modbus TCP gateway before it gets no answer from it: is it powered, is its address right?")
        case Exceptional(code):
            text = _("it answers with exception {code} ({name}): does its profile fit this model?")
            return text.format(code=code, name=EXCEPTIONS.get(code, "?"))
        case Silent():
            return _("no answer: is it powered, are its address, baud rate and parity right, are A and B swapped?")
        case Garbled(echo=True):
            return _("only our own question is heard: the adapter echoes, switch its echo off; or the unit is silent")
        case Garbled():
            return _("answers come damaged (bad CRC): termination, a loose wire, or a second unit with this address")
        case Gone(reason):
            return reason
