"""Checkpoints of a stage: safetensors and a manifest that is written last, so that a torn one is never taken for whole.

    checkpoints/step-000120/  parameters, exp_avg, exp_avg_sq (.safetensors), manifest.json
    checkpoints/best-0001/    encoder/, heads/ of the best epoch so far, manifest.json

They hold whole tensors by name: any number of ranks and any ZeRO stage can go on from them. Rank 0 calls all of this.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from slurm.files import read_sealed, seal, sha256_file, sync_folder, write_atomic
from training.tensors import read_tensors, write_tensors

FOLDER = "checkpoints"
_MANIFEST = "manifest.json"
_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A folder that verifies. `state`: what the engine put there; state["best"] may name a best epoch's folder."""

    folder: Path
    state: dict[str, Any]

    @property
    def best(self) -> Path | None:
        return _best_of(self.folder, self.state)


def step_folder(out: Path, step: int) -> Path:
    return out / FOLDER / f"step-{step:06d}"


def best_folder(out: Path, epoch: int) -> Path:
    return out / FOLDER / f"best-{epoch:04d}"


def begin(folder: Path) -> None:
    """An empty folder to write files into; one of that name is left from a start that did not finish it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def add(folder: Path, name: str, tensors: dict[str, Tensor]) -> None:
    write_tensors(folder / f"{name}.safetensors", tensors)


def read(folder: Path, name: str) -> dict[str, Tensor]:
    return read_tensors(folder / f"{name}.safetensors")


def complete(folder: Path, identity: str, state: dict[str, Any]) -> None:
    """Write the manifest: sizes and hashes of all files. From here on the folder counts."""
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": sha256_file(path)}
        for path in _files(folder)
    }
    for inner in [path for path in folder.rglob("*") if path.is_dir()]:
        sync_folder(inner)
    write_atomic(folder / _MANIFEST, seal({"identity": identity, "state": state, "files": files}))
    sync_folder(folder.parent)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _MANIFEST)


def newest(folders: Sequence[Path], identity: str) -> Checkpoint | None:
    """The furthest checkpoint of this stage that verifies, with its best epoch, in the attempts' folders `folders`."""
    found = [path for folder in folders for path in (folder / FOLDER).glob("step-*")]
    for path in sorted(found, key=lambda path: path.name, reverse=True):
        state = _verified(path, identity)
        if state is None:
            continue
        best = _best_of(path, state)
        if best is None or _verified(best, identity) is not None:
            return Checkpoint(path, state)
    return None


def _verified(folder: Path, identity: str) -> dict[str, Any] | None:
    """The state in a folder whose files are all there and unchanged; else None."""
    record = read_sealed(folder / _MANIFEST)
    if record is None or record["identity"] != identity:
        return None
    for name, expected in record["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != expected["size"]:
            return None
        if sha256_file(path) != expected["sha256"]:
            return None
    state: dict[str, Any] = record["state"]
    return state


def _best_of(folder: Path, state: dict[str, Any]) -> Path | None:
    best = state.get("best")
    return best_folder(folder.parent.parent, best["epoch"]) if best else None


def prune(out: Path, best_epoch: int | None) -> None:
    """Keep the newest two checkpoints, and the best epochs that they or `best_epoch` name."""
    steps = sorted((out / FOLDER).glob("step-*"), reverse=True)
    for old in steps[_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    states = [(read_sealed(path / _MANIFEST) or {}).get("state", {}) for path in steps[:_KEPT]]
    named = {state["best"]["epoch"] for state in states if state.get("best")} | {best_epoch}
    kept = {best_folder(out, epoch) for epoch in named if epoch is not None}
    for path in (out / FOLDER).glob("best-*"):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def link_folder(source: Path, target: Path) -> None:
    """A second name for every file of a folder, or a copy where the file system has no hard links."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=_link)
    sync_folder(target.parent)


def _link(source: str, target: str) -> object:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target
