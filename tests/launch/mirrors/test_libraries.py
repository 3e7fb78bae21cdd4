"""Mirrors read back by their own libraries: the values are those of log.jsonl, twice typed is once mirrored.

Not shown here: their servers (`--online`), which nobody has tried.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.mirrors import supervising
from launch.mirrors.sinks import Place
from launch.plan import Plan
from launch.store import Store
from tests.launch.mirrors.logged_stage import LOG, begin, evaluate, finish, finish_all, lines, step
from tests.launch.workspace import Workspace

Series = dict[str, list[tuple[int, float]]]  # by metric: steps and values, in their order

pytestmark = pytest.mark.slow


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    return workspace.plan(seeds=["1"])


def _mirror(plan: Plan, root: Path, kind: str) -> int:
    place = Place(root / kind, "small", online=False)
    (outcome,) = supervising.mirror(plan.experiment.path, {kind: place}, follow=False, say=print)
    assert not outcome.failure
    return outcome.points


def _expected(records: list[dict[str, Any]]) -> Series:
    """What log.jsonl says, by metric."""
    series: Series = {}
    for record in records:
        if "loss" in record:
            for name in ("loss", "learning_rate", "grad_norm", "tokens"):
                series.setdefault(f"train/{name}", []).append((record["step"], record[name]))
    series["dev/dev_score"] = [(3, 33.3), (6, 44.4)]
    series["speed/tokens_per_second"] = [(3, 2190.2), (6, 2190.2)]
    return series


def _check(series: Series, expected: Series, *, bits: int = 64) -> None:
    for name, values in expected.items():
        steps = [number for number, _ in series[name]]
        assert steps == [number for number, _ in values], name
        assert [value for _, value in series[name]] == [
            value if bits == 64 else pytest.approx(value, rel=1e-6) for _, value in values
        ]


def _tensorboard(root: Path, run: str) -> Series:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(root / "tensorboard" / run), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {
        name: [(event.step, event.value) for event in accumulator.Scalars(name)]
        for name in accumulator.Tags()["scalars"]
    }


def _mlflow(root: Path, run: str) -> Series:
    os.environ |= {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    from mlflow import MlflowClient

    client = MlflowClient((root / "mlflow" / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    (entry,) = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{run}'")
    assert entry.data.params["experiment"] == "small"
    return {
        name: [(metric.step, metric.value) for metric in client.get_metric_history(entry.info.run_id, name)]
        for name in entry.data.metrics
    }


def _wandb(root: Path, run: str) -> Series:
    """Of a run's offline folders in their order, as its server puts them together: steps and values by metric."""
    from wandb.proto import wandb_internal_pb2 as records

    series: Series = {}
    key = run.rpartition("-")[2]
    for path in sorted((root / "wandb").glob(f"wandb/offline-run-*/run-{key}.wandb")):
        for content in _wandb_records(path.read_bytes()):
            record = records.Record()
            record.ParseFromString(content)
            items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            number = record.history.step.num
            for name, value in items.items():
                if not name.startswith("_"):
                    series.setdefault(name, []).append((number, value))
    return series


def _wandb_records(content: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log, in blocks of 32 KiB, behind 7 bytes. W&B reads it in Go alone."""
    assert content.startswith(b":W&B")
    place, pieces = 7, b""
    while place + 7 <= len(content):
        room = 32768 - place % 32768
        if room < 7:
            place += room
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        pieces += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last piece
            yield pieces
            pieces = b""


def _trackio(root: Path, run: str) -> Series:
    code = (
        "import json, sys; from trackio.sqlite_storage import SQLiteStorage;"
        " print(json.dumps(SQLiteStorage.get_logs('small', sys.argv[1])))"
    )
    environment = os.environ | {"TRACKIO_DIR": str(root / "trackio")}
    output = subprocess.run(
        [sys.executable, "-c", code, run], env=environment, capture_output=True, text=True, check=True
    ).stdout
    series: Series = {}
    for row in json.loads(output.splitlines()[-1]):
        for name, value in row.items():
            if "/" in name:
                series.setdefault(name, []).append((row["step"], value))
    return series


READERS = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb, "trackio": _trackio}
assert tuple(READERS) == supervising.KINDS


@pytest.mark.parametrize("kind", READERS)
def test_the_values_come_back_and_twice_is_once(plan: Plan, tmp_path: Path, kind: str) -> None:
    pytest.importorskip(kind)
    finish_all(plan)
    stage, evaluation = plan.find("squad.mnli-s1"), plan.find("squad-s1--tatoeba")
    assert _mirror(plan, tmp_path, kind) > 30
    assert _mirror(plan, tmp_path, kind) == 0
    _check(READERS[kind](tmp_path, f"{stage.name}-{stage.key}"), _expected(LOG), bits=_bits(kind))
    scores = READERS[kind](tmp_path, f"{evaluation.name}-{evaluation.key}")
    _check(scores, {f"tatoeba/accuracy/{code}": [(0, 30.0)] for code in ("de", "sw")}, bits=_bits(kind))


@pytest.mark.parametrize("kind", READERS)
def test_a_requeued_stage_goes_on_in_its_run(plan: Plan, tmp_path: Path, kind: str) -> None:
    pytest.importorskip(kind)
    store, stage = Store(plan.experiment.store), plan.find("squad-s1")
    begin(store, stage, lines(LOG[:4]))  # steps 0 to 2
    assert _mirror(plan, tmp_path, kind) == 3
    resumed_log = [step(2), step(3), *LOG[5:]]
    finish(store, stage, begin(store, stage, lines(resumed_log)))
    assert _mirror(plan, tmp_path, kind) == 8
    _check(READERS[kind](tmp_path, f"{stage.name}-{stage.key}"), _expected(LOG), bits=_bits(kind))


@pytest.mark.parametrize("kind", READERS)
def test_it_follows_until_all_is_finished(plan: Plan, tmp_path: Path, kind: str) -> None:
    pytest.importorskip(kind)
    store, stage = Store(plan.experiment.store), plan.find("squad-s1")
    attempt = begin(store, stage, lines(LOG[:3]))
    script = Path(sys.executable).with_name("stepstone")
    arguments = [script, "mirror", str(plan.experiment.path), "--to", kind, "--folder", str(tmp_path), "--follow"]
    command = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    _wait_for_points(tmp_path / kind)
    assert command.poll() is None
    (attempt.folder / "log.jsonl").write_bytes(lines(LOG))
    finish(store, stage, attempt)
    for sibling in plan.stages.values():
        if sibling.kind == "train" and sibling != stage:
            finish(store, sibling, begin(store, sibling, lines(LOG)))
        elif sibling.kind == "evaluate":
            evaluate(plan, store, sibling)
    _, messages = command.communicate(timeout=120)
    assert command.returncode == 0, messages
    _check(READERS[kind](tmp_path, f"{stage.name}-{stage.key}"), _expected(LOG), bits=_bits(kind))


def _bits(kind: str) -> int:
    return 32 if kind == "tensorboard" else 64


def _wait_for_points(folder: Path) -> None:
    for _ in range(600):
        state = folder / "stepstone.json"
        if state.exists() and '"step"' in state.read_text():
            return
        time.sleep(0.05)
    raise AssertionError("nothing was mirrored")


# --- nobody is told of it

_WATCH = """
import sys, os
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
        address = arguments[1] if event != "socket.getaddrinfo" else arguments[0]
        if not isinstance(address, (str, bytes)) or event == "socket.getaddrinfo":
            with open(os.environ["WATCHED"], "a") as file:
                file.write(f"{event} {address}\\n")
sys.addaudithook(hook)
"""


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file in which every Python process that starts notes what it asks of a network."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(_WATCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "watch"))
    monkeypatch.setenv("WATCHED", str(tmp_path / "watched.txt"))
    return tmp_path / "watched.txt"


@pytest.mark.parametrize("kind", READERS)
def test_no_server_is_asked_and_nothing_tells_of_the_machine(
    plan: Plan, tmp_path: Path, watched: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(kind)
    monkeypatch.setenv("TRACKIO_SPACE_ID", "somebody/space")  # of the user's shell: offline, it has no say
    monkeypatch.setenv("WANDB_MODE", "online")
    finish_all(plan)
    assert _mirror(plan, tmp_path, kind) > 30
    asked_lines = watched.read_text(encoding="utf-8").splitlines() if watched.exists() else []
    # urllib3, which MLflow imports, binds a socket for a moment to see whether the machine has IPv6; nobody listens.
    assert [line for line in asked_lines if line != "socket.bind ('::1', 0)"] == []
    files = [path for path in (tmp_path / kind).rglob("*") if path.is_file() and path.suffix != ".log"]
    host = socket.gethostname().encode()
    if len(host) > 4:
        assert not any(host in path.read_bytes() for path in files)
