"""Who this gateway is, and by what time it judges: what its settings' files say, read at the start."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway import RELEASED
from gateway.clock import FieldClock, Timekeeper
from gateway.config import GatewaySettings
from gateway.errors import CertificateError
from gateway.identity.keystore import Own, Tls, load_anchors, load_identity, load_revocations, read_tls, validity
from gateway.signing.certificate import Revocations
from gateway.signing.record import SYNCHRONISED
from gateway.text import _
from gateway.world import World

log = logging.getLogger(__name__)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def field_clock(settings: GatewaySettings, world: World) -> FieldClock:
    """Return the time to go by: the machine's clock, judged by the floor, the build and our own certificates."""
    files = settings.identity
    begin, end = validity(files.signing_certificate, files.tls_certificate)
    built = datetime.fromisoformat(RELEASED).replace(tzinfo=UTC)
    return FieldClock(world.clock, world.floor.read(settings.gateway.state_dir), max(begin, built), end)


def identity(settings: GatewaySettings, clock: Timekeeper) -> tuple[Own, Tls | None]:
    """Read who we are, or raise `CertificateError` naming what is wrong: the role, the date, the name."""
    files = settings.identity
    at = _EPOCH + timedelta(microseconds=clock.now_us())
    own = load_identity(
        files.signing_certificate,
        files.signing_key,
        role="gateway",
        anchors=load_anchors(files.trust_anchors),
        at=at,
        sure=clock.quality()[0] in SYNCHRONISED,
    )
    if own.identity.not_after < at:
        log.warning("by a clock that nobody set, the signing certificate has expired: it is used all the same")
    name = settings.gateway.id
    if own.identity.name != name:
        raise CertificateError(
            _("identity.signing_certificate is for {found}, and gateway.id is {name}").format(
                found=own.identity.name, name=name
            ),
            _("C5 refuses what this gateway signs. Correct gateway.id, or install this gateway's own certificate."),
        )
    tls = read_tls(files.tls_certificate) if files.tls_certificate else None
    if tls is not None and tls.common_name != name:
        raise CertificateError(
            _("identity.tls_certificate is for {found}, and gateway.id is {name}").format(
                found=tls.common_name, name=name
            ),
            _("The broker lets each gateway speak in its own name alone. Install this gateway's own certificate."),
        )
    return own, tls


def revocations(settings: GatewaySettings, clock: Timekeeper) -> Revocations | None:
    """Read the revocation list; one that is out of date warns and never blocks."""
    path = settings.identity.revocation_list
    if path is None:
        return None
    loaded = load_revocations(path)
    if loaded.stale(_EPOCH + timedelta(microseconds=clock.now_us())):
        log.warning("the revocation list is out of date: %s", path)
    return loaded
