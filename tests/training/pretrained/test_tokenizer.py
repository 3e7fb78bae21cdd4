"""The tokenizer is loaded where a text is encoded, once in a process, and nowhere else."""

from pathlib import Path
from typing import Any

import pytest

from slurm.base import UserError
from training import formats
from training.data.tokens import TokenCache, tokenizer_of
from training.pretrained import tokenizer as tokenizers
from training.pretrained.tokenizer import Tokenizer
from training.spec import Settings
from training.tasks import find


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that tokenizers were loaded from, in a process that has none yet."""
    folders: list[Path] = []
    load = tokenizers.load_tokenizer
    monkeypatch.setattr(tokenizers, "_newest", ("", None))
    monkeypatch.setattr(tokenizers, "load_tokenizer", lambda folder: (folders.append(folder), load(folder))[1])
    return folders


@pytest.mark.slow
def test_with_tokens_and_facts_in_the_cache_it_is_never_loaded(
    tiny_model: Path, tmp_path: Path, loaded: list[Path]
) -> None:
    form, task = formats.get("sequence"), find("mnli")
    row = {"premise": "It rains.", "hypothesis": "Wet.", "label": "neutral"}
    examples = [form.from_row(row, task, "en", 0)]

    def asked() -> tuple[Any, ...]:
        cache = TokenCache(tmp_path)
        tokenizer = cache.tokenizer(tiny_model)
        pieces = cache.pieces(form, examples, tokenizer, task, Settings())
        return len(tokenizer), tokenizer.all_special_ids, tokenizer.mask_token_id, pieces[0].rows

    first = asked()
    assert loaded == [tiny_model]
    del loaded[:]
    tokenizers._newest = ("", None)
    assert asked() == first and loaded == []
    whole = tokenizers.load_tokenizer(tiny_model)
    assert first[:3] == (len(whole), whole.all_special_ids, whole.mask_token_id)


@pytest.mark.slow
def test_a_tokenizer_that_was_replaced_since_the_model_was_read_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """A job keeps models in memory from stage to stage; their folder is anybody's meanwhile."""
    for path in tiny_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    known_hash = Tokenizer(tmp_path).hash
    assert tokenizer_of(tmp_path, known_hash).hash == known_hash
    content = (tmp_path / "tokenizer.json").read_text(encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(content + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="the tokenizer is another than when the model was read"):
        tokenizer_of(tmp_path, known_hash)


@pytest.mark.slow
def test_a_copy_of_the_same_files_is_not_loaded_again(tiny_model: Path, tmp_path: Path, loaded: list[Path]) -> None:
    for path in tiny_model.iterdir():
        (tmp_path / path.name).hardlink_to(path)
    ids = [Tokenizer(folder).convert_tokens_to_ids("▁") for folder in (tiny_model, tmp_path)]
    assert ids[0] == ids[1] and loaded == [tiny_model]


@pytest.mark.slow
def test_facts_of_other_packages_are_not_believed(
    tiny_model: Path, tmp_path: Path, loaded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = Tokenizer(tiny_model, tmp_path / "facts.json").facts
    monkeypatch.setattr(tokenizers, "packages", lambda: ["0", "0"])
    tokenizers._newest = ("", None)
    assert Tokenizer(tiny_model, tmp_path / "facts.json").facts == facts
    assert loaded == [tiny_model] * 2
