"""Databases that were set aside: what wasn't salvaged stays, and no name is given twice."""

from pathlib import Path

from gateway import aside

STAMP = "20261122T235959Z"
NAMES = [f"outbox-corrupt-{stamp}.db" for stamp in (STAMP, "20261123T000000Z", "20261123T000001Z")]
ROOM = 1_000_000


def _set_aside(folder: Path, content: bytes, room: int = ROOM) -> list[str]:
    store = folder / "outbox.db"
    store.write_bytes(content)
    Path(f"{store}-wal").write_bytes(content)
    return [file.name for file in aside.set_aside(store, STAMP, room)]


def _there(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def _pairs(names: list[str], contents: list[bytes]) -> dict[str, bytes]:
    return {
        f"{name}{suffix}": content for name, content in zip(names, contents, strict=True) for suffix in ("", "-wal")
    }


def test_three_that_are_set_aside_in_one_second_are_all_kept_until_they_are_salvaged(tmp_path: Path) -> None:
    contents = [b"first", b"second", b"third"]
    assert [_set_aside(tmp_path, content) for content in contents] == [[], [], []]
    assert _there(tmp_path) == _pairs(NAMES, contents)
    store = tmp_path / "outbox.db"
    assert aside.due(store) == [tmp_path / name for name in NAMES]
    for name in NAMES:
        aside.done(tmp_path / name)
    newest = [name.replace("corrupt", "salvaged") for name in NAMES[1:]]
    assert _there(tmp_path) == _pairs(newest, contents[1:]), "of what is salvaged, the newest two"


def test_a_date_that_a_salvaged_file_bears_is_not_given_again(tmp_path: Path) -> None:
    _set_aside(tmp_path, b"first")
    aside.done(tmp_path / NAMES[0])
    _set_aside(tmp_path, b"second")
    assert _there(tmp_path) == _pairs([NAMES[1], NAMES[0].replace("corrupt", "salvaged")], [b"second", b"first"])


def test_what_was_not_salvaged_is_given_up_only_for_want_of_room_the_oldest_first_and_is_named(tmp_path: Path) -> None:
    assert _set_aside(tmp_path, bytes(100)) == []
    assert _set_aside(tmp_path, bytes(100)) == []
    assert _set_aside(tmp_path, bytes(101), room=500) == [NAMES[0]], "each with its log: 200, 200 and 202"
    assert sorted(_there(tmp_path)) == sorted(_pairs(NAMES[1:], [b"", b""]))
    assert _set_aside(tmp_path, bytes(1000), room=500) == [NAMES[2], NAMES[1]], "the newest stays, however large"
