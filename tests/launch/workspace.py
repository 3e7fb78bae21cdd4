"""A small experiment on disk: an XLM-R-shaped model folder without meaning, tiny data, and the file that names them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from launch import experiment, plan
from launch.plan import Plan
from launch.status import Observation
from launch.store import Store

SPLITS = """\
mnli: {train: [mnli.tsv], hold_out: 0.5}
squad: {train: [squad.json], dev: [squad.json]}
hellaswag: {train: [hellaswag.jsonl], dev: [hellaswag.jsonl]}
qqp: {train: [qqp.tsv], dev: [qqp.tsv]}
panx: {train: [panx-en.tsv], dev: [panx-en.tsv], test: ["panx-{lang}.tsv"]}
xnli: {test: ["xnli-{lang}.tsv"]}
xquad: {test: ["xquad-{lang}.json"]}
mlqa: {test: ["xquad-{lang}.json"]}
tatoeba: {test: {other: "tatoeba.{iso3}", english: "tatoeba.{iso3}.eng"}}
"""
BASE: dict[str, Any] = {
    "name": "small",
    "store": "./store",
    "model": "./model",
    "recipes": ["none", "squad"],
    "targets": ["xnli", "tatoeba"],
    "seeds": ["1", "2"],
    "data": {"root": "./data"},
    "cluster": {"executor": "local"},
    "collect": {"job": "false", "every": "0"},
}


@dataclass(frozen=True)
class Workspace:
    """A folder with `model/`, `data/` and experiment files."""

    root: Path

    def write(self, text: str, name: str = "experiment.yaml") -> Path:
        path = self.root / name
        path.write_text(text)
        return path

    def file(self, file_name: str = "experiment.yaml", /, **changes: Any) -> Path:
        """An experiment file: BASE with changed keys (None: left out)."""
        content = {key: value for key, value in (BASE | changes).items() if value is not None}
        return self.write(json.dumps(content, indent=1), file_name)  # JSON is YAML

    def plan(self, **changes: Any) -> Plan:
        return plan.make(experiment.load(self.file(**changes)))


def look_at(of_plan: Plan) -> Observation:
    """How the experiment stands now, as Slurm says when it is asked anew."""
    return Observation(of_plan, Store(of_plan.experiment.store), 0)


def make(root: Path) -> Workspace:
    """Write the model and the data."""
    write_model(root / "model")
    data = root / "data"
    data.mkdir()
    (data / "splits.yaml").write_text(SPLITS)
    pairs = "".join(f"Premise {n}.\tHypothesis {n}.\tneutral\n" for n in range(8))
    for name in ("mnli", "xnli-de", "xnli-en", "xnli-zh"):
        (data / f"{name}.tsv").write_text(pairs)
    questions = "".join(f"{n}\t1\t2\tWhat {n}?\tWhich {n}?\t{n % 2}\n" for n in range(4))
    (data / "qqp.tsv").write_text("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n" + questions)
    for name in ("squad", "xquad-de", "xquad-en"):
        (data / f"{name}.json").write_text(json.dumps(_squad()))
    for name in ("panx-en", "panx-de"):
        (data / f"{name}.tsv").write_text("Bonn\tB-LOC\nist\tO\n\n")
    row = {"ind": 1, "ctx_a": "He sits.", "ctx_b": "He", "endings": ["a", "b", "c", "d"], "label": 1}
    (data / "hellaswag.jsonl").write_text(json.dumps(row) + "\n")
    for code in ("deu", "swh"):
        (data / f"tatoeba.{code}").write_text("Eins.\nZwei.\n")
        (data / f"tatoeba.{code}.eng").write_text("One.\nTwo.\n")
    return Workspace(root)


def write_model(folder: Path, words: int = 8) -> None:
    """One that is like no other of another number of words."""
    folder.mkdir()
    sizes = {"vocab_size": words, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = {"model_type": "xlm-roberta", "max_position_embeddings": 16} | sizes
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    weights = {"embeddings.word_embeddings.weight": np.zeros((words, 4), np.float32)}
    save_file(weights, folder / "model.safetensors")


def _squad() -> dict[str, Any]:
    answer = {"text": "Bonn", "answer_start": 0}
    question = {"id": "q1", "question": "Where?", "answers": [answer]}
    return {"data": [{"title": "t", "paragraphs": [{"context": "Bonn it is.", "qas": [question]}]}]}
