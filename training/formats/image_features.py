"""A file of image features: one vector per image, under the name of the image's file without folder and ending.

`.safetensors` (fp32 or fp16) or numpy's `.npz`, an array of one dimension per image; nothing pickled is read. They are
those of a frozen image tower, in the space in which captions are compared with them. No torch.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from slurm.base import UserError
from training.formats.neighbours import Floats


@dataclass(frozen=True)
class _Arrays:
    names: Sequence[str]
    array: Callable[[str], Any]  # read when it is asked for


def image_name(path: str) -> str:
    """What an image is called, by the path of its file: `COCO_val2014_000000391895` for one that ends in `.jpg`."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def names(path: Path) -> frozenset[str]:
    """The images that the file has features of; no feature is read. UserError where it is no such file."""
    with _opened(path) as arrays:
        return frozenset(arrays.names)


def read(path: Path, images: Sequence[str]) -> Floats:
    """The features of these images as unit vectors [images, width], fp32.

    UserError where one is missing, is of another width than the first, not finite, or zero.
    """
    vectors: list[Floats] = []
    with _opened(path) as arrays:
        missing_images = sorted(set(images) - set(arrays.names))
        if missing_images:
            raise UserError(lacks(path, missing_images))
        for image in images:
            vector = np.asarray(arrays.array(image))
            _check(path, image, vector, vectors[0].size if vectors else None)
            vectors.append(vector.astype(np.float32))
    matrix = np.stack(vectors)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)  # type: ignore[no-any-return]


def lacks(path: Path, images: Sequence[str]) -> str:
    """What to tell of images that a file has no features of."""
    more = f" and of {len(images) - 1} more" if len(images) > 1 else ""
    return (
        f"{path}: no features of image {images[0]!r}{more}; one array per image, named as its file without folder and"
        " ending."
    )


def _check(path: Path, image: str, vector: Any, width: int | None) -> None:
    if vector.dtype.kind != "f" or vector.ndim != 1 or vector.size == 0:
        raise UserError(
            f"{path}: image {image!r} has {vector.dtype} of shape {list(vector.shape)}; one vector of floats per image."
        )
    if width is not None and vector.size != width:
        raise UserError(f"{path}: image {image!r} has {vector.size} features, others {width}.")
    if not np.isfinite(vector).all() or not vector.any():
        raise UserError(f"{path}: the features of image {image!r} are zero or not finite: it cannot be compared.")


@contextmanager
def _opened(path: Path) -> Iterator[_Arrays]:
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                yield _Arrays(archive.files, archive.__getitem__)
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as tensors:
                yield _Arrays(tensors.keys(), tensors.get_tensor)
        else:
            raise UserError(f"{path}: image features are a .safetensors or an .npz file; nothing else is read.")
    except (OSError, ValueError, TypeError, EOFError, BadZipFile, zlib.error, SafetensorError) as error:
        # Its first sentence: numpy goes on with how a pickle is loaded all the same.
        reason = " ".join(str(error).split()).partition(". ")[0][:200]
        raise UserError(
            f"{path}: not a whole file of fp32 or fp16 arrays ({reason}); write it again, as safetensors or .npz."
        ) from error
