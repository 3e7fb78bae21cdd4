"""`cluster: {pack: 2}` on a real Slurm: trainings side by side in one job, whose troubles are not each other's."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DevCluster
from tests.launch.test_slurm import Lab, data, steps, wait_until  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SWEEP = """\
name: sweep
store: ./store
model: {model}
recipes: [none]
targets: [xnli]
seeds: [{seeds}]
languages: {{xnli: [en, de]}}
data: {{root: {data}, max_train: 48, max_eval: 10}}
training: {{epochs: {epochs}, global_batch_size: 16, token_budget: 256, max_length: 64, max_query_length: 32,
           device: cpu, zero: none, matmul: mkl, checkpoint_minutes: 0}}
cluster: {{executor: slurm, partition: gpu, cpus-per-task: 2, time: "00:30:00"{more}}}
collect: {{job: false, every: 0}}
"""
MakeSweep = Callable[..., Lab]


@pytest.fixture
def make_sweep(devcluster: DevCluster, tiny_model: Path, data: Path, tmp_path: Path) -> Iterator[MakeSweep]:  # noqa: F811
    def make(name: str, seeds: str = "1, 2", epochs: int = 1, more: str = ", pack: 2") -> Lab:
        folder = tmp_path / name
        folder.mkdir()
        text = SWEEP.format(model=tiny_model, data=data, seeds=seeds, epochs=epochs, more=more)
        return Lab(folder, text, devcluster.environment)

    yield make
    subprocess.run(["scancel", "--me"], env=devcluster.environment, check=False)


def _stages(lab: Lab) -> dict[str, dict[str, Any]]:
    return {stage["name"]: stage for stage in lab.json("status")["stages"]}


def _train(lab: Lab, seed: int) -> Path:
    return next(lab.folder.glob(f"store/stages/mnli-s{seed}-[0-9a-f]*"))


def _encoders(lab: Lab) -> list[str]:
    results = sorted(lab.folder.glob("store/stages/mnli-s?-[0-9a-f]*/result.json"))
    return [json.loads(path.read_text())["encoder_hash"] for path in results]


def _checkpoints(lab: Lab, seed: int) -> list[Path]:
    """Of the first attempt."""
    return list(lab.folder.glob(f"store/stages/mnli-s{seed}-[0-9a-f]*/attempts/0001/checkpoints/step-*/manifest.json"))


def _lane(lab: Lab, lane: int) -> int:
    """The process of a lane."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        is_ours = any(str(lab.folder).encode() in word for word in words)
        if is_ours and b"--lane" in words and words[words.index(b"--lane") + 1] == str(lane).encode():
            return int(folder.name)
    raise AssertionError(f"no lane {lane}")


def test_side_by_side_the_results_are_the_same(make_sweep: MakeSweep) -> None:
    packed, alone = make_sweep("packed", "1, 2, 3"), make_sweep("alone", "1, 2, 3", more="")
    packed.run("submit")
    packed.run("submit", "--wait")
    stages = _stages(packed)
    assert {stage["state"] for stage in stages.values()} == {"finished"}
    assert {stage["attempts"] for stage in stages.values()} == {1}
    jobs = [stages[f"mnli-s{seed}"]["job"] for seed in (1, 2, 3)]
    assert jobs[0] == jobs[1] != jobs[2]  # two in one job, and what is over alone
    starters = [json.loads((_train(packed, n) / "attempts/0001/starter.json").read_text()) for n in (1, 2, 3)]
    assert [starter.get("neighbours", 0) for starter in starters] == [1, 1, 0]
    assert [starter["granted"]["cores"] for starter in starters] == [1, 1, 2]
    assert [starter["granted"]["short_of"] for starter in starters] == [[], [], []]
    assert starters[0]["pid"] != starters[1]["pid"]
    log = packed.run("logs", "mnli-s2").stdout
    assert _train(packed, 2).name in log and f"--- stage {_train(packed, 1).name}" not in log
    alone.run("submit", "--wait")
    assert _encoders(packed) == _encoders(alone)
    scores = [[(row["seed"], row["language"], row["score"]) for row in lab.json("collect")["rows"]]
              for lab in (packed, alone)]  # fmt: skip
    assert scores[0] == scores[1]
    hours = {lab.folder.name: lab.json("usage")["hours"]["total"] for lab in (packed, alone)}
    assert hours["packed"]["wasted"] == 0


def test_a_lane_that_is_killed_fails_alone(make_sweep: MakeSweep) -> None:
    lab = make_sweep("killed", epochs=24)
    lab.run("submit")
    wait_until(lambda: bool(_checkpoints(lab, 1)))
    os.kill(_lane(lab, 0), signal.SIGKILL)
    wait_until(lambda: not lab.queued())
    stages = _stages(lab)
    assert {name: stages[name]["state"] for name in ("mnli-s1", "mnli-s1--xnli", "mnli-s2", "mnli-s2--xnli")} == {
        "mnli-s1": "failed", "mnli-s1--xnli": "held", "mnli-s2": "finished", "mnli-s2--xnli": "finished",
    }, lab.why()  # fmt: skip
    assert stages["mnli-s1"]["cause"] == "host-oom", stages["mnli-s1"]
    sent = {key for array in lab.json("plan")["arrays"] for element in array["elements"] for key in element}
    assert sent == {stages["mnli-s1"]["key"], stages["mnli-s1--xnli"]["key"]}
    lab.run("submit", "--wait")
    stages = _stages(lab)
    assert {stage["state"] for stage in stages.values()} == {"finished"}
    assert [stages[f"mnli-s{seed}"]["attempts"] for seed in (1, 2)] == [2, 1]
    assert steps(_train(lab, 1), 2)[0]["step"] > 0  # from its checkpoint


def test_signalled_before_the_time_limit_all_save_and_the_job_comes_back_once(make_sweep: MakeSweep) -> None:
    undisturbed, lab = make_sweep("undisturbed", epochs=16, more=""), make_sweep("signalled", epochs=16)
    lab.run("submit")
    (receipt,) = lab.folder.glob("store/submissions/*/receipt-0.json")
    job = f"{json.loads(receipt.read_bytes())['job']}_0"
    wait_until(lambda: all(_checkpoints(lab, seed) for seed in (1, 2)))
    lab.slurm("scancel", "--signal=USR2", job)
    lab.run("submit", "--wait")
    for seed in (1, 2):
        starters = [json.loads(path.read_text()) for path in sorted(_train(lab, seed).glob("attempts/*/starter.json"))]
        assert [(starter["job"], starter["restart"]) for starter in starters] == [(job, 0), (job, 1)], lab.why()
        first, second = (steps(_train(lab, seed), attempt) for attempt in (1, 2))
        assert second[0]["step"] == first[-1]["step"] + 1
    undisturbed.run("submit", "--wait")
    assert _encoders(lab) == _encoders(undisturbed)
