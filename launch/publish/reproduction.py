"""The experiment file that trains one stage again under the same key: of the original what the key sees, and no more.

Where things lie, who the user is and what the cluster is asked for stay at home: `store`, `data.root` and a start model
that is a folder are named as lying beside the file.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import yaml

from eval.tables.baseline import split
from launch.plan import Plan, Stage
from launch.results import scores

NAME = "experiment.yaml"
_KEPT = ("presets", "training")  # as they are written: all of it may be part of keys


def experiment_text(plan: Plan, stage: Stage) -> str:
    """A file whose plan has this train stage, and the evaluations from it."""
    original = plan.experiment.document.value
    pairs = _pairs(plan, stage)
    names = _task_names(plan, stage, pairs)
    targets = list(dict.fromkeys(target for _, target in pairs))
    content: dict[str, Any] = {
        "name": original["name"],
        "store": "./store",
        "model": "./model" if plan.start_of(stage).folder else plan.experiment.models[stage.model],
        "recipes": list(dict.fromkeys(split(recipe)[1] for recipe, _ in pairs)),
        "targets": targets,
        "seeds": [stage.seed],
        "languages": _of(original.get("languages"), {*targets, "default"}),
        "data": _data(original.get("data") or {}),
    }
    content |= {key: original[key] for key in _KEPT if key in original}
    content["catalogue"] = _definitions(original.get("catalogue") or {}, names)
    sections = zip(plan.experiment.tasks, (original.get("tasks") or {}).items(), strict=True)
    content["tasks"] = {spelling: value for name, (spelling, value) in sections if name in names}
    content["keep"] = "all"  # else the encoder goes once its evaluations are finished
    sections_given = {key: value for key, value in content.items() if value or key == "seeds"}
    return yaml.safe_dump(sections_given, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def _pairs(plan: Plan, stage: Stage) -> list[tuple[str, str]]:
    """The (recipe, target) pairs that are evaluated from the stage's own encoder; of an inner one without any, the
    first whose path leads over it."""
    pairs = [
        (recipe, target) for (recipe, target, _), key in plan.paths.items() if plan.stages[key].parent == stage.key
    ]
    return list(dict.fromkeys(pairs)) or plan.users[stage.key][:1]


def _task_names(plan: Plan, stage: Stage, pairs: Iterable[tuple[str, str]]) -> set[str]:
    """What `tasks:` and `catalogue:` may say something of: the tasks and mixtures of these paths, and their targets."""
    names = {target for _, target in pairs}
    for recipe, target in pairs:
        evaluate = plan.stages[plan.paths[recipe, target, stage.seed or 0]]
        for training in scores.trainings_under(plan, evaluate):
            names.add(training.task)
            names |= {name for part in plan.steps[training.definition].parts for name in (part.task, part.head_name)}
    return names


def _definitions(section: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The user's tasks among them, and those that they are defined by; the others are nobody's business."""
    used = {name for name in section if name in names}
    for name in reversed([*section]):  # an entry can use those above it
        if name in used:
            words = re.findall(r"[\w@-]+", f"{section[name].get('like', '')} {section[name].get('training_path', '')}")
            used |= set(words) & section.keys()
    return {name: value for name, value in section.items() if name in used}


def _of(section: Any, names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in (section or {}).items() if name in names}


def _data(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: "./data" if key == "root" else value for key, value in section.items()}
