"""Which steps from line to line a run takes: what the fuzzer goes by (docs/decisions/0040).

A step is worth a new input if no input before took it. Only modules that are watched are traced, for a traced line
takes ten times as long; and of a function that has shown nothing new for `QUIET` calls only each `SOME`th call, until
one does.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parents[2]
QUIET: Final = 256
SOME: Final = 8
_Local = Callable[[FrameType, str, Any], Any]


class Trace:
    """Traces while inside `with`; `fresh` is how many new steps the last time took.

    `every`: each call, however quiet its function is.
    """

    def __init__(self, modules: Iterable[str], *, every: bool = False) -> None:
        self.files = frozenset(str(ROOT / f"{module.replace('.', '/')}.py") for module in modules)
        self.lines: set[tuple[str, int]] = set()
        self.steps = 0
        self.fresh = 0
        self._every = every
        self._begin: dict[CodeType, Callable[[], _Local | None] | None] = {}

    def __enter__(self) -> Self:
        self.fresh = self.steps
        sys.settrace(self._called)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.settrace(None)
        self.fresh = self.steps - self.fresh

    def _called(self, frame: FrameType, _event: str, _argument: Any) -> _Local | None:
        code = frame.f_code
        try:
            begin = self._begin[code]
        except KeyError:
            begin = self._begin[code] = self._of(code) if code.co_filename in self.files else None
        return None if begin is None else begin()

    def _of(self, code: CodeType) -> Callable[[], _Local | None]:
        taken: set[int] = set()
        last = 0
        quiet = 0  # calls since a new step

        def step(frame: FrameType, _event: str, _argument: Any) -> _Local:
            nonlocal last, quiet
            line = frame.f_lineno or 0
            arc = last << 16 | line
            last = line
            if arc not in taken:
                taken.add(arc)
                quiet = 0
                self.lines.add((code.co_filename, line))
                self.steps += 1
            return step

        def begin() -> _Local | None:
            nonlocal last, quiet
            quiet += 1
            if quiet > QUIET and quiet % SOME and not self._every:
                return None
            last = 0
            return step

        return begin


def all_lines(files: Iterable[str]) -> int:
    """Return how many lines of these files can be run within functions: what coverage is a share of."""
    return sum(len(_lines(compile(Path(file).read_bytes(), file, "exec"), top=True)) for file in files)


def _lines(code: CodeType, *, top: bool = False) -> set[int]:
    # A module's own lines, and a class's, run at import: they are no parser's.
    body = top or not code.co_flags & 0x2  # CO_NEWLOCALS: what only functions have
    own = set() if body else {line for *_, line in code.co_lines() if line is not None and line != code.co_firstlineno}
    return own.union(*(_lines(inner) for inner in code.co_consts if isinstance(inner, CodeType)))
