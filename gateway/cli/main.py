"""`c5-gateway`: the service at once, anything else through the command line's library.

The service is started as `run` or `run --config FILE`. It doesn't carry that library: 1.3 MB for as long as it runs,
and 70 ms of its start.
"""

import io
import sys
from pathlib import Path


def main() -> None:
    """Run the command line; errors go to standard error without a traceback."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter shows another in its place
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    match sys.argv[1:]:
        case ["run"]:
            _serve(None)
        case ["run", "--config", path]:
            _serve(Path(path))
        case _:
            from gateway.cli.commands import app  # noqa: PLC0415  # see above

            app()


def _serve(path: Path | None) -> None:
    from gateway.cli import service  # noqa: PLC0415  # the other commands start without it
    from gateway.cli.said import ended  # noqa: PLC0415  # same

    ended(service.run, path)


if __name__ == "__main__":
    main()
