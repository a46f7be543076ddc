"""What the command line does. Exit status: 0 done, 1 a press was not told a stage, 2 wrong usage."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from firmware_sim import orders, preload
from firmware_sim.device import Board, NotHeardError, NotKeptError
from firmware_sim.ledger import Ledger
from firmware_sim.line import BAUDS, SerialPort
from firmware_sim.play import Run
from firmware_sim.pty import PseudoTerminal
from firmware_sim.scenario import find, load, shipped
from gateway.fieldlink import label as labels
from gateway.fieldlink.label import Label
from gateway.fieldlink.message import Command

DONE, NOT_TOLD, USAGE = 0, 1, 2
STDIN: Final = 0
LINE_MAX: Final = 100  # bytes of a line that somebody types
TOLD_WITHIN: Final = 30.0  # seconds that `--presses` waits for its last stage


def run(name: str, folder: Path | None, *, speed: float, as_json: bool, wait: bool = False) -> int:
    """Play a scenario; say where its ports, labels and tokens are, and what became of each press."""
    path, say = find(name), _whisper if as_json else _say
    try:
        scenario = load(path)
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="firmware-sim-"))
        folder.mkdir(parents=True, exist_ok=True)
        known_labels = set(folder.glob("*.label"))
        playing = Run(scenario, folder, speed=speed, say=say)
        library = preload.built(folder) if playing.chips else None
    except preload.NoCompilerError as error:
        return _refuse(f"{path} has contacts, and the GPIO chip can't be made", str(error))
    except (OSError, ValueError) as error:
        known = f"here are {', '.join(shipped())}; docs/reference/firmware-sim.md says how to write one"
        return _refuse(f"{path}: {error}", known)
    if not as_json:
        for line in playing.lines:
            _say(f"port {folder / line}")
        for chip in playing.chips:
            _say(f"chip {folder / chip}")
        if library is not None:
            _say(f"the gateway sees it when started with LD_PRELOAD={library}")
        for device_id in sorted(playing.boards.keys() - playing.strangers):
            _say(f"label {folder / device_id}.label")
        for point in playing.tokens:
            _say(f"token {folder / point}.token")
        if not wait and set(folder.glob("*.label")) - known_labels:
            _say(
                "labels were made: enrol each that is named above, start the gateway with these ports, and run this "
                f"again with --folder {folder}"
            )

    async def play() -> bool:
        async with playing:
            if not wait:
                return await playing.play()
            say("everything is plugged in: enrol what is named above, start the gateway, and press return to begin")
            await _returned()
            told = await playing.play()
            say("all of it has happened: return unplugs everything")
            await _returned()
            return told

    told = asyncio.run(play())
    _print_ledger(playing.ledger, as_json=as_json)
    return DONE if told else NOT_TOLD


async def _returned() -> None:
    """Wait for return, or for the end of standard input."""
    loop, pressed = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(STDIN, pressed.set)
    except OSError:  # a file: nobody will
        return
    try:
        await pressed.wait()
        os.read(STDIN, LINE_MAX)
    finally:
        loop.remove_reader(STDIN)


def device(
    label: str, port: Path, *, baud: int, flash: Path | None, heartbeat: float, presses: int, every: float
) -> int:
    """Be one device until its presses are told, or until interrupted."""
    identity = labels.parse(label)
    if not isinstance(identity, Label):
        return _refuse("this is not a device label", "copy the whole of it, C5D1: to the four digits at its end")
    if baud not in BAUDS:
        return _refuse(f"{baud} baud is not possible", f"one of {', '.join(map(str, BAUDS))}")

    line = SerialPort(port, baud) if port.exists() else PseudoTerminal(port)

    async def live() -> int:
        async with line, Board(line, identity, flash=flash, heartbeat=heartbeat) as board:
            _say(f"device {board.device} on {port}")
            if board.machine.fault:
                return _refuse(f"{flash} can't be read", "a board that lost its counters needs a new label")
            return await (_press_often(board, presses, every) if presses else _press_by_hand(board))

    try:
        return asyncio.run(live())
    except OSError as error:
        return _refuse(f"{port}: {error.strerror or error}", "is it a serial port that you may open?")


async def _press_often(board: Board, presses: int, every: float) -> int:
    numbers = []
    for turn in range(presses):
        await asyncio.sleep(every if turn else 0)
        with suppress(NotKeptError):
            numbers.append(await board.press())
    with suppress(NotHeardError):
        for number in numbers:
            await board.stage(number, 1, TOLD_WITHIN)
    _print_ledger(board.ledger, as_json=False)
    return DONE if len(board.ledger.reached(1)) == presses else NOT_TOLD


async def _press_by_hand(board: Board) -> int:
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    board.when_told = lambda event, stage: _say(f"event {event}: stage {stage}")
    board.when_obeyed = lambda command: _say(obeyed(command))
    stop_reading = _read_lines(lambda text: _happen(board, text))
    await interrupted.wait()
    stop_reading()
    return DONE


def obeyed(command: Command) -> str:
    """Say what the device has just done."""
    arguments = command.arguments or {}
    match command.command:
        case orders.IDENTIFY:
            return f"command {command.number}: shows itself for {arguments.get(1)} s"
        case orders.OUTPUT:
            seconds = f" for {arguments[3]} s" if 3 in arguments else ""
            return (
                f"command {command.number}: output {arguments.get(1)} {'on' + seconds if arguments.get(2) else 'off'}"
            )
        case _:
            return f"command {command.number}: obeyed, of kind {command.command}"


def _happen(board: Board, text: str) -> None:
    kind = int(text) if text.isdecimal() else 1
    try:
        _say(f"event {board.press_now(kind)}: kind {kind}")
    except NotKeptError as error:
        _say(str(error))


def _read_lines(take: Callable[[str], None]) -> Callable[[], None]:
    """Give each line of standard input to `take`; return what ends that. Without standard input nothing comes."""
    loop = asyncio.get_running_loop()
    begun = b""

    def readable() -> None:
        nonlocal begun
        chunk = os.read(STDIN, 4096)
        if not chunk:
            loop.remove_reader(STDIN)
        *lines, begun = (begun + chunk).split(b"\n")
        begun = begun[:LINE_MAX]
        for line in lines:
            take(line.decode(errors="replace").strip())

    try:
        loop.add_reader(STDIN, readable)
    except (OSError, ValueError):  # a file, or nothing
        return lambda: None

    def stop() -> None:
        loop.remove_reader(STDIN)

    return stop


def _print_ledger(ledger: Ledger, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps([asdict(press) for press in ledger.presses]) + "\n")
        return
    for press in ledger.presses:
        _say(f"{press.device} event {press.event}: kind {press.kind}, stage {press.stage}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _whisper(text: str) -> None:
    sys.stderr.write(text + "\n")


def _refuse(what: str, hint: str) -> int:
    sys.stderr.write(f"firmware-sim: {what}\n  {hint}\n")
    return USAGE
