"""What a failed connection means to the technician who reads of it: what happened, and what to do about it."""

import errno
import os
import socket
import ssl
from typing import Final

from gateway import tls
from gateway.text import _

# Reason codes of a CONNACK (MQTT 5.0, 3.2.2.2); paho gives those of 3.1.1 as their equals.
_UNSUPPORTED_VERSION: Final = 0x84
_CLIENT_ID_NOT_VALID: Final = 0x85
_NOT_ALLOWED: Final = frozenset({0x86, 0x87, 0x8A, 0x8C})
_BUSY: Final = frozenset({0x88, 0x89, 0x97, 0x9F})
_NO_WAY_THERE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


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
                "The broker's log says whether it was the broker; if not, check the link."
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
    if code == _UNSUPPORTED_VERSION:
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
    return _("it refused the connection ({code})").format(code=number), _("The broker's log says why.")
