"""`c5-certs`: the certificate authority's command line."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from certs.authority import LEAF_DAYS, Authority, Kind, UsageError
from certs.profiles import SigningKind
from gateway.errors import C5Error
from gateway.text import _

app = typer.Typer(
    help=_("Keys and certificates for gateways, brokers and centres."),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command(help=_("Make a certificate authority: a root and an issuing CA."))
def init(directory: Annotated[Path, typer.Argument(metavar="DIR", help=_("A folder for the authority."))]) -> None:
    """Make a certificate authority: a root and an issuing CA."""
    authority = Authority.create(directory)
    typer.echo(
        _("made a certificate authority; give this file to every machine: {path}").format(path=authority.trust_anchors)
    )
    typer.echo(_("keep {path} off this machine: issuing does not need it").format(path=directory / "ca" / "root.key"))


@app.command(help=_("Make keys and certificates for one gateway, broker, receiver, commander, HTTPS port or source."))
def issue(
    role: Annotated[Kind, typer.Argument(help=_("What it is."))],
    name: Annotated[str, typer.Argument(metavar="NAME", help=_("The gateway's id, or the name."))],
    *,
    directory: Annotated[Path, typer.Option("--dir", metavar="DIR", help=_("The authority's folder."))] = Path(),
    host: Annotated[
        list[str] | None, typer.Option(metavar="H", help=_("A server's host name or address; repeat for each."))
    ] = None,
    days: Annotated[int, typer.Option(metavar="N", help=_("How long the certificates last."))] = LEAF_DAYS,
    signing: Annotated[SigningKind, typer.Option(help=_("The signing key's algorithm."))] = "ed25519",
) -> None:
    """Make keys and certificates for one gateway, broker, receiver, commander, HTTPS port or source."""
    issued = Authority.open(directory).issue(role, name, hosts=host or (), days=days, signing=signing)
    for path in (issued.tls_certificate, issued.tls_key, issued.signing_certificate, issued.signing_key):
        if path is not None:
            typer.echo(path)


def main() -> None:
    """Run the command line; a mistake is two lines on standard error, and status 2 for wrong usage, 1 for the rest."""
    try:
        app()
    except C5Error as error:
        sys.stderr.write(f"c5-certs: {error.what}\n")
        if error.hint:
            sys.stderr.write(f"  {error.hint}\n")
        sys.exit(2 if isinstance(error, UsageError) else 1)
