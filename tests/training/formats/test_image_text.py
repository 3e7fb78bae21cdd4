"""Captions of images and files of features: the real captions, and what people get wrong, in one line."""

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from slurm.base import UserError
from training import formats
from training.data.load import load_language
from training.data.locate import find_languages
from training.formats import image_features
from training.formats.image_text import read_captions
from training.formats.report import reporting
from training.formats.rows import skipping
from training.spec import DataFile, Settings
from training.tasks import find

LANGUAGES = ("de", "en", "es", "id", "ja", "ru", "tr", "zh")
FORM = formats.get("image_text")
TWO = {"a": [3.0, 4.0], "COCO_7": [0.0, 2.0]}
ROWS = [{"img_path": "x/a.jpg", "sentences": ["Ein Hund.", "Hund"]}, {"img_path": "COCO_7.jpg", "sentences": ["Eis"]}]


def features(path: Path, vectors: dict[str, Any]) -> Path:
    arrays = {name: np.array(vector, np.float32) for name, vector in vectors.items()}
    save_file(arrays, path) if path.suffix == ".safetensors" else np.savez(path, **arrays)
    return path


def captions(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_published_captions_are_of_the_same_images(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "xflickrco"
    content = gzip.decompress((folder / "en" / "test.jsonl.gz").read_bytes()).decode()
    rows = [json.loads(line) for line in content.splitlines()]
    names = [row["img_path"].removesuffix(".jpg") for row in rows]
    file = features(tmp_path / "features.npz", {name: [1.0] for name in names})
    with reporting() as report:
        by_language = {code: read_captions(folder / code / "test.jsonl.gz", file, code) for code in LANGUAGES}
    for language, examples in by_language.items():
        assert [example.id for example in examples] == names and len(set(names)) == 2000
        assert all(example.language == language and len(example.captions) == 1 for example in examples)
    remark = "an empty caption, which tells nothing of its image"
    places = [folder / "de" / "test.jsonl.gz:1960", folder / "id" / "test.jsonl.gz:901"]
    assert report.remarks == [f"{place}: {remark}" for place in places]
    assert rows[0]["sentences"] == ["The man with pierced ears is wearing glasses and an orange hat."]


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_a_split_is_two_files(ending: str, tmp_path: Path) -> None:
    file = features(tmp_path / f"f.{ending}", TWO | {"of no caption": [1.0, 1.0]})
    paths = {"captions": captions(tmp_path / "c.jsonl", ROWS), "images": file}
    task = find("tatoeba")
    examples = FORM.read_split([DataFile(str(path), "", role) for role, path in paths.items()], task, "de")
    assert {example.id: example.captions for example in examples} == {"a": ("Ein Hund.", "Hund"), "COCO_7": ("Eis",)}
    assert FORM.gold(examples[1], task) == "COCO_7"
    vectors = image_features.read(file, [example.id for example in examples])
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 1]], atol=1e-6)


@pytest.mark.slow
def test_a_piece_is_a_caption(tmp_path: Path, library_tokenizer: Any) -> None:
    examples = read_captions(captions(tmp_path / "c.jsonl", ROWS), features(tmp_path / "f.npz", TWO), "de")
    pieces = FORM.encode(examples, library_tokenizer, find("tatoeba"), Settings())
    assert [(piece.example, piece.way_back) for piece in pieces] == [(0, 0), (0, 1), (1, 0)]
    texts = [caption for example in examples for caption in example.captions]
    assert [list(piece.rows[0]) for piece in pieces] == [library_tokenizer(text)["input_ids"] for text in texts]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"sentences": ["x"]}, "no field img_path"),
        ({"img_path": 3, "sentences": ["x"]}, "img_path is 3, not a text"),
        ({"img_path": "a.jpg", "sentences": "x"}, "sentences is no list of captions"),
        ({"img_path": "a.jpg", "sentences": []}, "sentences is no list of captions"),
        ({"img_path": "a.jpg", "sentences": [None]}, "a caption is null, not a text"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(row: Any, says: str, tmp_path: Path) -> None:
    file, path = features(tmp_path / "f.npz", TWO), captions(tmp_path / "c.jsonl", [ROWS[1], row])
    with pytest.raises(UserError, match=f"c.jsonl:2: {says}"):
        read_captions(path, file, "de")
    with skipping() as bad_rows:
        assert len(read_captions(path, file, "de")) == 1 and len(bad_rows) == 1


def test_an_image_twice_or_without_features_is_named(tmp_path: Path) -> None:
    file = features(tmp_path / "f.npz", TWO)
    with pytest.raises(UserError, match=r"c.jsonl:3: image 'a' was on line 1"):
        read_captions(captions(tmp_path / "c.jsonl", [*ROWS, {"img_path": "a.png", "sentences": ["x"]}]), file, "de")
    more = [{"img_path": f"{name}.jpg", "sentences": ["x"]} for name in ("b", "c")]
    with pytest.raises(UserError, match=r"f.npz: no features of image 'b' and of 1 more;.* line 3 of .*c.jsonl"):
        read_captions(captions(tmp_path / "c.jsonl", [*ROWS, *more]), file, "de")


@pytest.mark.parametrize(
    ("vectors", "says"),
    [
        ({"a": [[1.0, 2.0]]}, r"image 'a' has float32 of shape \[1, 2\]; one vector"),
        ({"a": []}, r"of shape \[0\]"),
        ({"a": [1.0, float("nan")]}, "'a' are zero or not finite"),
        ({"a": [0.0, 0.0]}, "'a' are zero or not finite"),
        ({"a": [1.0], "COCO_7": [1.0, 2.0]}, "'a' has 1 features, others 2"),
        ({"COCO_7": [1.0]}, "no features of image 'a';"),
    ],
)
def test_features_that_cannot_be_compared_are_named(vectors: dict[str, Any], says: str, tmp_path: Path) -> None:
    for ending in ("npz", "safetensors"):
        file = features(tmp_path / f"f.{ending}", vectors)
        with pytest.raises(UserError, match=says):
            image_features.read(file, sorted({"a", *vectors}))


def test_what_is_no_file_of_features_is_one_line(tmp_path: Path) -> None:
    whole = {ending: features(tmp_path / f"f.{ending}", TWO).read_bytes() for ending in ("npz", "safetensors")}
    np.savez(tmp_path / "objects.npz", a=np.array([None]))
    contents = {
        "torn.npz": whole["npz"][:-30],
        "torn.safetensors": whole["safetensors"][:-3],
        "pickle.npz": pickle.dumps({"a": 1}),
        "text.safetensors": b"a,1,2\n",
        "features.pt": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in (*contents, "objects.npz", "missing.npz"):
        with pytest.raises(UserError, match=rf"{name}: ") as error:
            image_features.read(tmp_path / name, ["a"])
        assert "\n" not in str(error.value)


def test_names_of_images() -> None:
    names = {"a/b.c/COCO_1.jpg": "COCO_1", "1007129816.jpg": "1007129816", "plain": "plain", "x.tar.gz": "x.tar"}
    assert {path: image_features.image_name(path) for path in names} == names


def test_the_built_in_target_is_there_where_its_captions_are(tmp_path: Path) -> None:
    task, asked = find("xflickrco"), ["de", "en", "ja"]
    folder = tmp_path / "xflickrco"
    for language in ("de", "en"):
        (folder / language).mkdir(parents=True)
        captions(folder / language / "test.jsonl", ROWS)
    with pytest.raises(
        UserError, match=r"xflickrco: \S+/xflickrco/features.safetensors: no file of image features"
    ) as e:
        find_languages(task, tmp_path, asked)
    assert "\n" not in str(e.value) and "`stepstone models image-features MODEL FOLDER FILE`" in str(e.value)
    (folder / "features.safetensors").mkdir()  # images themselves are no features
    with pytest.raises(UserError, match="no file of image features"):
        find_languages(task, tmp_path, asked)
    (folder / "features.safetensors").rmdir()
    features(folder / "features.safetensors", TWO)
    languages = find_languages(task, tmp_path, asked)
    assert (sorted(languages.found), languages.missing) == (["de", "en"], ("ja",))
    examples = load_language(task, "de", languages.found["de"], None)
    assert [example.id for example in examples] == ["a", "COCO_7"]
