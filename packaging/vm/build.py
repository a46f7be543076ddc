# ruff: noqa: INP001  # a program by itself, in a folder of such
"""Make the machine that tests/vm boots: Debian 12 for arm64 with its stock kernel, and a disk that holds the gateway.

    .venv/bin/python packaging/vm/build.py      # prints where the parts are, as JSON

Everything is downloaded from Debian (103 MB, and QEMU's 18 MB) and PyPI (12 MB) and unpacked under .cache; nothing is
installed here and no arm64 program runs meanwhile: packages are unpacked and not configured, and systemd does the rest
at each boot. What is made is named after what went into it: a second run has nothing to do until its input changes.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = ROOT / "packaging" / "vm"
LOCK: Final = ROOT / "packaging" / "service.lock"
RELEASE: Final = "bookworm"
PACKAGES: Final = (
    "linux-image-arm64", "systemd-sysv", "udev", "dbus", "python3", "base-files", "base-passwd", "bash", "coreutils",
    "dash", "grep", "mount", "procps", "busybox-static",
)  # fmt: skip
# PL061 and the character device are in the kernel; these are for the disk, the wire, the agent's port and USB adapters.
MODULES: Final = (
    "virtio_mmio", "virtio_blk", "crc32c_generic", "ext4", "virtio_net", "virtio_console", "virtio_pci", "xhci-pci",
    "ftdi_sio",
)  # fmt: skip
# What nobody reads inside, and Python's own bytecode, which is made here.
LEFT_OUT: Final = ("./usr/share/doc*", "./usr/share/man*", "./usr/share/locale*", "./usr/share/perl*", "./boot/System*")
# Units and generators that a machine without a screen, a person or a second disk has no use for: half of the boot.
NEEDLESS: Final = (
    "serial-getty@ttyAMA0.service", "getty@tty1.service", "dpkg-db-backup.timer", "fstrim.timer", "modprobe@.service",
    "systemd-logind.service", "systemd-pstore.service", "systemd-update-utmp.service", "systemd-repart.service",
    "systemd-update-utmp-runlevel.service", "systemd-user-sessions.service", "systemd-random-seed.service",
    "systemd-journal-flush.service", "systemd-modules-load.service", "systemd-binfmt.service", "dev-hugepages.mount",
    "dev-mqueue.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
)  # fmt: skip
# Devices whose rules are run at boot; all of them takes as long as the rest together. What is plugged in later has its
# rules run as ever.
COLDPLUG: Final = (
    "[Service]\nExecStart=\nExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=block"
    " --subsystem-match=gpio --subsystem-match=virtio-ports\n"
)
SITE: Final = "lib/python3.11/site-packages"
PLATFORMS: Final = ("manylinux2014_aarch64", "manylinux_2_28_aarch64")


class CannotBuildError(Exception):
    """What is missing on this machine, and what to do."""


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a program; its last words go into the error when it fails."""
    try:
        done = subprocess.run(command, env=env, cwd=cwd, check=False, capture_output=True, text=True)  # noqa: S603  # our own
    except FileNotFoundError:
        raise CannotBuildError(f"{command[0]} is not on this machine: install it with apt-get.") from None
    if done.returncode:
        raise CannotBuildError(f"{' '.join(map(str, command))[:200]} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def digest(parts: Sequence[Path]) -> str:
    """Name what these files hold."""
    found = hashlib.sha256()
    for part in parts:
        found.update(f"{part.relative_to(ROOT)}\0".encode() + part.read_bytes())
    return found.hexdigest()[:16]


@contextlib.contextmanager
def finished(place: Path) -> Iterator[Path]:
    """Give a folder to fill; it gets its name when it is whole, and others of its kind go."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="making.", ignore_cleanup_errors=True) as making:
        parts = Path(making) / "parts"
        parts.mkdir()
        yield parts
        for older in place.parent.glob(f"{place.name.partition('-')[0]}-*"):
            if older != place:
                shutil.rmtree(older, ignore_errors=True)
        if not place.exists():  # else another run was quicker; its result is as good
            parts.rename(place)


# Debian.


def debian_lists() -> list[Path]:
    """Return this machine's own lists that name the release; no address of a mirror is written down here."""
    folder = Path("/etc/apt")
    lists = [path for path in (folder / "sources.list", folder / "sources.list.d" / "debian.sources") if path.is_file()]
    if os.geteuid():
        raise CannotBuildError("Its files must be root's: run this as root.")
    named = [path for path in lists if RELEASE in path.read_text(encoding="utf-8")]
    if not named or not shutil.which("apt-get"):
        raise CannotBuildError(
            f"The machine is built from Debian 12 ({RELEASE}): run this on Debian 12, where apt knows it."
        )
    return named


def download(home: Path) -> list[Path]:
    """Download the packages, with what they need, for arm64; apt's state is a private one."""
    for folder in ("state/lists/partial", "cache/archives/partial", "sources"):
        (home / folder).mkdir(parents=True)
    (home / "status").touch()
    for path in debian_lists():
        shutil.copy(path, home / "sources" / path.name.replace("sources.list", "debian.list"))
    settings = home / "apt.conf"
    settings.write_text(
        'APT::Architecture "arm64"; APT::Architectures { "arm64"; }; APT::Install-Recommends "false";\n'
        'APT::Sandbox::User "root"; Dir::Etc::sourcelist "/dev/null";\n'
        f'Dir::State "{home}/state"; Dir::State::status "{home}/status"; Dir::Cache "{home}/cache";\n'
        f'Dir::Etc::sourceparts "{home}/sources";\n',
        encoding="utf-8",
    )
    env = {**os.environ, "APT_CONFIG": str(settings), "LC_ALL": "C"}
    run("apt-get", "-qq", "update", env=env)
    run("apt-get", "-qq", "-y", "--download-only", "install", *PACKAGES, env=env)
    return sorted((home / "cache" / "archives").glob("*.deb"))


def unpack(package: Path, into: Path, *options: str) -> None:
    """Unpack one package; folders that are links stay links, as in a Debian whose /bin is /usr/bin."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as archive:  # noqa: S603, S607
        subprocess.run(  # noqa: S603
            ["tar", "-x", "-C", into, "--keep-directory-symlink", *options],  # noqa: S607
            stdin=archive.stdout, check=True,
        )  # fmt: skip
    if archive.returncode:
        raise CannotBuildError(f"{package.name} is damaged: delete .cache/vm and try again.")


def order_of(modules: Path) -> list[Path]:
    """Return the modules that are wanted, each after those that it names in its `depends=`."""
    found = {path.stem.replace("-", "_"): path for path in modules.rglob("*.ko")}
    order: list[Path] = []

    def add(name: str) -> None:
        path = found[name.replace("-", "_")]
        if path in order:
            return
        depends = path.read_bytes().partition(b"\0depends=")[2].partition(b"\0")[0].decode()
        for needed in filter(None, depends.split(",")):
            add(needed)
        order.append(path)

    for name in MODULES:
        add(name)
    return order


def cpio(folder: Path, archive: Path) -> None:
    """Write a folder as the kernel takes an initial file system ("newc"), everything root's."""
    with archive.open("wb") as out:
        names = [*sorted(path for path in folder.rglob("*")), None]
        for number, path in enumerate(names, 1):
            name = path.relative_to(folder).as_posix().encode() if path else b"TRAILER!!!"
            body = path.read_bytes() if path and path.is_file() else b""
            mode = path.stat().st_mode if path else 0
            fields = (number, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name) + 1, 0)
            head = b"070701" + b"".join(b"%08X" % field for field in fields) + name + b"\0"
            out.write(head + b"\0" * (-len(head) % 4) + body + b"\0" * (-len(body) % 4))


def make_machine(parts: Path) -> None:
    """Make the kernel, its initial file system, and the disk."""
    with tempfile.TemporaryDirectory(dir=parts.parent, prefix="debian.") as made:
        work = Path(made)
        tree, kernel, initial = work / "tree", work / "kernel", work / "initial"
        for folder in (tree, kernel, initial):
            folder.mkdir()
        for name in ("bin", "sbin", "lib"):
            (tree / "usr" / name).mkdir(parents=True)
            (tree / name).symlink_to(f"usr/{name}")
        for package in download(work / "apt"):
            if package.name.startswith("linux-image-"):
                unpack(package, kernel)
            else:
                unpack(package, tree, *(f"--exclude={pattern}" for pattern in LEFT_OUT), "--wildcards")
        configure(tree)
        run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", tree, parts / "root.ext4", "1G")
        shutil.copy(next(kernel.glob("boot/vmlinuz-*")), parts / "kernel")
        for folder in ("dev", "proc", "disk", "modules"):
            (initial / folder).mkdir()
        shutil.copy(tree / "bin" / "busybox", initial / "busybox")
        shutil.copy(HERE / "init.sh", initial / "init")
        (initial / "init").chmod(0o755)
        order = order_of(kernel / "lib" / "modules")
        for module in order:
            shutil.copy(module, initial / "modules")
        (initial / "modules" / "order").write_text("".join(f"{module.name}\n" for module in order), encoding="utf-8")
        cpio(initial, parts / "initial.cpio")


def configure(tree: Path) -> None:
    """Do what maintainers' scripts would have done, as far as it is needed, and add the agent."""
    etc = tree / "etc"
    for name in ("passwd", "group"):
        shutil.copy(tree / "usr" / "share" / "base-passwd" / f"{name}.master", etc / name)
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n", encoding="utf-8")
    # What udev's own script would have made.
    groups = "".join(f"g {name} - -\n" for name in ("input", "kvm", "render", "sgx"))
    (tree / "usr" / "lib" / "sysusers.d" / "udev.conf").write_text(groups, encoding="utf-8")
    (etc / "hosts").write_text("127.0.0.1 localhost\n10.0.2.100 c5-a.example\n", encoding="utf-8")
    (etc / "hostname").write_text("gateway\n", encoding="utf-8")
    (etc / "machine-id").touch()  # there, so that systemd doesn't take this for a first boot and enable everything
    units = etc / "systemd" / "system"
    for unit in NEEDLESS:
        (units / unit).symlink_to("/dev/null")
    generators = etc / "systemd" / "system-generators"
    generators.mkdir()
    for generator in (tree / "usr" / "lib" / "systemd" / "system-generators").iterdir():
        (generators / generator.name).symlink_to("/dev/null")
    (units / "systemd-udev-trigger.service.d").mkdir()
    (units / "systemd-udev-trigger.service.d" / "few.conf").write_text(COLDPLUG, encoding="utf-8")
    shutil.copy(HERE / "agent.py", tree / "usr" / "lib" / "c5-agent.py")
    shutil.copy(HERE / "c5-agent.service", units)
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants" / "c5-agent.service").symlink_to("../c5-agent.service")
    (tree / "opt" / "c5-gateway").mkdir(parents=True)
    compile_for(tree / "usr" / "lib" / "python3.11", tree)


def compile_for(folder: Path, tree: Path) -> None:
    """Make the bytecode that the machine's Python 3.11 would make at each boot, if this is such a Python."""
    if sys.version_info[:2] == (3, 11):
        run(sys.executable, "-m", "compileall", "-q", "-j", "2", "-s", tree, "-p", "/", folder)


# The gateway.


def sources() -> list[Path]:
    """Return what our own package is made of."""
    files = [
        path for name in ("gateway", "firmware_sim", "certs") for path in (ROOT / name).rglob("*") if path.is_file()
    ]
    kept = [path for path in files if "__pycache__" not in path.parts]
    return [*sorted(kept), ROOT / "pyproject.toml", ROOT / "README.md"]


def make_program(parts: Path) -> None:
    """Make the disk that is mounted at /opt/c5-gateway, as docs/operate/install.md would fill that folder."""
    with tempfile.TemporaryDirectory(dir=parts.parent, prefix="program.") as made:
        work = Path(made)
        tree, copy = work / "tree" / "opt" / "c5-gateway", work / "copy"
        (tree / "bin").mkdir(parents=True)
        for source in sources():
            target = copy / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
        platforms = [f"--platform={platform}" for platform in PLATFORMS]
        run(
            *pip, "install", "--no-compile", "--target", tree / SITE, *platforms, "--python-version=3.11",
            "--implementation=cp", "--only-binary=:all:", "--require-hashes", "-r", LOCK,
        )  # fmt: skip
        run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", work, copy)
        run(*pip, "install", "--no-compile", "--no-deps", "--target", tree / SITE, next(work.glob("*.whl")))
        (tree / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n")
        (tree / "bin" / "python3").symlink_to("/usr/bin/python3.11")
        for name, entry in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"].items():
            module, _, function = entry.partition(":")
            script = (
                f"#!/opt/c5-gateway/bin/python3\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
            )
            (tree / "bin" / name).write_text(script, encoding="utf-8")
            (tree / "bin" / name).chmod(0o755)
        compile_for(tree / SITE, work / "tree")
        run("mke2fs", "-q", "-t", "ext4", "-L", "program", "-d", tree, parts / "program.ext4", "256M")


def build() -> dict[str, str]:
    """Make what isn't there yet; return the path of each part."""
    cache = Path(os.environ.get("C5_CACHE") or ROOT / ".cache").absolute()
    own = [HERE / name for name in ("build.py", "agent.py", "c5-agent.service", "init.sh")]
    made = {}
    for name, inputs, make in (
        ("machine", own, make_machine),
        ("program", [own[0], LOCK, *sources()], make_program),
    ):
        place = cache / "vm" / f"{name}-{digest(inputs)}"
        if not place.exists():
            with finished(place) as parts:
                make(parts)
        made.update({part.name: str(part) for part in sorted(place.iterdir())})
    return made


def main() -> None:
    """Print the parts; say what is wrong, and fail, where they can't be made."""
    try:
        run(ROOT / "packaging" / "fetch_qemu.sh")
        sys.stdout.write(json.dumps(build()) + "\n")
    except CannotBuildError as error:
        sys.stderr.write(f"The virtual machine for tests can't be built. {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
