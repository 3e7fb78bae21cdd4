"""Format mining: BUCC's files, trials, and where splits.yaml says they are."""

import gzip
from pathlib import Path

import pytest

from slurm.base import UserError
from training import formats
from training.data import load, locate
from training.formats.mining import gold_pairs
from training.formats.rows import skipping
from training.spec import DataFile, Settings
from training.tasks import find

BUCC, MINING = find("bucc"), formats.get("mining")
SENTENCES = {
    "zh": "zh-1\t你好。\nzh-2\t再见。\nzh-3\t辽宁。\n",
    "en": "en-1\tHello.\nen-2\tLiaoning.\nen-3\tGoodbye.\n",
    "gold": "zh-1\ten-1\nzh-2\ten-3\n",
}


def write(root: Path, split: str, **changes: str | None) -> Path:
    """XTREME's files of one split; a None leaves one out."""
    (root / "bucc2018").mkdir(exist_ok=True)
    for name, content in {**SENTENCES, **changes}.items():
        if content is not None:
            (root / "bucc2018" / f"zh-en.{split}.{name}").write_text(content)
    return root


def roles(root: Path) -> list[str]:
    split = locate.find_languages(BUCC, root, None).found["zh"]
    return [part.role for part in split if isinstance(part, DataFile)]


def test_dev_and_test_are_read_with_their_gold(tmp_path: Path) -> None:
    write(write(tmp_path, "dev"), "test", gold=None)
    assert roles(tmp_path) == ["dev-source", "dev-target", "dev-gold", "test-source", "test-target"]
    found = locate.find_languages(BUCC, tmp_path, None)
    assert found.missing == ("de", "fr", "ru")
    examples = load.load_language(BUCC, "zh", found.found["zh"], None)
    assert [e.id for e in examples][:4] == ["dev:zh-1", "dev:zh-2", "dev:zh-3", "dev:en-1"]
    dev, test = ([e for e in examples if e.split == split] for split in ("dev", "test"))
    assert gold_pairs(dev) == {("zh-1", "en-1"), ("zh-2", "en-3")}
    assert gold_pairs(test) is None
    assert (test[3].side, test[3].name, test[3].text, test[3].language) == ("target", "en-1", "Hello.", "zh")


def test_test_alone_serves_too(tmp_path: Path) -> None:
    assert roles(write(tmp_path, "test")) == ["test-source", "test-target", "test-gold"]


def test_splits_yaml_gives_the_roles(tmp_path: Path) -> None:
    write(tmp_path, "dev")
    entry = '{source: "bucc2018/{lang}-en.dev.{lang}", target: "bucc2018/{lang}-en.dev.en"}'
    (tmp_path / "splits.yaml").write_text(f"bucc: {{dev: {entry}}}\n")
    assert roles(tmp_path) == ["dev-source", "dev-target"]
    (tmp_path / "splits.yaml").write_text("bucc: {dev: ['bucc2018/{lang}-en.dev.{lang}']}\n")
    with pytest.raises(UserError, match=r"bucc: dev takes \{source: FILE, target: FILE, gold: FILE\} or"):
        roles(tmp_path)


def test_half_a_split_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "dev", en=None)
    with pytest.raises(UserError, match=r"zh-en\.dev\.en: no such file"):
        locate.find_languages(BUCC, tmp_path, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zh": "zh-1\t你好。\nzh-2\n"}, r"zh-en\.dev\.zh:2: not id<TAB>sentence"),
        ({"en": "en-1\tHello.\nen-1\tBye.\nen-3\tBye.\n"}, r"zh-en\.dev\.en:2: id en-1 is there twice"),
        ({"gold": "zh-1\ten-1\nzh-9\ten-3\n"}, r"zh-en\.dev\.gold:2: no sentence has the id zh-9"),
        ({"gold": "zh-1\n"}, r"zh-en\.dev\.gold:1: not source id<TAB>target id"),
    ],
)
def test_malformed_lines_are_refused_or_skipped(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    write(tmp_path, "dev", **changes)
    split = locate.find_languages(BUCC, tmp_path, None).found["zh"]
    with pytest.raises(UserError, match=message):
        load.load_language(BUCC, "zh", split, None)
    with skipping() as skipped:
        assert MINING.read_split(split, BUCC, "zh")
    assert skipped


def test_a_trial_has_the_first_pairs_and_four_times_as_many_others(shared_data: Path) -> None:
    split = locate.find_languages(BUCC, shared_data, ["zh"]).found["zh"]
    whole = load.load_language(BUCC, "zh", split, None)
    assert (len(whole), len(gold_pairs(whole) or ())) == (8624 + 13589, 257)
    few = load.load_language(BUCC, "zh", split, 10)
    pairs = gold_pairs(few) or set()
    assert len(pairs) == 10 and pairs <= (gold_pairs(whole) or set())
    assert [sum(e.side == side for e in few) for side in ("source", "target")] == [50, 50]
    names = {e.name for e in few}
    assert all(name in names for pair in pairs for name in pair)


def test_a_sentence_is_one_row(xlmr_tokenizer: object, tmp_path: Path) -> None:
    write(tmp_path, "dev")
    (tmp_path / "bucc2018" / "zh-en.dev.en").unlink()
    (tmp_path / "bucc2018" / "zh-en.dev.en.gz").write_bytes(gzip.compress(SENTENCES["en"].encode()))
    split = locate.find_languages(BUCC, tmp_path, None).found["zh"]
    examples = load.load_language(BUCC, "zh", split, None)
    pieces = MINING.encode(examples, xlmr_tokenizer, BUCC, Settings(max_length=5))
    assert [piece.example for piece in pieces] == list(range(6))
    assert all(len(piece.rows) == 1 and len(piece.rows[0]) <= 5 for piece in pieces)
