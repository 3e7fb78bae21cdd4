"""`make bench-tokenise`: encoding by the formats against the tokenizers library's own `encode_batch`, on all cores.

The library gets the same texts: pairs, sentences as lists of words, as its users give them; of questions with contexts
and of words also each different one once, as our formats do. Needs ../shared/data beside the repository.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.paths import SHARED_DATA
from training import formats
from training.data.tokens import TokenCache
from training.formats.base import Piece
from training.pretrained import load_tokenizer, small
from training.spec import Settings
from training.tasks import find

_RUNS = 5
_DATA = {
    "mnli": "xnli/dev-en.tsv.gz",
    "squad": "squad_v1/train.json.gz",
    "panx": "panx/train-en.tsv.gz",
    "copa": "xcopa/en/train.en.jsonl.gz",
}


def main() -> None:
    """Prints a line per data set: sizes, seconds of both (the best of some runs) and their ratio, the cache's."""
    with tempfile.TemporaryDirectory() as name:
        tokenizer = load_tokenizer(small.tiny(Path(name) / "model"))
        for task, file in _DATA.items():
            _measure(task, SHARED_DATA / file, tokenizer, Path(name) / "cache" / task)


def _measure(name: str, path: Path, tokenizer: Any, cache: Path) -> None:
    task = find(name)
    form = formats.get(task.format)
    settings = Settings(**task.target or task.intermediate)
    examples = form.read(path, task, "en")
    pieces: list[Piece] = form.encode(examples, tokenizer, task, settings)
    tokens = sum(len(row) for piece in pieces for row in piece.rows)
    print(f"{task.format:9} {len(examples):6,} examples {tokens:10,} tokens", end="")
    encode = partial(form.encode, examples, tokenizer, task, settings)
    for what, texts, options in _texts(task.format, examples):
        ours, theirs = _best(encode, partial(_plainly, tokenizer.backend_tokenizer, texts, options))
        print(f"  {what}: {ours:.2f} s / {theirs:.2f} s = {ours / theirs:.2f}", end="")
    case = (form, examples, tokenizer, task, settings)
    written = _seconds(lambda: TokenCache(cache)._put("key", pieces, len(examples)))
    key = _seconds(lambda: TokenCache(cache).key(*case))
    print(f"  cache: {key:.2f} s for the key, {written:.2f} s to write")


def _texts(form: str, examples: list[Any]) -> list[tuple[str, list[Any], dict[str, Any]]]:
    """What the library is given: a name for it, the texts, options of `encode_batch`."""
    if form == "sequence":
        return [("pairs", [(e.first, e.second) for e in examples], {})]
    if form == "choice":
        return [("pairs", [(e.first, second) for e in examples for second in e.seconds], {})]
    if form == "span":
        contexts = list(dict.fromkeys(e.context for e in examples))
        return [
            ("questions with contexts", [(e.question, e.context) for e in examples], {}),
            ("each once", [*contexts, *(e.question for e in examples)], {}),
        ]
    words = list(dict.fromkeys(word for e in examples for word in e.words))
    return [
        ("sentences", [list(e.words) for e in examples], {"is_pretokenized": True}),
        ("different words", words, {}),
    ]


def _plainly(backend: Any, texts: list[Any], options: dict[str, Any]) -> None:
    backend.no_truncation()
    backend.encode_batch(texts, **options)


def _best(*works: Callable[[], Any]) -> list[float]:
    """The fewest seconds of each, in turns, so that a busy moment of the machine hits all."""
    seconds = [[_seconds(work) for work in works] for _ in range(_RUNS)]
    return [min(column) for column in zip(*seconds, strict=True)]


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
