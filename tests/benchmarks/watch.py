"""`make bench-watch`: what `stepstone watch` costs the scheduler and the person: calls per hour with one and with five
watchers, the start and the redraw at 10,000 and 100,000 stages, beside `watch -n 2 squeue` and turm.

    python -m tests.benchmarks.watch [--stages N …]       # all, as Markdown
    python -m tests.benchmarks.watch make FOLDER SEEDS     # an experiment with 121 recipes, results of most of it
    python -m tests.benchmarks.watch start FOLDER          # one line of JSON: start, redraws
    python -m tests.benchmarks.watch attend FILE SPEED SECONDS   # one watcher whose clock runs so many times as fast

Calls are counted by a `squeue` before the real one on PATH, which writes a line for every call and prints what is in
the queue. An hour passes in minutes: every watcher is a process of its own, whose time of day, and pauses between
looks, run 20 times as fast. Not compressed: squeue's own time, which is 20 times as long as it seems to them.
"""

import argparse
import asyncio
import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

from tests.benchmarks import launch_stages

SPEED, HOUR = 20.0, 3600.0
REDRAWS = 30
_STEPS = ("mnli", "squad", "hellaswag")
EXPERIMENT = """\
name: many
store: ./store
model: ./model
recipes: {recipes}
targets: [xnli, panx, tydiqa, tatoeba]
languages: {{xnli: [de], panx: [de], tydiqa: [ru], tatoeba: [de]}}
seeds: {seeds}
data: {{root: ./data}}
cluster: {{executor: slurm, gpus-per-node: 1}}
"""
_SQUEUE = """\
#!/bin/sh
echo "$*" >> "$BENCH_FOLDER/calls"
case "$*" in
*--start*) while IFS= read -r line; do echo "${line%%|*}|N/A|x"; done < "$BENCH_FOLDER/queue" ;;
*) cat "$BENCH_FOLDER/queue" ;;
esac
"""
# turm's source (src/main.rs, src/job_watcher.rs): `--slurm-refresh` is 2 unless set, and each round is one squeue.
_PEER_SECONDS = 2.0


def main() -> None:
    """Everything, or what the first word says."""
    if len(sys.argv) > 1 and sys.argv[1] in ("make", "start", "attend"):
        verb, folder, *rest = sys.argv[1:]
        if verb == "make":
            make(Path(folder).resolve(), int(rest[0]))
        elif verb == "start":
            print(json.dumps(start(Path(folder).resolve())))
        else:
            attend(Path(folder), float(rest[0]), float(rest[1]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--hour", type=float, default=HOUR, help="seconds of the watchers' clocks")
    options = parser.parse_args()
    print(f"load average of this machine at the beginning: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as name:
        print(calls(Path(name), options.hour), flush=True)
        for count in options.stages:
            print(sizes(Path(name) / str(count), count), flush=True)


# --- calls per hour


def calls(folder: Path, seconds: float) -> str:
    """A table: how often the scheduler was called."""
    make(folder / "small", 1)
    lines = ["| watchers | calls of squeue per hour | of these `--start` |", "|---|---:|---:|"]
    for count in (1, 5):
        counts = _attended(folder / "small", count, seconds)
        scale = HOUR / seconds
        told = sum(counts.values()) * scale, counts["start"] * scale
        lines.append(
            f"| {count} x `stepstone watch`, measured at {SPEED:.0f} times the speed | {told[0]:.0f} | {told[1]:.0f} |"
        )
    peer = HOUR / _PEER_SECONDS
    lines.append(
        f"| 1 x `watch -n 2 squeue`, or turm as it comes: one call every 2 s at most, by its source | {peer:,.0f} | |"
    )
    lines.append(f"| 5 x the same | {5 * peer:,.0f} | |")
    return "\n".join(lines) + "\n"


def _attended(folder: Path, count: int, seconds: float) -> Counter[str]:
    bench = folder / f"bench-{count}"
    bin_folder = bench / "bin"
    bin_folder.mkdir(parents=True)
    for name in ("squeue", "sacct"):
        (bin_folder / name).write_text(_SQUEUE if name == "squeue" else "#!/bin/sh\nexit 0\n")
        (bin_folder / name).chmod(0o755)
    (bench / "queue").write_text((folder / "queue").read_text())
    (bench / "calls").touch()
    environment = os.environ | {
        "PATH": f"{bin_folder}:{os.environ['PATH']}", "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1",
        "BENCH_FOLDER": str(bench), "BENCH_BEGAN": str(time.time()), "XDG_CACHE_HOME": str(bench / "cache"),
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.benchmarks.watch", "attend", str(folder / "experiment.yaml")]
    watchers = [
        subprocess.Popen([*command, str(SPEED), str(seconds)], env=environment, stdout=subprocess.DEVNULL)
        for _ in range(count)
    ]
    for watcher in watchers:
        assert watcher.wait() == 0, "a watcher failed"
    lines = (bench / "calls").read_text().splitlines()
    return Counter("start" if "--start" in line else "queue" for line in lines)


def attend(file: Path, speed: float, seconds: float) -> None:
    """Watch without a screen until its own clock has gone on by so many seconds."""
    from launch.watch import looking
    from launch.watch.app import WatchApp

    real_time, began = time.time, float(os.environ["BENCH_BEGAN"])  # which all watchers share
    looking._SECONDS, looking._MOST_SECONDS = looking._SECONDS / speed, looking._MOST_SECONDS / speed
    plan = launch_stages._plan(file.parent)

    async def pilot(_: Any) -> None:
        await asyncio.sleep(seconds / speed)
        app.exit()

    with mock.patch.object(time, "time", lambda: began + (real_time() - began) * speed):
        app = WatchApp([plan])
        app.run(headless=True, size=(80, 24), auto_pilot=pilot)
    picture = app.experiments[0].picture
    assert picture is not None and app.experiments[0].trouble is None, app.experiments[0].trouble
    assert picture.overview.counts["queued"], picture.overview.counts


# --- start and redraw


def sizes(folder: Path, stages: int) -> str:
    """A table of one size."""
    folder.mkdir(parents=True)
    per_seed = _stages_of_a_seed(folder / "probe")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.benchmarks.watch",
            "make",
            str(folder / "many"),
            str(max(1, round(stages / per_seed))),
        ],
        check=True,
    )
    readings = []
    for _ in range(2):  # the first look is a cold one
        command = [sys.executable, "-m", "tests.benchmarks.watch", "start", str(folder / "many")]
        readings.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    lines = [
        f"| {readings[0]['stages']:,} stages, {readings[0]['cells']:,} cells | no index yet | warm |",
        "|---|---:|---:|",
    ]  # fmt: skip
    for name, label in _LABELS.items():
        lines.append(f"| {label} | {readings[0][name]:.3f} s | {readings[1][name]:.3f} s |")
    return "\n".join(lines) + "\n"


_LABELS = {
    "plan": "reading the file and planning",
    "first": "until an empty screen is drawn",
    "picture": "until the first picture is drawn (with both above)",
    "picture_cpu": "CPU time until then",
    "redraw": "a redraw of the whole screen, median of 30",
    "redraw_most": "the longest of them",
    "redraw_cpu": "CPU time of one",
    "move": "a key (down, page down) until it is drawn, median",
    "cell": "a cell opened until its stages are drawn",
    "during": "a redraw while a look is under way, median",
    "during_most": "the longest of them",
    "look": "a look, in its thread",
}


def start(folder: Path) -> dict[str, Any]:
    """Everything in this process, imports beforehand."""
    from launch.watch.app import WatchApp
    from launch.watch.cell import CellScreen
    from launch.watch.grid import Grid
    from tests.slurm.scripted import Limits, Scheduler

    scheduler = Scheduler(limits=Limits(array_size=1001, jobs=1_000_000))
    reading: dict[str, Any] = {}

    async def pilot(_: Any) -> None:
        await _drawn(app)
        reading["first"] = time.perf_counter() - began
        while app.shown.picture is None:
            await asyncio.sleep(0.001)
        await _drawn(app)
        reading["picture"] = time.perf_counter() - began
        reading["picture_cpu"] = time.process_time() - cpu_began
        cpu = time.thread_time()
        reading["redraw"], reading["redraw_most"] = _of(await _redraws(app, REDRAWS))
        reading["redraw_cpu"] = (time.thread_time() - cpu) / REDRAWS
        grid = app.screen.query_one("#matrix", Grid)
        moves = []
        for number in range(REDRAWS):
            at = time.perf_counter()
            grid.action_page(1) if number % 3 == 2 else grid.action_move(1, 0)
            await _drawn(app)
            moves.append(time.perf_counter() - at)
        reading["move"], _ = _of(moves)
        at = time.perf_counter()
        grid.action_open()
        while not isinstance(app.screen, CellScreen) or not app.screen.stages:
            await asyncio.sleep(0)
        await _drawn(app)
        reading["cell"] = time.perf_counter() - at
        app.pop_screen()
        await _drawn(app)
        looks, times = app.shown.looks, []
        app.looker.look_now()
        while app.shown.looks == looks:
            times += await _redraws(app, 1)
        reading["during"], reading["during_most"] = _of(times)
        reading["look"] = app.shown.seconds
        app.exit()

    with scheduler.installed(), mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder / "cache")):
        for script in json.loads((folder / "scripts.json").read_text()):
            scheduler.accept(script)
        began, cpu_began = time.perf_counter(), time.process_time()
        plan = launch_stages._plan(folder)
        gc.freeze()
        gc.enable()
        reading["plan"] = time.perf_counter() - began
        app = WatchApp([plan])
        app.run(headless=True, size=(80, 24), auto_pilot=pilot)
    picture = app.experiments[0].picture
    assert picture is not None and app.experiments[0].trouble is None, app.experiments[0].trouble
    return reading | {"stages": len(plan.stages), "cells": len(picture.overview.cells)}


async def _redraws(app: Any, count: int) -> list[float]:
    times = []
    for _ in range(count):
        at = time.perf_counter()
        app.draw()
        app.screen.refresh()
        await _drawn(app)
        times.append(time.perf_counter() - at)
        await asyncio.sleep(0.005)
    return times


async def _drawn(app: Any) -> None:
    """Until what was changed is on the screen."""
    done = asyncio.Event()
    app.screen.call_after_refresh(done.set)
    await done.wait()


def _of(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), max(times)


# --- the experiment


def make(folder: Path, seeds: int) -> None:
    """121 recipes on four targets; one seed of a hundred, at least the first, is in the queue."""
    sequences = [" > ".join(steps) for length in range(1, 5) for steps in itertools.product(_STEPS, repeat=length)]
    text = EXPERIMENT.replace("{recipes}", json.dumps(["none", *sequences]))
    folder.mkdir(parents=True)
    with mock.patch.object(launch_stages, "EXPERIMENT", text):
        launch_stages._make(folder, seeds)
    _write_queue(folder)


def _write_queue(folder: Path) -> None:
    """The queue as squeue prints it."""
    from slurm import queue
    from tests.slurm.scripted import Limits, Scheduler
    from tests.slurm.scripted_queries import squeue

    scheduler = Scheduler(limits=Limits(array_size=1001, jobs=1_000_000))
    for script in json.loads((folder / "scripts.json").read_text()):
        scheduler.accept(script)
    printed = squeue(scheduler, ["-h", "-o", queue.FORMAT], 60.0).out
    (folder / "queue").write_text(printed)


def _stages_of_a_seed(folder: Path) -> int:
    make(folder, 1)
    return len(launch_stages._plan(folder).stages)


if __name__ == "__main__":
    main()
