"""The names that an experiment has, and the files that may be one, for a Tab in a shell: at once, without a plan.

A plan's names are kept in the user's cache by the commands that make one. Where none are kept yet, the file and its
store say some.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launch.plan import Plan

SUFFIXES = (".yaml", ".yml")
MOST = 200  # candidates that a shell is handed
_SCHEMA = 1


def folder() -> Path:
    """Where completion keeps what it is asked for, in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepstone" / "completion"


def files(incomplete: str) -> list[str]:
    """Experiment files whose path begins so, in the folder and those in it; hidden folders are left out."""
    head, tail = os.path.split(incomplete)
    paths: list[str] = []
    with suppress(OSError), os.scandir(os.path.expanduser(head) or ".") as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not entry.name.startswith(tail) or (entry.name.startswith(".") and not tail.startswith(".")):
                continue
            path = os.path.join(head, entry.name)
            if entry.name.endswith(SUFFIXES):
                paths.append(path)
            elif entry.is_dir():
                with suppress(OSError):
                    paths += [os.path.join(path, name) for name in sorted(os.listdir(entry)) if name.endswith(SUFFIXES)]
    return paths[:MOST]


def names(file: Path, kind: str, incomplete: str) -> list[str]:
    """Stages, recipes or targets of an experiment file that begin so, in order: as its plan was last, or, where it was
    not made since the file changed, as the file and its store say."""
    lines, is_current = _kept_names(file)
    if not is_current:
        with suppress(Exception):
            read_names = sorted({name for name in _read_names(file, kind) if name.startswith(incomplete)})
            if read_names:
                return read_names
    start = f"{kind[0]} {incomplete}"
    return [line[2:] for line in lines if line.startswith(start)]


def remember(plan: "Plan") -> None:
    """Keep the names of a plan for the next Tab. Never fails, and does nothing where they are kept."""
    from slurm.base.files import make_folder, write_atomic

    file = plan.experiment.path
    with suppress(Exception):
        if _is_kept(file):
            return
        lines = {f"s {stage.name}" for stage in plan.stages.values()}
        lines |= {f"r {recipe}" for recipe in plan.recipe_names}
        lines |= {f"t {target}" for target in plan.targets}
        path = _names_path(file)
        make_folder(path.parent)
        write_atomic(path, "\n".join([_stamp(file), *sorted(lines), ""]).encode())


def _kept_names(file: Path) -> tuple[list[str], bool]:
    try:
        head, _, body = _names_path(file).read_text(encoding="utf-8").partition("\n")
        return body.split("\n"), head == _stamp(file)
    except OSError:
        return [], False


def _is_kept(file: Path) -> bool:
    try:
        with _names_path(file).open(encoding="utf-8") as file_of_names:
            return file_of_names.readline().rstrip("\n") == _stamp(file)
    except OSError:
        return False


def _stamp(file: Path) -> str:
    status = os.stat(file)
    return f"{_SCHEMA} {status.st_mtime_ns} {status.st_size}"


def _names_path(file: Path) -> Path:
    import hashlib

    return folder() / "names" / hashlib.sha256(os.path.abspath(file).encode()).hexdigest()[:24]


def _read_names(file: Path, kind: str) -> Iterator[str]:
    """Of a file of which no plan is kept: what it names, and of stages those that were ever sent in its store."""
    import yaml

    content = yaml.load(file.read_text(encoding="utf-8"), yaml.BaseLoader)
    if kind == "stage":
        store = file.parent / os.path.expanduser(content["store"])
        yield from (name.rpartition("-")[0] for name in os.listdir(store / "stages") if not name.startswith("."))
    else:
        yield from content[f"{kind}s"]
