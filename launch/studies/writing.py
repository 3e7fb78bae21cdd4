"""A study's files: the finding as Markdown, each table as CSV, each figure in the formats asked for."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from eval.studies import forms
from launch.studies.answers import Answer
from slurm.base import UsageError
from slurm.base.files import make_folder, write_atomic

if TYPE_CHECKING:
    from eval.figures.drawing import Format


def write(answer: Answer, out: Path, inches: float, formats: Collection["Format"]) -> tuple[str, ...]:
    """The names of the files in `out`, which is made; each is whole or not there. UsageError where it cannot be."""
    from eval.figures import drawing  # matplotlib

    check(out)
    make_folder(out, "--out")
    name = answer.study.name
    contents: dict[str, str | bytes] = {f"{name}.md": forms.markdown(answer.finding, answer.study.question)}
    for number, table in enumerate(answer.finding.tables, start=1):
        contents[f"{name}-table-{number}-{forms.file_name(table.title)}.csv"] = forms.table_csv(table)
    for figure_plan in drawing.of_finding(answer.finding):
        for figure_name, figure in drawing.draw(figure_plan, inches).items():
            contents |= {f"{figure_name}.{form}": drawing.content_of(figure, form) for form in formats}
    for file_name, content in contents.items():
        write_atomic(out / file_name, content)
    return tuple(contents)


def check(out: Path) -> None:
    """UsageError where there is a file of that name: before the work that it takes."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is no folder")
