"""`stepstone doctor` and `stepstone gc`: is all well with what an experiment needs, and what it needs no more."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from launch.cli.options import File, console, load_plan, print_json
from launch.text import as_typed, labelled, say, size
from slurm.base import UsageError

_LISTED = 20


def doctor(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The experiment file.", show_default=False)
    ] = None,
    nodes: Annotated[
        bool, typer.Option("--nodes", help="Also send a job of seconds to each kind of node that the file would use.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check Slurm, its limits, the store's file system, GPUs and packages; exit code 1 where something is wrong."""
    from launch import executors, experiment
    from launch.preflight import doctor as looking

    asked_for = experiment.load(file) if file else None
    lines = list(looking.look(asked_for, Path.cwd()))
    if nodes:
        if asked_for is None or not executors.of_cluster(asked_for.cluster).has_queue:
            raise UsageError("--nodes needs an experiment file whose jobs go to Slurm: stepstone doctor FILE --nodes")
        say("asking nodes; this may take minutes, as jobs wait for their turn")
        lines += looking.node_lines(asked_for)
    if as_json:
        print_json(looking.to_record(lines))
    else:
        screen = console()
        rows = [(line.level, line.what, line.found + (f"; {line.fix}" if line.fix else "")) for line in lines]
        for row in labelled(rows, screen.width):
            screen.print(row, markup=False, soft_wrap=True)
    if any(line.level == "error" for line in lines):
        raise typer.Exit(1)


def gc(
    file: File,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; removes only with --yes.")] = False,
) -> None:
    """Show what no stage needs any more, with its size, and remove it: encoders, checkpoints, old code, caches."""
    from launch import gc as collecting
    from launch.store import Store

    plan = load_plan(file)
    root = plan.experiment.store
    waste = collecting.find(plan, Store(root))
    if as_json:
        removed_waste = collecting.remove(plan, Store(root)) if yes else waste
        print_json(collecting.to_record(removed_waste, was_removed=yes))
        return
    if not waste:
        say("nothing to remove: every file is needed, or may be")
        return
    for item in waste[:_LISTED]:
        print(f"{size(item.bytes):>10}  {item.path.relative_to(root)}  {item.why}")
    if len(waste) > _LISTED:
        print(f"{'':>10}  … ({len(waste)} in all; --json lists them)")
    print(f"{size(sum(item.bytes for item in waste)):>10}  in {sum(item.files for item in waste)} files")
    if not yes and not sys.stdin.isatty():
        raise UsageError(f"to remove them type: stepstone gc {as_typed(file)} --yes")
    if yes or typer.confirm("remove?"):
        removed_waste = collecting.remove(plan, Store(root))
        say(f"removed {size(sum(item.bytes for item in removed_waste))}; what and why: {root}/gc")
