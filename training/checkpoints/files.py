"""Checkpoints of a stage: every rank writes its fragments in the background, and a manifest comes last.

    checkpoints/step-000120/  rank-00000.safetensors …, rank-00000.json …, vocabulary.safetensors, manifest.json
    checkpoints/best-0001/    the same with the parameters of the best epoch so far

A folder counts once its manifest is there and everything in the manifest verifies. Any number of ranks and any ZeRO
stage can go on from it.
"""

import os
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slurm.base.files import link_file, read_sealed, remove_folder, seal, sha256_file, sync_folder, write_atomic
from training.checkpoints.fragments import Fragment, FragmentReader, file_name
from training.distributed import World, from_first
from training.tensors import read_tensors, write_tensors

FOLDER = "checkpoints"
_MANIFEST = "manifest.json"
_EXTRA = "vocabulary.safetensors"
_KEPT = 2
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 600  # until the last rank has written its part, after rank 0


def step_name(step: int) -> str:
    return f"step-{step:06d}"


def best_name(epoch: int) -> str:
    return f"best-{epoch:04d}"


def step_folder(out: Path, step: int) -> Path:
    return out / FOLDER / step_name(step)


def best_folder(out: Path, epoch: int) -> Path:
    return out / FOLDER / best_name(epoch)


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a manifest. `state`: what the engine put there; state["best"]["epoch"] names a best epoch."""

    folder: Path
    state: dict[str, Any]
    files: tuple[str, ...]

    @property
    def best(self) -> Path | None:
        """The folder of the best epoch that the state names."""
        best = self.state.get("best")
        return self.folder.parent / best_name(best["epoch"]) if best else None

    def reader(self) -> FragmentReader:
        """The fragments of all ranks."""
        return FragmentReader(self.folder, [name for name in self.files if name.startswith("rank-")])

    def extra(self) -> dict[str, Tensor]:
        """What `Writer.start` was given as `extra`; empty where it was nothing."""
        return read_tensors(self.folder / _EXTRA) if _EXTRA in self.files else {}


def opened(folder: Path) -> Checkpoint:
    """A checkpoint that has been verified before, by this process or by another rank."""
    record = read_sealed(folder / _MANIFEST)
    assert record is not None, folder
    return Checkpoint(folder, record["state"], tuple(record["files"]))


def verified(folder: Path, identity: str) -> Checkpoint | None:
    """The checkpoint in a folder whose files are all there and unchanged, and of this stage; else None."""
    try:
        record = read_sealed(folder / _MANIFEST)
    except OSError:
        return None
    if record is None or record["identity"] != identity:
        return None
    if not all(_is_unchanged(folder / name, file_record) for name, file_record in record["files"].items()):
        return None
    return Checkpoint(folder, record["state"], tuple(record["files"]))


def _is_unchanged(path: Path, file_record: dict[str, Any]) -> bool:
    try:
        return (path.stat().st_size, sha256_file(path)) == (file_record["size"], file_record["sha256"])
    except OSError:
        return False


def newest(folders: Sequence[Path], identity: str) -> Checkpoint | None:
    """The furthest checkpoint of this stage that verifies, with its best epoch, in the attempts' folders `folders`."""
    paths = [path for folder in folders for path in (folder / FOLDER).glob("step-*")]
    for path in sorted(paths, key=lambda path: _number(path.name), reverse=True):
        checkpoint = verified(path, identity)
        if checkpoint is not None and (checkpoint.best is None or verified(checkpoint.best, identity) is not None):
            return checkpoint
    return None


def _number(name: str) -> int:
    """The step in a folder's name: these do not sort as text from a million on."""
    digits = name.partition("-")[2]
    return int(digits) if digits.isdigit() else -1


def link_best(checkpoint: Checkpoint, out: Path) -> None:
    """Bring the best epoch that a checkpoint of an earlier attempt names along into `out`: links, or copies."""
    if checkpoint.best is None or checkpoint.best.parent == out / FOLDER:
        return
    source, target = checkpoint.best, out / FOLDER / checkpoint.best.name
    remove_folder(target)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (_MANIFEST, *opened(source).files):
        with suppress(FileNotFoundError):  # a network file system may keep what was removed
            os.unlink(target / name)
    for name in opened(source).files:
        link_file(source / name, target / name)
    sync_folder(target)
    link_file(source / _MANIFEST, target / _MANIFEST)
    for folder in (target, target.parent, out):
        sync_folder(folder)


# --- writing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """One checkpoint to be written."""

    folder: Path
    write: str  # the same on all ranks, and of no other write
    tensors: dict[str, Tensor]  # by key; in the staging buffers
    extra: dict[str, Tensor]
    identity: str
    state: dict[str, Any]


class Writer:
    """Writes checkpoints below `out` in the background, one at a time; the loop waits for a copy in memory only.

    Every rank makes one (a collective call) and calls `start` alike, between the same steps. No collectives in the
    background: the ranks' threads meet through files.
    """

    def __init__(self, out: Path, world: World) -> None:
        self._folder, self._world = out / FOLDER, world
        # In the reports: what an earlier write left in a folder of the same name is not taken for this one's.
        self._run, self._writes = str(from_first(uuid.uuid4().hex, world)), 0
        self._staging: dict[str, Tensor] = {}
        self._thread: threading.Thread | None = None
        self._abandoned = threading.Event()
        self._failed: str | None = None

    @property
    def busy(self) -> bool:
        """Whether this rank's thread is at work: on rank 0 until the manifest is there."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def failed(self) -> str | None:
        """Why the last write failed, such as "No space left on device"; None where it is under way or went well."""
        return None if self.busy else self._failed

    def forget_failure(self) -> None:
        """It has been said."""
        self._failed = None

    def reserve(self, fragments: Iterable[Fragment]) -> None:
        """Make the staging buffers for these, so that the first `start` is as short as the others."""
        for fragment in fragments:
            self._buffer(fragment)

    def start(
        self,
        name: str,
        fragments: Iterable[Fragment],
        identity: str,
        state: dict[str, Any],
        extra: Mapping[str, Tensor] | None = None,
    ) -> float:
        """Copy the fragments and write them as checkpoints/`name` in the background. Returns the seconds it took.

        `state`: JSON; `extra`: rank 0's goes into the checkpoint, small, not copied. Not while `busy`.
        """
        assert not self.busy, name
        started_at = time.perf_counter()
        self._writes, self._failed = self._writes + 1, None
        tensors = {
            fragment.key: self._buffer(fragment).copy_(fragment.values, non_blocking=True) for fragment in fragments
        }
        if any(tensor.is_pinned() for tensor in tensors.values()):
            torch.cuda.synchronize()
        own_extra = dict(extra or {}) if self._world.first else {}
        job = _Job(self._folder / name, f"{self._run}-{self._writes}", tensors, own_extra, identity, state)
        self._thread = threading.Thread(target=self._write, args=(job,), name=f"write {name}", daemon=True)
        self._thread.start()
        return time.perf_counter() - started_at

    def _buffer(self, fragment: Fragment) -> Tensor:
        """Kept for the next checkpoint: what a rank owns does not change. Zeros, so that the memory is really there."""
        buffer = self._staging.get(fragment.key)
        if buffer is None or buffer.shape != fragment.values.shape:
            values = fragment.values
            buffer = torch.zeros(values.shape, dtype=torch.float32, pin_memory=values.is_cuda)
            self._staging[fragment.key] = buffer
        return buffer

    def wait(self) -> None:
        """Until this rank's part is written; on rank 0 until the checkpoint counts, or has `failed`."""
        if self._thread is not None:
            self._thread.join()

    def abandon(self) -> None:
        """Give up waiting for the other ranks, and return when the thread has ended. For good."""
        self._abandoned.set()
        self.wait()

    # --- in the background

    def _write(self, job: _Job) -> None:
        try:
            self._write_own(job)
            if self._world.first:
                self._complete(job)
        except Exception as error:
            self._failed = (error.strerror if isinstance(error, OSError) else None) or str(error) or repr(error)
            self._clear_up(job)
            return
        if self._world.first:
            with suppress(OSError):  # the checkpoint counts: what is old can go another time
                prune(self._folder, job.folder.name)

    def _write_own(self, job: _Job) -> None:
        """This rank's file, then its report."""
        job.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = {}
        for name, tensors in ((file_name(self._world.rank), job.tensors), (_EXTRA, job.extra)):
            if tensors:
                # Then renamed, for an older file of that name may be another folder's too (a hard link), or be named
                # by a manifest that holds until the new one is there.
                temporary = job.folder / f".{name}.tmp"
                files[name] = write_tensors(temporary, tensors)
                os.replace(temporary, job.folder / name)
        self._report(job, {"files": files})

    def _report(self, job: _Job, record: dict[str, Any]) -> None:
        write_atomic(self._report_path(job, self._world.rank), seal(record | {"write": job.write}))

    def _report_path(self, job: _Job, rank: int) -> Path:
        return (job.folder / file_name(rank)).with_suffix(".json")

    def _complete(self, job: _Job) -> None:
        files: dict[str, Any] = {}
        for rank in range(self._world.size):
            files |= self._await_report(job, rank)
        manifest = {"identity": job.identity, "state": job.state, "files": files, "world_size": self._world.size}
        write_atomic(job.folder / _MANIFEST, seal(manifest))
        sync_folder(job.folder.parent)
        sync_folder(job.folder.parent.parent)

    def _await_report(self, job: _Job, rank: int) -> dict[str, Any]:
        limit = time.monotonic() + _PATIENCE_SECONDS
        while (record := self._read_report(job, rank)) is None:
            if self._abandoned.wait(_POLL_SECONDS) or time.monotonic() > limit:
                raise RuntimeError(f"rank {rank} did not write its part")
        if "failed" in record:
            raise RuntimeError(f"rank {rank}: {record['failed']}")
        files: dict[str, Any] = record["files"]
        return files

    def _read_report(self, job: _Job, rank: int) -> dict[str, Any] | None:
        try:
            os.listdir(job.folder)  # has a network file system look anew for files that were not there
            record = read_sealed(self._report_path(job, rank))
        except OSError:  # a network file system may say ESTALE of a file that has just been replaced
            return None
        return record if record is not None and record["write"] == job.write else None

    def _clear_up(self, job: _Job) -> None:
        """After a failure: free the disk, and tell rank 0."""
        with suppress(OSError):
            if self._world.first:
                remove_folder(job.folder)
            else:
                os.unlink(job.folder / f".{file_name(self._world.rank)}.tmp")
        with suppress(OSError):
            if not self._world.first:
                self._report(job, {"failed": self._failed})


def prune(folder: Path, latest: str) -> None:
    """Keep the newest two steps that are whole, and the best epochs that steps name; `latest` has just been written.

    After a step: those beyond it are of an earlier start and did not verify, else that would have been gone on from.
    """
    records = {path.name: read_sealed(path / _MANIFEST) for path in folder.glob("step-*")}
    steps_to_keep = set(records)
    if latest in records:
        whole_steps = [name for name, record in records.items() if record and _number(name) <= _number(latest)]
        steps_to_keep = set(sorted(whole_steps, key=_number)[-_KEPT:])
    states = [record["state"] for name in steps_to_keep if (record := records[name]) is not None]
    bests = {best_name(state["best"]["epoch"]) for state in states if state.get("best")} | {latest}
    for path in [*folder.glob("step-*"), *folder.glob("best-*")]:
        if path.name not in steps_to_keep | bests:
            _remove(path)


def _remove(folder: Path) -> None:
    """The manifest first: a checkpoint that is half gone does not count."""
    with suppress(OSError):
        os.unlink(folder / _MANIFEST)
    remove_folder(folder)
