"""The job: what every element of an array executes. It finds its element by (manifest, index) and does its stages.

Heavy imports happen after the signals have their handlers: until then USR2 is ignored, afterwards it sets a flag.
"""

import argparse
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from slurm.base import UserError
from slurm.signals import StopFlag, requeue

FAILED = 1
TRY_AGAIN = 75  # stopped by a signal, or another job is at the stage


def main() -> None:
    """`python -P -u -m launch.job MANIFEST [--index N]`; the index is SLURM_ARRAY_TASK_ID's where none is given."""
    stop = StopFlag()
    stop.install()
    manifest, index = _which()
    from launch import breaker, logs

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
    from launch import breaker, policies
    from slurm import causes

    message = f"{type(error).__name__}: {error}".splitlines()[0]
    with suppress(OSError, UserError):
        policy = policies.from_record(record.get("failures", {}))
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
    from launch.added_tasks import from_record
    from launch.element import ElementRun
    from training import catalogue, distributed
    from training.spec import runtime

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


def run_stages(element: Any, entries: list[dict[str, Any]], drop: list[str]) -> int:
    """The element's stages in order, but for those whose parent in it failed; the exit code."""
    failures = []
    failed: set[str] = set()
    for entry in entries:
        if entry["parent"] in failed:
            failed.add(entry["folder"])
            continue
        failure = _do(element, entry)
        if failure is None:
            element.drop_encoders(_no_longer_read(entries, entry, drop, failed))
            continue
        print(f"error: {failure}", file=sys.stderr, flush=True)
        failed.add(entry["folder"])
        failures.append(failure)
        if failure.stopped:
            return _leave_stopped(element, entry)
        if failure.ends_element:
            break
    if not failed:
        return 0
    return TRY_AGAIN if all(failure.cause == "elsewhere" for failure in failures) else FAILED


def _do(element: Any, entry: dict[str, Any]) -> Any:
    """The StageFailed of one stage; None where it is finished."""
    from launch.element import StageFailed

    try:
        element.run(entry)
    except StageFailed as failure:
        return failure
    return None


def _no_longer_read(
    entries: list[dict[str, Any]], done: dict[str, Any], drop: list[str], failed: set[str]
) -> list[str]:
    """Trains that may lose their encoder, whose last evaluate of this element is the one just done."""
    found = []
    for folder in drop:
        own = [entry for entry in entries if folder in (entry["folder"], entry["parent"])]
        if own and own[-1] is done and failed.isdisjoint(entry["folder"] for entry in own):
            found.append(folder)
    return found


def _leave_stopped(element: Any, entry: dict[str, Any]) -> int:
    """Stopped by a signal. Before the time limit it is ours to have the job queued again, if its budget allows."""
    if element.stop.received != signal.SIGUSR2 or not element.world.first:
        return TRY_AGAIN
    if not element.budget_left(entry):
        print(
            "error: not queued again: it got no further since its last start, too often (failures: time: retry)",
            file=sys.stderr,
        )
        return FAILED
    if requeue():
        print("stopped by a signal; requeued", file=sys.stderr)
    else:
        print("stopped by a signal; not requeued: the next `stepstone submit FILE` sends it again", file=sys.stderr)
    return TRY_AGAIN


def _check_gpus(record: dict[str, Any], device: str) -> None:
    import torch

    if record["gpus_asked_for"] and device == "auto" and not torch.cuda.is_available():
        raise UserError(
            "GPUs were asked for, but this node shows none (device: auto); check the partition and the driver, "
            "or set `training: {device: cpu}`"
        )


if __name__ == "__main__":
    main()
