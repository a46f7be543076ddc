"""`firmware-sim`: simulated devices from the command line, for a bench without devices."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Simulated C5 devices: panic buttons and sensors on serial lines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line."""
    app()


@app.command()
def run(
    scenario: Annotated[
        str, typer.Argument(help="lobby, patrol, storm or tower, which come with the program, or a file (TOML).")
    ],
    folder: Annotated[
        Path | None, typer.Option(help="Where ports, labels and flash are kept; a new temporary folder if absent.")
    ] = None,
    *,
    speed: Annotated[float, typer.Option(help="How much faster the steps follow each other.", min=0.01)] = 1.0,
    wait: Annotated[bool, typer.Option("--wait", help="Plug everything in; return begins, return ends.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the ledger as one JSON document.")] = False,
) -> None:
    """Play a scenario on pseudo-terminals. Exit 0 if every press was told a stage, 1 if not, 2 for a bad scenario."""
    from firmware_sim import commands  # noqa: PLC0415  # --help must not wait for it

    raise typer.Exit(commands.run(scenario, folder, speed=speed, as_json=json, wait=wait))


@app.command()
def device(
    label: Annotated[str, typer.Argument(help="The device's label, C5D1:…", metavar="LABEL")],
    port: Annotated[
        Path, typer.Option(help="A serial port; where nothing has that name, a pseudo-terminal is made there.")
    ],
    *,
    baud: Annotated[int, typer.Option(help="The line's speed.")] = 115200,
    flash: Annotated[
        Path | None, typer.Option(help="Where counters outlive this run. Without it use a label only once.")
    ] = None,
    heartbeat: Annotated[float, typer.Option(help="Seconds between heartbeats.", min=0.1)] = 60.0,
    presses: Annotated[int, typer.Option(help="Press so many times, then end when all were told.", min=0)] = 0,
    every: Annotated[float, typer.Option(help="Seconds from press to press.", min=0)] = 1.0,
) -> None:
    """Be one device on a line. Return presses the button, a number and return lets an event of that kind happen."""
    from firmware_sim import commands  # noqa: PLC0415  # --help must not wait for it

    raise typer.Exit(
        commands.device(label, port, baud=baud, flash=flash, heartbeat=heartbeat, presses=presses, every=every)
    )


if __name__ == "__main__":
    main()
