"""A small data folder with every task: the first rows of the real data, and lines of our own for what is not there."""

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from tests.paths import SHARED_DATA
from training.formats import image_features
from training.tasks import catalogue, examples
from training.tasks.languages import ISO3

N_TRAIN, N_DEV = 12, 4
_QA = ("squad_v1", "squad_v2", "xquad", "mlqa", "tydiqa", "lareqa")
_LINES = [
    "The kite is red.",
    "Der Drachen ist rot.",
    "The boat is slow.",
    "Das Boot ist langsam.",
    "It rains.",
    "Es regnet.",
]
_OWN = {
    "panx": {"train": ["panx/train-en.tsv"], "dev": ["panx/dev-en.tsv"], "test": ["panx/dev-{lang}.tsv"]},
    "squad@de": {"train": ["xquad/xquad.de.json"], "dev": ["squad_v1/dev.json"]},
    "tydiqa": {
        "train": ["tydiqa/train.json"],
        "dev": ["tydiqa/dev.json"],
        "test": ["tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{lang}.dev.json"],
    },
    "mlm": {"train": ["mlm/{lang}.txt"], "hold_out": 0.3},
    "mewslix": {
        "train": ["mewslix/train.jsonl"],
        "dev": ["mewslix/train.jsonl"],
        "test": {"mentions": "mewslix/mentions.jsonl", "entities": "mewslix/entities.jsonl"},
    },
}


def write(root: Path, languages: Iterable[str] = ("en", "de", "zh")) -> None:
    """Write the folder."""
    if not (SHARED_DATA / "splits.yaml").is_file():
        pytest.skip("needs the real data in ../shared/data")
    splits = yaml.safe_load((SHARED_DATA / "splits.yaml").read_text())
    codes = tuple(languages)
    for task, entry in splits.items():
        if task != "version" and task not in ("bucc",):
            for template in _paths(entry):
                _cut_all(template, root, codes)
    plain = json.loads(json.dumps(splits).replace(".gz", ""))
    (root / "splits.yaml").write_text(yaml.safe_dump(plain | _OWN, allow_unicode=True))
    _own_splits(root)
    _bucc(root)
    _mewslix(root, codes)
    _domains(root, codes)
    _xflickrco(root, codes)
    for code in ("en", "de"):
        _write(root / f"mlm/{code}.txt", "\n".join(_LINES * 3) + "\n")


def fill_in(root: Path, task: str) -> None:
    """Copies of a language's test files for all languages that the real data lacks: enough to plan with."""
    entry = catalogue.find(task)
    for template in _paths({"test": yaml.safe_load((root / "splits.yaml").read_text())[task]["test"]}):
        names = {code: _name(template, code) for code in (*entry.languages, *entry.extra_languages)}
        there = next(name for name in names.values() if (root / name).is_file())
        for name in names.values():
            if not (root / name).is_file():
                _write(root / name, (root / there).read_text())


def _name(template: str, code: str) -> str:
    return template.replace("{lang}", code).replace("{iso3}", ISO3.get(code, code))


def _paths(entry: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for split in ("train", "dev", "test"):
        files = entry.get(split, [])
        found += files.values() if isinstance(files, dict) else files
    return found


def _cut_all(template: str, root: Path, codes: tuple[str, ...]) -> None:
    for name in dict.fromkeys(_name(template, code) for code in codes):
        if (SHARED_DATA / name).is_file():
            _write(root / name.removesuffix(".gz"), cut(SHARED_DATA / name, 0, N_TRAIN))


def cut(path: Path, start: int, count: int) -> str:
    """`count` examples of a file from number `start` on (questions: whole paragraphs, at least one)."""
    text = gzip.decompress(path.read_bytes()).decode()
    folder = path.relative_to(SHARED_DATA).parts[0]
    if folder in _QA:
        return _cut_questions(text, start, count)
    if folder in ("panx", "udpos"):
        return "".join(f"{sentence}\n\n" for sentence in text.strip().split("\n\n")[start : start + count])
    if path.name.endswith(".csv.gz"):
        return _cut_csv(text, start, count)
    lines = text.split("\n")
    return "\n".join(lines[start : start + count + (folder == "qqp")]) + "\n"  # qqp: a line of names


def _cut_questions(text: str, start: int, count: int) -> str:
    content = json.loads(text)
    paragraphs = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
    chosen = paragraphs[start : start + max(1, count // 4)]
    for paragraph in chosen:
        paragraph["qas"] = paragraph["qas"][:6]
    return json.dumps({"version": "cut", "data": [{"title": "cut", "paragraphs": chosen}]}, ensure_ascii=False)


def _cut_csv(text: str, start: int, count: int) -> str:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    out = io.StringIO(newline="")
    csv.writer(out).writerows([rows[0], *rows[1 + start : 1 + start + count]])
    return out.getvalue()


def _own_splits(root: Path) -> None:
    """Train and dev from different rows of one file: of so few, a share that is held out may be none."""
    tydiqa = SHARED_DATA / "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json.gz"
    _write(root / "tydiqa/train.json", cut(tydiqa, 0, N_TRAIN))
    _write(root / "tydiqa/dev.json", cut(tydiqa, 100, N_DEV))
    _write(root / "panx/train-en.tsv", cut(SHARED_DATA / "panx/train-en.tsv.gz", 0, N_TRAIN))
    _write(root / "panx/dev-en.tsv", cut(SHARED_DATA / "panx/dev-en.tsv.gz", 0, N_DEV))


def _bucc(root: Path, pairs: int = 6, others: int = 24) -> None:
    """Gold pairs and distractors."""
    names = {kind: f"bucc2018/zh-en.dev.{kind}" for kind in ("zh", "en", "gold")}
    lines = {
        kind: gzip.decompress((SHARED_DATA / f"{name}.gz").read_bytes()).decode().splitlines()
        for kind, name in names.items()
    }
    gold = [line.split("\t") for line in lines["gold"][:pairs]]
    for side, kind in enumerate(("zh", "en")):
        wanted = {pair[side] for pair in gold}
        inside = [line for line in lines[kind] if line.split("\t")[0] in wanted]
        all_gold = {line.split("\t")[side] for line in lines["gold"]}
        outside = [line for line in lines[kind] if line.split("\t")[0] not in all_gold][:others]
        _write(root / names[kind], "\n".join(inside + outside) + "\n")
    _write(root / names["gold"], "\n".join("\t".join(pair) for pair in gold) + "\n")


def _domains(root: Path, codes: tuple[str, ...]) -> None:
    """The domains of `alignment` whose files are no other task's."""
    for template in ("domain_medical_tico19/tico19.en-{lang}.tsv.gz", "domain_legal_eurlex/dev.{lang}.gz"):
        _cut_all(template, root, codes)
    _cut_all("domain_medical_tico19/tico19.en.tsv.gz", root, ("en",))


def _xflickrco(root: Path, codes: tuple[str, ...], width: int = 10) -> None:
    """Captions, and random vectors in the place of their images' features, as wide as those of the tests' AltCLIP."""
    template = "xflickrco/{lang}/test.jsonl"
    _cut_all(f"{template}.gz", root, codes)
    rows = (root / _name(template, "en")).read_text().splitlines()
    names = [image_features.image_name(json.loads(row)["img_path"]) for row in rows]
    vectors = np.random.default_rng(0).standard_normal((len(names), width), np.float32)
    save_file(dict(zip(names, vectors, strict=True)), root / "xflickrco/features.safetensors")


def _mewslix(root: Path, codes: tuple[str, ...]) -> None:
    """Our own news: the same mention in every language, and entities of two more cities."""
    row = examples.MENTION
    pair, entity = row["contextual_mention"], row["entity"]
    others = [entity | {"entity_id": f"Q{n}", "title": f"City {n}"} for n in range(3)]
    pairs = [{"contextual_mention": pair, "entity": each} for each in (entity, *others)]
    for number, each in enumerate(pairs):
        mention = pair["mention"] | {"example_id": str(number), "entity_id": each["entity"]["entity_id"]}
        each["contextual_mention"] = pair | {"mention": mention}
    mentions = [
        {"context": pair["context"] | {"language": code}, "mentions": [pair["mention"] | {"example_id": f"{code}-0"}]}
        for code in codes
    ]
    for name, rows in (("train", pairs), ("mentions", mentions), ("entities", [entity, *others])):
        _write(root / f"mewslix/{name}.jsonl", "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
