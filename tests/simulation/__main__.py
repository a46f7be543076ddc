"""`make simulate`: seeds one after the other on every core, and the first broken promise in full.

make simulate                    1 000 seeds of 20 simulated minutes
make simulate SEED=17            this seed alone, with what happened line by line
make simulate SEEDS=50 HOURS=24  fifty seeds of a day each
python -m tests.simulation --day [--hours 24]    32 devices on one line, gentle faults, each at C5 as the right records
"""

import argparse
import contextlib
import gc
import logging
import multiprocessing
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Final

from tests.simulation.day import Day
from tests.simulation.planted import FOUND, planted
from tests.simulation.scenario import DENSE, Outcome, Simulation
from tests.simulation.world import home

GARBAGE: Final = 200_000  # objects: a seed leaves few cycles, and looking for them after each 700 takes a tenth of it


def say(text: str) -> None:
    """Print a line, at once: seeds take their time."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run_seed(seed: int, hours: float, echo: bool = False) -> Outcome:
    """Run one seed."""
    began = time.process_time()
    outcome = Simulation(seed, hours=hours, echo=echo).run()
    outcome.spent = time.process_time() - began
    return outcome


def main() -> int:
    """Run what the command line asks for; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="this seed alone")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--hours", type=float, default=DENSE / 3600, help="simulated hours with faults, of each")
    parser.add_argument("--budget", type=float, help="begin no more seeds after so many seconds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--plant", choices=sorted(FOUND), help="with this bug in the gateway")
    parser.add_argument("--keep-going", action="store_true", help="don't end with the first broken promise")
    parser.add_argument("--log", action="store_true", help="with --seed: what the programs log, too")
    parser.add_argument("--day", action="store_true", help="32 devices on one line, and gentle faults")
    chosen = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # a set's order must repeat too
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
                  {**os.environ, "PYTHONHASHSEED": "0"})  # fmt: skip
    if chosen.log:
        form = "             %(levelname)s %(name)s: %(message)s"
        logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format=form)
    home()  # once, for all processes
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 100)
    with planted(chosen.plant) if chosen.plant else contextlib.nullcontext():
        if chosen.day:
            return run_day(chosen.seed or chosen.first, chosen.hours)
        if chosen.seed is None:
            return run_many(chosen)
        outcome = run_seed(chosen.seed, chosen.hours, echo=True)
        tell(outcome)
        return outcome.broken is not None


def run_day(seed: int, hours: float) -> int:
    """Run a day, and say what it cost."""
    day = Day(seed, hours=hours)
    outcome = day.run()
    tell(outcome)
    say("faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.faults.items())))
    cost = day.figures
    say(f"{cost.cpu_s:.0f} s of CPU and {cost.peak_mb:.0f} MB at most for gateway, centre and field together; "
        f"the gateway holds {cost.elements} elements and {cost.bytes} bytes")  # fmt: skip
    return outcome.broken is not None


def run_many(chosen: argparse.Namespace) -> int:
    """Run seeds on every core until they are done, time is up, or one breaks."""
    began, done = time.monotonic(), 0
    faults: Counter[str] = Counter()
    presses = records = broken = 0
    hours = spent = 0.0
    latencies: list[float] = []
    for outcome in outcomes(chosen, began):
        done += 1
        faults.update(outcome.faults)
        latencies += outcome.latencies
        spent += outcome.spent
        presses, records, hours = presses + outcome.presses, records + outcome.records, hours + outcome.at / 3600
        if outcome.broken is not None:
            if chosen.plant and not re.search(FOUND[chosen.plant], outcome.broken):
                continue  # something follows from every bug; asked for is what it is
            broken += 1
            tell(outcome, last=not chosen.keep_going)
            if not chosen.keep_going:
                return 1
    wall = time.monotonic() - began
    each = spent / max(done, 1)
    verdict = f"{broken} seeds broke a promise" if broken else "every promise kept"
    say(f"{done} seeds from {chosen.first} on, {hours:.1f} simulated hours: {verdict}")
    say(f"{presses} presses, {records} records; {wall:.0f} s on {chosen.jobs} cores, {each:.2f} s of one a seed")
    if latencies:
        say(f"from an alarm's frame to C5, whatever was in the way: half within {median(latencies):.3f} s")
    say("faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items())))
    return broken > 0


def outcomes(chosen: argparse.Namespace, began: float) -> Iterator[Outcome]:
    """Yield each seed's outcome, in order."""
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    if chosen.jobs == 1:
        for seed in seeds:
            if chosen.budget is not None and time.monotonic() - began > chosen.budget:
                return
            yield run_seed(seed, chosen.hours)
        return
    with multiprocessing.get_context("fork").Pool(chosen.jobs) as pool:
        for outcome in pool.imap(partial(run_seed, hours=chosen.hours), seeds):
            yield outcome
            if chosen.budget is not None and time.monotonic() - began > chosen.budget:
                return


def tell(outcome: Outcome, *, last: bool = True) -> None:
    """Print one seed's end."""
    for line in outcome.last if outcome.broken and last else ():
        say(line)
    say(f"seed {outcome.seed}: {outcome.presses} presses, {outcome.records} records, {outcome.at:.1f} simulated s, "
          f"trace {outcome.digest}")  # fmt: skip
    if outcome.broken is not None:
        say(f"seed {outcome.seed}, at {outcome.at:.4f} s: {outcome.broken}\n"
              f"again: make simulate SEED={outcome.seed}")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
