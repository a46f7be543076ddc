"""The file that an export makes: its owner's alone, whole or not at all, and never over another."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.export import write
from gateway.errors import C5Error


def test_it_is_whole_and_its_owner_s_alone(tmp_path: Path) -> None:
    file = tmp_path / "gw-1.cbor"
    assert write(file, [(b"head", 0), (b"two records", 2), (b"one", 1)]) == (3, 18)
    assert file.read_bytes() == b"headtwo recordsone"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    file = tmp_path / "gw-1.cbor"
    file.write_bytes(b"yesterday's")
    with pytest.raises(C5Error, match="exists already"):
        write(file, [(b"today's", 1)])
    assert file.read_bytes() == b"yesterday's"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failure_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    def pieces() -> Iterator[tuple[bytes, int]]:
        yield b"half", 1
        raise OSError(28, "No space left on device")

    with pytest.raises(C5Error, match="No space left on device"):
        write(tmp_path / "gw-1.cbor", pieces())
    assert list(tmp_path.iterdir()) == []


def test_until_it_is_whole_the_name_is_taken_and_empty(tmp_path: Path) -> None:
    file = tmp_path / "gw-1.cbor"
    seen: list[bytes] = []

    def pieces() -> Iterator[tuple[bytes, int]]:
        yield b"first", 1
        seen.append(file.read_bytes())
        with pytest.raises(C5Error, match="exists already"):
            write(file, [(b"another's", 1)])
        yield b"second", 1

    write(file, pieces())
    assert seen == [b""]
    assert file.read_bytes() == b"firstsecond"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(C5Error, match="can't be written: No such file"):
        write(tmp_path / "nowhere" / "gw-1.cbor", [])
