"""The study of prompts from one file to its answer: a tiny model with a head for words, trained and asked for real."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from launch.demo import data
from tests.launch.test_local_executor import run
from training.tensors import read_tensors, write_tensors

pytestmark = pytest.mark.slow

EXPERIMENT = """\
name: prompts
store: ./store
model: ./model
study: {prompts: {tasks: [squad], targets: [xnli], demonstrations: [0, 2]}}
targets: [xnli]
seeds: [1, 2]
languages: {xnli: [en, de, hi]}
data: {root: ./data, max_train: 16, max_eval: 8}
training: {epochs: 1, global_batch_size: 8, token_budget: 512, max_length: 120, device: cpu}
cluster: {executor: local, bundle: "04:00"}
"""


def _write_model(folder: Path, tiny_model: Path) -> None:
    shutil.copytree(tiny_model, folder)
    weights = {f"roberta.{name}": tensor for name, tensor in read_tensors(folder / "model.safetensors").items()}
    vocabulary, width = weights["roberta.embeddings.word_embeddings.weight"].shape
    head = {
        "lm_head.dense.weight": torch.eye(width),
        "lm_head.dense.bias": torch.zeros(width),
        "lm_head.layer_norm.weight": torch.ones(width),
        "lm_head.layer_norm.bias": torch.zeros(width),
        "lm_head.bias": torch.zeros(vocabulary),
    }
    write_tensors(folder / "model.safetensors", weights | head)


def test_from_one_file_to_its_answer(tmp_path: Path, tiny_model: Path) -> None:
    _write_model(tmp_path / "model", tiny_model)
    data.write(tmp_path / "data")
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    done = run(tmp_path, "submit", "experiment.yaml", "--wait")
    logs = "".join(path.read_text()[-2000:] for path in tmp_path.glob("store/submissions/*/local/logs/*"))
    assert done.returncode == 0, done.stderr + logs
    record = json.loads(run(tmp_path, "study", "prompts", "experiment.yaml", "--json").stdout)
    assert record["lacking"] == []
    tables = {table["title"]: table for table in record["tables"]}
    compared = [tuple(row[:5]) for row in tables["Do they add up?"]["rows"]]
    assert compared == [
        ("xnli", "squad", "fine-tune", "both", 2),
        ("xnli", "squad", "fine-tune", "both, 2 shown", 2),
        ("xnli", "squad", "prompt", "prompt, 2 shown", 2),
        ("xnli", "squad", "both", "both, 2 shown", 2),
    ]
    scores = {row[0]: row[1::3] for row in tables["Scores on xnli"]["rows"]}
    assert set(scores) == {"none", "squad", "majority class", "chance"}
    assert all(0 <= score <= 100 for row in scores.values() for score in row)
    assert all(row[4] >= row[3] >= row[5] for row in tables["Spread over templates"]["rows"])
