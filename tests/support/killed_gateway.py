"""`c5-gateway run` that kills itself with SIGKILL at a point that the environment names.

    C5_KILL_AT=<point>:<n>    at the n-th time that the point is reached; without it, nothing is changed
    C5_KILL_TOLD=<file>       where the point's name is written first: the proof that it was that point

The product has no hooks: the seams are wrapped here, before its own `main` runs. The points, in the order of a press:

    epoch        the start's epoch is written, not committed     signed       signed; neither published nor stored
    wired        everything made, nothing started                unpublished  just before an alarm is published
    started      `gateway.started` signed, nothing connected     published    just after; the store hasn't it yet
    uncommitted  an alarm is in the transaction, not committed   untold       durable and known; the ACK isn't written
    committed    durable; the event loop doesn't know it yet     told         just after the ACK of stage 1 was written
    receipted    an alarm's receipt is judged, not yet stored    forgotten    it is stored; the device isn't told yet
"""

import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gateway import database
from gateway.app import App
from gateway.cli.main import main
from gateway.event import Lane
from gateway.mqtt import Connection
from gateway.outbox.store import Outbox
from gateway.signing.chain import Chain
from gateway.tasks.intake import STORED, Intake

POINTS = {
    "epoch", "wired", "started", "signed", "unpublished", "published", "uncommitted", "committed", "untold", "told",
    "receipted", "forgotten",
}  # fmt: skip
Told = Callable[[set[str]], None]
When = Callable[..., bool]


class Killer:
    def __init__(self, at: str, told: Path) -> None:
        self._point, _, times = at.partition(":")
        self._left = int(times)
        self._told = told
        self._lock = threading.Lock()
        assert self._point in POINTS, self._point

    def reached(self, point: str) -> None:
        if point != self._point:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._told.write_text(point)
                os.kill(os.getpid(), signal.SIGKILL)


class Writer:
    """The store's writing connection; tells what each transaction is about when it commits."""

    def __init__(self, connection: sqlite3.Connection, before: Told, after: Told) -> None:
        self._connection = connection
        self._before = before
        self._after = after
        self._about: set[str] = set()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if sql.startswith("BEGIN"):
            self._about.clear()
        elif sql.startswith("INSERT OR REPLACE INTO record") and values[0] == Lane.ALARM:
            self._about.add("alarm")
        elif sql.startswith("INSERT OR IGNORE INTO epoch"):
            self._about.add("epoch")
        elif sql.startswith("UPDATE head SET receipted") and values[0] == Lane.ALARM:
            self._about.add("receipt")
        if sql != "COMMIT":
            return self._connection.execute(sql, values)
        self._before(self._about)
        cursor = self._connection.execute(sql, values)
        self._after(self._about)
        return cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def wrap_writer(before: Told, after: Told) -> None:
    """Have every store's writing connection tell of its commits."""
    make = database.Database.__init__

    def wrapped(self: Any, path: Path, lock: int, writer: Any, reader: Any) -> None:
        make(self, path, lock, Writer(writer, before, after), reader)  # type: ignore[arg-type]  # a writer in all it does

    database.Database.__init__ = wrapped  # type: ignore[method-assign]


def _plant(killer: Killer) -> None:
    def around(owner: type, name: str, before: str = "", after: str = "", when: When = lambda *_: True) -> None:
        function = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            struck = when(*arguments)
            if struck:
                killer.reached(before)
            result = function(*arguments, **named)
            if struck:
                killer.reached(after)
            return result

        setattr(owner, name, wrapped)

    def committing(about: set[str]) -> None:
        killer.reached("uncommitted" if "alarm" in about else "epoch" if "epoch" in about else "")

    def committed(about: set[str]) -> None:
        killer.reached("committed" if "alarm" in about else "")
        killer.reached("forgotten" if "receipt" in about else "")

    wrap_writer(committing, committed)
    around(App, "_wire", after="wired")
    around(App, "_started", after="started")
    around(Chain, "sign", after="signed", when=lambda chain, *_: chain._lane is Lane.ALARM)
    around(
        Connection,
        "publish",
        before="unpublished",
        after="published",
        when=lambda _connection, topic, *_: topic.endswith("/event/alarm"),
    )
    around(
        Intake, "_stage", before="untold", after="told", when=lambda _intake, _device, _number, stage: stage == STORED
    )
    around(
        Outbox,
        "receipted",
        before="receipted",
        when=lambda _outbox, runs: any(run.lane is Lane.ALARM for run in runs),
    )


if __name__ == "__main__":
    if at := os.environ.get("C5_KILL_AT"):
        _plant(Killer(at, Path(os.environ["C5_KILL_TOLD"])))
    main()
