"""A gateway's export into the ledger: every record judged as if a broker had brought it.

    file ──▶ messages of at most 16 KiB ──▶ Desk.give ──▶ Receiver: judged, committed, acknowledged ──▶ counted

A file is a broker that a person carries: its header stands for a topic, nothing of it is believed, and what becomes of
a record is decided where it always is (`centre`). Beside a running receiver the messages are handed to that one, which
alone writes the ledger (`desk`); otherwise a receiver without brokers takes them. A file may be given again, whole or
in part, before or after its records come by wire: what is known stays as it is.
"""

import asyncio
import contextlib
import os
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from gateway.c5.app import load_centre, wall
from gateway.c5.config import ReceiverSettings
from gateway.c5.desk import ANSWER, QUESTION, SETTLE, SOCKET, Desk, Given
from gateway.c5.ledger import LEDGER, Ledger
from gateway.c5.receiver import Receiver
from gateway.c5.sinks import JsonLines
from gateway.database import in_use
from gateway.errors import C5Error, Refused, StoreError
from gateway.event import Lane
from gateway.signing import export, record
from gateway.signing.cose import MESSAGE_MAX, parse
from gateway.signing.export import End, Header, Scrap
from gateway.text import _

if TYPE_CHECKING:
    from gateway.topics import Route

WINDOW: Final = 16  # messages on their way to the ledger: at most 256 KiB
SINK_CLOSE_WITHIN: Final = 5.0  # seconds
Give = Callable[[str, bytes], Awaitable[Given]]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file. `unavailable`: records that its new ones declare; `complete`: all of it is there.

    `cut`: it isn't because the file ends too early; else something within it can't be read.
    """

    records: int
    new: int
    known: int
    refused: int
    unavailable: int
    complete: bool
    cut: bool = False


class Reading:
    """A file's items, as the messages that a broker would have brought."""

    def __init__(self, items: Iterable[bytes | Scrap]) -> None:
        self._items = items
        self.records = 0
        self.unreadable = 0  # items that are no part of an export
        self.complete = False  # the last item was an end, and every end told the right number
        self.cut = True  # the last item was no end

    def messages(self) -> Iterator[tuple[str, bytes]]:
        """Yield topics and payloads. Records before a header and a lane are counted, and belong nowhere.

        After bytes that can't be read, which lane it is a record itself says: what told it may be among them.
        """
        route: Route | None = None
        lane: Lane | None = None
        waiting: list[bytes] = []
        size = since_end = 0
        doubtful = short = False
        for item in self._items:
            if isinstance(item, bytes) and export.is_record(item):
                self.records += 1
                since_end += 1
                self.complete, self.cut = False, True
                if doubtful and route is not None and (own := _lane_of(item)) is not lane:
                    if waiting and lane is not None:
                        yield route.event(lane), b"".join(waiting)
                        waiting, size = [], 0
                    lane = own
                if route is None or lane is None:
                    continue
                if size + len(item) > MESSAGE_MAX:
                    yield route.event(lane), b"".join(waiting)
                    waiting, size = [], 0
                waiting.append(item)
                size += len(item)
                continue
            if waiting and route is not None and lane is not None:
                yield route.event(lane), b"".join(waiting)
                waiting, size = [], 0
            found = item if isinstance(item, Scrap) else export.part(item)
            short |= isinstance(found, End) and found.count != since_end
            self.complete = isinstance(found, End) and not short
            self.cut = not isinstance(found, End)
            match found:
                case Header(route, certificates):
                    yield route.topic("certificates"), certificates
                case Lane():
                    lane, doubtful = found, False
                case End():
                    since_end = 0
                case Scrap(cut=cut):
                    doubtful = True
                    self.unreadable += not cut
                case Refused():
                    raise AssertionError(found)  # `export.items` lets none through
        if waiting and route is not None and lane is not None:
            yield route.event(lane), b"".join(waiting)


def _lane_of(item: bytes) -> Lane | None:
    envelope = parse(item, "record")
    content = envelope if isinstance(envelope, Refused) else record.decode(envelope.payload)
    return None if isinstance(content, Refused) else content.lane


async def take(items: Iterable[bytes | Scrap], give: Give) -> Imported:
    """Give a file's messages, as many at a time as the window has room for; return what became of them."""
    reading = Reading(items)
    given: deque[asyncio.Future[Given]] = deque()
    became: list[int] = [0, 0, 0]

    async def settle(left: int) -> None:
        while len(given) > left:
            became[:] = map(int.__add__, became, await given.popleft())

    try:
        for topic, payload in reading.messages():
            certificates = topic.endswith("/certificates")  # they are known before the records that they prove
            given.append(asyncio.ensure_future(give(topic, payload)))
            await settle(0 if certificates else WINDOW - 1)
        await settle(0)
    finally:
        for left in given:
            left.cancel()
        await asyncio.gather(*given, return_exceptions=True)
    new, known, unavailable = became
    refused = reading.unreadable + reading.records - new - known
    return Imported(reading.records, new, known, refused, unavailable, reading.complete, reading.cut)


async def run_import(settings: ReceiverSettings, stream: BinaryIO) -> Imported:
    """Give an export to the running receiver, or take it in ourselves if there is none. Raises C5Error."""
    folder = settings.receiver.state_dir
    _become_owner(folder)
    async with _running(folder) if in_use(folder / LEDGER) else _at_rest(settings) as give:
        return await take(export.items(stream.read), give)


async def run_settle(settings: ReceiverSettings, gateway: str, text: str) -> int:
    """Have the running receiver end what was reported of a gateway's clones, or do it ourselves. Raises C5Error."""
    folder = settings.receiver.state_dir
    _become_owner(folder)
    async with _running(folder) if in_use(folder / LEDGER) else _at_rest(settings) as give:
        return (await give(f"{SETTLE}/{gateway}", text.encode())).new


def _become_owner(folder: Path) -> None:
    """Give up root's rights for those of the ledger's owner: what root makes there the receiver can't write."""
    try:
        owner = folder.stat()
    except OSError as error:
        raise StoreError(
            _("{path} can't be opened: {error}").format(path=folder, error=error.strerror),
            _("Check receiver.state_dir; the receiver makes it at its first start."),
        ) from error
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


@contextlib.asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[Give]:
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def give(topic: str, payload: bytes) -> Given:
        reader, writer = await free.get()
        writer.write(QUESTION.pack(len(topic), len(payload)) + topic.encode() + payload)
        try:
            given = Given(*ANSWER.unpack(await reader.readexactly(ANSWER.size)))
        except (OSError, asyncio.IncompleteReadError) as error:
            raise C5Error(
                _("the running receiver took no more"),
                _("See its log: the disk may have failed. Give the file again afterwards: what is known stays."),
            ) from error
        free.put_nowait((reader, writer))
        return given

    async with contextlib.AsyncExitStack() as stack:
        try:
            for _each in range(WINDOW):
                talk = await asyncio.open_unix_connection(folder / SOCKET)
                stack.callback(talk[1].close)
                free.put_nowait(talk)
        except OSError as error:
            raise C5Error(
                _("a receiver has this ledger, and can't be asked: {reason}").format(reason=error.strerror),
                _("Run this with sudo; or stop it, import, and start it again: the brokers keep what comes."),
            ) from error
        yield give


@contextlib.asynccontextmanager
async def _at_rest(settings: ReceiverSettings) -> AsyncIterator[Give]:
    """Be a receiver without brokers. For it no time passes: who is silent and what is missing, the next one says."""
    centre, chain = load_centre(settings)
    loop = asyncio.get_running_loop()
    ledger = await Ledger.open(settings.receiver.state_dir)
    sinks = [JsonLines(sink.path) for sink in settings.sink if sink.path != "-"]
    desk = Desk(centre, ledger)
    receiver = Receiver(
        centre,
        ledger,
        (),
        agencies=(),
        certificates=chain,
        sinks=[*sinks, desk],
        wall=wall,
        random=random.SystemRandom().random,
    )
    desk.hear, desk.report = receiver.hear, receiver.report
    judging: asyncio.Task[None] | None = None
    try:
        centre.restore(await ledger.load(), loop.time())
        judging = loop.create_task(receiver.judge(), name="judge")
        yield desk.give
        await ledger.report(centre.reports.drain(), wall())
    finally:
        if judging is not None:
            judging.cancel()
        await ledger.close()
        for sink in sinks:
            await asyncio.to_thread(sink.close, SINK_CLOSE_WITHIN)
