"""watch.svg and the recording watch-visit.svg: `stepstone watch` over a scripted Slurm, at one time.

Byte for byte the same each time: the scheduler's clock is the only one, and scores are made of the stages' names.
"""

import asyncio
import contextlib
import json
import os
import re
import sys
import tempfile
import time
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for what is of tests/

from launch import submit
from launch.plan import Plan
from launch.store import attempts, manifests, provenance
from launch.store.attempts import FailureNote, Starter
from launch.watch import looking
from launch.watch.app import WatchApp
from slurm.base.files import to_json, write_atomic
from slurm.queue import has_ended
from tests.launch import stub_job
from tests.launch.workspace import make
from tests.slurm.scripted import Limits, Run, Scheduler

FOLDER = Path(__file__).parent
SIZE = (80, 24)
_BEGAN = 1_795_600_000.0
_FAILS, _RUNS_ON = "squad.panx-s2", ("hellaswag.mnli-s1", "squad.hellaswag-s2")
_OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.91 GiB"
_FRAME_SECONDS = 3


def pictures() -> dict[str, str]:
    """By file name: the matrix, and a visit as one animated picture."""
    with _scene() as plan:
        return asyncio.run(_visit(plan))


async def _visit(plan: Plan) -> dict[str, str]:
    app = WatchApp([plan])
    frames: list[str] = []
    async with app.run_test(size=SIZE) as pilot:

        async def frame(*keys: str, until: str) -> str:
            await pilot.press(*keys)
            end = asyncio.get_running_loop().time() + 60
            while until not in app.export_screenshot():
                assert asyncio.get_running_loop().time() < end, f"no {until} on the screen"
                await pilot.pause(0.02)
            app.clear_notifications()
            drawn = ""
            while drawn != (drawn := _plain(app.export_screenshot())):  # a busy machine draws its parts one by one
                await pilot.pause(0.3)
            frames.append(drawn)
            return frames[-1]

        matrix = await frame(until="77&#160;finished")
        await frame("down", "down", "right", "right", "enter", until="cuda-oom:")
        await frame("escape", "down", "down", "left", "left", "enter", "down", until="it&#160;waits")
        await frame("escape", "slash", *"hellaswag", "enter", until="/hellaswag")
        await frame("enter", "5", until="tokens/s:")
        await frame("escape", "escape", "C", until="the&#160;same:")
        app.looker.stop()
    return {"watch.svg": matrix, "watch-visit.svg": _animated(frames)}


@contextmanager
def _scene() -> Iterator[Plan]:
    """An experiment half-way: finished, running, queued, waiting, failed."""
    with tempfile.TemporaryDirectory() as name, _at_home(name), contextlib.chdir(name):
        workspace = make(Path(name))
        scheduler = Scheduler(_work, Limits(slots=5), now=_BEGAN)
        with scheduler.installed(), mock.patch.object(provenance, "freeze", lambda root: root / "code" / "c0de"):
            plan = workspace.plan(
                name="first", recipes=["none", "mnli", "squad", "hellaswag", "squad > hellaswag"],
                targets=["xnli", "xquad", "panx", "tatoeba"], seeds=["1", "2"],
                cluster={"executor": "slurm", "partition": "gpu", "gpus-per-node": "1"},
            )  # fmt: skip
            submit.submit(plan)
            scheduler.advance(1500)
            _measure(plan)
            yield plan


@contextmanager
def _at_home(folder: str) -> Iterator[None]:
    """Its own cache, no zone, and looks only when they are asked for."""
    environment = {"XDG_CACHE_HOME": f"{folder}/cache", "TZ": "UTC", "COLORTERM": "truecolor"}
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.object(looking, "_SECONDS", 3600.0),
        mock.patch.object(looking, "_MOST_SECONDS", 3600.0),
    ):
        os.environ.pop("NO_COLOR", None)
        time.tzset()
        yield
    time.tzset()


def _work(run: Run) -> Generator[None, None, int]:
    manifest = manifests.read(Path(run.manifest))
    for entry in manifest.elements[run.index]:
        name = entry.folder.rpartition("-")[0]
        for _ in range(10_000 if name in _RUNS_ON else 1 + zlib.crc32(name.encode()) % 3):
            if name in _RUNS_ON:
                _begin(Path(manifest.store) / "stages" / entry.folder)
            yield
        if name == _FAILS:
            attempt = attempts.begin(Path(manifest.store) / "stages" / entry.folder, Starter.this_process(), has_ended)
            attempt.end(FailureNote("cuda-oom", _OOM))
            return 1
        score = 40 + zlib.crc32(name.encode()) % 400 / 10
        if not stub_job.do(Path(manifest.store), entry, dict.fromkeys(("accuracy", "f1", "exact_match"), score)):
            return 1
    return 0


def _begin(stage_folder: Path) -> None:
    if not attempts.attempts_of(stage_folder):
        attempts.begin(stage_folder, Starter.this_process(), has_ended)


def _measure(plan: Plan) -> None:
    """What the trainings that run have noted of themselves."""
    for stage in plan.stages.values():
        if stage.name not in _RUNS_ON:
            continue
        folder = plan.experiment.store / "stages" / stage.folder / "attempts" / "0001"
        steps = 4200 + 900 * _RUNS_ON.index(stage.name)
        lines = [
            {"step": step, "loss": 1.6 * 0.9985**step + 0.3 + zlib.crc32(b"%d" % step) % 100 / 900}
            for step in range(0, steps, 7)
        ]
        for last in range(300, steps, 300):
            rate = 21_000 + zlib.crc32(b"%d" % last) % 2000
            lines.append({"interval": [last - 299, last], "seconds": 87.0, "tokens_per_second": float(rate)})
        (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        samples = [
            {"time": time.time() - 15 * n, "cpu": 15.0 * n, "memory": 9_100_000_000 + 20_000_000 * n,
             "gpus": [82.0 + zlib.crc32(b"%d" % n) % 15], "gpu_memory": [61_000_000_000 + 80_000_000 * (n % 9)]}
            for n in range(80)
        ]  # fmt: skip
        (folder / "usage.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
        beat = {"step": steps, "total": 12_272, "loss": 0.41, "time": time.time()}
        write_atomic(folder / "heartbeat.json", to_json(beat))


def _plain(picture: str) -> str:
    """Without fonts from the network."""
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)


def _animated(frames: list[str]) -> str:
    """One picture that shows frame after frame."""
    box = re.search(r'viewBox="([^"]+)"', frames[0])
    assert box is not None
    total = _FRAME_SECONDS * len(frames)
    parts = []
    for number, frame in enumerate(frames):
        values = ";".join("visible" if other == number else "hidden" for other in range(len(frames)))
        animation = (
            f'<animate attributeName="visibility" values="{values}" dur="{total}s"'
            ' calcMode="discrete" repeatCount="indefinite"/>'
        )
        # Every frame has names of its own.
        own = re.sub(r"terminal-(\d+)", rf"frame{number}-\1", frame)
        parts.append(f'<g visibility="{"hidden" if number else "visible"}">{animation}{own}</g>')
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box[1]}">\n' + "\n".join(parts) + "\n</svg>\n"


def draw() -> None:
    """Write them all."""
    for name, picture in pictures().items():
        (FOLDER / name).write_text(picture)


if __name__ == "__main__":
    draw()
