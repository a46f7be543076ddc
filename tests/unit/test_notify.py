"""The service manager's socket, with a real one at the other end."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import notify


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(5)
        yield channel


def test_each_message_is_one_datagram(manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    notify.ready()
    notify.status("2 brokers, 0 waiting")
    notify.watchdog()
    notify.stopping()
    assert [manager.recv(100) for _ in range(4)] == [
        b"READY=1",
        b"STATUS=2 brokers, 0 waiting",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


def test_an_abstract_socket_is_reached(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"c5-notify-{os.getpid()}"
    manager.bind("\0" + name)
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
    notify.ready()
    assert manager.recv(100) == b"READY=1"


def test_a_status_cannot_smuggle_a_second_message(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    notify.status("broker said:\nSTOPPING=1")
    assert manager.recv(100) == b"STATUS=broker said: STOPPING=1"


def test_without_a_service_manager_nothing_is_sent_and_nothing_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify.ready()
    assert caplog.records == []


def test_a_service_manager_that_is_gone_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify.watchdog()
    assert [record.message for record in caplog.records] == ["service manager not told"]


def test_a_service_manager_that_does_not_read_never_blocks_the_event_loop(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    for _ in range(5000):
        notify.watchdog()
        if caplog.records:
            break
    assert caplog.records, "the socket's queue should have filled up"


@pytest.mark.parametrize(
    ("limit", "pid", "interval"),
    [
        ("30000000", None, 15.0),
        pytest.param("30000000", str(os.getpid()), 15.0, id="30000000-ours-15.0"),  # each process names it alike
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_due_at_half_of_what_systemd_allows(
    limit: str | None, pid: str | None, interval: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", limit), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_interval() == interval
