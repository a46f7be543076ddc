"""What a failed connection means to the technician who reads of it: what happened, and what to do about it."""

import errno
import os
import socket
import ssl
from typing import Final

from gateway import tls
from gateway.errors import LinkError
from gateway.mqtt.values import Broker
from gateway.text import _

# Reason codes of a CONNACK and of a broker's DISCONNECT (MQTT 5.0, 2.4); paho gives those of 3.1.1 as their equals.
UNSUPPORTED_VERSION: Final = 0x84
_CLIENT_ID_NOT_VALID: Final = 0x85
_NOT_ALLOWED: Final = frozenset({0x86, 0x87, 0x8C})
_BANNED: Final = 0x8A
_BUSY: Final = frozenset({0x88, 0x89, 0x9F})
_SHUTTING_DOWN: Final = 0x8B
_SILENT: Final = 0x8D
_TAKEN_OVER: Final = 0x8E
_TOPIC: Final = frozenset({0x8F, 0x90})
_TOO_LARGE: Final = 0x95
_TOO_MUCH: Final = frozenset({0x93, 0x96})
_QUOTA: Final = 0x97
_BY_HAND: Final = 0x98
_PAYLOAD: Final = 0x99
_NO_RETAIN: Final = 0x9A
NO_QOS: Final = 0x9B
_MOVED: Final = frozenset({0x9C, 0x9D})
_NO_WAY_THERE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


def link_error(broker: Broker, what: str, hint: str = "") -> LinkError:
    """Return the error of a broker that can't be used, with what to do."""
    return LinkError(f"{broker}: {what}", hint)


def explain_failure(error: BaseException | None) -> tuple[str, str]:
    """Say what a connection died of, or why there was none; None: its end, with no word of why."""
    match error:
        case ssl.SSLError():
            return tls.explain(error)
        case socket.gaierror() | UnicodeError():
            return _("its name can't be resolved"), _("Check the host name, and this machine's network and DNS.")
        case ConnectionRefusedError():
            return _("nothing listens there"), _("Check that the broker is running, and its port.")
        case TimeoutError():
            return (
                _("no answer in time"),
                _("Check the link (cable, SIM card, antenna) and that no firewall stands between."),
            )
        case OSError(errno=number) if number in _NO_WAY_THERE:
            return _("there is no way to it from here"), _("Check this machine's network: it has no route to there.")
        case None | ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return _("the connection was cut"), _(
                "The broker's log says whether it was the broker; if not, check the link. Again and again, with "
                "`already connected` there: a second machine has this one's certificates."
            )
        case OSError(errno=None):
            return str(error), ""
        case OSError(errno=number) if number is not None:
            return os.strerror(number), _("Check this machine's network.")
        case _:
            return str(error), ""


def explain_refusal(code: int) -> tuple[str, str]:
    """Say why a broker that was reached does not want us."""
    number = f"0x{code:02X}"
    if code == UNSUPPORTED_VERSION:
        return _("it does not speak this version of MQTT"), _('Set the broker\'s protocol to "auto".')
    if code == _CLIENT_ID_NOT_VALID:
        return _("it refused the client id"), _("It must allow the gateway's id as the client id.")
    if code in _NOT_ALLOWED:
        return (
            _("it does not let this machine in ({code})").format(code=number),
            _("The broker must allow the name in this machine's TLS certificate."),
        )
    if code in _BUSY:
        return _("it takes no more connections now ({code})").format(code=number), _("It is tried again by itself.")
    what, hint = _explain(code)
    return (what or _("it refused the connection")) + f" ({number})", hint or _("The broker's log says why.")


def explain_end(code: int, name: str) -> tuple[str, str]:
    """Say why a broker ended the connection; `name` is the reason code's own."""
    number = f"0x{code:02X}"
    if code in _NOT_ALLOWED:
        what, hint = (
            _("what was sent or asked for is not allowed to it"),
            _("The broker's access list must allow this gateway's topics to the name in its TLS certificate."),
        )
    elif code in _BUSY:
        what, hint = _("the broker has too much to do"), _("It is tried again by itself.")
    else:
        what, hint = _explain(code)
    return _("it ended the connection: {reason} ({code})").format(reason=what or name.lower(), code=number), hint


def _explain(code: int) -> tuple[str, str]:
    """Say what a code means whenever it comes, and what to do; nothing where its name must do."""
    if code == _TAKEN_OVER:
        return _("another connection came with the same identity"), _(
            "A second machine has this one's certificates (stop it, and have new ones issued), or two of the brokers "
            "in the settings are one and the same: name it once."
        )
    if code == _BANNED:
        return _("this machine is banned there"), _("Ask who runs the broker why, and to let it in again.")
    if code == _SHUTTING_DOWN:
        return _("the broker is shutting down"), _("It is tried again by itself.")
    if code == _SILENT:
        return _("it heard nothing for too long"), _("Check the link: what is sent does not reach the broker.")
    if code in _TOPIC:
        return _("the broker doesn't take our topics"), _("It must allow every topic below c5/v1; ask who runs it.")
    if code == _TOO_LARGE:
        return _("a message is larger than the broker takes"), _("It must take messages of 16 KiB; ask who runs it.")
    if code in _TOO_MUCH:
        return _("more was sent than the broker takes at once"), _("Ask who runs it to allow this gateway more.")
    if code == _QUOTA:
        return _("this machine's quota there is used up"), _("Ask who runs the broker for more.")
    if code == _BY_HAND:
        return _("somebody ended it by hand"), _("Ask who runs the broker; it is tried again by itself.")
    if code == _PAYLOAD:
        return _("the broker checks the form of messages, and refuses ours"), _(
            "Records are CBOR: ask who runs it to turn that check off."
        )
    if code == _NO_RETAIN:
        return _("it keeps no retained messages"), _("C5 needs them; use a broker, or a setting of it, that does.")
    if code == NO_QOS:
        return _("it acknowledges no message (QoS 0 alone)"), _("Use a broker that supports QoS 1.")
    if code in _MOVED:
        return _("the broker has moved"), _("Ask who runs it for the new address, and correct the settings.")
    return "", ""


def explain_older() -> tuple[str, str]:
    """Say what is lost by MQTT 3.1.1, where nobody asked for it."""
    return _(
        "the broker speaks MQTT 3.1.1 alone: what it refuses looks delivered until no receipt comes, it can't say that "
        "nobody is subscribed, why it ends a connection, or how much it takes at once"
    ), _('Have a broker with MQTT 5, or set its protocol to "3.1.1" if this is meant.')
