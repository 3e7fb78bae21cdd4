"""Whose table a results folder holds: two experiment files of one `name:` in one store would write over each other's.

results/<experiment>/experiment.json  the file whose table this is, and which stages that asked for
"""

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from launch.experiment import yaml_text
from launch.plan import Plan
from launch.store import collects, records
from launch.text import as_typed
from slurm.base import UsageError, UserError, look
from slurm.base.files import to_json, write_atomic
from slurm.base.paths import absolute


@dataclass(frozen=True)
class Owner:
    """`file`: its absolute path; `stages`: a hash of their keys."""

    file: str
    stages: str
    schema: Literal[1] = 1


_OWNER = TypeAdapter(Owner)


def check(plan: Plan) -> None:
    """UsageError where the folder holds another file's table, of other stages: a copy's of the same is the same."""
    owner, e = _other(plan), plan.experiment
    if owner is not None and owner.stages != collects.stages_hash(plan.stages):
        raise UsageError(
            f"{collects.results_folder(e.store, e.name)}: holds the table of {owner.file}, which has the same `name:`"
            f" and asks for other stages; write another `name:` into {as_typed(e.path)}"
        )


def note(plan: Plan) -> None:
    """Say in the folder whose it is, if it has a table; nothing where the store is only read, or full."""
    e = plan.experiment
    folder, owner = collects.results_folder(e.store, e.name), Owner(str(e.path), collects.stages_hash(plan.stages))
    with suppress(OSError):
        if _read(plan) != owner and _other(plan) is None and look.exists(folder / "results.parquet"):
            write_atomic(folder / "experiment.json", to_json(asdict(owner)))


def _read(plan: Plan) -> Owner | None:
    e = plan.experiment
    return records.read(collects.results_folder(e.store, e.name) / "experiment.json", _OWNER)


def _other(plan: Plan) -> Owner | None:
    """Whose the folder is, if it is another file that has this name and store still: one that was moved is the same."""
    owner, e = _read(plan), plan.experiment
    if owner is None or owner.file == str(e.path):
        return None
    try:
        if not look.exists(Path(owner.file)) or (e.path.exists() and os.path.samefile(owner.file, e.path)):
            return None
        content = yaml_text.load(Path(owner.file)).value  # no more: loading it whole would make known its own tasks
        store = absolute(Path(str(content.get("store"))).expanduser(), Path(owner.file).parent)
    except (OSError, UserError, RuntimeError):  # closed to this user, half-written, `~nobody`: it may well be
        return owner
    is_same = content.get("name") == e.name and os.path.realpath(store) == os.path.realpath(e.store)
    return owner if is_same else None
