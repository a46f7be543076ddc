"""`c5-receiver`: the centre's command line."""

import asyncio
import base64
import io
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from gateway.errors import C5Error, CertificateError, Refused, SettingsError
from gateway.text import _

if TYPE_CHECKING:
    from gateway.signing.certificate import Anchors

app = typer.Typer(
    help=_("The centre's end: receives, verifies, stores and receipts what gateways send."),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
FILE_MAX: Final = 256 * 1024 * 1024  # bytes read at once
SETTINGS_MAX: Final = 12_000  # bytes of settings that a command carries

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help=_("Settings; else $C5_RECEIVER_CONFIG, else /etc/c5-receiver/receiver.toml."),
    ),
]


@app.command(help=_("Receive, in the foreground, until SIGTERM or Ctrl-C."))
def run(
    config: Config = None,
    output: Annotated[
        Literal["jsonl"] | None, typer.Option(help=_("Also print one JSON line for each verified record."))
    ] = None,
) -> None:
    """Receive, in the foreground, until SIGTERM or Ctrl-C."""
    from gateway.c5 import app as receiver  # noqa: PLC0415  # heavy: --help and mistakes answer at once
    from gateway.c5.config import load_settings  # noqa: PLC0415

    settings = load_settings(_settings_file(config))
    receiver.log_to_stderr(settings.log.level)
    asyncio.run(receiver.run(settings, output))


@app.command(help=_("Show gateways, newest records and troubles, live."))
def watch(config: Config = None) -> None:
    """Show gateways, newest records and troubles, live."""
    from rich.console import Console  # noqa: PLC0415

    from gateway.c5.watch import watch as show  # noqa: PLC0415

    try:
        show(_ledger(config), Console())
    except KeyboardInterrupt:
        return


@app.command(
    help=_("Show gateways, what is missing, and troubles, once. Exit status 1 if anything is missing or reported.")
)
def status(
    config: Config = None, *, as_json: Annotated[bool, typer.Option("--json", help=_("One JSON document."))] = False
) -> None:
    """Show gateways, what is missing, and troubles, once. Exit status 1 if anything is missing or reported."""
    from rich.console import Console  # noqa: PLC0415

    from gateway.c5 import watch as view  # noqa: PLC0415
    from gateway.c5.overview import as_json as gateway_as_json  # noqa: PLC0415

    shown = view.read(_ledger(config), _now_us())
    if as_json:
        document = {
            "gateways": [gateway_as_json(entry) for entry in shown.views],
            "alarms": [view.alarm_json(held) for held in shown.alarms],
            "reports": [
                {
                    "type": told.report.type,
                    "gateway": told.report.gateway or None,
                    "detail": told.report.detail,
                    "text": told.report.text,
                    "count": told.count,
                    "first_us": told.first_us,
                    "last_us": told.last_us,
                }
                for told in shown.reports
            ],
        }
        typer.echo(json.dumps(document, indent=2))
    else:
        view.show(shown, Console())
    if shown.reports or any(entry.missing for entry in shown.views):
        raise typer.Exit(1)


@app.command(help=_("Prove records in files, each by its own signature. Exit status 1 if anything is wrong."))
def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help=_("Records, as a CBOR sequence, or exports."))],
    config: Config = None,
    trust_anchors: Annotated[
        Path | None, typer.Option(metavar="PEM", help=_("Trust anchors; else those of the settings."))
    ] = None,
    chain: Annotated[
        list[Path] | None,
        typer.Option(metavar="PEM", help=_("A gateway's signing chain; repeat for each. Else the ledger's.")),
    ] = None,
) -> None:
    """Prove records in files, each by its own signature. Exit status 1 if anything is wrong."""
    from gateway.c5.audit import audit  # noqa: PLC0415
    from gateway.c5.signers import Signers  # noqa: PLC0415

    read = [_records(file) for file in files]
    carried = [found for _items, chains in read for found in chains]
    anchors, chains = _proofs(config, trust_anchors, chain or [], carried)
    wrong = 0
    for file, (items, _chains) in zip(files, read, strict=True):
        findings = audit(items, chains, Signers(anchors), _now_us())
        for line in findings.wrong:
            typer.echo(f"{file}: {line}")
        text = _("{file}: {proven} records proven, {wrong} wrong; {missing} not in the file, {expired} signers expired")
        facts = {"proven": findings.proven, "missing": findings.missing, "expired": findings.expired}
        typer.echo(text.format(file=file, wrong=len(findings.wrong), **facts))
        wrong += len(findings.wrong)
    if wrong:
        raise typer.Exit(1)


@app.command("import", help=_("Take a gateway's export into the ledger. Exit status 1 if not all of it was believed."))
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_("What c5-gateway outbox export wrote."))],
    config: Config = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help=_("One JSON document."))] = False,
) -> None:
    """Take a gateway's export into the ledger. Exit status 1 if not all of it was believed."""
    from dataclasses import asdict  # noqa: PLC0415

    from gateway.c5 import app as receiver  # noqa: PLC0415
    from gateway.c5.config import load_settings  # noqa: PLC0415
    from gateway.c5.importing import run_import  # noqa: PLC0415

    settings = load_settings(_settings_file(config))
    receiver.log_to_stderr("warning")
    try:
        with file.open("rb") as stream:
            became = asyncio.run(run_import(settings, stream))
    except OSError as error:
        raise C5Error(
            _("{path} can't be read: {reason}").format(path=file, reason=error.strerror), _("check the path")
        ) from error
    if as_json:
        typer.echo(json.dumps({"file": str(file), **asdict(became)}))
    else:
        text = _("{file}: {records} records: {new} new, {known} known, {refused} refused; {unavailable} unavailable")
        typer.echo(text.format(file=file, **asdict(became)))
        if became.cut:
            text = _("It was cut short after {records} records, or isn't an export: what isn't in it, the gateway has.")
            typer.echo(text.format(records=became.records))
        elif not became.complete:
            typer.echo(_("Part of it is damaged: what can't be read, the gateway has."))
    if became.refused or not became.complete:
        raise typer.Exit(1)


@app.command(help=_("End gateway.cloned: the other one was found and stopped. Exit status 1 if nothing was reported."))
def settle(
    gateway: Annotated[str, typer.Argument(metavar="GATEWAY")],
    operator: Annotated[str, typer.Option(metavar="NAME", help=_("Who says so."))],
    reason: Annotated[str, typer.Option(metavar="TEXT", help=_("What was found, and done."))],
    config: Config = None,
) -> None:
    """End gateway.cloned: the other one was found and stopped. Exit status 1 if nothing was reported."""
    from gateway.c5.config import load_settings  # noqa: PLC0415
    from gateway.c5.importing import run_settle  # noqa: PLC0415
    from gateway.topics import is_part  # noqa: PLC0415

    if not is_part(gateway):
        raise typer.BadParameter(_("{gateway} is no gateway's id").format(gateway=gateway))
    if not operator.strip() or not reason.strip():
        raise typer.BadParameter(_("--operator says who settles it, and --reason what was found: neither is empty"))
    settings = load_settings(_settings_file(config))
    ended = asyncio.run(run_settle(settings, gateway, f"settled by {operator}: {reason}"))
    if not ended:
        typer.echo(_("{gateway}: no clone is reported").format(gateway=gateway))
        raise typer.Exit(1)
    typer.echo(_("{gateway}: settled; should it be reported again, there is another one still").format(gateway=gateway))


@app.command(help=_("Send a signed command to a gateway and wait for its reply. Exit status 0 if it was done."))
def command(
    gateway: Annotated[str, typer.Argument(metavar="GATEWAY")],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="ping, alarm.acknowledge, records.resend, output.set, device.identify, device.revoke, "
            "maintenance.begin, maintenance.end, config.apply, certificate.renew, gateway.restart",
        ),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help=_("What the command takes (docs/operate/commands.md); toml=@FILE reads the settings from a file."),
        ),
    ] = None,
    config: Config = None,
    *,
    wait: Annotated[float, typer.Option(min=1, max=3600, help=_("Seconds to wait, after which it expires."))] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help=_("One JSON document."))] = False,
) -> None:
    """Send a signed command to a gateway and wait for its reply. Exit status 0 if it was done."""
    from gateway.c5.command import send  # noqa: PLC0415
    from gateway.c5.config import load_settings  # noqa: PLC0415
    from gateway.c5.orders import odd_arguments, read_arguments, shown  # noqa: PLC0415
    from gateway.topics import is_part  # noqa: PLC0415

    given = read_arguments(arguments or [])
    if isinstance(given, Refused) or not is_part(gateway) or not 1 <= len(name) <= 64:
        what = given.reason if isinstance(given, Refused) else f"{gateway} {name}"
        raise typer.BadParameter(what)
    if (odd := odd_arguments(name, given)) is not None:
        raise typer.BadParameter(odd)
    if given.get("toml", "").startswith("@"):
        given["toml"] = _settings_text(Path(given["toml"][1:]))
    answered = asyncio.run(send(load_settings(_settings_file(config)), gateway, name, given, wait))
    reply, result = answered.reply, shown(answered.reply.result)
    if as_json:
        said = {"outcome": reply.outcome, "text": reply.text, "result": result}
        document = {"gateway": gateway, "command": answered.id.hex(), "name": name, **said}
        typer.echo(json.dumps({**document, "seconds": round(answered.seconds, 3)}))
    else:
        told = [reply.outcome, *([reply.text] if reply.text else []), *(f"{k} {v}" for k, v in result.items())]
        typer.echo(f"{gateway}: {told[0]}" + (": " + ", ".join(told[1:]) if told[1:] else ""))
    if reply.outcome != "done":
        raise typer.Exit(1)


def main() -> None:
    """Run the command line: on a mistake, two lines on standard error; exit status 2 for settings, 1 for the rest."""
    try:
        app()
    except C5Error as error:
        for line in (error.what, *error.hint.splitlines()):
            sys.stderr.write(f"c5-receiver: {line}\n" if line is error.what else f"  {line}\n")
        sys.exit(2 if isinstance(error, SettingsError) else 1)


def _settings_file(config: Path | None) -> Path:
    from gateway.c5.config import DEFAULT, VARIABLE  # noqa: PLC0415
    from gateway.settings import find_settings  # noqa: PLC0415

    return find_settings(config, VARIABLE, DEFAULT)


def _ledger(config: Path | None) -> Path:
    from gateway.c5.app import ledger_path  # noqa: PLC0415
    from gateway.c5.config import load_settings  # noqa: PLC0415

    return ledger_path(load_settings(_settings_file(config)))


def _proofs(
    config: Path | None,
    trust_anchors: Path | None,
    chain_files: list[Path],
    carried: list[tuple[bytes, ...]],
) -> "tuple[Anchors, list[tuple[bytes, ...]]]":
    """Return trust anchors and chains: those given or carried by the files, else those of settings and ledger."""
    from gateway.c5.config import load_settings  # noqa: PLC0415
    from gateway.c5.ledger.reading import read_signers  # noqa: PLC0415
    from gateway.database import open_read_only  # noqa: PLC0415
    from gateway.identity.keystore import load_anchors  # noqa: PLC0415

    chains = [_pem_chain(file) for file in chain_files] + carried
    if trust_anchors is not None and chains:
        return load_anchors(trust_anchors), chains
    settings = load_settings(_settings_file(config))
    if not chains:
        connection = open_read_only(settings.receiver.state_dir / "ledger.db")
        chains = [found for _gateway, found, _proven in read_signers(connection)]
    return load_anchors(trust_anchors or settings.identity.trust_anchors), chains


def _pem_chain(file: Path) -> tuple[bytes, ...]:
    blocks = re.findall(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", _read(file), re.DOTALL)
    if not blocks:
        raise CertificateError(
            _("{path} holds no certificate in PEM format").format(path=file), _("give a chain, the signer's first")
        )
    return tuple(map(base64.b64decode, blocks))


def _records(file: Path) -> tuple[list[bytes], list[tuple[bytes, ...]]]:
    """Return what a file holds: records, and the chains that an export carries; what is unreadable is no record."""
    from gateway.signing import export  # noqa: PLC0415
    from gateway.signing.chains import decode_chains  # noqa: PLC0415

    items: list[bytes] = []
    chains: list[tuple[bytes, ...]] = []
    for item in export.items(io.BytesIO(_read(file)).read):
        if isinstance(item, export.Scrap):
            items.append(item.data)
            continue
        part = None if export.is_record(item) else export.part(item)
        if part is None:
            items.append(item)
        elif isinstance(part, export.Header) and not isinstance(found := decode_chains(part.certificates), Refused):
            chains += found
    return items, chains


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_MAX + 1)
    except OSError as error:
        raise C5Error(
            _("{path} can't be read: {reason}").format(path=file, reason=error.strerror), _("check the path")
        ) from error
    if len(content) > FILE_MAX:
        raise C5Error(_("{path} is larger than 256 MiB").format(path=file), _("cut it: any part of it can be verified"))
    return content


def _settings_text(file: Path) -> str:
    content = _read(file)
    if len(content) > SETTINGS_MAX:
        raise C5Error(
            _("{path} is larger than {most} bytes").format(path=file, most=SETTINGS_MAX),
            _("A command can't carry more. Give only what is to change."),
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise C5Error(_("{path} is not UTF-8").format(path=file), _("Save it as UTF-8.")) from error


def _now_us() -> int:
    return time.time_ns() // 1000


if __name__ == "__main__":
    main()
