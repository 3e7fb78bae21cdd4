"""Data sets on the Hub, without a network: read from the local cache of `datasets` by their commit, and counted."""

import os
from pathlib import Path
from typing import Any

import pytest

from slurm.base import UserError
from training import formats
from training.data import hub
from training.spec import HubPart
from training.tasks import find

ONE, OTHER = "1" * 40, "2" * 40
ROWS = [(f"It rains {n}.", "Wet.", n % 3) for n in range(6)]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def fetched(
    cache: Path, revision: str, rows: list[Any], repo: str = "nyu-mll/glue", config: str | None = "mnli"
) -> None:
    """Put a split where `datasets` puts it after a download: by its own builder, from a local Parquet file."""
    from datasets import ClassLabel, Dataset, Features, Value
    from datasets.packaged_modules.parquet.parquet import Parquet

    labels = ClassLabel(names=["entailment", "neutral", "contradiction"])
    features = Features({"premise": Value("string"), "hypothesis": Value("string"), "label": labels})
    table = Dataset.from_list([dict(zip(features, row, strict=True)) for row in rows], features=features)
    parquet = cache.parent / f"{revision[:4]}.parquet"
    table.to_parquet(parquet)
    name = repo.partition("/")[2]
    builder = Parquet(
        cache_dir=str(cache),
        dataset_name=name,
        config_name=config or "default",
        hash=revision,
        config_id=config or "default",
        data_files={"train": [str(parquet)]},
    )
    builder.repo_id = repo  # only now: a repository's files are checked to lie on the Hub
    builder._cache_dir = builder._output_dir = builder._build_cache_dir()
    builder.download_and_prepare()


def part(revision: str, split: str = "train", repo: str = "nyu-mll/glue", config: str | None = "mnli") -> HubPart:
    return HubPart(repo, revision, config, split)


def task(**sizes: int) -> Any:
    from dataclasses import replace

    return replace(find("mnli"), sizes=sizes)


def test_what_is_cached_is_read_by_its_commit_and_by_names_of_labels(cache: Path) -> None:
    """Not the newest revision that is cached, as `datasets` would without a network."""
    fetched(cache, ONE, ROWS)
    fetched(cache, OTHER, ROWS[:2])
    found = hub.examples(part(ONE), formats.get("sequence"), task(train=6), "en")
    assert [example.label for example in found] == ["entailment", "neutral", "contradiction"] * 2
    assert len(hub.examples(part(OTHER), formats.get("sequence"), task(), "en")) == 2


def test_a_split_of_several_shards_is_one(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.MAX_SHARD_SIZE", 100)
    monkeypatch.setattr("datasets.config.DEFAULT_MAX_BATCH_SIZE", 2)
    fetched(cache, ONE, ROWS)
    (info,) = cache.glob(f"*/*/*/{ONE}")
    files = sorted(path.name for path in info.glob("*.arrow"))
    found = hub.examples(part(ONE), formats.get("sequence"), task(), "en")
    assert [example.first for example in found] == [row[0] for row in ROWS], files
    if len(files) > 1:
        (info / files[0]).unlink()
        assert not hub.is_cached(part(ONE))


@pytest.mark.parametrize(("repo", "config"), [("Rowan/HellaSwag", None), ("a/b_c-d", "xx.yy")])
def test_a_repository_is_found_however_its_name_is_written(repo: str, config: str | None, cache: Path) -> None:
    fetched(cache, ONE, ROWS, repo, config)
    assert hub.is_cached(part(ONE, repo=repo, config=config))
    assert not hub.is_cached(part(OTHER, repo=repo, config=config))
    assert not hub.is_cached(part(ONE, "test", repo, config))
    assert not hub.is_cached(part(ONE, repo="other/repo", config=config))


def test_what_is_not_cached_is_refused_without_a_network_in_one_line(cache: Path) -> None:
    with pytest.raises(UserError, match=r"^nyu-mll/glue@111111111111 mnli train: .* `stepstone prepare FILE`"):
        hub.examples(part(ONE), formats.get("sequence"), task(), "en")


@pytest.mark.parametrize("known", [{"train": 7}, {"mnli/train": 7, "train": 6}])
def test_another_number_of_rows_than_published_is_an_error_with_both(known: dict[str, int], cache: Path) -> None:
    fetched(cache, ONE, ROWS)
    with pytest.raises(UserError, match=r"mnli train: 6 rows, but the published data has 7"):
        hub.examples(part(ONE), formats.get("sequence"), task(**known), "en")


def test_the_most_specific_size_counts(cache: Path) -> None:
    fetched(cache, ONE, ROWS)
    assert hub.examples(part(ONE), formats.get("sequence"), task(**{"mnli/train": 6, "train": 7}), "en")


def test_hf_home_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    assert "HF_DATASETS_CACHE" not in os.environ
    fetched(tmp_path / "home" / "datasets", ONE, ROWS)
    assert hub.is_cached(part(ONE))


def test_sizes_name_splits_that_the_entries_use() -> None:
    """A split that is misspelt here would never be counted."""
    from training.tasks.catalogue import TASKS

    for entry in TASKS.values():
        used = {*entry.hub.train, *entry.hub.dev, *entry.hub.test, "train", "validation", "test"}
        assert {key.rpartition("/")[2] for key in entry.sizes} <= used, entry.name
    assert find("panx").sizes["yo/test"] == 100 and find("panx").sizes["de/test"] == 10000
    assert find("tatoeba").sizes["tatoeba.jav/validation"] == 205
