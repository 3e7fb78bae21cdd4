"""`stepstone figures`: what came out, as figures for a paper."""

from pathlib import Path
from typing import Annotated

import typer

from launch.cli.options import File, load_plan
from launch.text import say


def figures(
    file: File,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write them there [results/<experiment>/figures in the store]."),
    ] = None,
    output_format: Annotated[str, typer.Option("--format", metavar="A,B", help="pdf, svg, png; several.")] = "pdf",
    width: Annotated[str, typer.Option(metavar="WIDTH", help="column (3.03 inches), text (6.3) or inches.")] = "column",
    only: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="These: matrix, languages, family-xnli, curves, … [all].", show_default=False),
    ] = None,
) -> None:
    """Draw figures for a paper: heat maps, transfer, training curves, cost."""
    from eval.figures import drawing, style
    from launch.report import figures as drawn

    inches, forms = style.width(width), drawing.formats(output_format)
    wanted_names = [name for name in (only or "").replace(" ", "").split(",") if name]
    say(f"written: {drawn.described(drawn.write(load_plan(file), out, inches, forms, wanted_names))}")
