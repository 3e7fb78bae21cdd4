"""Data sets on the Hugging Face Hub: one split at one commit, row by row. `datasets` is imported when needed."""

from collections.abc import Iterator, Mapping
from typing import Any

from slurm.errors import UserError
from training.formats.base import Example, Format
from training.formats.rows import RowError
from training.spec import HubPart
from training.task import Task


def examples(part: HubPart, form: Format[Any], task: Task, language: str) -> list[Example]:
    """The examples of one split. One-line UserError where it cannot be had or is not what the catalogue says."""
    found = []
    for position, row in enumerate(named_rows(_dataset(part))):
        try:
            found.append(form.from_row(row, task, language, position))
        except RowError as error:
            raise UserError(
                f"{_name(part)}: row {position}: {error}. The catalogue's entry of {task.name} does not fit."
            ) from error
    return [example for example in found if example is not None]


def named_rows(dataset: Any) -> Iterator[Mapping[str, Any]]:
    """The rows of a `datasets.Dataset`, class numbers replaced by the names that the data set itself gives them."""
    names = {column: _class_names(feature) for column, feature in dataset.features.items()}
    named = {column: values for column, values in names.items() if values}
    for row in dataset:
        yield {**row, **{column: _name_of(row[column], values) for column, values in named.items()}}


def _class_names(feature: Any) -> list[str]:
    """Those of a class label, or of a list of them."""
    inner = getattr(feature, "feature", feature)
    return list(getattr(inner, "names", None) or [])


def _name_of(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_name_of(item, names) for item in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else str(value)


def _dataset(part: HubPart) -> Any:
    from datasets import load_dataset

    try:
        return load_dataset(part.repo, part.config, revision=part.revision, split=part.split)
    except Exception as error:  # the library raises what its dozen layers raise; none of it is ours to trace
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{_name(part)}: cannot be loaded: {reason} Without a network: fetch it where there is one"
            " (same HF_HOME), or give data.root."
        ) from error


def _name(part: HubPart) -> str:
    return f"{part.repo}@{part.revision[:12]} {part.config or ''} {part.split}"
