"""The measures of a train stage's tasks, taken before it trains, where an experiment studies complexity.

Its own file, imported where it is asked for: it brings scipy, which other jobs do without.
"""

import sys
import time
from collections.abc import Callable

import torch

from eval.prediction.measuring import Measuring
from launch.job import beside
from launch.store.artifacts import TaskMeasures
from launch.store.manifests import StageEntry
from training.engine import matmul
from training.model.parent import Parent


def measures_of(
    entry: StageEntry, parent: Parent, device: torch.device, should_stop: Callable[[], bool]
) -> tuple[TaskMeasures, ...]:
    """Of every task of the stage. Whatever fails, or is not done in time, is left out and named on stderr: no training
    fails of it. InterruptedError where the job is to stop: the next attempt measures again."""
    started_at = time.monotonic()

    def warn(line: str) -> None:
        print(f"warning: {entry.folder}: {line}", file=sys.stderr, flush=True)

    runtime = entry.read_runtime()
    try:
        with matmul.using(runtime.matmul, "evaluation", parent.config.sizes, device):
            measuring = Measuring(entry.train_spec(), runtime, parent, device, beside.limit(should_stop), warn)
            tasks = tuple(TaskMeasures(name, measures) for name, measures in measuring.tasks())
    except InterruptedError:
        raise
    except Exception as error:  # what is wrong with data or model the training says itself
        warn(f"its tasks could not be measured ({type(error).__name__}: {error})")
        return ()
    finally:
        if device.type == "cuda":
            torch.cuda.empty_cache()  # for the training, which chooses its batches by what is free
    names = ", ".join(task.task for task in tasks)
    print(f"{entry.folder}: measured {names} in {time.monotonic() - started_at:.0f} s", flush=True)
    return tasks
