"""The receiver put together from its settings. Here everything meets, and nothing is decided."""

import asyncio
import gc
import logging
import random
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.c5.centre import Centre
from gateway.c5.config import ReceiverSettings
from gateway.c5.desk import Desk, open_desk
from gateway.c5.ledger import LEDGER, Ledger
from gateway.c5.receiver import Receiver
from gateway.c5.receiver.line import Dial
from gateway.c5.signers import Signers
from gateway.c5.sinks import JsonLines
from gateway.errors import CertificateError, StoreError
from gateway.identity.keystore import load_anchors, load_identity, load_revocations
from gateway.mqtt import Broker, Connection, Message
from gateway.settings import BrokerSettings, IdentitySettings
from gateway.signing.chains import encode_chain
from gateway.signing.cose import Signer
from gateway.text import _
from gateway.tls import client_context

log = logging.getLogger(__name__)

KEEPALIVE: Final = 15  # seconds; a dead broker is noticed within twice that
SESSION: Final = 7 * 86_400  # seconds that a broker keeps what comes while we are away (wire.md, section 3)
IN_FLIGHT: Final = 100  # messages that a broker may send us before the first is committed: at most 1.6 MB
DIAL_WITHIN: Final = 20.0
# Seconds until a busy thread lets another in: the ledger's thread asks for the lock again after every statement,
# and would wait Python's 5 ms for it each time while messages are being judged.
SWITCH_INTERVAL: Final = 0.0005
REVOCATIONS_EVERY: Final = 30.0  # seconds between two looks at the file
SINK_CLOSE_WITHIN: Final = 5.0


async def run(settings: ReceiverSettings, output: str | None) -> None:
    """Receive until SIGTERM or SIGINT. `output` "jsonl" adds a sink on standard output. Raises C5Error."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sys.setswitchinterval(SWITCH_INTERVAL)
    folder = settings.receiver.state_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            _("{path} can't be made: {reason}").format(path=folder, reason=error.strerror),
            _("check receiver.state_dir, and that the service's user may write there"),
        ) from error
    centre, chain = load_centre(settings)
    brokers = [(f"{b.host}:{b.port}", dial(b, settings.identity, settings.receiver.name)) for b in settings.broker]
    ledger = await Ledger.open(folder)
    paths = [sink.path for sink in settings.sink] + (["-"] if output == "jsonl" else [])
    sinks = [JsonLines(path) for path in paths]
    desk = Desk(centre, ledger)
    try:
        centre.restore(await ledger.load(), asyncio.get_running_loop().time())
        receiver = Receiver(
            centre,
            ledger,
            brokers,
            agencies=settings.subscribe.agencies,
            certificates=chain,
            sinks=[*sinks, desk],
            wall=wall,
            random=random.SystemRandom().random,
        )
        desk.hear, desk.report = receiver.hear, receiver.report
        gc.collect()
        gc.set_threshold(50_000, 20, 20)  # records come in floods, live until their commit, and form no cycles
        gc.freeze()  # what the start made stays: a later collection would stop us for 20 ms to look at all of it again
        async with open_desk(folder, desk), asyncio.TaskGroup() as group:
            tasks = [group.create_task(receiver.run(), name="receiver")]
            if settings.identity.revocation_list:
                following = follow_revocations(settings.identity.revocation_list, centre)
                tasks.append(group.create_task(following, name="revocations"))
            await stop.wait()
            for task in tasks:
                task.cancel()
    finally:
        await ledger.close()
        for sink in sinks:
            await asyncio.to_thread(sink.close, SINK_CLOSE_WITHIN)


async def follow_revocations(path: Path, centre: Centre) -> None:
    """Take up a newer revocation list when its file changes. One that can't be read changes nothing."""
    known = _changed_at(path)
    while True:
        await asyncio.sleep(REVOCATIONS_EVERY)
        try:
            changed = _changed_at(path)
            if changed != known:
                centre.revoke(load_revocations(path))
                log.info("Took up the revocation list %s", path)
        except (OSError, CertificateError) as error:
            log.warning("The revocation list can't be read, the last one still counts: %s", error)
        else:
            known = changed


def _changed_at(path: Path) -> int:
    return path.stat().st_mtime_ns


def load_centre(settings: ReceiverSettings) -> tuple[Centre, bytes]:
    """Return the centre with its own key, and its chain as it goes to the gateways. Raises CertificateError."""
    identity = settings.identity
    anchors = load_anchors(identity.trust_anchors)
    own = load_identity(
        identity.signing_certificate, identity.signing_key, role="receiver", anchors=anchors, at=datetime.now(UTC)
    )
    if own.identity.name != settings.receiver.name:
        raise CertificateError(
            _("{path} is the certificate of the receiver {found}, and receiver.name is {name}").format(
                path=identity.signing_certificate, found=own.identity.name, name=settings.receiver.name
            ),
            _("make one with: c5-certs issue receiver {name}").format(name=settings.receiver.name),
        )
    revocations = load_revocations(identity.revocation_list) if identity.revocation_list else None
    if revocations and revocations.stale(datetime.now(UTC)):
        log.warning("The revocation list is out of date: %s", identity.revocation_list)
    signer = Signer(own.key, own.identity.thumbprint)
    chain = encode_chain(own.chain)
    return Centre(settings.receiver.name, signer, Signers(anchors, revocations)), chain


def dial(broker: BrokerSettings, identity: IdentitySettings, name: str) -> Dial:
    """Return what opens a connection to this broker. Raises CertificateError."""
    context = None
    if broker.tls:
        assert identity.tls_certificate and identity.tls_key  # noqa: PT018  # the settings saw to both
        context = client_context(identity.trust_anchors, identity.tls_certificate, identity.tls_key)
    where = Broker(broker.host, broker.port, broker.protocol, context)

    async def connect(on_message: Callable[[Message], None], on_closed: Callable[[str], None]) -> Connection:
        return await Connection.open(
            where,
            name,
            keepalive=KEEPALIVE,
            will=None,
            session_expiry=SESSION,
            receive_maximum=IN_FLIGHT,
            on_message=on_message,
            on_closed=on_closed,
            deadline=DIAL_WITHIN,
            manual_ack=True,
        )

    return connect


def wall() -> int:
    """Microseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1000


def log_to_stderr(level: str) -> None:
    """Log to standard error: standard output is for JSON lines."""
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )


def ledger_path(settings: ReceiverSettings) -> Path:
    """Return where this receiver's ledger is."""
    return settings.receiver.state_dir / LEDGER
