"""The job: what every element of an array executes. It finds its element by (manifest, index) and does its stages.

Heavy imports happen after the signals have their handlers: until then USR2 is ignored, afterwards it sets a flag.
"""

import argparse
import json
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from launch.job.element import FAILED, run_stages
from slurm.base import UserError
from slurm.signals import StopFlag


def main() -> None:
    """`python -P -u -m launch.job MANIFEST [--index N]`; the index is SLURM_ARRAY_TASK_ID's where none is given."""
    stop = StopFlag()
    stop.install()
    manifest, index = _which()
    from launch.status import breaker
    from launch.store import logs

    logs.mark_start(int(os.environ.get("SLURM_RESTART_COUNT", "0")))
    record = json.loads(manifest.read_bytes())
    held = breaker.held_line(manifest.parent)
    if held is not None:
        sys.exit(f"error: {held}")  # exit code 1
    try:
        from training import distributed  # torch: only now
    except Exception as error:
        traceback.print_exc()
        _count(record, manifest, index, error)
        sys.exit(FAILED)

    try:
        code = _run(record, manifest, index, stop)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except Exception as error:
        traceback.print_exc()
        _count(record, manifest, index, error)
        code = FAILED
    if code == 0:
        distributed.finish()
    distributed.leave(code)


def _count(record: dict[str, Any], manifest: Path, index: str, error: Exception) -> None:
    """Tell the circuit breaker of an element that failed before any attempt. Every rank says the same."""
    from launch.experiment import failures as failure_rules
    from launch.status import breaker
    from slurm import causes

    message = f"{type(error).__name__}: {error}".splitlines()[0]
    with suppress(OSError, UserError):
        policy = failure_rules.from_record(record.get("failures", {}))
        breaker.note(manifest.parent, f"element-{manifest.stem}-{index}", causes.classify(None, message, ""), policy)


def _which() -> tuple[Path, str]:
    parser = argparse.ArgumentParser(description="Run one element of a submission.")
    parser.add_argument("manifest", type=Path, nargs="?", default=os.environ.get("STEPSTONE_MANIFEST"))
    parser.add_argument("--index", default=os.environ.get("SLURM_ARRAY_TASK_ID", os.environ.get("STEPSTONE_INDEX")))
    arguments = parser.parse_args()
    if arguments.manifest is None or arguments.index is None:
        parser.error("a manifest and an index are needed; `stepstone submit` starts jobs")
    return Path(arguments.manifest), str(arguments.index)


def _run(record: dict[str, Any], manifest: Path, index: str, stop: StopFlag) -> int:
    from launch.experiment.added_tasks import from_record
    from launch.job.stage import ElementRun
    from training import distributed
    from training.spec import runtime
    from training.tasks import catalogue

    for task in record["tasks"]:
        catalogue.register(from_record(task))
    entries = record["elements"].get(index)
    if entries is None:
        raise UserError(f"{manifest} has no element {index}; was the array submitted by hand?")
    device = runtime(entries[0]["runtime"]).device
    _check_gpus(record, device)
    restart = os.environ.get("SLURM_RESTART_COUNT", "0")
    job = os.environ.get("SLURM_JOB_ID", "local")
    world = distributed.init(device, manifest.parent / f"rendezvous-{manifest.stem}-{index}-{job}-{restart}.json")
    return run_stages(ElementRun(record, manifest, world, stop), entries, record["drop"][index])


def _check_gpus(record: dict[str, Any], device: str) -> None:
    import torch

    if record["gpus_asked_for"] and device == "auto" and not torch.cuda.is_available():
        raise UserError(
            "GPUs were asked for, but this node shows none (device: auto); check the partition and the driver, "
            "or set `training: {device: cpu}`"
        )


if __name__ == "__main__":
    main()
