"""Local input and its sources, and the site file, as `check` and `status` show them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from gateway import site
from gateway.config import GatewaySettings
from gateway.drivers.https import try_listen
from gateway.errors import C5Error
from gateway.identity.keystore import read_tls
from gateway.local_input import sources
from gateway.text import _
from gateway.tls import server_context

Finding = tuple[str, str | None, str]  # what it is, what is wrong with it, what to say if nothing is


def looked(settings: GatewaySettings) -> Iterator[Finding]:
    """Look at the files, and try to listen; nobody else has the port now."""
    table = settings.local_input
    for what, wrong, right in files(settings):
        own = table is not None and what == _("local input {name}").format(name=table.name)
        yield what, (try_listen(table.address, table.port) if table and own and wrong is None else wrong), right


def files(settings: GatewaySettings) -> Iterator[Finding]:
    """Look at the files alone, as a start reads them."""
    if settings.gateway.site_file is not None:
        try:
            views = site.video(settings)
        except C5Error as error:
            yield _("site file"), f"{error.what}. {error.hint}", ""
        else:
            yield _("site file"), None, _("read; {count} sources have cameras").format(count=len(views))
    if (table := settings.local_input) is None:
        return
    wrong: str | None = None
    try:
        server_context(table.certificate, table.key, table.client_anchors, lambda: None)
        end = read_tls(table.certificate).not_after
        if end < datetime.now(UTC):
            wrong = _("its certificate expired on {date}").format(date=f"{end:%Y-%m-%d}")
    except C5Error as error:
        wrong = f"{error.what}. {error.hint}"
    yield _("local input {name}").format(name=table.name), wrong, f"{table.address}, {table.port}"
    found, unreadable = sources(settings)
    for source in found:
        yield _("source {name}").format(name=source.name), unreadable.get(source.name), ", ".join(sorted(source.types))


def beside(running: dict[str, Any]) -> Iterator[Finding]:
    """Yield the same through the eyes of the running service."""
    for port in running["local_inputs"]:
        yield _("local input {name}").format(name=port["name"]), port["trouble"], _listens(port)
    for source in running["sources"]:
        yield _("source {name}").format(name=source["name"]), source["trouble"], _counted(source)


def shown(found: dict[str, Any]) -> Iterator[str]:
    """Yield a line of `status` for each."""
    for port in found["local_inputs"]:
        yield f"{port['name']:10} {port['trouble'] or _listens(port)}"
    for source in found["sources"]:
        yield f"{source['name']:10} {source['trouble'] or _counted(source)}"


def told(running: dict[str, Any]) -> list[str]:
    """Return what the service says of these among its troubles."""
    rows = (*running["local_inputs"], *running["sources"])
    return [f"{row['name']}: {row['trouble']}" for row in rows]


def _listens(port: dict[str, Any]) -> str:
    text = _("HTTPS on {address}, port {port}, {connections} connections").format(**port)
    return text + _refused(port["refused"])


def _counted(source: dict[str, Any]) -> str:
    heard = _("not heard yet") if source["heard_s"] is None else _("heard {s} s ago").format(s=source["heard_s"])
    accepted = _("{accepted} accepted").format(accepted=source["accepted"])
    return f"{heard}, {accepted}{_refused(source['refused'])}"


def _refused(counts: dict[str, int]) -> str:
    if not counts:
        return ""
    return _("; refused: {reasons}").format(reasons=", ".join(f"{why} {count}" for why, count in counts.items()))
