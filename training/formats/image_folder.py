"""A folder of images: which files they are by their images' names, and what is in one. Needs Pillow, no torch."""

import os
import struct
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from slurm.base import UserError
from training.formats.image_features import image_name

if TYPE_CHECKING:
    from PIL.Image import Image

# By what their names end in, and the only formats that are tried: Pillow hands some others to another program.
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")


def image_files(folder: Path, wanted_images: Collection[str] | None = None) -> dict[str, Path]:
    """The images in a folder and in those below it, sorted by what they are called; links are followed.

    `wanted_images`: these alone. UserError where there are none, a wanted one is missing, or two are called alike.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of images.")
    files: dict[str, Path] = {}
    for path in _paths(folder):
        name = image_name(path.name)
        if wanted_images is not None and name not in wanted_images:
            continue
        if name in files:
            raise UserError(f"{files[name]} and {path}: both would be image {name!r}; leave one of them out.")
        files[name] = path
    if missing_images := sorted(set(wanted_images or ()) - files.keys()):
        more = f" and {len(missing_images) - 1} more" if len(missing_images) > 1 else ""
        raise UserError(
            f"{folder}: no file of image {missing_images[0]!r}{more}, which has captions; looked for {_endings()}."
        )
    if not files:
        raise UserError(f"{folder}: no image in it; looked for {_endings()}, there and in the folders below.")
    return dict(sorted(files.items()))


def _paths(folder: Path) -> list[Path]:
    return sorted(
        Path(place) / name
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(ENDINGS) and not name.startswith(".")  # macOS leaves `._1.jpg` beside `1.jpg`
    )


def _endings() -> str:
    return ", ".join(ENDINGS)


def read_image(path: Path) -> "Image":
    """The image upright, in RGB. UserError where it is none, or not whole; and where Pillow is not installed."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise UserError(
            "images are read with Pillow, which is not installed here: `pip install 'stepstone[images]'`."
        ) from error
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    # What Pillow's readers raise of torn files, beside OSError.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).replace(repr(str(path)), "it").split())[:200]
        raise UserError(f"{path}: not an image that can be read ({reason}); mend it, or leave it out.") from error
