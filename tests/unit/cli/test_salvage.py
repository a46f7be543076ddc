"""What `outbox salvage` tells a technician of the file that he names."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from gateway import aside
from gateway.cli import salvage
from gateway.clock import SystemClock
from gateway.config import load
from gateway.credentials import identity
from gateway.delivery.item import Entry, Item
from gateway.errors import C5Error
from gateway.event import Event, Lane
from gateway.outbox.inspect import FILE
from gateway.outbox.store import Outbox
from gateway.signing.chain import Chain
from gateway.signing.chains import encode_chain
from gateway.signing.cose import Signer
from gateway.signing.record import Clock
from gateway.status import refuse_own
from tests.support.memory import NOW_US


@pytest.mark.parametrize("suffixes", [("",), ("", "-wal")])
def test_an_empty_file_is_said_to_be_empty(settings: Path, tmp_path: Path, suffixes: tuple[str, ...]) -> None:
    for suffix in suffixes:
        (tmp_path / f"card.db{suffix}").touch()
    with pytest.raises(C5Error) as raised:
        salvage.run(settings, tmp_path / "card.db", as_json=False)
    assert raised.value.what == f"{tmp_path / 'card.db'} is empty"
    assert "-wal" in raised.value.hint
    assert not (tmp_path / "state" / FILE).exists(), "nothing was begun"


async def _fill(settings: Path) -> None:
    """Make a store with an alarm in it."""
    table = load(settings)
    own, _tls = identity(table, SystemClock())
    box = await Outbox.open(table.gateway.state_dir, b"abcd", encode_chain(own.chain))
    signer = Signer(own.key, own.identity.thumbprint)
    signed = Chain("gw-1", box.start.epoch, Lane.ALARM, None, signer).sign(
        Event("panic.pressed", "0c500042"), NOW_US, Clock(2, 5, 0), None
    )
    stored = asyncio.Event()
    box.append(Entry(Item(Lane.ALARM, box.start.ordinal, 1, signed.wire), signed.digest, stored=stored.set))
    await stored.wait()
    await box.close()


def _set_aside(settings: Path, name: str) -> Path:
    """Make a store with an alarm in it, and give it another name."""
    asyncio.run(_fill(settings))
    store = settings.parent / "state" / FILE
    with contextlib.closing(sqlite3.connect(store)) as connection:  # connections that close at once may leave a log
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    store.rename(card := store.with_name(name))
    for suffix in ("-wal", "-shm"):
        store.with_name(f"{FILE}{suffix}").unlink(missing_ok=True)
    card.with_name(f"{name}-wal").touch()
    return card


def test_what_was_salvaged_is_named_with_all_that_belongs_to_it(
    settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = _set_aside(settings, "card.db")
    assert salvage.run(settings, card, as_json=False)
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"Nothing in {card}, {card}-wal is needed any more: delete it, or leave it as it is."
    )


def test_what_was_set_aside_is_over_once_the_service_has_salvaged_it(
    settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = _set_aside(settings, "outbox-corrupt-20261122T010000Z.db")
    store = card.with_name(FILE)
    assert salvage.run(settings, card, as_json=False)
    assert "needed" not in capsys.readouterr().out, "the service looks through it at its next start"
    assert aside.over(store) == []
    aside.done(card)
    left = card.with_name("outbox-salvaged-20261122T010000Z.db")
    assert aside.over(store) == aside.belonging(left) == [left, left.with_name(f"{left.name}-wal")]


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("read", ["", "-wal"])
def test_the_store_in_use_is_read_under_no_name(settings: Path, tmp_path: Path, suffix: str, read: str) -> None:
    asyncio.run(_fill(settings))
    store = settings.parent / "state" / FILE
    own = store.with_name(f"{FILE}{suffix}")
    own.touch()
    (tmp_path / "card.db").write_bytes(b"x")
    (tmp_path / f"card.db{read}").unlink(missing_ok=True)
    (tmp_path / f"card.db{read}").symlink_to(own)
    for file in (own, tmp_path / "card.db"):
        with pytest.raises(C5Error, match="no file that can be salvaged"):
            salvage.run(settings, file, as_json=False)
        with pytest.raises(C5Error, match="no file that can be salvaged"):
            refuse_own(store, file)
