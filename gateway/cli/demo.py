"""`c5-gateway demo`: the main job on this machine, with nothing set up and nothing left behind.

Real parts throughout: throwaway certificates, a broker, this gateway and the C5 receiver as processes of their own,
and simulated devices on pseudo-terminals. In the middle the broker goes away and comes back; at the end an operator
acknowledges the newest press, so that its button shows it. The summary compares what was pressed with what C5 received,
and what the devices were told.
"""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from certs.authority import Authority, Issued
from firmware_sim.broker import BrokerFailedError, Credentials, Embedded, Mosquitto, access_list, find_mosquitto
from firmware_sim.device import Board, NotHeardError
from firmware_sim.labels import new_label
from firmware_sim.ledger import Ledger, Press
from firmware_sim.pty import PseudoTerminal
from gateway.cli.said import print_json, say
from gateway.errors import C5Error
from gateway.registry.devices import Device, Registry
from gateway.text import _

GATEWAY: Final = "pa-demo-0001"
RECEIVER: Final = "c5-demo"
OPERATOR: Final = "operator-demo"
DEVICES: Final = (("0c500042", "lobby"), ("0c500043", "gate"), ("0c500044", "tower"))
PACE: Final = 0.05  # seconds between two presses, ± half
SETTLE: Final = 60.0  # seconds for the last press to be receipted
START_WITHIN: Final = 30.0
RECEIPTED, ACKNOWLEDGED = 2, 3  # stages


@dataclass
class Centre:
    """What C5's receiver has printed: its JSON lines by device and event number."""

    lines: dict[tuple[str, int], list[dict[str, Any]]] = field(default_factory=dict)

    def take(self, line: bytes) -> None:
        """Take one line of the receiver's output."""
        said = json.loads(line)
        if said["event_number"] is not None:
            self.lines.setdefault((said["device"], said["event_number"]), []).append(said)


@dataclass
class Stage:
    """A whole site, running."""

    folder: Path
    broker: Mosquitto | Embedded
    boards: list[Board]
    ledger: Ledger
    centre: Centre
    gateway: asyncio.subprocess.Process
    link_up: bool = True

    async def cut(self) -> None:
        """Take the broker away."""
        self.link_up = False
        await self.broker.stop()

    async def mend(self) -> None:
        """Bring it back."""
        await self.broker.start()
        self.link_up = True

    async def acknowledge(self) -> None:
        """Be the operator: acknowledge the newest press that C5 has, if nobody has yet, and wait until it shows."""
        for press in reversed(self.ledger.presses):
            lines = self.centre.lines.get((press.device, press.event))
            if lines and press.stage == RECEIPTED:
                await _centre(
                    *(self.folder, "command", GATEWAY, "--wait", "10", "alarm.acknowledge"),
                    *(f"record={lines[0]['identity']}", f"device={press.device}"),
                    *(f"event_number={press.event}", "status=acknowledged", f"operator={OPERATOR}"),
                )
                board = next(board for board in self.boards if board.device == press.device)
                with suppress(NotHeardError):
                    await board.stage(press.event, ACKNOWLEDGED)
                return


def run(*, seconds: float | None, presses: int, outage: float, seed: int | None, as_json: bool) -> bool:
    """Run it; True if every press was received, verified and receipted without a gap."""
    chosen = random.SystemRandom().randrange(2**32) if seed is None else seed
    live = sys.stdout.isatty() and not as_json
    with tempfile.TemporaryDirectory(prefix="c5-demo-", ignore_cleanup_errors=True) as folder:
        try:
            summary = asyncio.run(_story(Path(folder), presses, outage, chosen, seconds, live=live))
        except BrokerFailedError as error:
            raise C5Error(_("the broker did not start: {error}").format(error=error)) from error
    if as_json:
        print_json(summary)
    else:
        _tell(summary)
    return _whole(summary)


async def _story(
    folder: Path, presses: int, outage: float, seed: int, seconds: float | None, *, live: bool
) -> dict[str, Any]:
    chance = random.Random(seed)  # noqa: S311  # when and where to press; not a secret
    async with _stage(folder, chance) as stage:
        script = asyncio.create_task(_script(stage, presses, outage, chance, seconds))
        if live:
            from gateway.cli.live import show  # noqa: PLC0415  # rich is for a terminal alone

            await show(stage, script)
        took = await script
        await _settled(stage)
        await stage.acknowledge()
        gaps = await _gaps(folder)
    return _summary(stage, took, gaps, seed)


async def _script(stage: Stage, presses: int, outage: float, chance: random.Random, seconds: float | None) -> float:
    """Press as often as asked, a third of it while the link is down; return how long it was down."""
    loop = asyncio.get_running_loop()
    end = None if seconds is None else loop.time() + seconds
    during = presses // 3 if outage else 0
    before = (presses - during) // 2

    async def press(count: int, within: float) -> None:
        for _number in range(count):
            if end is not None and loop.time() >= end:
                return
            await chance.choice(stage.boards).press()
            await asyncio.sleep(within / count * (0.5 + chance.random()))

    await press(before, before * PACE)
    took = 0.0
    if outage and stage.link_up:
        began = loop.time()
        await stage.cut()
        await press(during, outage * 0.6)
        await asyncio.sleep(max(0.0, began + outage - loop.time()))
        await stage.mend()
        took = loop.time() - began
    after = presses - before - during
    await press(after, after * PACE)
    return took


async def _settled(stage: Stage) -> None:
    """Wait until each device has heard that C5 has its last event; what hasn't come by then is in the summary."""
    try:
        async with asyncio.timeout(SETTLE):
            while not _all_told(stage):  # noqa: ASYNC110  # by boards and another process: there is no one event
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass


def _all_told(stage: Stage) -> bool:
    pressed = stage.ledger.presses
    return len(stage.ledger.reached(RECEIPTED)) == len(pressed) and all(
        (press.device, press.event) in stage.centre.lines for press in pressed
    )


@asynccontextmanager
async def _stage(folder: Path, chance: random.Random) -> AsyncIterator[Stage]:
    authority = Authority.create(folder / "ca")
    broker_files = authority.issue("broker", "broker-demo", hosts=["127.0.0.1"])
    own, centre_files = authority.issue("gateway", GATEWAY), authority.issue("receiver", RECEIVER)
    operator_files = authority.issue("commander", OPERATOR)
    assert broker_files.tls_certificate is not None
    assert broker_files.tls_key is not None
    credentials = Credentials(authority.trust_anchors, broker_files.tls_certificate, broker_files.tls_key)
    broker: Mosquitto | Embedded
    if find_mosquitto() is not None:
        broker = Mosquitto(tls=credentials, access=access_list([GATEWAY], [RECEIVER]), max_inflight=100)
    elif find_spec("iotcore") is None:
        raise C5Error(_("the demo needs a broker, and there is none here"), _("sudo apt-get install mosquitto"))
    else:
        broker = Embedded(tls=credentials)
        print(  # noqa: T201  # standard output may be for JSON
            _("No mosquitto here: the embedded broker lets clients without a certificate in. A real one must not."),
            file=sys.stderr,
        )
    state = folder / "gateway"
    state.mkdir(mode=0o700)
    labels = [new_label(device) for device, _name in DEVICES]
    for label, (_id, name) in zip(labels, DEVICES, strict=True):
        Registry(state).enrol(Device(label.device, label.model, label.key, name))
    ledger, centre = Ledger(), Centre()
    async with broker, PseudoTerminal(folder / "tty-a") as one, PseudoTerminal(folder / "tty-b") as other:
        (folder / "gateway.toml").write_text(_gateway_toml(folder, own, broker.port))
        (folder / "receiver.toml").write_text(_receiver_toml(folder, centre_files, operator_files, broker.port))
        async with (
            _process(folder, "gateway.c5.cli", "run", "--output", "jsonl", config="receiver.toml") as receiver,
            _process(folder, "gateway.cli.main", "run", config="gateway.toml") as gateway,
        ):
            reading = asyncio.create_task(_read(receiver, centre))
            await _ready(folder, gateway, receiver)
            lines = (one, other, other)  # one device on a line of its own, two behind a concentrator
            boards = [
                Board(line, label, ledger=ledger, seed=chance.randrange(2**32))
                for line, label in zip(lines, labels, strict=True)
            ]
            async with boards[0], boards[1], boards[2]:
                yield Stage(folder, broker, boards, ledger, centre, gateway)
            reading.cancel()


@asynccontextmanager
async def _process(
    folder: Path, module: str, *arguments: str, config: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    with (folder / f"{config}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", f"from {module} import main; main()", *arguments, "--config", str(folder / config),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, limit=2**20,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(10):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _read(receiver: asyncio.subprocess.Process, centre: Centre) -> None:
    assert receiver.stdout is not None
    async for line in receiver.stdout:
        centre.take(line)


async def _ready(folder: Path, *processes: asyncio.subprocess.Process) -> None:
    """Wait until the gateway answers and is connected."""
    from gateway import console  # noqa: PLC0415  # nothing else here needs it

    try:
        async with asyncio.timeout(START_WITHIN):
            while True:
                ended = [process for process in processes if process.returncode is not None]
                if ended:
                    break
                try:
                    found = await asyncio.to_thread(console.ask, folder / "gateway", {"do": "status"})
                except C5Error:
                    found = None
                if found is not None and any(broker["connected"] for broker in found["brokers"]):
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    logs = "".join(
        (folder / f"{name}.toml.log").read_text(errors="replace")[-1500:] for name in ("gateway", "receiver")
    )
    raise C5Error(_("the demo did not start:") + "\n" + logs)


async def _gaps(folder: Path) -> int:
    """Ask the receiver how many records it knows of and lacks."""
    return count_missing(json.loads(await _centre(folder, "status", "--json")))


async def _centre(folder: Path, *arguments: str) -> bytes:
    """Run `c5-receiver` beside the receiver; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from gateway.c5.cli import main; main()", *arguments,
        "--config", str(folder / "receiver.toml"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    printed, _said = await process.communicate()
    return printed


def count_missing(status: dict[str, Any]) -> int:
    """Return how many records the receiver's status names as missing."""
    return sum(
        last - first + 1
        for gateway in status["gateways"]
        for chain in gateway["missing"]
        for first, last in chain["ranges"]
    )


def _summary(stage: Stage, outage: float, gaps: int, seed: int) -> dict[str, Any]:
    pressed = stage.ledger.presses
    found = {(press.device, press.event): stage.centre.lines.get((press.device, press.event), []) for press in pressed}
    lines = [said[0] for said in found.values() if said]
    return {
        "pressed": len(pressed),
        "received": len(lines),
        "verified": sum(1 for said in lines if said.get("verified")),
        "receipted": len(stage.ledger.reached(RECEIPTED)),
        "acknowledged": len(stage.ledger.reached(ACKNOWLEDGED)),
        "duplicates": sum(len(said) - 1 for said in found.values() if said),
        "gaps": gaps,
        "latency_ms": _spread(_since(pressed, found, "received")),
        "committed_ms": _spread(_since(pressed, found, "committed")),
        "outage_s": round(outage, 1),
        "seed": seed,
    }


def _since(pressed: list[Press], found: dict[tuple[str, int], list[dict[str, Any]]], when: str) -> list[float]:
    return [
        datetime.fromisoformat(found[press.device, press.event][0][when]).timestamp() * 1e3 - press.left_ns / 1e6
        for press in pressed
        if press.left_ns is not None and found[press.device, press.event]
    ]


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)

    return {"p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": round(ordered[-1], 2)}


def _whole(summary: dict[str, Any]) -> bool:
    counts = {summary[name] for name in ("pressed", "received", "verified", "receipted")}
    return len(counts) == 1 and summary["gaps"] == 0 and summary["pressed"] > 0


def _tell(summary: dict[str, Any]) -> None:
    say(_("pressed {pressed}, received {received}, verified {verified}, receipted {receipted}").format(**summary))
    if summary["acknowledged"]:
        say(_("an operator acknowledged {acknowledged}, and the button shows it").format(**summary))
    say(_("duplicates {duplicates}, gaps {gaps}, outage {outage_s} s, seed {seed}").format(**summary))
    for name, text in (("latency_ms", _("press to verified at C5")), ("committed_ms", _("press to committed there"))):
        spread = summary[name]
        say(f"{text}: p50 {spread['p50']} ms, p95 {spread['p95']} ms, p99 {spread['p99']} ms, max {spread['max']} ms")
    if summary["outage_s"]:
        say(_("(those pressed while the broker was away waited for it)"))
    say(_("nothing was lost") if _whole(summary) else _("SOMETHING WAS LOST: see the counts above"))


def _identity(files: Issued) -> str:
    return (
        f'[identity]\ntrust_anchors = "{files.trust_anchors}"\n'
        f'tls_certificate = "{files.tls_certificate}"\ntls_key = "{files.tls_key}"\n'
        f'signing_certificate = "{files.signing_certificate}"\nsigning_key = "{files.signing_key}"\n'
    )


def _gateway_toml(folder: Path, files: Issued, port: int) -> str:
    ports = "".join(f'[[port]]\nname = "{name}"\ndevice = "{folder}/tty-{name}"\n' for name in ("a", "b"))
    return (
        f'[gateway]\nid = "{GATEWAY}"\nagency = "demo"\nsite = "desk"\nstate_dir = "{folder}/gateway"\n'
        f"position = {{ latitude = 8.983, longitude = -79.517, accuracy_m = 10 }}\n"
        f'{_identity(files)}[[broker]]\nhost = "127.0.0.1"\nport = {port}\n{ports}'
        f'[delivery]\ncommanders = ["{OPERATOR}"]\n'
    )


def _receiver_toml(folder: Path, files: Issued, operator: Issued, port: int) -> str:
    return (
        f'[receiver]\nname = "{RECEIVER}"\nstate_dir = "{folder}/receiver"\n'
        f'{_identity(files)}[[broker]]\nhost = "127.0.0.1"\nport = {port}\n'
        f'[commander]\nsigning_certificate = "{operator.signing_certificate}"\nsigning_key = "{operator.signing_key}"\n'
    )
