"""The control socket, asked by a real client on another thread."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gateway.console import FILE, REQUEST_MAX, Handle, ask, serve
from gateway.errors import C5Error, StoreError

T = TypeVar("T")


async def _echo(request: dict[str, Any]) -> dict[str, Any]:
    if request.get("do") == "fail":
        raise C5Error("it went wrong", "Mend it.")
    if request.get("do") == "bug":
        raise KeyError("bug")
    return {"heard": request}


def _with_service(folder: Path, client: Callable[[], T], handle: Handle = _echo) -> T:
    async def life() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        async with serve(folder, handle):
            return await asyncio.to_thread(client)

    return asyncio.run(life())


def _raw(folder: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.connect(str(folder / FILE))
        with contextlib.suppress(BrokenPipeError):
            client.sendall(data)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(65_536):
                received += piece
        return received


def test_a_request_is_answered_and_the_socket_is_for_its_group_alone(tmp_path: Path) -> None:
    def client() -> tuple[Any, int]:
        return ask(tmp_path, {"do": "status", "text": "ñ"}), (tmp_path / FILE).stat().st_mode & 0o777

    assert _with_service(tmp_path, client) == ({"heard": {"do": "status", "text": "ñ"}}, 0o660)
    assert not (tmp_path / FILE).exists()


def test_what_goes_wrong_in_the_service_is_told_to_the_technician(tmp_path: Path) -> None:
    with pytest.raises(C5Error, match="it went wrong") as raised:
        _with_service(tmp_path, lambda: ask(tmp_path, {"do": "fail"}))
    assert raised.value.hint == "Mend it."


def test_where_no_service_runs_there_is_no_answer_and_no_error(tmp_path: Path) -> None:
    assert ask(tmp_path, {"do": "status"}) is None
    _with_service(tmp_path, lambda: None)
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / FILE))
    assert ask(tmp_path, {"do": "status"}) is None, "of a service that was killed"
    assert _with_service(tmp_path, lambda: ask(tmp_path, {})) == {"heard": {}}


@pytest.mark.parametrize("rubbish", [b"\n", b"not json\n", b"[]\n", b"5\n", b"\xff\xfe\n", b"[" * 16_000 + b"\n"])
def test_what_is_no_request_is_answered_so(tmp_path: Path, rubbish: bytes) -> None:
    assert _with_service(tmp_path, lambda: _raw(tmp_path, rubbish)) == b'{"error": "not a request", "hint": ""}\n'


def test_a_request_without_end_is_cut_off_and_the_next_is_heard(tmp_path: Path) -> None:
    def client() -> tuple[bytes, Any]:
        return _raw(tmp_path, b"x" * (REQUEST_MAX * 4)), ask(tmp_path, {})

    assert _with_service(tmp_path, client) == (b"", {"heard": {}})


def test_a_bug_in_the_service_is_no_traceback_at_the_command_line_and_no_open_connection(tmp_path: Path) -> None:
    with pytest.raises(C5Error, match="the service failed on this request"):
        _with_service(tmp_path, lambda: ask(tmp_path, {"do": "bug"}))


def test_a_folder_that_can_hold_no_socket_is_an_error_with_a_hint(tmp_path: Path) -> None:
    async def life() -> None:
        async with serve(tmp_path / ("x" * 120), _echo):
            pass

    with pytest.raises(StoreError, match="control socket") as raised:
        asyncio.run(life())
    assert "90 characters" in raised.value.hint
