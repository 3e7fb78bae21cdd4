"""Real jobs read nothing twice, import nothing that they do not need, and go on from memory as from files."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from launch.demo import data
from launch.job import inputs
from launch.store import manifests
from launch.store.manifests import StageEntry
from slurm.base import UserError
from tests.paths import ROOT

pytestmark = pytest.mark.slow
EXPERIMENT = """\
name: once
store: ./store
model: {model}
recipes: [squad]
targets: [xnli, tatoeba]
seeds: [1]
keep: all
languages: {{default: [en, de]}}
data: {{root: ./data, max_train: 16, max_eval: 8}}
training: {{epochs: 1, global_batch_size: 8, token_budget: 256, max_length: 80, device: cpu, matmul: mkl}}
cluster: {{executor: local}}
"""
# Of these torch and what ours need; neither transformers nor DeepSpeed, nor any library for tables.
PACKAGES = {  # torch imports pynvml where it is installed
    "annotated_types", "cloudpickle", "cython_runtime", "dill", "huggingface_hub", "numpy", "packaging", "pydantic",
    "pydantic_core", "pynvml", "safetensors", "submitit", "torch", "torchgen", "tqdm", "typing_extensions",
    "typing_inspection", "yaml",
}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """A store whose stages have been run once, each element in a job of its own; `apart` has what they left."""

    root: Path
    apart: Path
    entries: dict[str, StageEntry]

    @property
    def stages(self) -> Path:
        return self.root / "store" / "stages"

    def job(self, *names: str) -> dict[str, Any]:
        """Run these stages in one job; what it says of itself (see `watched_job`)."""
        (path,) = (self.root / "store" / "submissions").glob("*/manifest-0.json")
        manifest = replace(
            manifests.read(path), elements={0: tuple(self.entries[name] for name in names)}, drop={0: ()}
        )
        manifests.write(path.with_name("manifest-9.json"), manifest)
        said = _run(
            self.root,
            sys.executable,
            "-P",
            "-m",
            "tests.launch.job.watched_job",
            str(path.with_name("manifest-9.json")),
            "0",
        )
        told: dict[str, Any] = json.loads(said.splitlines()[-1])
        assert told["code"] == 0, said
        return told

    def weights(self, *names: str) -> list[str]:
        """The paths of stages' encoders."""
        return [
            str(self.stages / self.entries[name].folder / "attempts/0001/encoder/model.safetensors") for name in names
        ]


def _run(folder: Path, *command: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    logs = "".join(path.read_text()[-2000:] for path in folder.glob("store/submissions/*/local/logs/*"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    return done.stdout


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Bench:
    root = tmp_path_factory.mktemp("once")
    data.write(root / "data")
    (root / "experiment.yaml").write_text(EXPERIMENT.format(model=tiny_model))
    stepstone = str(Path(sys.executable).parent / "stepstone")
    _run(root, stepstone, "prepare", "experiment.yaml")
    _run(root, stepstone, "submit", "experiment.yaml", "--wait")
    entries: dict[str, StageEntry] = {}
    for path in (root / "store" / "submissions").glob("*/manifest-*.json"):
        entries |= {_name(entry): entry for entry in manifests.read(path).entries()}
    assert sorted(entries) == ["mnli", "squad", "tatoeba", "xnli"]
    (root / "store" / "stages").rename(root / "apart")
    return Bench(root, root / "apart", entries)


def _name(entry: StageEntry) -> str:
    """The task of a stage."""
    return entry.evaluate_spec().target if entry.kind == "evaluate" else entry.train_spec().parts[0].task


def _left(stages: Path, entry: StageEntry) -> dict[str, bytes]:
    """What a stage left that means something: models; of languages the predictions, and the scores."""
    folder = stages / entry.folder
    models = [path for name in ("encoder", "heads") for path in folder.glob(f"attempts/*/{name}/*")]
    files = {path.name: path.read_bytes() for path in [*models, *folder.glob("languages/*/*.jsonl")]}
    for path in folder.glob("languages/*/*.json"):
        files[path.name] = json.dumps(json.loads(path.read_bytes())["scores"]).encode()
    assert files, folder
    return files


def test_a_chain_in_one_job_goes_on_from_memory_as_from_files(bench: Bench) -> None:
    """The start model is read, and the one encoder that is no longer the newest; everything is bit for bit the same."""
    told = bench.job("squad", "mnli", "xnli", "tatoeba")
    assert {*told["packages"]} <= PACKAGES, {*told["packages"]} - PACKAGES
    start, *read = told["weights"]
    assert "/stages/" not in start and read == bench.weights("squad") and told["tokenizers"] == 0
    for name, entry in bench.entries.items():
        assert _left(bench.stages, entry) == _left(bench.apart, entry), name
    from_memory = _left(bench.stages, bench.entries["xnli"])
    shutil.rmtree(bench.stages / bench.entries["xnli"].folder)
    told = bench.job("mnli", "xnli")
    assert told["weights"] == bench.weights("mnli") and told["tokenizers"] == 0
    assert {*told["packages"]} <= PACKAGES, {*told["packages"]} - PACKAGES
    assert _left(bench.stages, bench.entries["xnli"]) == from_memory


def test_evaluations_of_one_encoder_read_it_once(bench: Bench) -> None:
    shutil.rmtree(bench.stages, ignore_errors=True)
    told = bench.job("squad")
    assert {*told["packages"]} <= PACKAGES and len(told["weights"]) == 1
    other = replace(bench.entries["tatoeba"], folder="once-more")
    bench.entries["again"] = other
    try:
        assert bench.job("tatoeba", "again")["weights"] == bench.weights("squad")
    finally:
        del bench.entries["again"]


def test_a_damaged_encoder_is_put_aside_and_never_evaluated(bench: Bench) -> None:
    shutil.rmtree(bench.stages, ignore_errors=True)
    shutil.copytree(bench.apart, bench.stages)
    shutil.rmtree(bench.stages / bench.entries["tatoeba"].folder)
    (weights,) = map(Path, bench.weights("squad"))
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    with pytest.raises(AssertionError, match="had a damaged encoder, which is now"):
        bench.job("tatoeba")
    assert not weights.exists() and not (bench.stages / bench.entries["tatoeba"].folder / "languages").exists()


def test_a_whole_encoder_that_could_not_be_read_for_a_moment_stays(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system's trouble is no damage: what is put aside is trained again."""
    shutil.rmtree(bench.stages, ignore_errors=True)
    shutil.copytree(bench.apart, bench.stages)

    def unreadable(*_: object) -> NoReturn:
        raise UserError("config.json: not readable as JSON (Input/output error); get the model again.")

    monkeypatch.setattr(inputs, "read_parent", unreadable)
    (path,) = (bench.root / "store" / "submissions").glob("*/manifest-0.json")
    with pytest.raises(UserError, match="not readable"):
        inputs.Inputs(manifests.read(path)).origin(bench.entries["tatoeba"])
    (weights,) = map(Path, bench.weights("squad"))
    assert weights.exists()
