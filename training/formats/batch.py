"""Texts to tokens, by the tokenizers library itself on all cores: the Python layer above it takes as long again."""

from collections.abc import Iterator, Sequence
from typing import Any

_CHUNK = 4096  # texts: what the library says of them takes ten times the memory of their tokens


def token_ids(
    tokenizer: Any,
    texts: Sequence[str],
    seconds: Sequence[str] | None = None,
    max_length: int | None = None,
    *,
    specials: bool = False,
) -> list[list[int]]:
    """The tokens of every text, or of every pair of texts, with `<s>` and `</s>` where `max_length` is given: then the
    longer text is cut first. Without it the tokens alone, or what the tokenizer puts around a text too (`specials`)."""
    specials = specials or max_length is not None
    rows = texts if seconds is None else list(zip(texts, seconds, strict=True))
    return [encoding.ids for encoding in _encodings(tokenizer, rows, max_length, specials, offsets=False)]


def tokens_and_offsets(tokenizer: Any, texts: Sequence[str]) -> Iterator[tuple[list[int], list[tuple[int, int]]]]:
    """For every text its tokens, without specials, and the characters (start, end) that each comes from."""
    for encoding in _encodings(tokenizer, texts, None, specials=False, offsets=True):
        yield encoding.ids, encoding.offsets


def _encodings(
    tokenizer: Any, rows: Sequence[Any], max_length: int | None, specials: bool, *, offsets: bool
) -> Iterator[Any]:
    backend = tokenizer.backend_tokenizer
    encode = backend.encode_batch if offsets else backend.encode_batch_fast
    backend.no_padding()
    if max_length is None:
        backend.no_truncation()
    else:
        backend.enable_truncation(max_length, strategy="longest_first")
    for start in range(0, len(rows), _CHUNK):
        yield from encode(list(rows[start : start + _CHUNK]), add_special_tokens=specials)
