"""What is known of each intermediate task, and by how much it helps groups of targets."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.studies import transfer as transfers
from eval.studies.records import Group, Results
from eval.studies.transfer import Transfer

# What is known of tasks, by the name of `Measure`, in words. Others may be given, and are taken as they are.
KNOWN = {
    "examples": "training examples",
    "length": "mean length in subwords",
    "segments": "texts in an example",
    "label_entropy": "entropy of the labels, bits",
    "type_token_ratio": "distinct words per word",
    "majority_loss": "loss of the most frequent label",
    "majority_score": "dev score of the most frequent label",
    "bag_of_words_score": "dev score of a bag of words",
    "bag_of_words_loss": "loss of a bag of words",
    "probe_score": "dev score of a linear probe of the start model",
    "probe_loss": "loss of a linear probe of the start model",
    "code_length": "prequential code length, bits a label",
    "compression": "uniform code length / prequential",
    "dev_score": "dev score reached",
}
_LOGARITHMIC = ("examples", "length")  # which differ by factors
ALL = "all targets"


@dataclass(frozen=True)
class GroupGains:
    """`gains`: of each task over `none`, in points, mean over seeds, then over targets: (tasks,)."""

    group: str
    targets: tuple[str, ...]
    tasks: tuple[str, ...]
    gains: NDArray[np.float64]
    left_out: tuple[str, ...]  # tasks without a gain on all of these targets


@dataclass(frozen=True)
class MeasureColumn:
    """`values`: of the tasks that have it; sizes and lengths as logarithms."""

    name: str
    values: Mapping[str, float]

    @property
    def label(self) -> str:
        text = KNOWN.get(self.name, self.name)
        return f"log {text}" if self.name in _LOGARITHMIC else text


def measures_of(results: Results) -> tuple[MeasureColumn, ...]:
    """Every measure, and the dev score that each task reached alone, where dev points tell it."""
    columns: dict[str, dict[str, float]] = defaultdict(dict)
    for measure in results.measures:
        if measure.name not in _LOGARITHMIC:
            columns[measure.name][measure.task] = measure.value
        elif measure.value > 0:
            columns[measure.name][measure.task] = float(np.log(measure.value))
    dev: dict[str, list[float]] = defaultdict(list)
    for point in results.dev_points:
        if point.primary and point.progress == 1 and point.trained == ((point.task,),):
            dev[point.task].append(point.value)
    columns["dev_score"] = {task: float(np.mean(values)) for task, values in dev.items()} | columns["dev_score"]
    return tuple(MeasureColumn(name, values) for name, values in columns.items() if values)


def gains_of(results: Results) -> tuple[GroupGains, ...]:
    """Of all targets, and of each group of them; of two groups also the second less the first."""
    of_targets = transfers.of_targets(results.runs)
    all_targets = Group(ALL, tuple(transfer.target for transfer in of_targets))
    of_groups = [_of_group(group, of_targets) for group in results.target_groups]
    present = [gains for gains in of_groups if gains.tasks]
    less = [_less(*present)] if len(present) == 2 else []
    return tuple(gains for gains in (_of_group(all_targets, of_targets), *present, *less) if gains.tasks)


def distinct(groups: Sequence[GroupGains]) -> tuple[GroupGains, ...]:
    """Without those whose gains are another's: of a group that all targets are of, a second test would count one
    question twice."""
    return tuple(
        group
        for at, group in enumerate(groups)
        if not any(
            group.tasks == earlier_group.tasks and np.array_equal(group.gains, earlier_group.gains)
            for earlier_group in groups[:at]
        )
    )


def _of_group(group: Group, of_targets: Sequence[Transfer]) -> GroupGains:
    """Of the targets that most tasks have; a task that lacks one of them is left out."""
    by_target = {
        transfer.target: gains
        for transfer in of_targets
        if transfer.target in group.members and (gains := _gains(transfer))
    }
    names = sorted({task for gains in by_target.values() for task in gains})
    targets = tuple(target for target, gains in by_target.items() if len(gains) > len(names) / 2)
    tasks = tuple(task for task in names if targets and all(task in by_target[target] for target in targets))
    means = np.array([np.mean([by_target[target][task] for target in targets]) for task in tasks])
    return GroupGains(group.name, targets, tasks, means, tuple(task for task in names if task not in tasks))


def _gains(transfer: Transfer) -> dict[str, float]:
    """By task, of recipes that are one task alone."""
    recipes = {recipe for recipe, _ in transfer.scores if len(recipe) == 1 and len(recipe[0]) == 1}
    differences = {recipe[0][0]: list(transfer.differences(recipe).values()) for recipe in recipes}
    return {task: float(np.mean(values)) for task, values in differences.items() if values}


def _less(first: GroupGains, second: GroupGains) -> GroupGains:
    tasks = tuple(task for task in first.tasks if task in second.tasks)
    gains = [second.gains[second.tasks.index(task)] - first.gains[first.tasks.index(task)] for task in tasks]
    targets = tuple(dict.fromkeys((*first.targets, *second.targets)))
    return GroupGains(f"{second.group} less {first.group}", targets, tasks, np.array(gains), ())
