"""English dev of what earlier steps trained, by the heads that they left, under the encoder that is handed on now.

What cannot be had (a head that is gone or damaged, data that changed, no memory or no time for it) is left out with a
line in the log: the training is none the worse.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from eval.prediction import predict
from eval.prediction.dev import Dev, evaluate
from launch.job import beside
from launch.job.inputs import Inputs
from launch.store import artifacts
from launch.store.artifacts import DevMetrics
from launch.store.manifests import EarlierStep, StageEntry
from slurm.base import UserError
from slurm.base.files import sha256_file
from training.data.load import load_dev
from training.data.tokens import tokenizer_of
from training.model.encoder import HeadKind, load_head
from training.model.parent import Parent, TrainedHead
from training.spec import TaskData
from training.stopwatch import phase
from training.tasks import Task, find


@phase("dev")
def score(
    entry: StageEntry,
    inputs: Inputs,
    handed_over: Parent,
    steps: int,
    device: torch.device,
    should_stop: Callable[[], bool],
) -> tuple[DevMetrics, ...]:
    """The earlier steps' dev at the end of a training of `steps` steps, the latest step first. InterruptedError where
    the job is to stop: the next attempt hands over once more, and scores them."""
    points: list[DevMetrics] = []
    between = beside.limit(should_stop)
    for step in entry.earlier:
        try:
            between()
            points += _of_step(entry, step, _verified_heads(inputs, step), handed_over, steps, device, between)
        except InterruptedError:
            raise
        except Exception as error:  # whatever it is: a training that is done does not fail of it
            text = str(error) if _is_foreseen(error) else f"{type(error).__name__}: {error}"
            reason = " ".join(text.split())
            line = f"warning: {entry.folder}: English dev of {step.folder} is not scored again: {reason[:300]}"
            print(line, file=sys.stderr, flush=True)
    return tuple(points)


def _is_foreseen(error: Exception) -> bool:
    """Whether its own words say enough."""
    return isinstance(error, UserError) or (isinstance(error, OSError) and error.filename is not None)


def _verified_heads(inputs: Inputs, step: EarlierStep) -> Path:
    """The folder of an earlier step's heads, as its result describes those that are needed. UserError where they are
    not, or no more, there."""
    stage_folder = inputs.stage_folder(step.folder)
    result = artifacts.read_train_result(stage_folder)
    if result is None:
        raise UserError("it has no result")
    for head in step.heads:
        for name in (f"heads/{head}.safetensors", f"heads/{head}.json"):
            path = stage_folder / result.attempt / name
            if name not in result.files or sha256_file(path) != result.files[name].sha256:
                raise UserError(f"{path}: is not the head that its result describes")
    return stage_folder / result.attempt / "heads"


def _of_step(
    entry: StageEntry,
    step: EarlierStep,
    folder: Path,
    handed_over: Parent,
    steps: int,
    device: torch.device,
    between: Callable[[], None],
) -> Iterator[DevMetrics]:
    spec = step.train_spec()
    tokenizer = tokenizer_of(handed_over.folder, handed_over.tokenizer_hash)
    loaded_heads = {head: load_head(folder, head) for head in step.heads}
    heads = {head: TrainedHead(kind, module.state_dict()) for head, (kind, module) in loaded_heads.items()}
    # The tensors are those of the hand-over itself, which has its own heads for the stages that come.
    model = replace(handed_over, heads=heads).model(step.heads, spec.settings, device)
    for data in spec.parts:
        if data.head_name in heads:
            task = _task(data, heads[data.head_name].kind)
            examples = predict.encoded(task, "en", load_dev(data), tokenizer, spec.settings)
            dev = Dev(task, data.head_name, examples)
            _, task_metrics = evaluate(model, dev, spec.settings, entry.read_runtime(), between)
            yield DevMetrics(task_metrics.task, task_metrics.head, steps, 1.0, task_metrics.metrics)


def _task(data: TaskData, kind: HeadKind) -> Task:
    """The task of some dev data, with the labels that its head was trained on."""
    task = find(data.task)
    if task.open_labels:
        return replace(task, labels=kind.labels)
    if (kind.format, kind.labels) != (task.format, find(data.head_name).labels):
        raise UserError(f"task {data.task}: its head was trained on other labels than the task has now")
    return task
