"""An element as a fork of a local worker that has its imports done: it imports no package any more."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from launch.demo import data
from launch.job import forked
from launch.store import manifests
from launch.store.manifests import Manifest, StageEntry
from tests.paths import ROOT
from training.pretrained.start import StartModel

EXPERIMENT = """\
name: forked
store: ./store
model: {model}
recipes: [none]
targets: [xnli]
seeds: [1]
languages: {{default: [en, de]}}
data: {{root: ./data, max_train: 16, max_eval: 8}}
training: {{epochs: 1, global_batch_size: 8, token_budget: 256, max_length: 80, device: cpu}}
cluster: {{executor: local}}
"""


@pytest.mark.slow
def test_everything_is_imported_before_the_fork(tmp_path: Path, tiny_model: Path) -> None:
    """By DeepSpeed too; and the worker had one thread then, or it would have started a new process."""
    data.write(tmp_path / "data")
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT.format(model=tiny_model))
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        logs = "".join(path.read_text()[-2000:] for path in tmp_path.glob("store/submissions/*/local/logs/*"))
        assert done.returncode == 0, done.stderr + logs
        return done.stdout

    run(str(Path(sys.executable).parent / "stepstone"), "submit", "experiment.yaml", "--wait")
    (log,) = tmp_path.glob("store/submissions/*/local/logs/worker-0.log")
    assert "elements are forks of process" in log.read_text()
    (manifest,) = tmp_path.glob("store/submissions/*/manifest-0.json")
    shutil.rmtree(tmp_path / "store" / "stages")
    said = run(sys.executable, "-P", "-m", "tests.launch.job.forked_program", str(manifest), "0")
    assert json.loads(said.splitlines()[-1]) == {"code": 0, "late": []}, said


@pytest.mark.parametrize(
    ("devices", "told"),
    [(["cpu", "cpu"], "cpu"), (["cuda", "auto"], "cuda"), (["auto", "cpu"], None)],
    ids=["CPU", "GPU", "mixed"],
)
def test_deepspeed_is_imported_before_the_fork_where_all_elements_have_one_accelerator(
    devices: list[str], told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps what it finds at its import."""
    entries = [StageEntry(device, device, "train", {}, {"device": device, "zero": 2}) for device in devices]
    start = StartModel("hub:m@1", repo="m", revision="1")
    manifest = Manifest(str(tmp_path), start, {n: (entry,) for n, entry in enumerate(entries)}, {0: (), 1: ()})
    manifests.write(tmp_path / "manifest-0.json", manifest)
    imported: dict[str, str | None] = {}
    monkeypatch.setattr(
        forked.importlib, "import_module", lambda name: imported.setdefault(name, os.environ.get("DS_ACCELERATOR"))
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    forked.prepare([{"STEPSTONE_MANIFEST": str(tmp_path / "manifest-0.json")}])
    assert imported.get("deepspeed") == told and ("deepspeed" in imported) == (told is not None)
    assert "launch.job.stage" in imported and "DS_ACCELERATOR" not in os.environ


def test_what_cannot_be_read_is_the_elements_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "_STAGE", ("json",))
    monkeypatch.setattr(forked, "_TRANSFORMERS", ())
    before = dict(os.environ)
    forked.prepare([{"STEPSTONE_MANIFEST": str(tmp_path / "manifest-0.json"), "STEPSTONE_INDEX": "0"}])
    assert dict(os.environ) == before
