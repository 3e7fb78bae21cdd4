"""Images and captions of them in one language: which belong together? Evaluated only, nothing is trained.

A split is two files: role "captions", JSON lines of `img_path` and `sentences` (XFlickr&CO's form: Bugliarello et al.
2022, arXiv 2201.11732), and role "images", their features (`training.formats.image_features`). The images are those
that have captions; what else the file of features holds is no candidate.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm.base import UserError
from training.formats import image_features
from training.formats.base import Example as BaseExample
from training.formats.base import Piece
from training.formats.batch import token_ids
from training.formats.compared import Compared
from training.formats.report import current
from training.formats.rows import Row, RowError, bad_row, malformed, read_rows, text_of
from training.spec import DataFile, Settings
from training.tasks import Task, presets
from training.tasks.languages import fill
from training.tasks.task import File, Files


@dataclass(frozen=True, kw_only=True)
class Example(BaseExample):
    """An image, called as its file without folder and ending, and its captions. `features`: the file that has its."""

    captions: tuple[str, ...]
    features: str


class ImageText(Compared[Example]):
    """A piece per caption; `way_back` is its place among those of its image."""

    name = "image_text"
    kind_of_data = "images, and captions of them"
    metrics = ("image_text",)
    target_settings = presets.RETRIEVAL_TARGET
    needs_projection = True
    roles_without_text = ("images",)
    usual_tokens = 20
    prediction_bytes = 400

    def roles(self, split: str) -> tuple[tuple[str, ...], ...]:
        return (("captions", "images"),) if split == "test" else ((),)

    def target_files(
        self, task: Task, files: Files, language: str, is_there: Callable[[File, str], bool], named_in: Path
    ) -> list[tuple[File, str]]:
        """The features may be the same for all languages, so they say nothing of whether one is there. UserError where
        there are captions, and no features of their images."""
        if not any(is_there(file, language) for file in files.test if file.role == "captions"):
            return []
        for file in files.test:
            if file.role == "images" and not is_there(file, language):
                path = named_in.parent / fill(file.path, language, task.iso3)
                raise UserError(
                    f"task {task.name}: {path}: no file of image features; make one of a folder of images: `stepstone"
                    " models image-features MODEL FOLDER FILE` (docs/image-text.md)"
                )
        return [(file, language) for file in files.test]

    def read_split(self, files: Sequence[DataFile], task: Task, language: str) -> list[Example]:
        by_role = {file.role: Path(file.path) for file in files}
        assert set(by_role) == {"captions", "images"}, files
        return read_captions(by_role["captions"], by_role["images"], language)

    def from_row(self, row: Mapping[str, Any], task: Task, language: str, position: int = 0) -> Example | None:
        """For people to look at: without the file of features, nothing is compared."""
        image = _image(row)
        return Example(id=image, language=language, group=image, captions=_captions(row), features="")

    def encode(self, examples: Sequence[Example], tokenizer: Any, task: Task, settings: Settings) -> list[Piece]:
        places = [(index, place) for index, example in enumerate(examples) for place in range(len(example.captions))]
        if not places:
            return []
        texts = [examples[index].captions[place] for index, place in places]
        rows = token_ids(tokenizer, texts, max_length=settings.max_length)
        return [Piece(index, (tuple(row),), (), place) for (index, place), row in zip(places, rows, strict=True)]

    def gold(self, example: Example, task: Task) -> str:
        return example.id

    def answer_shown(self, example: Example, gold: Any, tokenizer: Any) -> list[str]:
        return [f"the image: {gold}"]


def read_captions(path: Path, features: Path, language: str) -> list[Example]:
    """One example per image, in the file's order. UserError with file and line where a row is malformed or an image
    comes twice; and where the file of features has none of an image."""
    images_with_features = image_features.names(features)
    line_of_image: dict[str, int] = {}
    examples: list[Example] = []
    for line, image, captions in _rows(path):
        line_of_image[image] = line
        if "" in captions:  # published German and Indonesian have one each: with fewer images others are found sooner
            current().remarks.append(f"{path}:{line}: an empty caption, which tells nothing of its image")
        examples.append(Example(id=image, language=language, group=image, captions=captions, features=str(features)))
    missing_images = [image for image in line_of_image if image not in images_with_features]
    if missing_images:
        line = line_of_image[missing_images[0]]
        raise UserError(f"{image_features.lacks(features, missing_images)} It is on line {line} of {path}.")
    return examples


def read_images(path: Path) -> list[str]:
    """The images that a file has captions of, in its order. UserError as in `read_captions`."""
    return [image for _, image, _ in _rows(path)]


def _rows(path: Path) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Line, image and captions of each row."""
    line_of_image: dict[str, int] = {}
    for _, line, row in read_rows(path, None):
        try:
            image, captions = _image(row), _captions(row)
        except RowError as error:
            bad_row(path, line, str(error))
            continue
        if image in line_of_image:
            malformed(path, line, f"image {image!r} was on line {line_of_image[image]}: write its captions in one row")
        line_of_image[image] = line
        yield line, image, captions


def _image(row: Row) -> str:
    if "img_path" not in row:
        raise RowError("no field img_path")
    name = image_features.image_name(text_of(row["img_path"], "img_path"))
    if not name:
        raise RowError("img_path is empty")
    return name


def _captions(row: Row) -> tuple[str, ...]:
    sentences = row.get("sentences")
    if not isinstance(sentences, list) or not sentences:
        raise RowError("sentences is no list of captions")
    return tuple(text_of(sentence, "a caption").strip() for sentence in sentences)
