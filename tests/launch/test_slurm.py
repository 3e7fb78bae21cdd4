"""The main job on a real Slurm: arrays with dependencies, shared steps, retries, adoption, ranks, requeues."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars
import pytest

from launch.demo import data as demo_data
from tests.conftest import DevCluster
from tests.paths import SHARED_DATA

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

STEPSTONE = str(Path(sys.executable).parent / "stepstone")

STUDY = """\
name: study
store: ./store
model: {model}
recipes: [none, squad, squad > hellaswag]
targets: [panx, tatoeba]
seeds: [1, 2]
languages: {{panx: [en, de], tatoeba: [de, ru, zh]}}
data: {{root: {data}, max_train: 8, max_eval: 10}}
training: {{epochs: 1, global_batch_size: 4, token_budget: 256, max_length: 96, max_query_length: 32,
           device: cpu, zero: 2}}
cluster: {{executor: slurm, partition: gpu, cpus-per-task: 4, gpus-per-node: 1, time: "00:30:00",
          sbatch: {{comment: test}}}}
"""

ONE_STAGE = """\
name: one
store: ./store
model: {model}
recipes: [none]
targets: [xnli]
seeds: [1]
languages: {{xnli: [en, de]}}
data: {{root: {data}, max_train: 48, max_eval: 10}}
training: {{epochs: {epochs}, global_batch_size: 16, token_budget: 256, max_length: 64, max_query_length: 32,
           device: cpu, zero: 2, checkpoint_minutes: 0{training}}}
cluster: {{executor: slurm, partition: {partition}, cpus-per-task: 1, time: "00:30:00"{more}}}
collect: {{job: {collects}, every: 0}}
"""


class Lab:
    """A folder with an experiment file, and the commands that a person types in it."""

    def __init__(self, folder: Path, text: str, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.file = folder / "experiment.yaml"
        self.file.write_text(text)

    def run(self, *arguments: str, path: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = self.environment | {"PATH": path + self.environment["PATH"], "OMP_NUM_THREADS": "1"}
        command = [STEPSTONE, arguments[0], str(self.file), *arguments[1:]]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
        assert not check or done.returncode == 0, done.stderr + self.why()
        return done

    def json(self, command: str) -> Any:
        return json.loads(self.run(command, "--json").stdout)

    def why(self) -> str:
        """The ends of the logs, for a test that failed."""
        logs = sorted((self.folder / "store").glob("submissions/*/logs/*/*_log.*"))
        return "".join(f"\n==> {log.name}\n{log.read_text()[-1500:]}" for log in logs if log.stat().st_size)[-6000:]

    def slurm(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def queued(self) -> list[str]:
        return self.slurm("squeue", "--noheader", "--array", "--format", "%j").split()

    def stage_folder(self, key: str) -> Path:
        (folder,) = (self.folder / "store" / "stages").glob(f"*-{key}")
        return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slices of real data where they lie beside the project, else the generated sample."""
    if (SHARED_DATA / "splits.yaml").exists():
        return SHARED_DATA
    folder = tmp_path_factory.mktemp("sample")
    demo_data.write(folder)
    return folder


@pytest.fixture
def make_lab(devcluster: DevCluster, tiny_model: Path, data: Path, tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    made: list[Lab] = []

    def make(
        name: str = "lab", epochs: int = 1, partition: str = "gpu", more: str = "", training: str = "",
        collects: str = "false",
    ) -> Lab:  # fmt: skip
        folder = tmp_path / name
        folder.mkdir()
        text = ONE_STAGE.format(
            model=tiny_model,
            data=data,
            epochs=epochs,
            partition=partition,
            more=more,
            training=training,
            collects=collects,
        )
        made.append(Lab(folder, text, devcluster.environment))
        return made[-1]

    yield make
    subprocess.run(["scancel", "--me"], env=devcluster.environment, check=False)


@pytest.fixture(scope="module")
def study(devcluster: DevCluster, tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The whole grid, submitted once and followed to its end."""
    lab = Lab(tmp_path_factory.mktemp("study"), STUDY.format(model=tiny_model, data=data), devcluster.environment)
    lab.planned = lab.json("plan")  # type: ignore[attr-defined]
    lab.run("submit", "--wait")
    return lab


def test_the_plan_shares_steps_and_names_dependencies(study: Lab) -> None:
    planned = study.planned  # type: ignore[attr-defined]
    assert planned["totals"]["train"] == 10 and planned["totals"]["trainings_from_scratch"] == 18
    trains = Counter(stage["name"] for stage in planned["stages"] if stage["kind"] == "train")
    assert max(trains.values()) == 1 and {"squad-s1", "squad-s2", "squad.hellaswag-s1"} <= trains.keys()
    seedless = [stage["name"] for stage in planned["stages"] if stage["seed"] is None]
    assert seedless == ["start--tatoeba"]
    for array in planned["arrays"]:
        inner = {key for other in planned["arrays"] for element in other["elements"] for key in element}
        assert array["dependency"] is None or set(array["dependency"]["stages"]) <= inner


def test_every_stage_is_finished_and_trained_once(study: Lab) -> None:
    stages = study.json("status")["stages"]
    assert {stage["state"] for stage in stages} == {"finished"}
    assert {stage["attempts"] for stage in stages} == {1}
    assert all("_" in stage["job"] for stage in stages)
    assert all(stage["score"] is not None for stage in stages)


def test_samples_and_accounting_say_the_same_of_a_job(study: Lab) -> None:
    """Both sample the memory of its processes, at other moments; accounting has the CPU time of the start too."""
    record = study.json("usage")
    assert record["accounting"]["words"] is None and record["elements"]["accounted"] == len(
        record["accounting"]["jobs"]
    )
    jobs = {f"{job['job']}_{job['index']}": job for job in record["accounting"]["jobs"]}
    used: dict[str, list[dict[str, float]]] = {}
    for stage in study.json("status")["stages"]:
        (attempt,) = stage["history"]
        used.setdefault(stage["job"], []).append(attempt["usage"])
    assert used.keys() == jobs.keys() and len(jobs) > 4
    for name, job in jobs.items():
        assert job["cpus"] == 4 and job["gpus"] == 1 and job["limit"] == 1800
        assert 0 < sum(stage["cpu"] for stage in used[name]) <= job["cpu"] + 1, name
        assert 0.4 < max(stage["memory"] for stage in used[name]) / job["memory"] < 2.5, name
    assert record["hours"]["unit"] == "GPU-hours" and record["hours"]["total"]["wasted"] == 0
    kinds = {kind["kind"]: kind for kind in record["kinds"]}
    assert kinds["train squad"]["seen"] == kinds["train squad"]["sampled"] == 2 and record["unseen"] == []


def test_children_began_after_their_parents_ended(study: Lab) -> None:
    for stage in study.json("status")["stages"]:
        if stage["parent"]:
            mine = json.loads((study.stage_folder(stage["key"]) / "attempts/0001/starter.json").read_text())
            parents = json.loads((study.stage_folder(stage["parent"]) / "attempts/0001/end.json").read_text())
            assert mine["time"] >= parents["time"], stage["name"]


def test_encoders_load_as_ordinary_models_and_leaves_make_room(study: Lab) -> None:
    from transformers import AutoModel, AutoTokenizer

    by_name = {stage["name"]: stage["key"] for stage in study.json("status")["stages"]}
    folder = study.stage_folder(by_name["squad.hellaswag-s1"]) / "attempts/0001/encoder"
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False)
    assert model.config.model_type == "xlm-roberta" and len(AutoTokenizer.from_pretrained(folder)) > 250_000
    assert not (study.stage_folder(by_name["squad.panx-s1"]) / "attempts/0001/encoder").exists()


def test_the_table_is_there_in_the_morning(make_lab: Callable[..., Lab]) -> None:
    """Sent without --wait; nobody types anything more, and the file is gone by then."""
    lab = make_lab(collects="true")
    sent = lab.run("submit").stderr
    (job,) = re.findall(r"^collect: job (\d+), when the last of these has ended", sent, re.MULTILINE)
    lab.file.rename(lab.folder / "elsewhere.yaml")
    note = lab.folder / "store" / "results" / "one" / "collected.json"
    patience = time.monotonic() + 300
    while not (note.exists() and json.loads(note.read_bytes())["ended"]):
        assert time.monotonic() < patience, lab.why()
        time.sleep(0.5)
    record = json.loads(note.read_bytes())
    assert (record["by"], record["error"]) == (f"job {job}", "") and record["finished"] == record["stages"] == 2
    assert "| none |" in note.with_name("table.md").read_text()
    assert "<html" in note.with_name("report.html").read_text()
    assert len(polars.read_parquet(note.with_name("results.parquet"))) >= 2
    assert "2 of 2 stages finished" in Path(record["log"]).read_text(encoding="utf-8")
    asked = lab.slurm("sacct", "--noheader", "--parsable2", "--jobs", job, "--allocations", "--format", "ReqCPUS,State")
    assert asked.split() in (["1|COMPLETED"], ["1|RUNNING"], ["1|COMPLETING"])
    lab.file = lab.folder / "elsewhere.yaml"
    assert "results:" in lab.run("status").stdout
    assert "2 of 2 stages finished" in lab.run("logs", "collect").stdout


def test_collect_has_a_row_for_everything(study: Lab) -> None:
    rows = study.json("collect")["rows"]
    found = {(row["recipe"], row["target"], row["language"], row["seed"]) for row in rows}
    assert {r for r, t, _, _ in found if t == "panx"} == {"none", "squad", "squad > hellaswag"}
    for language in ("en", "de"):
        assert ("squad > hellaswag", "panx", language, 2) in found
    assert ("none", "tatoeba", "de", None) in found and ("squad", "tatoeba", "de", 1) in found
    assert len({tuple(sorted(row.items())) for row in rows}) == len(rows)
    table = study.run("collect").stdout
    assert "squad > hellaswag" in table and "missing" not in table
    assert (study.folder / "store/results/study/results.parquet").exists()


def test_predictions_are_kept_per_language_with_ids(study: Lab) -> None:
    by_name = {stage["name"]: stage["key"] for stage in study.json("status")["stages"]}
    (file,) = study.stage_folder(by_name["panx-s1--panx"]).glob("languages/*/de-*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 10 and len({line["id"] for line in lines}) == 10
    assert all(len(line["prediction"]) == len(line["gold"]) for line in lines)


def test_submitting_again_sends_nothing(study: Lab) -> None:
    before = sorted((study.folder / "store/submissions").iterdir())
    assert "nothing to send" in study.run("submit").stderr
    assert sorted((study.folder / "store/submissions").iterdir()) == before


def test_a_deleted_result_alone_is_sent_again(study: Lab) -> None:
    by_name = {stage["name"]: stage["key"] for stage in study.json("status")["stages"]}
    evaluate, train = by_name["squad-s1--tatoeba"], by_name["squad.panx-s2"]
    (deleted,) = study.stage_folder(evaluate).glob("languages/*/de-*.json")
    scores = json.loads(deleted.read_text())["scores"]
    deleted.unlink()
    result = study.stage_folder(train) / "result.json"
    encoder_hash = json.loads(result.read_text())["encoder_hash"]
    result.unlink()
    sent = {key for array in study.json("plan")["arrays"] for element in array["elements"] for key in element}
    assert sent == {evaluate, train}
    study.run("submit", "--wait")
    attempts = {stage["key"]: stage["attempts"] for stage in study.json("status")["stages"]}
    assert {key for key, count in attempts.items() if count == 2} == {evaluate, train}
    assert json.loads(deleted.read_text())["scores"] == scores
    assert json.loads(result.read_text())["encoder_hash"] == encoder_hash  # the same run, bit for bit


# --- the submitter dies


def wrapper(folder: Path, line: str) -> str:
    """A PATH entry with an sbatch of ours that, around the real one, kills the submitter."""
    folder.mkdir()
    script = folder / "sbatch"
    script.write_text(f"#!/bin/bash\nreal={shutil.which('sbatch')}\n{line}\n")
    script.chmod(0o755)
    return f"{folder}:"


def test_killed_after_sbatch_and_before_the_receipt_the_array_is_adopted(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    dying = wrapper(lab.folder / "bin", 'out=$("$real" "$@"); kill -9 $PPID; echo "$out"')
    assert lab.run("submit", path=dying, check=False).returncode == -9
    assert len(lab.queued()) == 1 and not list(lab.folder.glob("store/submissions/*/receipt-*"))
    said = lab.run("submit").stderr
    assert "adopted" in said and "nothing to send" in said
    assert len(lab.queued()) == 1
    lab.run("submit", "--wait")
    assert len(list((lab.folder / "store/submissions").glob("2*"))) == 1


def test_killed_before_sbatch_everything_is_sent_once(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab()
    dying = wrapper(lab.folder / "bin", "kill -9 $PPID")
    assert lab.run("submit", path=dying, check=False).returncode == -9
    assert lab.queued() == []
    assert "never sent" in lab.run("submit").stderr
    assert len(lab.queued()) == 1


# --- ranks


def losses(lab: Lab) -> list[float]:
    (log,) = lab.folder.glob("store/stages/mnli-s1-[!-]*/attempts/0001/log.jsonl")
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    return [step["loss"] for step in steps if "loss" in step]


def test_two_ranks_on_one_node_or_two_train_as_one_process(make_lab: Callable[..., Lab]) -> None:
    # Dropout is drawn by micro-batch, and how a step is cut depends on the number of ranks.
    told: dict[str, Any] = {"epochs": 2, "training": ", dropout: 0"}
    alone = make_lab("alone", **told)
    pair = make_lab("pair", more=", ntasks-per-node: 2", **told)
    nodes = make_lab("nodes", more=", nodes: 2, ntasks-per-node: 1", **told)
    for lab in (alone, pair, nodes):
        lab.run("submit")
    for lab in (alone, pair, nodes):
        lab.run("submit", "--wait")
    expected = losses(alone)
    assert len(expected) == 6
    for lab in (pair, nodes):
        (result,) = lab.folder.glob("store/stages/mnli-s1-*/result.json")
        assert json.loads(result.read_text())["world_size"] == 2 and json.loads(result.read_text())["zero"] == 2
        assert losses(lab) == pytest.approx(expected, abs=1e-5)
    assert [row["score"] for row in pair.json("collect")["rows"]] == [
        row["score"] for row in alone.json("collect")["rows"]
    ]


# --- what goes wrong


@pytest.mark.parametrize(
    ("partition", "more", "words"),
    [("nosuch", "", "invalid partition"), ("gpu", ", account: nosuch", "account"), ("gpu", ", qos: nosuch", "qos")],
)
def test_a_refusal_is_one_line_and_leaves_nothing(
    make_lab: Callable[..., Lab], partition: str, more: str, words: str
) -> None:
    lab = make_lab(partition=partition, more=more)
    refused = lab.run("submit", check=False)
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("error:")]
    assert "sbatch refused" in line and words in line.lower() and "nothing was sent" in line
    assert lab.queued() == []
    assert {stage["state"] for stage in lab.json("status")["stages"]} == {"new"}


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.1)


def test_signalled_then_preempted_without_grace_it_is_the_same_run(make_lab: Callable[..., Lab]) -> None:
    undisturbed = make_lab("undisturbed", epochs=16, more=", nodelist: node2")
    lab = make_lab("disturbed", epochs=16, partition="preempt", more=", nodelist: node1")
    lab.slurm("scontrol", "update", "PartitionName=preempt", "GraceTime=0")
    undisturbed.run("submit")
    lab.run("submit")
    (receipt,) = lab.folder.glob("store/submissions/*/receipt-0.json")
    job = f"{json.loads(receipt.read_bytes())['job']}_0"  # known beforehand: it must be signalled while it trains
    wait_until(lambda: bool(checkpoints(lab, 1)))
    lab.slurm("scancel", "--signal=USR2", job)
    wait_until(lambda: bool(checkpoints(lab, 2)))
    lab.slurm("sbatch", "--partition=gpu", "--nodelist=node1", "--exclusive", "--output=/dev/null", "--wrap", "true")
    lab.run("submit", "--wait")
    undisturbed.run("submit", "--wait")

    folder = train_folder(lab)
    starters = [json.loads(path.read_text()) for path in sorted(folder.glob("attempts/*/starter.json"))]
    assert [(starter["job"], starter["restart"]) for starter in starters] == [(job, 0), (job, 1), (job, 2)]
    signalled, killed, last = ([line["step"] for line in steps(folder, number)] for number in (1, 2, 3))
    assert killed[0] == signalled[-1] + 1  # it had saved when it was asked to stop
    assert 1 < last[0] <= killed[-1] + 1 and last[0] > killed[0]
    assert killed[-1] + 1 - last[0] <= 1  # a checkpoint after each step: no more than one is done again
    results = [json.loads((train_folder(one) / "result.json").read_text()) for one in (lab, undisturbed)]
    assert results[0]["encoder_hash"] == results[1]["encoder_hash"]  # bit for bit


def train_folder(lab: Lab) -> Path:
    return next(lab.folder.glob("store/stages/mnli-s1-[0-9a-f]*"))


def checkpoints(lab: Lab, attempt: int) -> list[Path]:
    return list(lab.folder.glob(f"store/stages/mnli-s1-*/attempts/{attempt:04d}/checkpoints/step-*/manifest.json"))


def steps(folder: Path, attempt: int) -> list[dict[str, Any]]:
    """What an attempt logged of its steps; a kill may have torn the last line."""
    lines = (folder / f"attempts/{attempt:04d}/log.jsonl").read_text().split("\n")[:-1]
    return [line for line in map(json.loads, lines) if "step" in line]


def test_a_job_that_fails_says_why_and_is_sent_again(
    make_lab: Callable[..., Lab], tiny_model: Path, tmp_path: Path
) -> None:
    lab = make_lab()
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    text = lab.file.read_text().replace(str(tiny_model), str(model)).replace("[none]", "[squad]")
    lab.file.write_text(text)
    lab.slurm("scontrol", "update", "PartitionName=gpu", "State=DOWN")  # until the model is gone
    try:
        lab.run("submit")
        os.rename(model / "model.safetensors", tmp_path / "aside")
    finally:
        lab.slurm("scontrol", "update", "PartitionName=gpu", "State=UP")
    refused = lab.run("submit", check=False)
    assert refused.returncode == 1 and "model.safetensors" in refused.stderr and "Traceback" not in refused.stderr
    wait_until(lambda: not lab.queued())
    os.rename(tmp_path / "aside", model / "model.safetensors")
    states = {stage["name"]: stage for stage in lab.json("status")["stages"]}
    assert states["squad-s1"]["state"] == "failed" and "model.safetensors" in states["squad-s1"]["reason"]
    assert states["squad.mnli-s1"]["state"] == "held" and "squad-s1" in states["squad.mnli-s1"]["reason"]
    assert "model.safetensors" in lab.run("logs", "squad-s1").stdout
    lab.run("submit", "--wait")
    assert {stage["state"] for stage in lab.json("status")["stages"]} == {"finished"}


def test_gpus_asked_for_and_not_there_are_an_error(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(more=", gpus-per-node: 1")  # the dev cluster's GPUs are devices that no driver knows
    text = lab.file.read_text().replace("device: cpu", "device: auto")
    lab.file.write_text(text + "failures: {node: {retry: 0}}\n")  # else the other node is tried, a minute later
    assert lab.run("submit", "--wait", check=False).returncode == 1
    states = {stage["name"]: stage for stage in lab.json("status")["stages"]}
    assert states["mnli-s1"]["state"] == "failed" and "GPUs were asked for" in states["mnli-s1"]["reason"]
