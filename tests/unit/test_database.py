import asyncio
import sqlite3
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from gateway.database import Database, in_use, open_read_only
from gateway.errors import DamagedError, StoreError

SCHEMA = ["CREATE TABLE word (text TEXT NOT NULL UNIQUE);"]


def _insert(connection: sqlite3.Connection, text: str) -> None:
    connection.execute("INSERT INTO word VALUES (?)", (text,))


def _mistake(_connection: sqlite3.Connection) -> None:
    raise KeyError


def _words(connection: sqlite3.Connection) -> list[str]:
    return [text for (text,) in connection.execute("SELECT text FROM word ORDER BY rowid")]


def test_what_was_awaited_is_there_after_opening_again(tmp_path: Path) -> None:
    async def story() -> list[str]:
        store = await Database.open(tmp_path / "a.db", SCHEMA)
        await asyncio.gather(*(store.submit(partial(_insert, text=f"word {n}")) for n in range(5000)))
        await store.close()
        store = await Database.open(tmp_path / "a.db", SCHEMA)
        words = await store.read(_words)
        await store.close()
        return words

    assert asyncio.run(story()) == [f"word {n}" for n in range(5000)]
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o600


def test_a_wrong_request_fails_alone(tmp_path: Path) -> None:
    async def story() -> tuple[list[BaseException | None], list[str]]:
        store = await Database.open(tmp_path / "a.db", SCHEMA)
        texts = ["one", "two", "one", "three"]
        results = await asyncio.gather(
            *(store.submit(partial(_insert, text=text)) for text in texts),
            store.submit(_mistake),
            return_exceptions=True,
        )
        words = await store.read(_words)
        await store.close()
        return results, words

    results, words = asyncio.run(story())
    assert words == ["one", "two", "three"]
    assert [type(result) for result in results] == [type(None), type(None), StoreError, type(None), KeyError]


@pytest.mark.parametrize(
    "request_",
    ["SELECT * FROM wrod", "SELECT txet FROM word", "INSERT INTO word VALUES (1, 2)", "CREATE TABLE word (a)"],
)
def test_a_mistake_of_ours_is_not_taken_for_damage(tmp_path: Path, request_: str) -> None:
    async def story() -> list[type]:
        store = await Database.open(tmp_path / "a.db", SCHEMA)
        ask = store.submit if "word" in request_ and not request_.startswith("SELECT") else store.read
        results = await asyncio.gather(ask(lambda c: c.execute(request_)), return_exceptions=True)
        await store.close()
        return [type(result) for result in results]

    assert asyncio.run(story()) == [StoreError]


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE word",
        "ALTER TABLE word RENAME COLUMN text TO txet",
        "INSERT INTO word VALUES (CAST(x'ff' AS TEXT))",
    ],
)
def test_a_schema_or_a_text_that_is_not_ours_is_damage(tmp_path: Path, damage: str) -> None:
    async def story() -> list[type]:
        store = await Database.open(tmp_path / "a.db", SCHEMA)
        await store.submit(lambda connection: connection.execute(damage))
        results = await asyncio.gather(store.read(_words), return_exceptions=True)
        await store.close()
        return [type(result) for result in results]

    assert asyncio.run(story()) == [DamagedError]


def test_a_second_process_on_one_store_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        store = await Database.open(tmp_path / "a.db", SCHEMA)
        with pytest.raises(StoreError, match="in use by another process"):
            await Database.open(tmp_path / "a.db", SCHEMA)
        assert in_use(tmp_path / "a.db")
        looking = open_read_only(tmp_path / "a.db")
        assert _words(looking) == []
        looking.close()
        await store.close()
        assert not in_use(tmp_path / "a.db")

    asyncio.run(story())


def test_a_newer_store_is_left_alone(tmp_path: Path) -> None:
    async def story() -> None:
        await (await Database.open(tmp_path / "a.db", [*SCHEMA, "CREATE TABLE newer (x);"])).close()
        with pytest.raises(StoreError, match="newer software"):
            await Database.open(tmp_path / "a.db", SCHEMA)

    asyncio.run(story())


def test_reads_go_on_while_a_commit_stalls(tmp_path: Path) -> None:
    async def story() -> list[str]:
        store = await Database.open(tmp_path / "a.db", SCHEMA)
        await store.submit(lambda c: _insert(c, "before"))
        gate = threading.Event()

        def stall(connection: sqlite3.Connection) -> None:
            gate.wait()
            _insert(connection, "after")

        stalled = store.submit(stall)
        words = await store.read(_words)
        gate.set()
        await stalled
        await store.close()
        return words

    assert asyncio.run(story()) == ["before"]


def test_no_other_process_takes_an_open_store_for_a_closed_one(tmp_path: Path) -> None:
    """SQLite cuts the memory that its processes share from under one whose locks are gone: a bus error, and no more."""
    asked = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"

    async def main() -> None:
        for start in range(2):
            store = await Database.open(tmp_path / "a.db", SCHEMA)
            await store.submit(partial(_insert, text=f"start {start}"))
            shared = [sys.executable, "-c", asked, str(tmp_path / "a.db-shm")]
            said = await asyncio.to_thread(subprocess.run, shared, check=False, capture_output=True)
            assert b"BlockingIOError" in said.stderr
            await store.close()

    asyncio.run(main())
