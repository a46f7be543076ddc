"""Runs of records in a table, each as first and last: what C5 has (`receipted`), what is `lost` or `declared`."""

import sqlite3

from gateway.delivery.item import Run


def merge(connection: sqlite3.Connection, table: str, run: Run) -> None:
    """Add a run to what C5 has (`receipted`) or what is `lost`, as one range with its neighbours."""
    touching = f"FROM {table} WHERE lane = ? AND ordinal = ? AND first <= ? AND last >= ?"
    place = (run.lane, run.ordinal, run.last + 1, run.first - 1)
    first, last = connection.execute(f"SELECT min(first), max(last) {touching}", place).fetchone()
    connection.execute(f"DELETE {touching}", place)  # a constant
    first = run.first if first is None else min(first, run.first)
    last = run.last if last is None else max(last, run.last)
    connection.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", (run.lane, run.ordinal, first, last))  # noqa: S608  # a constant


def take_out(connection: sqlite3.Connection, table: str, run: Run) -> None:
    """Have a run no more in `receipted`, `lost` or `declared`."""
    where = f"FROM {table} WHERE lane = ? AND ordinal = ? AND first <= ? AND last >= ?"
    touched = connection.execute(f"SELECT * {where}", (run.lane, run.ordinal, run.last, run.first)).fetchall()
    connection.execute(f"DELETE {where}", (run.lane, run.ordinal, run.last, run.first))  # a constant
    for lane, ordinal, first, last, *by in touched:
        for part in ((first, run.first - 1), (run.last + 1, last)):
            if part[0] <= part[1]:
                row = (lane, ordinal, *part, *by)
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608  # a constant
