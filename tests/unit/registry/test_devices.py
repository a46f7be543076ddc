"""The file of enrolled devices: private, replaced as a whole, shared by the service and the command line."""

import json
import threading
from pathlib import Path

import pytest

from gateway.errors import StoreError
from gateway.event import Position
from gateway.registry.devices import FILE, Device, EnrolmentError, Registry

LOBBY = Device("0c500042", "C5-BTN", bytes(range(16)), "lobby", Position(81_570_000, -776_900_000, 500))
GATE = Device("0c500043", "C5-BTN", bytes(16))


def test_what_is_enrolled_is_there_for_the_next_who_opens_it_and_for_the_service_s_user_alone(tmp_path: Path) -> None:
    assert Registry(tmp_path).devices() == {}
    Registry(tmp_path).enrol(LOBBY)
    Registry(tmp_path).enrol(GATE)
    assert Registry(tmp_path).devices() == {LOBBY.id: LOBBY, GATE.id: GATE}
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {FILE: 0o600}


def test_a_key_is_in_no_text_made_of_a_device() -> None:
    assert "key" not in repr(LOBBY)
    assert LOBBY.key.hex() not in repr(LOBBY)


def test_the_same_key_again_changes_name_and_position_and_another_key_changes_nothing(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.enrol(LOBBY)
    moved = Device(LOBBY.id, LOBBY.model, LOBBY.key, "gate")
    registry.enrol(moved)
    assert registry.devices() == {LOBBY.id: moved}
    with pytest.raises(EnrolmentError, match="another key") as raised:
        registry.enrol(Device(LOBBY.id, LOBBY.model, bytes(16)))
    assert f"revoke {LOBBY.id}" in raised.value.hint
    assert registry.devices() == {LOBBY.id: moved}


def test_a_revoked_device_is_gone_and_one_that_is_not_enrolled_can_t_be_revoked(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.enrol(LOBBY)
    assert registry.revoke(LOBBY.id) == LOBBY
    assert registry.devices() == {}
    with pytest.raises(EnrolmentError, match="not enrolled"):
        registry.revoke(LOBBY.id)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"devices": [{"id": 1}]}', b"\xff", b'{"devices": 5}'])
def test_a_file_that_can_t_be_read_is_named_and_never_written_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    registry = Registry(tmp_path)
    with pytest.raises(StoreError, match=FILE):
        registry.devices()
    with pytest.raises(StoreError, match=FILE):
        registry.enrol(LOBBY)
    assert (tmp_path / FILE).read_bytes() == content


def test_a_folder_that_can_t_be_made_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="can't be written") as raised:
        Registry(tmp_path / "file" / "folder").enrol(LOBBY)
    assert raised.value.hint


def test_two_who_enrol_at_once_lose_nothing(tmp_path: Path) -> None:
    def enrol(first: int) -> None:
        for number in range(first, first + 10):
            Registry(tmp_path).enrol(Device(f"{number:08x}", "C5-BTN", bytes(16)))

    threads = [threading.Thread(target=enrol, args=(start,)) for start in (100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Registry(tmp_path).devices()) == 30
    assert len(json.loads((tmp_path / FILE).read_text())["devices"]) == 30


def test_a_folder_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    Registry(tmp_path / "state" / "deep").enrol(LOBBY)
    assert Registry(tmp_path / "state" / "deep").devices() == {LOBBY.id: LOBBY}
