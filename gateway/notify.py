"""Tell systemd how the service is doing: sd_notify(3), a datagram to the socket that `NOTIFY_SOCKET` names.

Without that variable (a terminal, a test) nothing is sent and nothing is said. A message that can't be delivered is
logged and forgotten: telling must never stop the gateway. What counts as progress is the caller's affair:
`watchdog()` is called when a loop came round, never by a timer alone.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import logging
import os
import socket

_log = logging.getLogger(__name__)


def ready() -> None:
    """Say that the service has started: records are accepted from now on."""
    _send("READY=1")


def status(text: str) -> None:
    """Give the line that `systemctl status` shows."""
    _send("STATUS=" + " ".join(text.split()))


def watchdog() -> None:
    """Say that there was progress since the last time."""
    _send("WATCHDOG=1")


def stopping() -> None:
    """Say that the service is on its way down."""
    _send("STOPPING=1")


def watchdog_interval() -> float | None:
    """Return every how many seconds `watchdog` is due: half of what systemd allows; None if it doesn't watch us."""
    limit = os.environ.get("WATCHDOG_USEC", "")
    watched = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not limit.isdecimal() or int(limit) == 0 or watched != str(os.getpid()):
        return None
    return int(limit) / 2_000_000


def _send(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract namespace: no file
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as channel:
            channel.sendto(message.encode(), address)
    except OSError as error:
        _log.warning("service manager not told", extra={"error": str(error)})
