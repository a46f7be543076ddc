"""The nearest thing to a Raspberry Pi without one: an arm64 machine with Debian's kernel, and hands on its GPIO pins.

    with Machine(build(), folder, broker_port) as machine:
        machine.run("uname", "-m").out      # "aarch64"
        machine.pin(2, True)                # what hangs on line 2 of its PL061 chip pulls it up
        machine.driven(5)                   # what the machine puts out on line 5

QEMU emulates it in software. Pins are moved and watched from outside over its test socket ("qtest"), devices come and
go over its control socket (QMP), commands run inside by way of packaging/vm/agent.py. It can reach the broker's port on
this machine's loopback and nothing else, and it ends with the process that started it.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parents[2]
BUILD: Final = ROOT / "packaging" / "vm" / "build.py"
RELAY: Final = Path(__file__).with_name("relay.py")
BUILD_WITHIN: Final = 600.0  # seconds; one minute where the registries are near
BOOT_WITHIN: Final = 180.0  # 12 s on two free cores
CONNECT_WITHIN: Final = 20.0
BROKER: Final = ("c5-a.example", 8883)  # as the machine knows it (packaging/vm/build.py writes its hosts)
CHIP: Final = 0x0903_0000  # where the machine `virt` has its PL061
_DATA, _DIRECTION, _UNHANDLED = 0x3FC, 0x400, 0x414  # registers, a bit for each line: level, is an output, had an edge
SETTLED: Final = 0.01  # seconds for the kernel's thread to read the level, once its interrupt has noted the time
_CHUNK: Final = 65536


class MachineFailedError(Exception):
    """The machine did not do what it was asked; the text ends with the last that it said."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended inside; `status` is None if it was killed for taking too long."""

    status: int | None
    out: str
    err: str


def build() -> dict[str, Path]:
    """Have the machine's parts made, or fail with the words of packaging/vm/build.py."""
    made = subprocess.run(
        [sys.executable, str(BUILD)], stdout=subprocess.PIPE, text=True, timeout=BUILD_WITHIN, check=False
    )
    if made.returncode:
        raise MachineFailedError("the machine can't be built: see above")
    return {name: Path(path) for name, path in json.loads(made.stdout).items()}


class _Lines:
    """A socket of QEMU's that speaks in lines."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._pending = b""
        ends = time.monotonic() + CONNECT_WITHIN
        while True:
            try:
                self._socket.connect(str(path))
            except OSError:  # QEMU is not that far yet
                if time.monotonic() > ends:
                    raise
                time.sleep(0.02)
            else:
                break

    def send(self, line: str) -> None:
        self._socket.sendall(line.encode() + b"\n")

    def receive(self, within: float) -> str:
        """Return the next line. Raises TimeoutError, and ConnectionError where QEMU has ended."""
        ends = time.monotonic() + within
        while b"\n" not in self._pending:
            self._socket.settimeout(max(0.001, ends - time.monotonic()))
            if not (chunk := self._socket.recv(_CHUNK)):
                raise ConnectionError("QEMU has ended")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace")

    def close(self) -> None:
        self._socket.close()


class Machine:
    def __init__(self, parts: dict[str, Path], folder: Path, broker_port: int) -> None:
        self._parts = parts
        self._folder = folder
        self._broker_port = broker_port
        self._process: subprocess.Popen[bytes] | None = None
        self.boot_took = 0.0  # seconds, to the first answer of the agent
        self._inside = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._inside.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def console(self) -> str:
        """What the machine has put on its serial console."""
        return (self._folder / "console.log").read_text(errors="replace")

    def _start(self) -> None:
        began = time.monotonic()
        with (self._folder / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment()
            )
        try:
            self._agent, self._control, self._test = (self._open(name) for name in ("agent", "qmp", "qtest"))
            self._control.receive(CONNECT_WITHIN)  # its greeting
            self.control("qmp_capabilities")
            self._chip = self._find("child<pl061>")
            self.run("true", within=BOOT_WITHIN)
        except (OSError, TimeoutError) as error:
            said = (self._folder / "qemu.log").read_text(errors="replace")
            raise MachineFailedError(f"no machine ({error}): {said}{self.console[-3000:]}") from error
        self.boot_took = time.monotonic() - began

    def _open(self, name: str) -> _Lines:
        lines = _Lines(self._folder / name)
        self._inside.callback(lines.close)
        return lines

    def _program(self) -> Path:
        if found := shutil.which("qemu-system-aarch64"):
            return Path(found)
        cache = Path(os.environ.get("C5_CACHE") or ROOT / ".cache").absolute()
        return cache / "qemu" / "usr" / "bin" / "qemu-system-aarch64"

    def _environment(self) -> dict[str, str]:
        root = self._program().parents[2]
        folders = [str(folder) for lib in ("lib", "usr/lib") for folder in root.glob(f"{lib}/*-linux-*")]
        return dict(os.environ) if root == Path("/") else {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(folders)}

    def _command(self) -> list[str]:
        def listens(name: str) -> str:
            return f"path={self._folder / name},server=on,wait=off"

        to_broker = f"guestfwd=tcp:10.0.2.100:{BROKER[1]}-cmd:{sys.executable} -I {RELAY} {self._broker_port}"
        # The kernel finds them from the last to the first: the disk that is named last is /dev/vda.
        command = [
            *(str(self._program()), "-nodefaults", "-no-user-config", "-display", "none"),
            *("-machine", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "512"),  # a Raspberry Pi 4's
            *("-accel", "tcg,thread=multi,tb-size=256", "-global", "virtio-mmio.force-legacy=false"),
            *("-kernel", str(self._parts["kernel"]), "-initrd", str(self._parts["initial.cpio"])),
            *("-append", "console=ttyAMA0 quiet net.ifnames=0 systemd.unit=multi-user.target"),
            *("-drive", f"if=none,id=program,format=raw,readonly=on,file={self._parts['program.ext4']}"),
            *("-device", "virtio-blk-device,drive=program"),
            *("-drive", f"if=none,id=root,format=raw,snapshot=on,file={self._parts['root.ext4']}"),
            *("-device", "virtio-blk-device,drive=root"),
            *("-netdev", f"user,id=net,restrict=on,{to_broker}", "-device", "virtio-net-device,netdev=net"),
            *("-device", "virtio-serial-device", "-chardev", f"socket,id=agent,{listens('agent')}"),
            *("-device", "virtserialport,chardev=agent,name=c5.agent", "-device", "qemu-xhci,id=usb,addr=4"),
            *("-chardev", f"socket,id=qmp,{listens('qmp')}", "-mon", "chardev=qmp,mode=control"),
            *("-chardev", f"socket,id=qtest,{listens('qtest')}", "-qtest", "chardev:qtest", "-qtest-log", "none"),
            *("-serial", f"file:{self._folder / 'console.log'}"),
        ]
        if setpriv := shutil.which("setpriv"):  # without it, a killed test run leaves its machine behind
            command = [setpriv, "--pdeathsig", "KILL", *command]
        return command

    # Commands inside.

    def run(self, *command: str, text: str = "", within: float = 60.0) -> Done:
        """Run a program as root, with `text` on its standard input."""
        self._agent.send(json.dumps({"run": command, "input": text, "within": within}))
        return Done(**json.loads(self._agent.receive(within + 20)))

    def shell(self, script: str, within: float = 60.0) -> str:
        """Run a shell script that must succeed; return what it printed."""
        done = self.run("sh", "-ec", script, within=within)
        if done.status != 0:
            raise MachineFailedError(f"{script}: {done.status}\n{done.out}{done.err}")
        return done.out

    def python(self, script: str, within: float = 60.0) -> Any:
        """Run Python with what the gateway's has, as root; return the JSON that it printed."""
        done = self.run("/opt/c5-gateway/bin/python3", "-c", script, within=within)
        if done.status != 0:
            raise MachineFailedError(f"{script}\n{done.err}")
        return json.loads(done.out)

    def write(self, path: str, text: str, mode: str = "0644", owner: str = "root:root") -> None:
        """Write a file."""
        done = self.run(
            "sh",
            "-ec",
            'mkdir -p "${0%/*}" && cat >"$0" && chmod "$1" "$0" && chown "$2" "$0"',
            path,
            mode,
            owner,
            text=text,
        )
        if done.status != 0:
            raise MachineFailedError(f"{path}: {done.err}")

    def until(self, condition: Callable[[], object], what: str, within: float = 60.0) -> None:
        """Wait until something holds, inside or out; fail with what was waited for."""
        ends = time.monotonic() + within
        while not condition():
            assert time.monotonic() < ends, f"not within {within:.0f} s: {what}"
            time.sleep(0.05)

    # Hands on it from outside.

    def control(self, execute: str, **arguments: object) -> Any:
        """Run a command of QEMU's control protocol; return its result."""
        self._control.send(json.dumps({"execute": execute, "arguments": arguments}))
        while True:
            said = json.loads(self._control.receive(CONNECT_WITHIN))
            if "error" in said:
                raise MachineFailedError(f"{execute}: {said['error']['desc']}")
            if "return" in said:  # what is neither is news that nobody waits for
                return said["return"]

    def _find(self, kind: str) -> str:
        where = "/machine/unattached"
        for found in self.control("qom-list", path=where):
            if found["type"] == kind:
                return f"{where}/{found['name']}"
        raise MachineFailedError(f"QEMU has no {kind}")

    def pin(self, line: int, high: bool) -> None:
        """Pull an input line up or down, as a contact would; the kernel sees it at once."""
        self._ask_test(f"set_irq_in {self._chip} unnamed-gpio-in {line} {int(high)}")

    def pin_and_wait(self, line: int, high: bool) -> None:
        """Move it, and wait until the kernel has taken the edge: two that come sooner would be one."""
        self.pin(line, high)
        while int(self._ask_test(f"readb {CHIP + _UNHANDLED:#x}"), 16) >> line & 1:
            time.sleep(0.0005)
        time.sleep(SETTLED)

    def driven(self, line: int) -> bool | None:
        """Whether the machine puts out a high level on this line; None while the line is an input."""
        outputs, levels = (int(self._ask_test(f"readb {CHIP + register:#x}"), 16) for register in (_DIRECTION, _DATA))
        return bool(levels >> line & 1) if outputs >> line & 1 else None

    def _ask_test(self, command: str) -> str:
        self._test.send(command)
        match self._test.receive(CONNECT_WITHIN).split():
            case ["OK", *rest]:
                return " ".join(rest)
            case other:
                raise MachineFailedError(f"{command}: {' '.join(other)}")
