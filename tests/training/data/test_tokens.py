"""The token cache: what comes out is what encoding gives, whoever wrote it, whatever happened to it."""

import dataclasses
import json
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.at_once import at_once
from training import formats
from training.data import load as data_load
from training.data import locate, tokens, way_back
from training.data.tokens import TokenCache
from training.formats.base import Piece
from training.formats.span import Window
from training.spec import Settings
from training.tasks import find

QA = Settings(max_length=96, doc_stride=32, max_query_length=16)


def plain(value: Any) -> Any:
    """A way back as plain values, to compare."""
    if isinstance(value, Window):
        return ("window", value.first, value.spans.tolist(), value.best.tolist())
    return value


def as_tuples(pieces: Sequence[Piece]) -> list[Any]:
    return [(piece.example, piece.rows, piece.target, plain(piece.way_back)) for piece in pieces]


def training(name: str, root: Path, n: int = 30) -> list[Any]:
    return data_load.load_training(locate.find_training(find(name), root, n, n))[0]


def test_languages(name: str, root: Path, n: int = 30) -> list[Any]:
    task = find(name)
    found = locate.find_languages(task, root, None).found
    return [e for code in list(found)[:2] for e in data_load.load_language(task, code, found[code], n)]


test_languages.__test__ = False  # type: ignore[attr-defined]
EXAMPLES = {
    "sequence": ("qqp", training),
    "span": ("squad", training),
    "tagging": ("panx", training),
    "choice": ("hellaswag", training),
    "retrieval": ("tatoeba", test_languages),
    "mining": ("bucc", test_languages),
    "dual_encoder": ("lareqa", test_languages),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_what_comes_out_is_what_encoding_gives(
    name: str, shared_data: Path, xlmr_tokenizer: Any, tmp_path: Path
) -> None:
    task_name, load = EXAMPLES[name]
    task, form, examples = find(task_name), formats.get(name), load(task_name, shared_data)
    wanted = as_tuples(form.encode(examples, xlmr_tokenizer, task, QA))
    assert as_tuples(TokenCache(None).pieces(form, examples, xlmr_tokenizer, task, QA)) == wanted
    for _ in ("made", "found"):
        pieces = TokenCache(tmp_path).pieces(form, examples, xlmr_tokenizer, task, QA)
        assert as_tuples(pieces) == wanted
        assert as_tuples(pieces[1:3]) == wanted[1:3] and as_tuples([pieces[-1]]) == wanted[-1:]
    assert len(list(tmp_path.iterdir())) == 1


ids = st.lists(st.integers(0, 250_001), max_size=9).map(tuple)
spans = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.booleans()), max_size=5)
ways = {
    "nothing": st.none(),
    "number": st.integers(0, 2**31 - 1),
    "text": st.sampled_from(["english", "other", "", "frågan"]),
    "numbers": ids,
    "window": spans.map(
        lambda rows: Window(
            3,
            np.array([row[:2] for row in rows], dtype=np.int32).reshape(-1, 2),
            np.array([row[2] for row in rows], dtype=np.bool_),
        )
    ),
}


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_pieces_come_back(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(ways)))
    piece = st.builds(Piece, st.integers(0, 1000), st.lists(ids, max_size=4).map(tuple), ids, ways[kind])
    pieces = data.draw(st.lists(piece, max_size=5))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "key"
        folder.mkdir()
        tokens._write(folder, pieces, 7)
        found = tokens.read(folder)
        assert found is not None
        assert as_tuples(found) == as_tuples(pieces)


def test_ways_back_of_two_kinds_are_a_mistake() -> None:
    with pytest.raises(ValueError):
        way_back.pack([1, "one"])


# --- keys ---


@pytest.fixture
def case(xlmr_tokenizer: Any) -> Any:
    """A small list of examples and what encodes it."""
    form, task = formats.get("sequence"), find("mnli")
    rows = [{"premise": f"It rains {n}.", "hypothesis": "Wet.", "label": "neutral"} for n in range(5)]
    examples = [form.from_row(row, task, "en", n) for n, row in enumerate(rows)]
    return form, examples, xlmr_tokenizer, task, Settings()


def test_the_key_is_a_function_of_what_encoding_depends_on(case: Any, tmp_path: Path) -> None:
    form, examples, tokenizer, task, base = case
    cache = TokenCache(tmp_path)
    changed = [
        cache.key(form, examples, tokenizer, task, base),
        cache.key(form, examples[:-1], tokenizer, task, base),
        cache.key(form, [*examples[:-1], dataclasses.replace(examples[-1], second="Dry.")], tokenizer, task, base),
        cache.key(form, examples, tokenizer, task, Settings(max_length=64)),
        cache.key(form, examples, tokenizer, dataclasses.replace(task, labels=task.labels[::-1]), base),
        cache.key(formats.get("span"), examples, tokenizer, task, base),
    ]
    assert len(set(changed)) == len(changed)
    for same in (Settings(learning_rate=1.0, n_best=1), Settings(doc_stride=7)):
        assert cache.key(form, examples, tokenizer, task, same) == changed[0]
    span = formats.get("span")
    assert cache.key(span, [], tokenizer, task, base) != cache.key(span, [], tokenizer, task, Settings(doc_stride=7))


def test_another_tokenizer_has_other_entries(case: Any, tmp_path: Path, tiny_model: Path) -> None:
    from training.pretrained import tokenizer_hash

    config = json.loads((tiny_model / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    one = tokenizer_hash(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": 7}))
    assert tokenizer_hash(tmp_path) != one
    (tmp_path / "README.md").write_text("no part of it")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert tokenizer_hash(tmp_path) == one


# --- what can go wrong ---


def only_entry(folder: Path) -> Path:
    (entry,) = (path for path in folder.iterdir() if "." not in path.name)
    return entry


@pytest.mark.parametrize("damage", ["cut", "flipped", "array missing", "manifest missing", "manifest edited", "moved"])
def test_a_damaged_entry_is_put_aside_and_made_again(damage: str, case: Any, tmp_path: Path) -> None:
    wanted = as_tuples(TokenCache(tmp_path).pieces(*case))
    entry = only_entry(tmp_path)
    array, manifest = entry / "tokens.npy", entry / "manifest.json"
    if damage == "cut":
        os.truncate(array, array.stat().st_size - 4)
    elif damage == "flipped":
        content = bytearray(array.read_bytes())
        content[-1] ^= 1
        array.write_bytes(content)
    elif damage == "array missing":
        array.unlink()
    elif damage == "manifest missing":
        manifest.unlink()
    elif damage == "manifest edited":
        manifest.write_text(manifest.read_text().replace('"examples":5', '"examples":6'))
    else:  # an entry of something else under this name
        form, examples, tokenizer, task, base = case
        TokenCache(tmp_path / "other").pieces(form, examples[:2], tokenizer, task, base)
        for path in entry.iterdir():
            path.unlink()
        for path in only_entry(tmp_path / "other").iterdir():
            path.rename(entry / path.name)
    assert tokens.read(entry) is None
    assert as_tuples(TokenCache(tmp_path).pieces(*case)) == wanted
    assert tokens.read(entry) is not None
    assert len(list(tmp_path.glob("*.quarantined"))) == 1


def test_several_at_once_make_one_entry(case: Any, tmp_path: Path) -> None:
    form, examples, _, task, base = case
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads do not survive a fork
    encoded = form.encode(examples, case[2], task, base)

    def put(number: int) -> Any:
        return as_tuples(TokenCache(tmp_path)._put("key", encoded, len(examples)))

    assert at_once(4, put) == [as_tuples(encoded)] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_kill_leaves_nothing_that_is_taken_for_whole(tmp_path: Path) -> None:
    pieces = [Piece(n, ((0, n, 2),), (n % 3,)) for n in range(2000)]
    for delay in (0.0, 0.002, 0.004, 0.008, 0.016):
        child = os.fork()
        if child == 0:
            while True:
                TokenCache(tmp_path)._put(f"key{time.monotonic_ns()}", pieces, len(pieces))
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    for folder in tmp_path.iterdir():
        if "." not in folder.name:
            found = tokens.read(folder)
            assert found is not None and len(found) == len(pieces)


def test_what_a_kill_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, young = tmp_path / "a.1.tmp", tmp_path / "b.2.tmp"
    old.mkdir()
    young.mkdir()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    TokenCache(tmp_path).remove_abandoned()
    assert list(tmp_path.iterdir()) == [young]


def test_a_cache_that_cannot_be_written_costs_time_not_the_stage(
    case: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokens, "_write", full)
    assert len(TokenCache(tmp_path).pieces(*case)) == 5
    assert "No space left on device" in capsys.readouterr().err
    with pytest.raises(OSError):
        TokenCache(tmp_path / "other").prepare(*case)


def test_preparing_says_what_was_made_and_what_was_there(case: Any, tmp_path: Path) -> None:
    made, found = (TokenCache(tmp_path).prepare(*case) for _ in range(2))
    assert made == dataclasses.replace(found, made=True) and not found.made
    assert (made.examples, made.pieces) == (5, 5)
    assert made.tokens == sum(len(row) for piece in case[0].encode(*case[1:]) for row in piece.rows)
    assert made.bytes == sum(path.stat().st_size for path in made.folder.glob("*.npy"))
