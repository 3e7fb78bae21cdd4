"""`stepstone study`: questions that are asked of all results together."""

from pathlib import Path
from typing import Annotated

import typer

from launch.cli.options import Json, console, load_plan, print_json
from launch.text import as_typed, say, some
from slurm.base import UsageError

_LISTED = 6  # files; what is more is counted


def study(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Of those that are listed without it.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The experiment file.", show_default=False)
    ] = None,
    as_json: Json = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write it there: Markdown, tables as CSV, figures.")
    ] = None,
    output_format: Annotated[
        str, typer.Option("--format", metavar="A,B", help="Of figures: pdf, svg, png; several.")
    ] = "pdf",
    width: Annotated[
        str, typer.Option(metavar="WIDTH", help="Of figures: column (3.03 inches), text (6.3) or inches.")
    ] = "column",
) -> None:
    """Answer a question from all results together; without NAME list the questions."""
    from eval.tables.baseline import with_label
    from launch import studies
    from launch.merging import collect
    from launch.show import finding, results
    from launch.store import Store
    from launch.studies import writing

    if name is None:
        if as_json:
            print_json(finding.list_json())
            return
        for line in finding.list_lines(console().width):
            print(line)
        return
    if as_json and out is not None:
        raise UsageError("--json and --out do not go together; leave one out")
    if file is None and Path(name).suffix in (".yaml", ".yml"):
        raise UsageError(f"which study of {name}? `stepstone study order {as_typed(Path(name))}`")
    asked_study = studies.find(name)
    if file is None:
        raise UsageError(f"of which experiment? `stepstone study {name} FILE`")
    if out is not None:
        from eval.figures import drawing, style

        inches, forms = style.width(width), drawing.formats(output_format)
        writing.check(out)
    plan = load_plan(file)
    store = Store(plan.experiment.store)
    collection = collect(plan, store, write=False)
    answers = studies.of_study(plan, store, collection, asked_study)
    if as_json:
        print_json(finding.findings_json(answers))
    elif out is not None:
        for answer in answers:
            names = writing.write(answer, out / answer.model, inches, forms)
            print(with_label(answer.model, answer.finding.sentence))
            say(f"written: {out / answer.model}: {some(names, _LISTED)}")
    else:
        for number, answer in enumerate(answers):
            print("\n" * bool(number), end="")
            finding.print_finding(answer, console())
    lacking = [f"missing: {with_label(answer.model, line)}" for answer in answers for line in answer.lacking]
    for line in (*results.damaged(plan, collection), *lacking):
        say(line)
