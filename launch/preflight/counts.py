"""Whether local data have as many rows as were published, and as many in every language where these are parallel."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from launch.plan import Plan, TargetDefinition
from launch.text import some
from slurm.base import UserError
from training.data.locate import ENGLISH
from training.data.splits import NAME as SPLITS
from training.data.splits import read_splits
from training.spec import DataFile, Split
from training.tasks import catalogue

_LISTED = 8
Rows = Mapping[Split, int]


def check_language(plan: Plan, target: TargetDefinition, language: str, rows: Rows) -> None:
    """UserError where a language's test is not a whole one: what is missing there would be right or wrong elsewhere.

    A trial (`max_eval`), and files that a splits.yaml names, are what somebody chose: `lines` says what they are.
    """
    task, split = target.task, target.languages[language]
    size = task.test_size(language)
    if (
        task.parallel
        and not task.added
        and not _is_chosen(plan, task.name)
        and target.max_eval is None
        and _is_local(split)
        and size is not None
        and rows[split] != size
    ):
        raise UserError(
            f"{_files(split)}: {rows[split]:,} rows, but the published test of {task.name} has {size:,} in every"
            f" language: it is not whole, or another. Fetch it again; if you mean it, name it in {_splits_file(plan)}."
        )


def lines(plan: Plan, rows: Rows) -> Iterator[str]:
    """What is to be said about numbers of rows, a line per task and split."""
    for part in {part.task: part for step in plan.steps.values() for part in step.parts}.values():
        task = catalogue.find(part.task)
        cells = []
        for name, split, splits in (("train", part.train, task.hub.train), ("dev", part.dev, task.hub.dev)):
            size = task.published_size(splits, ENGLISH)
            if _is_local(split) and split in rows and size not in (None, rows[split]):
                cells.append(f"{name} {rows[split]:,} of {size:,} published rows")
        if cells:
            yield f"{task.name}: {', '.join(cells)}{_who(plan, task.name)}"
    for target in plan.targets.values():
        yield from _lines_of_target(plan, target, rows)
    yield from _trial(plan)


def _lines_of_target(plan: Plan, target: TargetDefinition, rows: Rows) -> Iterator[str]:
    task = target.task
    counts = {code: rows[split] for code, split in target.languages.items() if _is_local(split) and split in rows}
    sizes = {code: task.test_size(code) for code in counts}
    cells = [f"{code} {counts[code]:,} of {size:,}" for code, size in sizes.items() if size not in (None, counts[code])]
    if cells:
        yield f"{task.name}: test rows, of those published: {some(cells, _LISTED)}{_who(plan, task.name)}"
    if task.parallel and len(set(counts.values())) > 1:
        cells = [f"{code} {count:,}" for code, count in counts.items()]
        yield f"{task.name}: its languages should say the same, row by row, but have {some(cells, _LISTED)} rows"


def _trial(plan: Plan) -> Iterator[str]:
    limits = {"max_train": plan.experiment.max_train, "max_eval": plan.experiment.max_eval}
    texts = [f"{name} {limit:,}" for name, limit in limits.items() if limit is not None]
    if texts:
        yield f"a trial ({', '.join(texts)}): only the first of each list of examples are used"


def _is_local(split: Split) -> bool:
    return bool(split) and all(isinstance(part, DataFile) for part in split)


def _is_chosen(plan: Plan, task: str) -> bool:
    """Whether a splits.yaml says which files are the task's."""
    root = plan.experiment.data_root
    return root is not None and task in read_splits(root)


def _who(plan: Plan, task: str) -> str:
    return f"; {SPLITS} chose the files" if _is_chosen(plan, task) else ""


def _splits_file(plan: Plan) -> Path:
    return (plan.experiment.data_root or Path()) / SPLITS


def _files(split: Split) -> str:
    return " + ".join(part.path for part in split if isinstance(part, DataFile) and not part.role.startswith("pool:"))
