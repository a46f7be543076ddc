"""`c5-certs` as a person runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

from certs.authority import Authority
from certs.cli import main


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Authority.create(tmp_path_factory.mktemp("pki")).directory


def c5_certs(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from certs.cli import main; main()", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_init_and_issue_print_where_the_files_are(tmp_path: Path) -> None:
    made = c5_certs("init", "pki", folder=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    assert "pki/trust-anchors.pem" in made.stdout
    assert "pki/ca/root.key" in made.stdout
    issued = c5_certs("issue", "gateway", "pa-dar-0017", "--dir", "pki", folder=tmp_path)
    assert (issued.returncode, issued.stderr) == (0, "")
    assert issued.stdout.splitlines() == [
        "pki/gateway/pa-dar-0017/tls.pem",
        "pki/gateway/pa-dar-0017/tls.key",
        "pki/gateway/pa-dar-0017/signing.pem",
        "pki/gateway/pa-dar-0017/signing.key",
    ]
    options = ("--host", "c5-a.example", "--host", "10.0.0.1", "--days", "90")
    broker = c5_certs("issue", "broker", "c5-a", *options, folder=tmp_path / "pki")
    assert (broker.returncode, broker.stdout.splitlines()) == (0, ["broker/c5-a/tls.pem", "broker/c5-a/tls.key"])
    assert all((tmp_path / line).is_file() for line in issued.stdout.splitlines())


def test_what_is_not_right_is_two_lines_and_status_1(tmp_path: Path) -> None:
    failed = c5_certs("issue", "gateway", "pa-dar-0017", "--dir", "pki", folder=tmp_path)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == ("c5-certs: there is no certificate authority in pki\n  make one with: c5-certs init pki\n")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("broker", "c5-a"), "a broker's certificate names the hosts under which it is reached"),
        (("gateway", "pa-dar-0017", "--host", "c5.example"), "a gateway has no host names"),
        (("gateway", "PA/17"), "a gateway can't be named 'PA/17'"),
        (("gateway", "pa-dar-0017", "--days", "0"), "a certificate can't be made for 0 days"),
    ],
)
def test_what_no_authority_issues_is_wrong_usage(
    authority: Path,
    arguments: tuple[str, ...],
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["c5-certs", "issue", *arguments, "--dir", str(authority)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (2, "")
    assert told.err.startswith(f"c5-certs: {what}\n  ")


def test_a_role_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    failed = c5_certs("issue", "toaster", "pa-dar-0017", folder=tmp_path)
    assert failed.returncode == 2
    assert "gateway" in failed.stderr
    assert list(tmp_path.iterdir()) == []
