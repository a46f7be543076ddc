"""A whole site for journeys: boards on a line, a real gateway, a real broker, a real receiver, and the judge of it all.

    async with World(tmp_path, authority, boards=4) as world:
        await world.board.press()
        counted(await world.judged())     # every press at C5 exactly once, chains whole, nothing left in the outbox

Everything is a process of its own but for the boards, whose ledger is the truth that `judged` compares C5 with.
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Self

import aiomqtt

from certs.authority import Authority
from firmware_sim import labels
from firmware_sim.broker import HOST, Credentials, Embedded, Mosquitto, access_list
from firmware_sim.device import Board, NotKeptError
from firmware_sim.gateway import PROGRAM, Gateway, Settings
from firmware_sim.ledger import Ledger, Press
from firmware_sim.pty import PseudoTerminal
from gateway import console
from gateway.c5 import lasting
from gateway.event import LANE_NAMES, Lane
from gateway.fieldlink.label import Label
from gateway.registry.devices import Device, Registry
from gateway.tls import client_context
from tests.support.brokers import need_mosquitto
from tests.support.memory import read
from tests.support.receiver import Held, Receiver

ROOT = Path(__file__).parents[2]
GATEWAY, OTHER, RECEIVER, STRANGER = "gw-1", "gw-2", "c5-a", "mallory"
ALLOWED = access_list([GATEWAY, OTHER], [RECEIVER])
TOPIC = f"c5/v1/test/bench/{GATEWAY}"
WITHIN = 30.0  # seconds for what takes one: two busy cores, and boards that wait up to 15 s before they send again
POLL = 0.02
ALARMS = (1, 2, 3, 6)  # kinds that are pressed
TYPES = {1: "panic.pressed", 2: "panic.silent", 3: "panic.duress", 6: "tamper.opened", 24: "test.pressed"}
# What a receiver may report of an honest gateway that is killed, cut off or restarted. `undurable`: C5 has a record
# that the gateway lost with its power, which is what sending beside the commit is for. What the field's own records
# begin and end, journeys judge as records.
HONEST = lasting.TYPES | {"gateway.offline", "link.failed", "records.undurable", "records.missing"}

Counted = Callable[[object], None]  # the fixture `counted`: what a journey tells its counts to


def make_authority(folder: Path) -> Path:
    """Make a certificate authority with everyone that the journeys need."""
    authority = Authority.create(folder)
    authority.issue("broker", "broker-a", hosts=("localhost", HOST))
    for gateway in (GATEWAY, OTHER):
        authority.issue("gateway", gateway)
    for receiver in (RECEIVER, STRANGER):
        authority.issue("receiver", receiver)
    authority.issue("commander", RECEIVER)
    return folder


async def until(
    condition: Callable[[], object | Awaitable[object]], what: str, within: float = WITHIN, every: float = POLL
) -> None:
    """Wait until a condition holds; fail with what was waited for."""
    try:
        async with asyncio.timeout(within):
            while True:
                holds = condition()
                if await holds if isinstance(holds, Awaitable) else holds:
                    return
                await asyncio.sleep(every)
    except TimeoutError:
        raise AssertionError(f"not within {within:.0f} s: {what}") from None


class World:
    """`module` is what runs as the gateway, `tables` further settings of it, `access` the broker's access list."""

    def __init__(
        self,
        folder: Path,
        authority: Path,
        *,
        boards: int = 1,
        embedded: bool = False,
        module: str = PROGRAM,
        environment: dict[str, str] | None = None,
        tables: str = "",
        access: str | None = None,
    ) -> None:
        self.folder = folder
        self.authority = authority
        self.ledger = Ledger()
        self.embedded = embedded
        home = folder / "broker"
        home.mkdir()
        self.broker: Mosquitto | Embedded
        if embedded:
            self.broker = Embedded(tls=self._credentials(), home=home)
        else:
            need_mosquitto()
            self.broker = Mosquitto(tls=self._credentials(), access=access or ALLOWED, home=home)
        self.line = PseudoTerminal(folder / "port")
        self.gateway = Gateway(
            Settings(authority, self.broker.port, {"radio": self.line.path}, GATEWAY, tables=tables),
            folder / "gw",
            module=module,
        )
        self.gateway.environment = {"PYTHONPATH": str(ROOT), **(environment or {})}
        self.receiver = Receiver(authority, self.broker.port, folder / "c5")
        self.labels = [labels.new_label(f"0c50{number:04x}") for number in range(1, boards + 1)]
        self.boards = [
            Board(self.line, label, flash=folder / f"flash-{label.device}", seed=number, ledger=self.ledger)
            for number, label in enumerate(self.labels)
        ]
        self._inside = contextlib.AsyncExitStack()

    def _credentials(self) -> Credentials:
        issued = self.authority / "broker" / "broker-a"
        return Credentials(self.authority / "trust-anchors.pem", issued / "tls.pem", issued / "tls.key")

    @property
    def board(self) -> Board:
        return self.boards[0]

    async def __aenter__(self) -> Self:
        self.gateway.state_dir.mkdir(parents=True, exist_ok=True)
        for label in self.labels:
            enrol(self.gateway.state_dir, label)
        try:
            await self._inside.enter_async_context(self.line)
            await self._inside.enter_async_context(self.broker)
            await self._inside.enter_async_context(self.receiver)
            # C5 has been there before: a broker keeps for it what comes while it is away.
            await until(lambda: "Connected to broker" in self.receiver.log, "the receiver at its broker")
            await self._inside.enter_async_context(self.gateway)
            for board in self.boards:
                await self._inside.enter_async_context(board)
        except BaseException:
            await self._inside.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            _status, listed, _said = await self.gateway.command("outbox", "list")
            sys.stdout.write(f"--- outbox\n{listed[-2000:]}\n")
            for process in (self.gateway, self.receiver, self.broker):
                sys.stdout.write(f"--- {type(process).__name__}\n{process.log[-4000:]}\n")
        self.gateway.kill()  # what it does with a SIGTERM is a journey of its own
        self.receiver.kill()
        await self._inside.aclose()

    # What happens.

    async def press(self, board: Board | None = None, stage: int = 2) -> Press:
        """Press, and wait until the board has heard this stage."""
        board = board or self.board
        number = await board.press()
        await board.stage(number, stage, WITHIN)
        return self.ledger.press(board.device, number)

    @contextlib.asynccontextmanager
    async def pressing(self, every: float, seed: int = 0) -> AsyncIterator[None]:
        """Have boards pressed while inside, `every` so many seconds on average, whoever's turn it is."""
        chance = random.Random(seed)

        async def press() -> None:
            while True:
                with contextlib.suppress(NotKeptError):  # 32 alarms wait in it: as a real one, it takes no more
                    chance.choice(self.boards).press_now(chance.choice(ALARMS))
                await asyncio.sleep(chance.uniform(0, 2 * every))

        task = asyncio.create_task(press())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # What is seen.

    async def ask(self) -> dict[str, Any]:
        """Return the running gateway's own status, at once."""
        answer = await asyncio.to_thread(console.ask, self.gateway.state_dir, {"do": "status"})
        assert answer is not None, "the gateway isn't running"
        return answer

    async def troubles(self) -> str:
        return " ".join((await self.ask())["troubles"])

    async def at_the_broker(self) -> bool:
        return bool((await self.ask())["brokers"][0]["connected"])

    async def connected(self) -> None:
        """Wait until the gateway is at its broker."""
        await until(self.at_the_broker, "the gateway at its broker")

    async def outbox(self) -> dict[str, int]:
        """Return what waits, by lane, as `c5-gateway outbox status` says it."""
        status, printed, said = await self.gateway.command("outbox", "status", "--json")
        assert status == 0, said
        return {lane: stored["count"] for lane, stored in json.loads(printed).items()}

    def client(self, name: str, role: str = "receiver") -> aiomqtt.Client:
        """Return the tests' own eyes and hands at the broker, under a certificate of this name."""
        issued = self.authority / role / name
        return aiomqtt.Client(
            HOST,
            self.broker.port,
            identifier=f"eyes-{name}-{time.monotonic_ns()}",
            protocol=aiomqtt.ProtocolVersion.V5,
            tls_context=client_context(self.authority / "trust-anchors.pem", issued / "tls.pem", issued / "tls.key"),
        )

    # The judgement.

    async def judged(
        self, *, reports: frozenset[str] = HONEST, stage: int = 2, within: float = WITHIN
    ) -> dict[str, Any]:
        """Wait until C5 has every press that a board took, then judge all; return what was counted.

        `stage` is what each board must have been told of each press. A gateway that is killed may owe it the second of
        a press that isn't the newest: that is told once.
        """
        truth = {happening(press) for press in self.ledger.presses}
        await until(lambda: truth <= self.told(), "every press at C5", within)
        await until(
            lambda: all(press.stage >= stage for press in self.ledger.presses), f"each press at stage {stage}", within
        )
        found = await self.intact(reports)
        told = Counter(held.happening for held in self.receiver.held() if held.event_number and not held.repeated)
        told = Counter({said: count for said, count in told.items() if said[2] in TYPES.values()})
        assert told == Counter(truth), "each press exactly once after deduplication, and nothing else"
        return {
            "pressed": len(truth),
            "told": len(self.ledger.reached(1)),
            "told received": len(self.ledger.reached(2)),
            "at C5": len(told),
            **found,
        }

    def told(self) -> set[tuple[str, int | None, str]]:
        return {held.happening for held in self.receiver.held()}

    async def intact(self, reports: frozenset[str] = HONEST) -> dict[str, Any]:
        """Chains whole at C5, nothing missing, nothing reported but what is allowed, each signature proven."""
        await until(self._nothing_missing, "C5 to miss nothing", every=0.2)
        unexpected = {kind: text for kind, text in self.receiver.reports().items() if kind not in reports}
        assert not unexpected, unexpected
        held = self.receiver.held()
        exit_status, said = await self.receiver.verify_export()
        assert exit_status == 0, said
        proven = f"{len(held)} records proven, 0 wrong; {_never_durable(held)} not in the file"
        assert proven in " ".join(said.split()), said
        return {
            "records": len(held),
            "told again": sum(record.repeated for record in held),
            "epochs": len({record.epoch for record in held}),
            "reported": sorted(self.receiver.reports()),
        }

    async def _nothing_missing(self) -> bool:
        return not any(gateway["missing"] for gateway in (await self.receiver.status())["gateways"])

    async def nothing_waits(self, *lanes: str) -> None:
        """Wait until the outbox holds nothing, or nothing of these lanes, that C5 hasn't receipted."""

        async def empty() -> bool:
            waiting = await self.outbox()
            return not any(waiting[lane] for lane in lanes or waiting)

        await until(empty, "nothing to wait in the outbox", every=0.2)


def _never_durable(held: Sequence[Held]) -> int:
    """Count the holes before records that left beside their commit, in epochs that a kill ended (wire.md, "Epochs").

    The next epoch names the last durable record: of what lay beyond, C5 may have a part, and asks for no more of it.
    """
    sequences: defaultdict[tuple[bytes, Lane], set[int]] = defaultdict(set)
    durable: dict[tuple[bytes, Lane], int] = {}
    for one in held:
        sequences[one.epoch, one.lane].add(one.sequence)
        link = read(one.wire).link
        if link is not None:
            durable[link[0], one.lane] = link[1]
    return sum(
        number not in found and number > durable.get(place, max(found))
        for place, found in sequences.items()
        for number in range(min(found), max(found))
    )


def happening(press: Press) -> tuple[str, int | None, str]:
    return press.device, press.event, TYPES[press.kind]


def enrol(state_dir: Path, label: Label) -> None:
    """Enrol a device as `device enrol` does, without its start-up time; one journey goes through the command."""
    Registry(state_dir).enrol(Device(label.device, label.model, label.key))


def in_lane(held: Sequence[Held], name: str) -> list[Held]:
    return [record for record in held if LANE_NAMES[record.lane] == name]
