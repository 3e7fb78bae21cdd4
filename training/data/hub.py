"""Data sets on the Hugging Face Hub: one split at one commit, row by row. `datasets` is imported when needed."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from slurm.base import UserError
from slurm.base.files import read_json
from training.formats.answers import judge
from training.formats.base import Example, Format
from training.formats.report import reporting
from training.formats.rows import RowError, skips
from training.hub_client import Repository, errors_in_one_line, fetch_file, set_up_client
from training.spec import HubPart
from training.tasks import Task


def examples(part: HubPart, form: Format[Any], task: Task, language: str) -> list[Example]:
    """The examples of one split. One-line UserError where it cannot be had or is not what the catalogue says."""
    examples_or_none = []
    dataset = _dataset(part)
    check_size(part, len(dataset), task)
    with reporting() as report:
        for position, row in enumerate(named_rows(dataset)):
            try:
                examples_or_none.append(form.from_row(row, task, language, position))
            except RowError as error:
                where = f"{name_of(part)}: row {position}: {error}"
                if not skips(where):
                    raise UserError(f"{where}. The catalogue's entry of {task.name} does not fit.") from error
    judge(name_of(part), report)
    return [example for example in examples_or_none if example is not None]


def named_rows(dataset: Any) -> Iterator[Mapping[str, Any]]:
    """The rows of a `datasets.Dataset`, class numbers replaced by the names that the data set itself gives them."""
    names = {column: _class_names(feature) for column, feature in dataset.features.items()}
    named_columns = {column: values for column, values in names.items() if values}
    for row in dataset:
        yield {**row, **{column: _name_of(row[column], values) for column, values in named_columns.items()}}


def _class_names(feature: Any) -> list[str]:
    """Those of a class label, or of a list of them."""
    inner = getattr(feature, "feature", feature)
    return list(getattr(inner, "names", None) or [])


def _name_of(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_name_of(item, names) for item in value]
    if not isinstance(value, int):
        return value  # null, which readers refuse
    return names[value] if 0 <= value < len(names) else str(value)


def is_cached(part: HubPart) -> bool:
    """Whether the split lies, whole and at its revision, in the local cache of `datasets`. Needs no network."""
    return _cached_files(part) is not None


def fetch(part: HubPart) -> None:
    """See that the split is in the local cache, built from files that are what the Hub calls them.

    UserError of one line where it cannot be had. `datasets` builds all splits of a configuration at once.
    """
    if is_cached(part):
        return
    repository = Repository("dataset", part.repo, part.revision)
    with errors_in_one_line(repository, name_of(part)):
        _build(part, repository)
        if not is_cached(part):
            raise UserError(f"there is no split {part.split} in {_cache()} after fetching: give data.root")


def _build(part: HubPart, repository: Repository) -> None:
    """The configuration's splits as Arrow files in the cache, where nothing else is asked of the Hub any more."""
    import datasets
    from huggingface_hub.errors import RemoteEntryNotFoundError

    set_up_client()
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    with suppress(RemoteEntryNotFoundError):
        fetch_file(repository, "README.md")  # first, for the client's own words on access and commit
    builder = datasets.load_dataset_builder(part.repo, part.config, revision=part.revision)
    if builder.hash != part.revision:  # without a network it takes the newest one that it has
        raise UserError(f"the Hub cannot be asked, and what is cached is another commit ({builder.hash})")
    for url in (url for urls in builder.config.data_files.values() for url in urls):
        _, at_commit, path = url.partition(f"@{part.revision}/")
        if not at_commit:
            raise UserError(f"it reads {url}, which is not in the repository at its commit: give data.root")
        fetch_file(repository, path)
    builder.download_and_prepare()


def _dataset(part: HubPart) -> Any:
    """The split at its very revision. Without a network `datasets` itself takes the newest revision that it has cached,
    whatever is asked for: so what is cached is opened here, by its commit."""
    from datasets import Dataset, concatenate_datasets

    fetch(part)
    return concatenate_datasets([Dataset.from_file(str(path)) for path in _cached_files(part) or ()])


def _cache() -> Path:
    return Path(os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets").expanduser()


def _cached_files(part: HubPart) -> list[Path] | None:
    """The split's Arrow files, in `<namespace>___<name>/<config>/<version>/<commit>/`; None where one is missing."""
    for folder in sorted(_cache().glob(f"*___*/{part.config or 'default'}/*/{part.revision}")):
        if _plain(folder.parts[-4].replace("___", "/", 1)) == _plain(part.repo):
            return _files_of_split(folder, part.split)
    return None


def _plain(repo: str) -> str:
    """A repository's name as `datasets` writes it and as it is, made equal: it puts `_` before capitals."""
    return repo.replace("_", "").lower()


def _files_of_split(folder: Path, split: str) -> list[Path] | None:
    info = read_json(folder / "dataset_info.json") or {}
    description = (info.get("splits") or {}).get(split)
    if description is None:
        return None
    count = len(description.get("shard_lengths") or [None])
    ending = f"-{split}.arrow" if count == 1 else f"-{split}-*-of-{count:05d}.arrow"
    files = sorted(folder.glob(f"*{ending}"))
    return files if len(files) == count else None


def check_size(part: HubPart, rows: int, task: Task) -> None:
    """UserError unless the split has as many rows as were published, where the catalogue knows how many."""
    published_rows = task.sizes.get(f"{part.config}/{part.split}", task.sizes.get(part.split))
    if published_rows is not None and rows != published_rows:
        raise UserError(
            f"{name_of(part)}: {rows} rows, but the published data has {published_rows}: it is another data set, or not"
            " whole. Delete it from the cache and run `stepstone prepare FILE` again, or give data.root."
        )


def name_of(part: HubPart) -> str:
    """For messages."""
    return " ".join(word for word in (f"{part.repo}@{part.revision[:12]}", part.config, part.split) if word)
