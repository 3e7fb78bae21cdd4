"""Every data set of the catalogue, and a model, in miniature, laid out as the real repositories are.

Of data: a README whose head names a Parquet file per configuration and split, and the columns with their types. What of
it was seen in public code at the pinned commit, and what is recalled, is said where it stands.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors.numpy import save

from tests.hub.server import Repository
from training.data import locate
from training.spec import HubPart
from training.tasks import Task, examples
from training.tasks.catalogue import TASKS
from training.tasks.presets import XTREME

COMMIT_OF_USERS = "5" * 40  # of repositories that the catalogue does not pin
_NLI = ("entailment", "neutral", "contradiction")
_NER = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
_UPOS = ("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT")
_UPOS += ("SCONJ", "SYM", "VERB", "X")


@dataclass(frozen=True)
class Classes:
    """A column of class numbers; `listed`: a list of them in every row."""

    names: tuple[str, ...]
    listed: bool = False


@dataclass(frozen=True)
class Layout:
    """`file`: where a split lies. `classes`: the columns that hold class numbers. `row`: one of its rows, with names in
    their place."""

    row: Mapping[str, Any]
    classes: Mapping[str, Classes]
    file: str = "{config}/{split}-00000-of-00001.parquet"


_PAIR = {"premise": examples.NLI["premise"], "hypothesis": examples.NLI["hypothesis"]}
_SQUAD = {"id": "english-1", "title": "Nes"} | {
    name: examples.SQUAD[name] for name in ("context", "question", "answers")
}
_WORDS = list(examples.NER["tokens"])
_COPA = {name: examples.COPA[name] for name in ("premise", "choice1", "choice2", "question")}
_IN_DATA = "data/{split}-00000-of-00001.parquet"
# Files seen at the pinned commit in several public repositories: GLUE (mnli), SNLI, PAWS-X, SQuAD 2.0, WikiANN,
# HellaSwag, CommonsenseQA, SuperGLUE (another configuration than copa). Seen on `main`: ANLI, XNLI, TyDiQA, MLQA of
# google/xtreme. Recalled: SQuAD, XQuAD, XCOPA, Social IQa (known to be Parquet), Cosmos QA, the rest of google/xtreme.
LAYOUTS = {
    "nyu-mll/glue mnli": Layout(_PAIR | {"label": "neutral", "idx": 0}, {"label": Classes(_NLI)}),
    "nyu-mll/glue qqp": Layout(
        {"question1": "Why?", "question2": "For what reason?", "label": "duplicate", "idx": 0},
        {"label": Classes(("not_duplicate", "duplicate"))},
    ),
    "stanfordnlp/snli": Layout(_PAIR | {"label": "neutral"}, {"label": Classes(_NLI)}),
    "facebook/anli": Layout({"uid": "a-1"} | _PAIR | {"label": "neutral", "reason": ""}, {"label": Classes(_NLI)}),
    "facebook/xnli": Layout(_PAIR | {"label": "neutral"}, {"label": Classes(_NLI)}),
    "google-research-datasets/paws-x": Layout(
        {"id": 1} | {name: examples.PAWSX[name] for name in ("sentence1", "sentence2")} | {"label": "1"},
        {"label": Classes(("0", "1"))},
    ),
    "rajpurkar/squad": Layout(_SQUAD, {}),
    "rajpurkar/squad_v2": Layout(_SQUAD, {}),
    "google/xquad": Layout({name: value for name, value in _SQUAD.items() if name != "title"}, {}),
    "google-research-datasets/tydiqa": Layout(_SQUAD, {}),
    "unimelb-nlp/wikiann": Layout(
        {
            "tokens": _WORDS,
            "ner_tags": list(examples.NER["ner_tags"]),
            "langs": ["en"] * 6,
            "spans": ["PER: Anna Berg"],
        },
        {"ner_tags": Classes(_NER, listed=True)},
    ),
    "Rowan/hellaswag": Layout(
        dict(examples.HELLASWAG) | {"endings": list(examples.HELLASWAG["endings"]), "activity_label": "Tea"},
        {},
        _IN_DATA,
    ),
    "tau/commonsense_qa": Layout(dict(examples.COMMONSENSE_QA) | {"question_concept": "milk"}, {}, _IN_DATA),
    "lighteval/siqa": Layout(examples.SIQA, {}, _IN_DATA),
    "Samsoup/cosmos_qa": Layout(examples.COSMOS_QA | {"label": 0}, {}, _IN_DATA),
    "aps/super_glue": Layout(_COPA | {"idx": 0, "label": "choice1"}, {"label": Classes(("choice1", "choice2"))}),
    "cambridgeltl/xcopa": Layout(_COPA | {"label": 0, "idx": 0, "changed": False}, {}),
    f"{XTREME} MLQA": Layout(_SQUAD, {}),
    f"{XTREME} tatoeba": Layout(dict(examples.TRANSLATION) | {"source_lang": "deu", "target_lang": "eng"}, {}),
    f"{XTREME} udpos": Layout(
        {"tokens": _WORDS, "pos_tags": list(examples.POS["pos_tags"])}, {"pos_tags": Classes(_UPOS, listed=True)}
    ),
}


def model_files() -> dict[str, bytes]:
    """The files of an XLM-R without meaning, and those beside them that nobody needs."""
    sizes = {"vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = {"model_type": "xlm-roberta", "max_position_embeddings": 16} | sizes
    return {
        "README.md": b"# XLM-R",
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b"{}",
        "sentencepiece.bpe.model": b"pieces",
        "model.safetensors": save({"roberta.embeddings.word_embeddings.weight": np.zeros((8, 4), np.float32)}),
        "pytorch_model.bin": b"a pickle",
        "onnx/model.onnx": b"graph",
        "onnx/config.json": b"{}",
    }


def layout_of(part: HubPart) -> Layout:
    """That of a part's repository and configuration; of one that is not in the catalogue HellaSwag's."""
    kind = (part.config or "").partition(".")[0]
    return LAYOUTS.get(part.repo) or LAYOUTS.get(f"{part.repo} {kind}") or LAYOUTS["Rowan/hellaswag"]


def parts_of_catalogue() -> Iterator[tuple[Task, str, HubPart]]:
    """Every split that an entry of the catalogue reads from the Hub, and its language; unpinned ones at a user's
    commit."""
    for task in TASKS.values():
        if not task.hub.repo:
            continue
        pinned = _with_commit(task)
        if pinned.hub.train:
            data = locate.find_training(pinned, None, None, None)
            yield from ((task, "en", part) for part in (*data.train, *data.dev) if isinstance(part, HubPart))
        if pinned.hub.test:
            for code, split in locate.find_languages(pinned, None, None).found.items():
                yield from ((task, code, part) for part in split if isinstance(part, HubPart))


def _with_commit(task: Task) -> Task:
    return task if task.hub.revision else replace(task, hub=replace(task.hub, revision=COMMIT_OF_USERS))


def repositories(parts: Sequence[HubPart], rows: Mapping[HubPart, int] = {}) -> list[Repository]:
    """The repositories that hold these parts, each with its configurations and splits; of 2 rows, where `rows` has no
    other number."""
    built = []
    for name, revision in dict.fromkeys((part.repo, part.revision) for part in parts):
        own = [part for part in dict.fromkeys(parts) if part.repo == name]
        files = {"README.md": _readme(own), ".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"}
        files |= {_path(part): parquet(layout_of(part), rows.get(part, 2)) for part in own}
        built.append(Repository("datasets", name, {revision: files}))
    return built


def _path(part: HubPart) -> str:
    return layout_of(part).file.format(config=part.config, split=part.split)


def _readme(parts: Sequence[HubPart]) -> bytes:
    """The head of a data set's card, from which `datasets` knows configurations and splits."""
    configs: dict[str, list[dict[str, str]]] = {}
    for part in parts:
        path = _path(part).replace("-00000-of-00001.parquet", "-*")
        configs.setdefault(part.config or "default", []).append({"split": part.split, "path": path})
    head = {"configs": [{"config_name": name, "data_files": files} for name, files in configs.items()]}
    return f"---\n{yaml.safe_dump(head)}---\n\n# Data\n".encode()


def parquet(layout: Layout, rows: int) -> bytes:
    """A split's file, as `datasets` writes it: class numbers, and their names in the file's own description."""
    numbers = {
        name: [classes.names.index(value) for value in layout.row[name]]
        if classes.listed
        else classes.names.index(layout.row[name])
        for name, classes in layout.classes.items()
    }
    table = pa.Table.from_pylist([dict(layout.row) | numbers] * rows)
    features = {name: _feature(table.schema.field(name).type, layout.classes.get(name)) for name in table.column_names}
    description = json.dumps({"info": {"features": features}})
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": description}), buffer)
    return buffer.getvalue()


def _feature(kind: pa.DataType, classes: Classes | None) -> Any:
    """A column's type in the words of `datasets`."""
    if classes is not None:
        label = {"names": list(classes.names), "_type": "ClassLabel"}
        return {"feature": label, "_type": "Sequence"} if classes.listed else label
    if pa.types.is_struct(kind):
        return {kind.field(place).name: _feature(kind.field(place).type, None) for place in range(kind.num_fields)}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type, None), "_type": "Sequence"}
    return {"dtype": str(kind), "_type": "Value"}
