"""`c5-gateway run` on a disk that is read-only for as long as a file says so (a card that has had enough).

C5_READONLY=<file>    while it exists, the store's writer is answered as on EROFS
"""

import os
import sqlite3
from pathlib import Path

from gateway.cli.main import main
from tests.support.killed_gateway import wrap_writer

if __name__ == "__main__":
    readonly = Path(os.environ["C5_READONLY"])

    def refuse(_about: set[str]) -> None:
        if readonly.exists():
            raise sqlite3.OperationalError("attempt to write a readonly database")

    wrap_writer(refuse, lambda _about: None)
    main()
