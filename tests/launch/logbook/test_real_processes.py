"""`stepstone logs` beside real local workers: followed from before the first line to the end, and left with ctrl-C."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.demo import data

pytestmark = pytest.mark.slow

EXPERIMENT = """\
name: here
store: ./store
model: {model}
recipes: [squad]
targets: [tatoeba]
seeds: [1]
languages: {{default: [de]}}
data: {{root: ./data, max_train: 16, max_eval: 8}}
training: {{epochs: 1, global_batch_size: 8, token_budget: 256, max_length: 80, device: cpu}}
cluster: {{executor: local}}
"""


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).parent / "stepstone"), *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = _start(folder, *arguments)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Path:
    data.write(tmp_path / "data")
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "here.yaml").write_text(EXPERIMENT.format(model=tmp_path / "model"))
    return tmp_path


def test_followed_to_the_end_and_left_with_ctrl_c(folder: Path) -> None:
    assert _run(folder, "submit", "here.yaml")[0] == 0
    names = ("squad-s1", "squad-s1--tatoeba", "squad-s1--tatoeba")
    train, evaluate, impatient = (_start(folder, "logs", "here.yaml", name, "-f") for name in names)
    assert impatient.stderr is not None and impatient.stderr.readline().startswith("squad-s1--tatoeba is ")
    impatient.send_signal(signal.SIGINT)
    left_with = impatient.communicate(timeout=600)[1]
    told = ("==> ", "squad-s1--tatoeba is ")  # a file, and another state, where it came to one just then
    assert impatient.returncode == 130 and all(line.startswith(told) for line in left_with.splitlines()), left_with
    (train_out, train_err), (evaluate_out, _) = (follower.communicate(timeout=600) for follower in (train, evaluate))
    assert (train.returncode, evaluate.returncode) == (0, 0), train_err
    assert "attempt 1" in train_out and "tatoeba" not in train_out
    assert "--tatoeba" in evaluate_out and "squad-s1 is finished" in train_err
    assert "attempt 1" in _run(folder, "logs", "here.yaml")[1]


def test_a_failure_is_explained_with_the_line_of_its_log(folder: Path) -> None:
    weights = folder / "model" / "model.safetensors"
    assert _run(folder, "submit", "here.yaml")[0] == 0
    weights.rename(folder / "away")
    while not list(folder.glob("store/submissions/*/local/ends/0.json")):
        time.sleep(0.1)
    (folder / "away").rename(weights)  # else it would be another plan
    code, out, err = _run(folder, "logs", "here.yaml", "--why")
    assert code == 0 and "squad-s1, which failed last" in err
    assert "\n  > " in out and "model.safetensors" in out and "stepstone submit here.yaml" in out, out
