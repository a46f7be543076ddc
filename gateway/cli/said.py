"""What a command says, and how it ends: 0 done, 1 the thing asked about isn't right, 2 wrong usage or settings."""

import json
import sys
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec

from gateway.errors import C5Error, SettingsError
from gateway.text import _

P = ParamSpec("P")


def ended(command: Callable[P, bool], *args: P.args, **kwargs: P.kwargs) -> NoReturn:
    """Run a command and end the process: what it returns says whether all is right; an error is told, not shown."""
    try:
        right = command(*args, **kwargs)
    except C5Error as error:
        sys.stderr.write(_("error: {what}").format(what=error.what) + "\n")
        if error.hint:
            sys.stderr.write(_("what to do: {hint}").format(hint=error.hint) + "\n")
        sys.exit(2 if isinstance(error, SettingsError) else 1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if right else 1)


def print_json(document: Any) -> None:
    """Print one JSON document and nothing else."""
    say(json.dumps(document, ensure_ascii=False))


def say(text: str) -> None:
    """Print a line for a person."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
