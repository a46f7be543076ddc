"""What the project says of itself is true: commands, locks, licences to trust, and nothing that must not be in it."""

import hashlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LOCKS: Final = [ROOT / "requirements.lock", ROOT / "packaging" / "service.lock"]


def tracked() -> list[Path]:
    """Return every file that is, or is about to be, in the repository."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def run_pytest(folder: Path, source: str, *, strict: bool) -> subprocess.CompletedProcess[str]:
    """Run a test file of its own beside a copy of this tree's conftest."""
    (folder / "conftest.py").write_bytes((ROOT / "tests" / "conftest.py").read_bytes())
    (folder / "test_it.py").write_text("import pytest\n" + source, encoding="utf-8")
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--continue-on-collection-errors",
            "--rootdir",
            str(folder),
            str(folder),
        ],
        env={**os.environ, "C5_STRICT": "1" if strict else "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_every_make_command_in_the_pages_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    named = {
        (page.relative_to(ROOT).as_posix(), target)
        for page in PAGES
        for target in re.findall(r"(?:`|^ {4}|&& )make ([a-z][a-z-]*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {target for _, target in named} >= {"demo", "test"}
    assert {(page, target) for page, target in named if target not in targets} == set()


def test_every_link_in_the_pages_leads_somewhere() -> None:
    broken = [
        (page.relative_to(ROOT).as_posix(), link)
        for page in PAGES
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert broken == []


def test_every_console_script_is_made_by_setup() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    missing = [name for name in scripts if not (Path(sys.executable).parent / name).exists()]
    assert (sorted(scripts), missing) == (["c5-certs", "c5-gateway", "c5-receiver", "firmware-sim"], [])


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_has_exact_versions_with_hashes_and_no_address(lock: Path) -> None:
    requirements = lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    pinned = re.compile(r"[a-z0-9._-]+==\S+( ; [^\\]+?)?( +--hash=sha256:[0-9a-f]{64})+ *")
    assert len(requirements) > 10
    assert [line for line in requirements if not pinned.fullmatch(line)] == []


def test_an_installed_service_runs_on_the_versions_that_were_tested() -> None:
    tested, service = (set(re.findall(r"^\S+==\S+", lock.read_text(encoding="utf-8"), re.MULTILINE)) for lock in LOCKS)
    assert service < tested


def test_the_peers_are_the_ones_that_were_given() -> None:
    peers = ROOT / "benchmarks" / "peers"
    lines = (peers / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, name in map(str.split, lines)}
    assert {name: hashlib.sha256((peers / name).read_bytes()).hexdigest() for name in sums} == sums
    assert set(sums) == {"naive.py", "bridge.conf"}


def test_no_file_holds_a_private_key_or_a_path_of_one_machine() -> None:
    key = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----(\\n|\s)+[A-Za-z0-9+/=]{20}")
    path = re.compile(rb"(?:^|[^\w.$}])/(?:work|root|farm|home/[a-z]+)/", re.MULTILINE)
    found = [
        file.relative_to(ROOT).as_posix()
        for file in tracked()
        if key.search(content := file.read_bytes()) or path.search(content)
    ]
    assert found == []


def test_no_module_has_grown_into_the_place_where_everything_meets() -> None:
    longest = {
        file.relative_to(ROOT).as_posix(): lines
        for package in ("gateway", "firmware_sim", "certs", "benchmarks", "packaging")
        for file in (ROOT / package).rglob("*.py")
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert longest == {}


def test_under_strict_a_test_that_is_not_judged_is_a_failure(tmp_path: Path) -> None:
    """All of them in one run: starting pytest is what costs."""
    unjudged = [
        ("def test_it(): pytest.skip('no broker here')", "no broker here"),
        ("@pytest.mark.skip(reason='no line here')\ndef test_it(): pass", "no line here"),
        ("@pytest.mark.xfail(reason='not yet')\ndef test_it(): assert False", "not yet"),
        ("@pytest.mark.xfail(reason='not ever')\ndef test_it(): assert True", "not ever"),
        ("pytest.importorskip('no_such_module')\ndef test_it(): pass", "no_such_module"),
        ("@pytest.fixture\ndef gone(): pytest.skip('no port')\ndef test_it(gone): pass", "no port"),
    ]
    for number, (source, _reason) in enumerate(unjudged):
        (tmp_path / f"test_{number}.py").write_text("import pytest\n" + source, encoding="utf-8")
    assert run_pytest(tmp_path, "", strict=False).returncode == 0
    outcome = run_pytest(tmp_path, "", strict=True)
    assert outcome.returncode == 1, outcome.stdout
    told = [line for line in outcome.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    for number, (_source, reason) in enumerate(unjudged):
        (line,) = [line for line in told if line.split()[1].startswith(f"test_{number}.py")]
        assert "C5_STRICT=1" in line, line
        assert reason in outcome.stdout


def test_under_strict_a_good_test_is_good(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, "def test_it(): pass", strict=True).returncode == 0


def test_a_test_that_hangs_ends_the_run_with_its_traceback(tmp_path: Path) -> None:
    hanging = "import time\n@pytest.mark.timeout(0.2)\ndef test_that_hangs(): time.sleep(50)"
    outcome = run_pytest(tmp_path, hanging, strict=False)
    assert outcome.returncode == 1
    assert "test_that_hangs" in outcome.stderr
