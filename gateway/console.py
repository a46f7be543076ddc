"""The control socket: the technician's command line speaks with the running service.

One JSON document on a line each way. The socket is a file of mode 0660 in the state folder: who may reach it is
decided by the file system, to the service's user and group and to root.
"""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from gateway.errors import C5Error, StoreError
from gateway.text import _

log = logging.getLogger(__name__)

FILE: Final = "control.sock"
REQUEST_MAX: Final = 16_384  # bytes
ANSWER_MAX: Final = 4 * 1024 * 1024  # bytes: a status with every device
PATIENCE: Final = 10.0  # seconds for either side

Handle = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@contextlib.asynccontextmanager
async def serve(state_dir: Path, handle: Handle) -> AsyncIterator[None]:
    """Answer requests while inside; what `handle` raises as C5Error goes back as what happened and what to do."""
    path = state_dir / FILE

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        refused = (OSError, TimeoutError, asyncio.LimitOverrunError, asyncio.IncompleteReadError)
        with contextlib.closing(writer), contextlib.suppress(*refused):
            async with asyncio.timeout(PATIENCE):
                line = await reader.readuntil(b"\n")
                answered = await _answered(line, handle)
                writer.write(json.dumps(answered).encode() + b"\n")
                await writer.drain()

    try:
        path.unlink(missing_ok=True)  # of a service that was killed; two services can't be: the outbox is locked
        server = await asyncio.start_unix_server(answer, path, limit=REQUEST_MAX)
    except OSError as error:
        raise StoreError(
            _("the control socket {path} can't be made: {error}").format(path=path, error=error.strerror),
            _("Check that state_dir exists, is writable, and that its path is shorter than 90 characters."),
        ) from error
    try:
        path.chmod(0o660)
        yield
    finally:
        server.close()
        with contextlib.suppress(OSError):  # a disk that died meanwhile
            path.unlink(missing_ok=True)


async def _answered(line: bytes, handle: Handle) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        return {"error": _("not a request"), "hint": ""}
    try:
        return await handle(request)
    except C5Error as error:
        return {"error": error.what, "hint": error.hint}
    except Exception:
        log.exception("a request of the command line failed")
        return {"error": _("the service failed on this request"), "hint": _("See its log: journalctl -u c5-gateway")}


def ask(state_dir: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """Ask the running service; None if none is running. Raises C5Error with what it answered, if that is an error."""
    received = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect(str(state_dir / FILE))
            client.sendall(json.dumps(request).encode() + b"\n")
            while not received.endswith(b"\n") and len(received) < ANSWER_MAX:
                piece = client.recv(65_536)
                if not piece:
                    break
                received += piece
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except PermissionError as error:
            raise C5Error(
                _("you may not speak with the running service"),
                _("Run this with sudo, or join its group (c5-gateway)."),
            ) from error
        except OSError as error:
            raise C5Error(
                _("the running service does not answer: {error}").format(error=error),
                _("See what it says: journalctl -u c5-gateway -n 50"),
            ) from error
    try:
        answer: dict[str, Any] = json.loads(received)
    except ValueError as error:
        raise C5Error(
            _("the running service ended the talk without an answer"),
            _("It may be restarting: try again, or see what it says: journalctl -u c5-gateway -n 50"),
        ) from error
    if "error" in answer:
        raise C5Error(answer["error"], answer["hint"])
    return answer
