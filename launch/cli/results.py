"""`stepstone collect`, `table` and `export`: what came out, for people and for other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launch.cli.options import File, Json, console, json_text, load_plan, print_json
from launch.text import say
from slurm.base import UsageError

if TYPE_CHECKING:
    from eval.tables.diff import Side
    from eval.tables.sheet import Sheet
    from launch.results.sheets import Options


def collect(
    file: File,
    as_json: Json = False,
    profile: Annotated[str, typer.Option(help="Metrics as published (xtreme), or mended (corrected).")] = "xtreme",
    average: Annotated[
        str | None, typer.Option(metavar="NAME", help="xtreme, xtreme-r or xtreme-r-f1 [those that fit the targets].")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read and hash every result again, also those that did not change.")
    ] = False,
    predictions: Annotated[
        bool, typer.Option("--predictions", help="Write predictions.parquet too: every example.")
    ] = False,
) -> None:
    """Verify and merge every finished score: print table and averages, write results.parquet and table.md."""
    from eval.tables import averages
    from launch.estimate import cost
    from launch.merging import collect as collect_all
    from launch.results import table
    from launch.show import results as results_shown
    from launch.store import Store, collects, sharing

    if as_json and (average or profile != "xtreme"):
        option = "--average" if average else "--profile"
        raise UsageError(f"--json and {option} do not go together: it has every metric, and no average; leave one out")
    plan = load_plan(file)
    metric_profile = table.profile(profile)
    if average and metric_profile != "xtreme":
        raise UsageError(f"--average {average}: it is of the published metrics; leave out --profile {profile}")
    if average:
        averages.find(average)
    if as_json and predictions:
        raise UsageError("--json and --predictions do not go together: it writes nothing; leave one out")
    store = Store(plan.experiment.store)
    collection = collect_all(plan, store, verify=verify, predictions=predictions, write=not as_json)
    if as_json:
        print_json(results_shown.results_json(collection))
        return
    rows = collection.rows
    if rows:
        cost.calibrate(plan, store)
    summary = table.summary(plan, store, rows, metric_profile, average)
    if rows:  # before anything is printed: the terminal, or the reader of a pipe, may have had enough
        path = table.write(plan, summary)
        collects.note_by_hand(store.root, plan.experiment.name, len(collection.set_aside))
        sharing.let_in(plan.experiment.cluster.share_group, store.root, [path.parent])
    results_shown.results_text(plan, summary, console())
    for line in results_shown.what_does_not_count(plan, collection):
        say(line)
    if rows:
        say(f"{'written' if collection.changed else 'nothing new'}: {path.parent}/results.parquet, {path.name}")
    if rows and collection.predictions:
        examples, are_new = collection.predictions
        say(f"{'written' if are_new else 'nothing new'}: {examples}")


def table(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The experiment file.", show_default=False)
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Targets, averages, groups of targets (qa, xtreme-r:tagging) [all that fit]."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="This one, of the targets that have it.", show_default=False)
    ] = None,
    profile: Annotated[str, typer.Option(help="Metrics as published (xtreme), or mended (corrected).")] = "xtreme",
    languages: Annotated[
        str | None, typer.Option(metavar="TARGET", help="A target's languages as columns; `all`: a table each.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="WHAT", help="Languages by family, script, size (of CC-100) or seen.")
    ] = None,
    interval: Annotated[bool, typer.Option("--interval", help="95 % intervals instead of standard errors.")] = False,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A published row beside: xtreme-xlmr-large, xstilts, …; repeatable.",
            show_default=False,
        ),
    ] = None,
    diff: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="A B",
            help="B less A: experiment files, copies of results.parquet, FILE@2026-11-20, or dates (with FILE).",
            show_default=False,
        ),
    ] = None,
    output_format: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="terminal, csv, markdown, latex or html.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write it there; its ending says the format.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the table one publishes: differences to none, errors, significance."""
    from eval.tables import facts
    from launch.results import sheets
    from launch.results import table as result_table
    from launch.show import tables

    if as_json and output_format is not None:
        raise UsageError("--json and --format do not go together; leave one out")
    name = "terminal" if as_json else tables.format_of(output_format, out)
    options = sheets.Options(
        tuple(filter(None, (columns or "").replace(" ", "").split(","))),
        metric,
        result_table.profile(profile),
        languages,
        facts.grouping(by) if by else None,
        interval,
        tuple(reference or ()),
    )
    all_sheets = _sheets(file, diff, options)
    if out is not None:
        tables.write(json_text(tables.tables_json(all_sheets)) if as_json else tables.text_of(all_sheets, name), out)
        say(f"written: {out}")
    elif as_json:
        print_json(tables.tables_json(all_sheets))
    elif name == "terminal":
        tables.print_tables(all_sheets, console())
    else:
        print(tables.text_of(all_sheets, name), end="")


def _sheets(file: Path | None, diff: tuple[Path, Path] | None, options: "Options") -> "list[Sheet]":
    """What is to be shown: of an experiment, or of two."""
    from eval.tables import diff as score_diff
    from launch.merging import collect as collect_all
    from launch.merging import history
    from launch.results import sheets
    from launch.show import results as results_shown
    from launch.store import Store

    if diff:
        if file is not None and not any(history.is_day(str(of_side)) for of_side in diff):
            raise UsageError("--diff A B: says of which two; FILE is for dates alone, such as --diff 2026-11-20 FILE")
        if options != sheets.Options(metric=options.metric):
            raise UsageError("--diff A B: of the other options it takes --metric, --format and --out")
        return [score_diff.of_sides(_side(diff[0], file), _side(diff[1], file), options.metric)]
    if file is None:
        raise UsageError("which experiment? `stepstone table FILE`, or `stepstone table --diff A B`")
    plan = load_plan(file)
    store = Store(plan.experiment.store)
    collection = collect_all(plan, store, write=False)
    for line in results_shown.damaged(plan, collection):
        say(line)
    return sheets.of_plan(plan, store, collection.rows, options)


def _side(path: Path, file: Path | None) -> "Side":
    """A table of scores, an experiment's scores as they are now, or as they stood at the end of a day: FILE@DATE, or
    the date alone where `file` says of which experiment."""
    from eval.tables import rows as score_rows
    from eval.tables.diff import Side
    from launch.merging import collect as collect_all
    from launch.merging import history
    from launch.store import Store, collects

    if path.suffix == ".parquet":
        return Side(str(path), score_rows.read_parquet(path))
    name, _, day = str(path).rpartition("@")
    if not history.is_day(day) or path.exists():
        plan = load_plan(path)
        return Side(str(path), collect_all(plan, Store(plan.experiment.store), write=False).rows)
    if not name and file is None:
        raise UsageError(f"--diff {path}: of which experiment? FILE@{day}, or stepstone table FILE --diff {day} B")
    of_experiment = load_plan(Path(name) if name else file or path).experiment
    folder = collects.results_folder(of_experiment.store, of_experiment.name)
    return Side(str(path), score_rows.read_parquet(history.of_day(folder, day)))


def export(
    file: File,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Gets a folder per recipe and seed.", show_default=False)],
    recipe: Annotated[str | None, typer.Option(help="Only this recipe, as in the file.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only this seed.")] = None,
) -> None:
    """Write the finished predictions in XTREME's submission layout."""
    from launch.results import export as submission_layout

    last_note = ""
    for submission in submission_layout.write(load_plan(file), out, recipe, seed):
        missing = f"; not finished: {submission.missing}" if submission.missing else ""
        say(f"written: {submission.folder}{missing}")
        if submission.partial and submission.partial != last_note:
            last_note = submission.partial
            say(f"note: XTREME's scorer asks for the whole of its own test sets; {last_note}")
