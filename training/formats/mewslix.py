"""Mewsli-X's JSON lines (Ruder et al. 2021): which entity does a mention in the news mean?

Written from the data set's published description, and not tested on the published data (which must be rebuilt with its
own script): `wikipedia_pairs-{train,dev}.jsonl`, `wikinews_mentions-{dev,test}.jsonl` of all languages, and
`candidate_set_entities.jsonl`. A mention is its text, then its sentence with the mention in `{ }`; a candidate is an
entity's description, the candidate's id is the entity's.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.formats.dual_example import Example
from training.formats.rows import Row, RowError, bad_row, name_of, read_rows, text_of, whole_number
from training.spec import DataFile

_BRACES = re.compile(r"\{(.*?)\}")


def read_pairs(path: Path, language: str) -> list[Example]:
    """Training: mentions in English Wikipedia, each with its entity."""
    return list(_examples(path, lambda row: [pair_of(row, language)]))


def pair_of(row: Row, language: str) -> Example:
    """A mention and its entity. RowError where the row is malformed."""
    try:
        pair, entity = row["contextual_mention"], row["entity"]
        name = name_of(entity["entity_id"], "entity_id")
        return Example(
            id=name_of(pair["mention"]["example_id"], "example_id"),
            language=language,
            group=name,
            question=_marked(pair["context"], pair["mention"]["mention_span"]),
            sentence=_described(entity),
            candidate=name,
            right=(name,),
        )
    except RowError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise RowError(f"{type(error).__name__} {error}") from error


def read_target(files: Sequence[DataFile], language: str) -> list[Example]:
    """The mentions of one language (role "mentions"), then all entities (role "entities"); none without mentions."""
    by_role = {file.role: Path(file.path) for file in files}
    assert set(by_role) == {"mentions", "entities"}, files
    mentions = list(_examples(by_role["mentions"], lambda row: _mentions_of(row, language)))
    return [*mentions, *_examples(by_role["entities"], _entities_once())] if mentions else []


def _examples(path: Path, of_row: Callable[[Row], list[Example]]) -> Iterator[Example]:
    for _, line, row in read_rows(path, None):
        try:
            yield from of_row(row)
        except (KeyError, TypeError, ValueError) as error:  # RowError is a ValueError
            reason = str(error) if isinstance(error, RowError) else f"{type(error).__name__} {error}"
            bad_row(path, line, f"not Mewsli-X's form ({reason})")


def _mentions_of(row: Row, language: str) -> list[Example]:
    """The mentions of an article; none where it is in another language."""
    if text_of(row["context"]["language"], "the context's language") != language:
        return []
    return [
        Example(
            id=name_of(mention["example_id"], "example_id"),
            language=language,
            group=name_of(mention["entity_id"], "entity_id"),
            question=_marked(row["context"], mention["mention_span"]),
            right=(name_of(mention["entity_id"], "entity_id"),),
        )
        for mention in row["mentions"]
    ]


def _entities_once() -> Callable[[Row], list[Example]]:
    """The entity of a row. RowError where an earlier row had it."""
    names: set[str] = set()

    def of_row(row: Row) -> list[Example]:
        entity = _entity_of(row)
        if entity.id in names:
            raise RowError(f"entity {entity.id} is there twice")
        names.add(entity.id)
        return [entity]

    return of_row


def _entity_of(row: Row) -> Example:
    name = name_of(row["entity_id"], "entity_id")
    return Example(
        id=name,
        language=text_of(row["description_language"], "description_language"),
        group=name,
        sentence=_described(row),
        candidate=name,
    )


def _marked(context: Mapping[str, Any], span: Mapping[str, Any]) -> str:
    """`mention: left { mention } right`: the sentence of the mention, or the sentences that it crosses."""
    text, (start, end) = text_of(context["text"], "the context's text"), _bounds(span)
    if not text:
        raise ValueError("a context without text: it is put in by the data set's own script")
    if text[start:end] != span["text"]:
        raise ValueError(f"the mention {span['text']!r} is not at {start}")
    around = [s for s in map(_bounds, context["sentence_spans"]) if s[0] < end and s[1] > start]
    first = min((s[0] for s in around), default=0)
    last = max((s[1] for s in around), default=len(text))
    # Braces that are there already would look like the mention's.
    before, after = (
        _BRACES.sub(r"(\1)", part) for part in (text[min(first, start) : start], text[end : max(last, end)])
    )
    return " ".join(f"{span['text']}: {before} {{ {span['text']} }} {after}".split())


def _described(entity: Mapping[str, Any]) -> str:
    """The sentences of an entity's description, on one line."""
    text = text_of(entity["description"], "description")
    sentences = [text[start:end] for start, end in map(_bounds, entity["sentence_spans"])]
    description = " ".join(" ".join(sentences or [text]).split())
    if not description:
        raise ValueError(f"entity {entity['entity_id']} without a description")
    return description


def _bounds(span: Mapping[str, Any]) -> tuple[int, int]:
    start, end = (whole_number(span[name], f"a span's {name}") for name in ("start", "end"))
    if not 0 <= start <= end:
        raise RowError(f"a span from {start} to {end}")
    return start, end
