"""Numbers that outlive the board."""

from pathlib import Path

import pytest

from firmware_sim.flash import FileFlash, MemoryFlash, Reserved


def test_what_was_stored_is_read_by_the_next_board(tmp_path: Path) -> None:
    flash = FileFlash(tmp_path / "flash")
    assert flash.load() == Reserved(0, 0)
    flash.store(Reserved(64, 3))
    assert FileFlash(tmp_path / "flash").load() == Reserved(64, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["flash"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"{}x", b"[]", b'{"counter": -1, "event": 0}', b'{"counter": true, "event": 0}', b'{"x": 1}'],
)
def test_a_damaged_file_is_not_read_as_new(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "flash").write_bytes(content)
    assert FileFlash(tmp_path / "flash").load() is None


def test_memory_keeps_what_it_was_given() -> None:
    flash = MemoryFlash()
    flash.store(Reserved(128, 9))
    assert flash.load() == Reserved(128, 9)
    assert MemoryFlash(None).load() is None
