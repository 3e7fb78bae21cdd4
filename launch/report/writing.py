"""The report's file: gathered, drawn and put in its place, whole or not at all."""

import os
from pathlib import Path

from launch.plan import Plan
from launch.report.gather import content
from launch.status import Observation
from launch.store import Store, owner, sharing
from slurm.base import UsageError
from slurm.base.files import make_folder, write_atomic


def write(plan: Plan, out: Path | None = None, observation: Observation | None = None) -> Path:
    """Write an experiment's report as it stands now, over the one before; the file's path.

    `out`: where, instead of `results/<experiment>/report.html` in the store. `observation`: a look at the experiment,
    where one is at hand; else one is taken. UsageError where it cannot be written there. Safe beside running jobs.
    """
    from eval.report import page  # altair: of whoever imports this room, few write

    if out is not None:
        check(out)
    else:
        owner.check(plan)
    store = Store(plan.experiment.store)
    observation = observation or Observation(plan, store)
    store.index = observation.store.index
    text = page.html(content(plan, store, observation))
    path = out or make_folder(store.root / "results" / plan.experiment.name) / "report.html"
    write_atomic(path, text)
    if out is None:
        sharing.let_in(plan.experiment.cluster.share_group, store.root, [path.parent])
    return path


def check(out: Path) -> None:
    """UsageError where no report can be written: before the work that it takes."""
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; name the file in it")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}")
    if not os.access(out.parent, os.W_OK):
        raise UsageError(f"--out {out}: you may not write in {out.parent}")
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out}: a report is HTML; its name ends in .html")
