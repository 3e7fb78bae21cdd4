"""The job: what every element of an array executes. It finds its element by (manifest, index) and does its stages.

Heavy imports happen after the signals have their handlers: until then USR2 is ignored, afterwards it sets a flag.
"""

import argparse
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from launch.job import FAILED
from launch.text import show_what_can_be_shown
from slurm import rlimits
from slurm.base import UserError
from slurm.base.errors import one_line
from slurm.signals import StopFlag

if TYPE_CHECKING:
    from launch.store.manifests import Manifest


def main() -> None:
    """`python -P -u -m launch.job MANIFEST [--index N]`; the index is SLURM_ARRAY_TASK_ID's where none is given.

    Of a packed element this process starts one with `--lane N` for each lane, and runs no stage itself.
    """
    stop = StopFlag()
    stop.install()
    path, index, lane = _arguments()
    show_what_can_be_shown()
    from launch.job import lanes
    from launch.status import breaker
    from launch.store import logs, manifests

    lanes.take_signals()
    logs.mark_start(int(os.environ.get("SLURM_RESTART_COUNT", "0")))
    if limits := rlimits.met():
        print(rlimits.log_line(limits), flush=True)
    try:
        held_line = breaker.held_line(path.parent)
        if held_line is not None:
            sys.exit(f"error: {held_line}")  # exit code 1
        manifest = manifests.read(path)
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {one_line(error) or error}")
    if lane is not None:
        manifest = lanes.share(manifest, index, lane)
    elif index in manifest.lanes:
        sys.exit(lanes.run(manifest, path, index, stop))
    _set_threads(manifest)
    try:
        from training import distributed  # torch: only now
    except Exception as error:
        traceback.print_exc()
        _count(manifest, path, index, error)
        sys.exit(FAILED)

    try:
        code = _run(manifest, path, index, lane, stop)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except Exception as error:
        traceback.print_exc()
        _count(manifest, path, index, error)
        code = FAILED
    if code == 0:
        distributed.finish()
    distributed.leave(code)


def _arguments() -> tuple[Path, int, int | None]:
    """The manifest's path, the index of the element in it, and of a packed one the lane."""
    parser = argparse.ArgumentParser(description="Run one element of a submission.")
    parser.add_argument("manifest", type=Path, nargs="?", default=os.environ.get("STEPSTONE_MANIFEST"))
    told_index = os.environ.get("SLURM_ARRAY_TASK_ID", os.environ.get("STEPSTONE_INDEX"))
    parser.add_argument("--index", type=int, default=told_index)
    parser.add_argument("--lane", type=int)
    arguments = parser.parse_args()
    if arguments.manifest is None or arguments.index is None:
        parser.error("a manifest and an index are needed; `stepstone submit` starts jobs")
    return Path(arguments.manifest), int(arguments.index), arguments.lane


def _set_threads(manifest: "Manifest") -> None:
    """In a job of Slurm's: no more threads than this process has cores, nor than it asked for. Before torch comes."""
    if "SLURM_ARRAY_JOB_ID" not in os.environ:
        return
    from slurm import granted

    cores, told_threads = granted.cores_to_use(manifest.asked, os.environ), os.environ.get("OMP_NUM_THREADS")
    if told_threads is None or (told_threads.isdecimal() and not 0 < int(told_threads) <= cores):
        os.environ["OMP_NUM_THREADS"] = str(cores)


def _count(manifest: "Manifest", path: Path, index: int, error: Exception) -> None:
    """Tell the circuit breaker of an element that failed before any attempt. Every rank says the same."""
    from launch.experiment import failures as failure_rules
    from launch.status import breaker
    from slurm import causes

    message = f"{type(error).__name__}: {error}".splitlines()[0]
    with suppress(OSError, UserError):
        policy = failure_rules.from_record(manifest.failures)
        verdict = rlimits.blamed(causes.classify(None, message, ""), rlimits.met())
        breaker.note(path.parent, f"element-{path.stem}-{index}", verdict, policy)


def _run(manifest: "Manifest", path: Path, index: int, lane: int | None, stop: StopFlag) -> int:
    """The exit code."""
    from launch.experiment.added_tasks import from_record
    from launch.job.element import run_stages
    from launch.job.granted import measure
    from launch.job.sampling import this_node
    from launch.job.stage import ElementRun
    from training import distributed
    from training.tasks import catalogue

    for task in manifest.tasks:
        catalogue.register(from_record(task))
    entries = manifest.elements.get(index)
    if entries is None:
        raise UserError(f"{path} has no element {index}; was the array submitted by hand?")
    device = entries[0].read_runtime().device
    _check_gpus(manifest, device)
    restart = os.environ.get("SLURM_RESTART_COUNT", "0")
    job = os.environ.get("SLURM_JOB_ID", "local")
    world = distributed.init(device, path.parent / f"rendezvous-{path.stem}-{index}-{job}-{restart}.json")
    neighbours = 0 if lane is None else len(manifest.lanes[index]) - 1
    distributed.share_gpu(world, neighbours + 1)
    processes = measure(manifest.asked, world)
    run = ElementRun(manifest, path, world, stop, processes, this_node(world), lane=lane, neighbours=neighbours)
    return run_stages(run, entries, manifest.drop[index])


def _check_gpus(manifest: "Manifest", device: str) -> None:
    import torch

    if manifest.asked and manifest.asked.gpus and device == "auto" and not torch.cuda.is_available():
        raise UserError(
            "GPUs were asked for, but this node shows none (device: auto); check the partition and the driver, "
            "or set `training: {device: cpu}`"
        )


if __name__ == "__main__":
    main()
