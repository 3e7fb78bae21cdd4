"""An experiment whose results are made up, with effects that studies must find: of order, of dev, of measures."""

import hashlib
from typing import Any

from launch.experiment import recipes
from launch.plan import Plan, Stage
from launch.store import Store
from tests.launch.merging import published
from tests.launch.workspace import Workspace

ORDER = {"tasks": ["mnli", "squad", "hellaswag"]}
TASKS = ["mnli", "qqp", "squad", "hellaswag", "commonsense_qa", "siqa"]
EPOCHS, STEPS = 2, 60  # of each training, and of both epochs together


def plan(workspace: Workspace, **changes: Any) -> Plan:
    """Of no data but the workspace's: tasks that it has no files of come from the Hub, which nobody asks here."""
    return workspace.plan(recipes=None, seeds=["1", "2", "3"], **changes)


def publish(of_plan: Plan, *, leave: tuple[str, ...] = (), **fields: Any) -> Store:
    """Results of all stages. On xnli what is trained last adds most, and each task its own; of that, after training on
    prompted text, 4 points less; `leave`: languages that are not evaluated; `fields`: of every training's result."""
    store = Store(of_plan.experiment.store)
    recipe_of = {key: recipes.expand(recipe)[0] for (recipe, _, _), key in of_plan.paths.items()}
    for stage in of_plan.stages.values():
        if stage.kind == "train":
            published.publish_training(store, stage, **(_training(of_plan, stage) | fields))
            continue
        recipe = recipe_of[stage.key]
        gain = sum(_worth(task) for step in recipe for task in step) / 3 + (3 * _worth(recipe[-1][0]) if recipe else 0)
        for language in of_plan.by_digest[stage.definition].languages:
            if language not in leave:
                score = 50 + gain + _chance(f"{stage.seed} {recipe[:1]}") + _chance(f"{stage.key} {language}")
                scores = {"accuracy": score, "accuracy_reverse": score} if stage.task == "tatoeba" else None
                if stage.task.startswith("xnli_"):
                    score -= 4 * (stage.task.startswith("xnli_both") and bool(recipe))
                    beside = {"accuracy_best": score + 2, "accuracy_worst": score - 1, "majority": 35.0, "chance": 33.0}
                    scores = {"accuracy": score} | beside
                layers = {"mean/accuracy": [score, score - 1]} if stage.task == "alignment_legal" else None
                published.publish_language(
                    of_plan, store, stage, language, scores=scores or {"accuracy": score}, layers=layers
                )
    published.settle(store.root)
    return store


def _training(of_plan: Plan, stage: Stage) -> dict[str, Any]:
    """Dev in the middle of an epoch and at the ends of both, of which the first is selected."""
    tasks = stage.task.split(" + ")
    path = list(of_plan.chain(stage.key))[1:]
    earlier_tasks = list(dict.fromkeys(task for training in path for task in training.task.split(" + ")))
    return {
        "steps": STEPS,
        "dev_scores": [60.0, 55.0],
        "selected_epoch": 0,
        "dev_points": [
            point for progress, value in ((0.25, 50.0), (0.5, 60.0), (0.75, 58.0), (1.0, 55.0))
            for point in (dev(task, progress, value + 2 * _worth(task) + _chance(stage.key)) for task in tasks)
        ],
        "earlier_dev": [dev(task, 1.0, 57.0 - len(path)) for task in earlier_tasks if task not in tasks],
        "measures": [] if path else [
            {"task": task, "measures": {"examples": 1000.0, "probe_loss": 1 - _worth(task) / 10}} for task in tasks
        ],
    }  # fmt: skip


def dev(task: str, progress: float, value: float) -> dict[str, Any]:
    """A record of English dev."""
    metrics = {"f1": value, "exact_match": value - 5} if task == "squad" else {"accuracy": value}
    return {"task": task, "head": task, "step": int(STEPS * progress), "progress": progress,
            "metrics": metrics | {"loss": 1 - value / 100}}  # fmt: skip


def _worth(task: str) -> float:
    return float(TASKS.index(task.removesuffix("_prompt")))


def _chance(text: str) -> float:
    """Up to ±0.3, of a text."""
    return (hashlib.sha256(text.encode()).digest()[0] / 255 - 0.5) * 0.6
