"""The main job without Slurm: the same stages and store, on local workers, with two ranks per element."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.demo import data
from training.pretrained import small

pytestmark = pytest.mark.slow

EXPERIMENT = """\
name: here
store: ./store
model: {model}
recipes: [squad + hellaswag]
targets: [xnli, tatoeba]
seeds: [1]
languages: {{default: [en, de, hi]}}
data: {{root: ./data, max_train: 16, max_eval: 8}}
training: {{epochs: 1, global_batch_size: 8, token_budget: 256, max_length: 80, device: cpu}}
cluster: {{executor: local, ntasks-per-node: 2}}
"""
TWO_MODELS = """\
name: two
store: ./store
models: {{first: {first}, second: {second}}}
recipes: [none, squad]
targets: [tatoeba]
seeds: [1]
languages: {{default: [de, hi]}}
data: {{root: ./data, max_train: 8, max_eval: 8}}
training: {{epochs: 1, global_batch_size: 8, token_budget: 256, max_length: 80, device: cpu}}
cluster: {{executor: local}}
"""
# In a shell inside an allocation: its workers are none of that job's tasks.
ANOTHER_JOB = {
    "SLURM_JOB_ID": "77", "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "5", "SLURM_RESTART_COUNT": "3",
    "SLURM_PROCID": "6", "SLURM_NTASKS": "9", "SLURM_JOB_NAME": "other", "SLURMD_NODENAME": "node9", "RANK": "6",
    "SBATCH_ACCOUNT": "nlp", "TMPDIR": "/tmp/gone-since",
}  # fmt: skip


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Type a command in `folder`, in which a package `training/` of the user's must not get in the way of ours."""
    command = [str(Path(sys.executable).parent / "stepstone"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ANOTHER_JOB
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_from_one_file_to_a_table(tmp_path: Path, tiny_model: Path) -> None:
    data.write(tmp_path / "data")
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT.format(model=tiny_model))
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "__init__.py").write_text("raise RuntimeError('the wrong training')\n")
    sent = run(tmp_path, "submit", "experiment.yaml", "--wait")
    logs = "".join(path.read_text()[-2000:] for path in tmp_path.glob("store/submissions/*/local/logs/*"))
    assert sent.returncode == 0, sent.stderr + logs
    assert sent.stderr.splitlines()[-1] == f"collected: {tmp_path}/store/results/here"
    (last_log,) = tmp_path.glob("store/submissions/*/local/logs/last.log")  # the workers collect without --wait, too
    patience = time.monotonic() + 120
    while "stages finished" not in last_log.read_text():
        assert time.monotonic() < patience
        time.sleep(0.2)
    assert last_log.read_text() == "4 of 4 stages finished\n"
    assert {"results.parquet", "table.md", "report.html"} <= {
        p.name for p in (tmp_path / "store/results/here").iterdir()
    }

    stages = json.loads(run(tmp_path, "status", "experiment.yaml", "--json").stdout)["stages"]
    assert {stage["name"]: stage["state"] for stage in stages} == {
        "hellaswag+squad-s1": "finished",
        "hellaswag+squad.mnli-s1": "finished",
        "hellaswag+squad.mnli-s1--xnli": "finished",
        "hellaswag+squad-s1--tatoeba": "finished",
    }
    noted = {stage["name"]: stage["history"][0]["times"] for stage in stages}
    evaluated = noted["hellaswag+squad.mnli-s1--xnli"]
    assert evaluated["languages"].keys() == {"de", "hi"}  # the share of rank 0
    assert evaluated["evaluate"] > 0 == evaluated["train"]
    trained = noted["hellaswag+squad.mnli-s1"]
    assert all(trained[phase] > 0 for phase in ("queue", "imports", "load", "tokenise", "train", "dev", "save"))
    (result,) = tmp_path.glob("store/stages/hellaswag+squad-s1-*/result.json")
    assert json.loads(result.read_text())["world_size"] == 2
    decisions = {path.stem.rpartition(".")[2]: path for path in tmp_path.glob("store/processors/*.json")}
    assert {use.partition("-")[0] for use in decisions} == {"training", "evaluation"} and len(decisions) == 2
    (library,) = (json.loads(path.read_text())["matmul"] for use, path in decisions.items() if "training" in use)
    assert {json.loads(path.read_text())["matmul"] for path in tmp_path.glob("store/stages/*/result.json")} == {library}
    assert "nothing to send" in run(tmp_path, "submit", "experiment.yaml").stderr

    rows = json.loads(run(tmp_path, "collect", "experiment.yaml", "--json").stdout)["rows"]
    found = {(row["recipe"], row["target"], row["language"]) for row in rows if row["primary"]}
    expected = {("xnli", language) for language in ("en", "de", "hi")} | {("tatoeba", "de"), ("tatoeba", "hi")}
    assert found == {("hellaswag + squad", target, language) for target, language in expected}
    assert "hellaswag + squad" in run(tmp_path, "collect", "experiment.yaml").stdout


def test_two_start_models_from_one_file_to_tables(tmp_path: Path, tiny_model: Path) -> None:
    """Each evaluates and trains from its own weights, in one submission."""
    second = small.tiny(tmp_path / "second", layers=1)
    data.write(tmp_path / "data")
    (tmp_path / "experiment.yaml").write_text(TWO_MODELS.format(first=tiny_model, second=second))
    sent = run(tmp_path, "submit", "experiment.yaml", "--wait")
    assert sent.returncode == 0, sent.stderr
    assert len(list(tmp_path.glob("store/submissions/*/manifest-*.json"))) == 1

    stages = json.loads(run(tmp_path, "status", "experiment.yaml", "--json").stdout)["stages"]
    names = ("start--tatoeba", "squad-s1", "squad-s1--tatoeba")
    expected = {f"{model}/{name}": "finished" for model in ("first", "second") for name in names}
    assert {stage["name"]: stage["state"] for stage in stages} == expected
    hashes = [
        json.loads(path.read_text())["encoder_hash"] for path in tmp_path.glob("store/stages/squad-s1-*/result.json")
    ]
    assert len(set(hashes)) == 2

    rows = json.loads(run(tmp_path, "collect", "experiment.yaml", "--json").stdout)["rows"]
    runs = [(row["model"], row["recipe"], row["language"]) for row in rows if row["primary"]]
    assert len(runs) == len(set(runs)) == 8
    assert {run[:2] for run in runs} == {
        (model, recipe) for model in ("first", "second") for recipe in ("none", "squad")
    }
    table = run(tmp_path, "table", "experiment.yaml", "--json").stdout
    kinds = {cell["row"]: (cell["model"], cell["kind"]) for cell in json.loads(table)["tables"][0]["cells"]}
    assert kinds == {
        f"{model}: {recipe}": (model, kind)
        for model in ("first", "second")
        for recipe, kind in (("none", "score"), ("squad", "difference"))
    }
    report = (tmp_path / "store/results/two/report.html").read_text()
    assert all(text in report for text in ("first: none", "second: squad", "from each of 2 start models"))
    for command in ("status", "collect", "table"):
        text = run(tmp_path, command, "experiment.yaml").stdout
        assert "second: squad" in text and max(map(len, text.splitlines())) <= 80, text
    assert "2 start models x 2 recipes x 1 targets x 1 seeds" in run(tmp_path, "plan", "experiment.yaml").stdout
    for words in (
        ["table", "--diff", "store/results/two/results.parquet", "experiment.yaml"],
        ["usage", "experiment.yaml"],
    ):
        assert "second: squad" in run(tmp_path, *words).stdout
    assert run(tmp_path, "export", "experiment.yaml", "out", "--recipe", "second: squad").returncode == 0
    assert [path.name for path in (tmp_path / "out" / "second").iterdir()] == ["squad-s1"]
