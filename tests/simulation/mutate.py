"""Do the tests notice? One-line mutations of the code that delivers, signs and stores, drawn by seed.

    python -m tests.simulation.mutate --seed 1 --count 30

Each is made in a copy of the tree and judged twice: by the simulation (`--seeds` of them) and by the unit tests of its
package. Printed are who killed it, and the difference of each survivor. The tree itself is never touched.

A mutation is one of: a comparison turned or moved by one, `and` for `or`, a condition turned, `+` for `-`, a number one
more, a `return` of nothing.
"""

import argparse
import ast
import difflib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("delivery", "signing", "outbox")
COPIED: Final = ("gateway", "firmware_sim", "certs", "tests", "pyproject.toml")
LIMIT: Final = 300.0  # seconds for one judgement; what hangs is noticed
_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """A changed line of a file."""

    file: Path
    line: int
    before: str
    after: str

    def difference(self) -> str:
        """Return it as a person reads it."""
        name = self.file.relative_to(ROOT).as_posix()
        lines = difflib.unified_diff([self.before], [self.after], name, name, lineterm="", n=0)
        return "\n".join([*list(lines)[:2], f"@@ line {self.line} @@", f"-{self.before}", f"+{self.after}"])


def mutations(file: Path) -> Iterator[Mutation]:
    """Yield every mutation of a file that stays on its line."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    tree = ast.parse(text)
    constants = {id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for node in ast.walk(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr | ast.Return) or node.lineno != node.end_lineno or id(node) in constants:
            continue
        for changed in _changed(node):
            line = lines[node.lineno - 1].encode()
            cut = line[: node.col_offset] + changed.encode() + line[node.end_col_offset :]
            if cut != line:
                yield Mutation(file, node.lineno, line.decode(), cut.decode())


def _changed(node: ast.expr | ast.Return) -> Iterator[str]:
    match node:
        case ast.Compare(left, [op], [right]):
            yield ast.unparse(ast.Compare(left, [_COMPARISONS[type(op)]()], [right]))
        case ast.BoolOp(op, values):
            other: ast.boolop = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield ast.unparse(ast.BoolOp(other, values))
        case ast.UnaryOp(ast.Not(), operand):
            yield ast.unparse(operand)
        case ast.BinOp(left, ast.Add(), right):
            yield ast.unparse(ast.BinOp(left, ast.Sub(), right))
        case ast.BinOp(left, ast.Sub(), right):
            yield ast.unparse(ast.BinOp(left, ast.Add(), right))
        case ast.Constant(value) if type(value) is int:
            yield repr(value + 1)
        case ast.Constant(value) if type(value) is bool:
            yield repr(not value)
        case ast.Return(value) if value is not None:
            yield "return None"


def judges(package: str, seeds: int) -> dict[str, list[str]]:
    """Return the commands that judge a mutation of a package."""
    python = [sys.executable, "-m"]
    return {
        "simulation": [*python, "tests.simulation", "--seeds", str(seeds)],
        "unit tests": [*python, "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/unit/{package}"],
    }


def judge(mutation: Mutation, seeds: int, folder: Path) -> list[str]:
    """Return who noticed the mutation: the simulation, the unit tests, both, or nobody."""
    copy = folder / mutation.file.relative_to(ROOT)
    text = copy.read_text(encoding="utf-8")
    lines = text.splitlines()
    lines[mutation.line - 1] = mutation.after
    copy.write_text("\n".join(lines) + "\n", encoding="utf-8")
    package = mutation.file.relative_to(ROOT).parts[1]
    try:
        return [name for name, command in judges(package, seeds).items() if _fails(command, folder)]
    finally:
        copy.write_text(text, encoding="utf-8")


def _fails(command: list[str], folder: Path) -> bool:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    try:
        ran = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return True
    return ran.returncode != 0


def main() -> int:
    """Draw mutations, judge each, and print what became of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=40, help="of the simulation, for each mutation")
    chosen = parser.parse_args()
    everything = [
        mutation
        for package in PACKAGES
        for file in sorted((ROOT / "gateway" / package).rglob("*.py"))
        for mutation in mutations(file)
    ]
    drawn = Random(chosen.seed).sample(everything, chosen.count)
    survived = 0
    with tempfile.TemporaryDirectory(prefix="c5-mutate-") as made:
        folder = Path(made)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        for package in PACKAGES:
            for name, command in judges(package, chosen.seeds).items():
                if (name != "simulation" or package == PACKAGES[0]) and _fails(command, folder):
                    sys.stdout.write(f"without a mutation, too, this fails: {' '.join(command[1:])}\n")
                    return 1
        for number, mutation in enumerate(drawn, 1):
            killers = judge(mutation, chosen.seeds, folder)
            survived += not killers
            verdict = f"killed by the {' and the '.join(killers)}" if killers else "SURVIVED"
            sys.stdout.write(f"{number:3} {verdict}\n{mutation.difference()}\n\n")
            sys.stdout.flush()
    sys.stdout.write(f"{chosen.count} mutations of {len(everything)}, seed {chosen.seed}: {survived} survived\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
