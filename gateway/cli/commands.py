"""The technician's command line. Each command imports what it needs when it runs."""

# ruff: noqa: D103  # the help text of a command, which goes through gettext, is its docstring

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.said import ended
from gateway.text import _

app = typer.Typer(
    help=_("Reads panic buttons and sensors, signs each event, and delivers it to C5."),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
device_app = typer.Typer(help=_("Enrolled devices."), no_args_is_help=True)
peripheral_app = typer.Typer(help=_("Peripherals on OSDP lines."), no_args_is_help=True)
outbox_app = typer.Typer(help=_("What is buffered for C5."), no_args_is_help=True)
app.add_typer(device_app, name="device")
app.add_typer(peripheral_app, name="peripheral")
app.add_typer(outbox_app, name="outbox")

Config = Annotated[Path | None, typer.Option("--config", help=_("The settings file."), show_default=False)]
Json = Annotated[bool, typer.Option("--json", help=_("Print one JSON document and nothing else."))]


@app.command(help=_("Run the service in the foreground."))
def run(config: Config = None) -> None:
    from gateway.cli import service  # noqa: PLC0415

    ended(service.run, config)


@app.command(help=_("Show the main job on this machine, with nothing set up: press, sign, deliver, receipt."))
def demo(
    seconds: Annotated[float | None, typer.Option(help=_("Stop after so many seconds."))] = None,
    presses: Annotated[int, typer.Option(min=1, help=_("How many presses."))] = 20,
    outage: Annotated[float, typer.Option(min=0, help=_("Seconds without a broker, in the middle."))] = 10.0,
    seed: Annotated[int | None, typer.Option(help=_("Repeat a run exactly as far as chance goes."))] = None,
    json: Json = False,
) -> None:
    from gateway.cli.demo import run as run_demo  # noqa: PLC0415

    ended(run_demo, seconds=seconds, presses=presses, outage=outage, seed=seed, as_json=json)


@app.command(help=_("Show a running gateway at a glance. Exit 1 if it isn't running or has troubles."))
def status(config: Config = None, json: Json = False) -> None:
    from gateway.cli import look  # noqa: PLC0415

    ended(look.status, config, as_json=json)


@app.command(help=_("Find every reason why this gateway would not work. Exit 1 if anything failed."))
def check(config: Config = None, json: Json = False) -> None:
    from gateway.cli import check as checks  # noqa: PLC0415

    ended(checks.run, config, as_json=json)


@app.command(help=_("Find the right serial port: what is there, who has it, and what answers on it."))
def ports(
    devices: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DEVICE]…", help=_("Only these; without any, all."), show_default=False),
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help=_("Ask for Modbus units and OSDP peripherals too: this writes to the port."))
    ] = False,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help=_("How long each port is listened to."))] = 20,
    config: Config = None,
    json: Json = False,
) -> None:
    from gateway.cli import ports as looking  # noqa: PLC0415

    if probe and not devices:
        raise typer.BadParameter(_("name the port that is asked: c5-gateway ports --probe DEVICE"))
    ended(looking.run, config, devices or [], probe=probe, seconds=seconds, as_json=json)


@app.command(
    "walk-test", help=_("With a technician: press each device, see each stage, write the installation report.")
)
def walk_test(
    report: Annotated[
        Path | None,
        typer.Argument(
            metavar="[REPORT]", help=_("Where to write it: REPORT.txt and REPORT.json."), show_default=False
        ),
    ] = None,
    minutes: Annotated[int, typer.Option(min=1, max=480, help=_("Stop after so many minutes."))] = 60,
    technician: Annotated[str, typer.Option(help=_("Who walks; it stands in the report, and C5 is told."))] = "–",
    config: Config = None,
    json: Json = False,
) -> None:
    from gateway.cli import walk  # noqa: PLC0415

    ended(walk.run, config, report, minutes=minutes, technician=technician, as_json=json)


@app.command(help=_("Print a running gateway's figures for Prometheus. Exit 1 if it isn't running."))
def metrics(config: Config = None) -> None:
    from gateway.cli import metrics as figures  # noqa: PLC0415

    ended(figures.metrics, config)


@device_app.command("enrol", help=_("Enrol a device from its label; a running service takes it up at once."))
def device_enrol(
    label: Annotated[str, typer.Argument(help=_("The text of the device's label: C5D1:…"))],
    name: Annotated[str, typer.Option(help=_("What people call it."))] = "",
    latitude: Annotated[float | None, typer.Option(min=-90, max=90)] = None,
    longitude: Annotated[float | None, typer.Option(min=-180, max=180)] = None,
    config: Config = None,
) -> None:
    from gateway.cli import devices  # noqa: PLC0415

    ended(devices.enrol, config, label, name=name, latitude=latitude, longitude=longitude)


@device_app.command("list", help=_("List the enrolled devices."))
def device_list(config: Config = None, json: Json = False) -> None:
    from gateway.cli import devices  # noqa: PLC0415

    ended(devices.show, config, as_json=json)


@device_app.command("revoke", help=_("Hear a device no more."))
def device_revoke(device: Annotated[str, typer.Argument(metavar="ID")], config: Config = None) -> None:
    from gateway.cli import devices  # noqa: PLC0415

    ended(devices.revoke, config, device)


@device_app.command("identify", help=_("Have a device show itself for 30 s."))
def device_identify(device: Annotated[str, typer.Argument(metavar="ID")], config: Config = None) -> None:
    from gateway.cli import devices  # noqa: PLC0415

    ended(devices.identify, config, device)


@peripheral_app.command(
    "install", help=_("Give an OSDP peripheral a key of its own. Until it has one, nothing of it is believed.")
)
def peripheral_install(name: Annotated[str, typer.Argument(metavar="NAME")], config: Config = None) -> None:
    from gateway.cli import peripherals  # noqa: PLC0415

    ended(peripherals.install, config, name)


@outbox_app.command("status", help=_("Show how much waits for C5, since when, and for how long there is room."))
def outbox_status(config: Config = None, json: Json = False) -> None:
    from gateway.cli import outbox  # noqa: PLC0415

    ended(outbox.status, config, as_json=json)


@outbox_app.command("list", help=_("List the records that wait for C5."))
def outbox_list(config: Config = None, json: Json = False) -> None:
    from gateway.cli import outbox  # noqa: PLC0415

    ended(outbox.show, config, as_json=json)


@outbox_app.command(
    "verify", help=_("Verify every signature and every chain in the outbox. Exit 1 if one doesn't hold.")
)
def outbox_verify(config: Config = None, json: Json = False) -> None:
    from gateway.cli import outbox  # noqa: PLC0415

    ended(outbox.verify, config, as_json=json)


@outbox_app.command(
    "salvage", help=_("Take in the records of a damaged store, or of another card's. Exit 1 if any is lost.")
)
def outbox_salvage(
    file: Annotated[Path, typer.Argument(help=_("A store that was set aside, or copied from another card."))],
    config: Config = None,
    json: Json = False,
) -> None:
    from gateway.cli import salvage  # noqa: PLC0415

    ended(salvage.run, config, file, as_json=json)


@outbox_app.command("export", help=_("Write what waits for C5 into a new file, to be carried there on a USB stick."))
def outbox_export(
    file: Annotated[Path, typer.Argument(metavar="FILE")], config: Config = None, json: Json = False
) -> None:
    from gateway.cli import export  # noqa: PLC0415

    ended(export.export, config, file, as_json=json)
