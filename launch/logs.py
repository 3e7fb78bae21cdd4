"""The logs of a stage: what the job that last ran it printed."""

from pathlib import Path

from launch import submissions
from launch.plan import Stage
from launch.submissions import Location
from slurm.errors import UserError

_TAIL = 20_000  # characters of a log that are looked at


def files(root: Path, stage: Stage) -> list[Path]:
    """The log files of the element that a stage was last sent in, whichever task wrote them."""
    location = submissions.locate(submissions.read_all(root)).get(stage.key)
    if location is None:
        raise UserError(f"{stage.name} was never sent; `stepstone submit FILE` sends it")
    return files_at(location)


def files_at(location: Location) -> list[Path]:
    """The log files of the element at a location."""
    submission = location.submission
    if submission.is_local:
        number = submission.local_element(location.array, location.index)
        found = (submission.folder / "local" / "logs").glob(f"{number}_*_log.*")
    else:
        found = submission.logs(location.array).glob(f"{location.job}_{location.index}_*_log.*")
    return sorted(path for path in found if path.stat().st_size)


def last_error(location: Location) -> str | None:
    """The last line of an element's logs that calls itself an error: why a job ended that no attempt speaks for."""
    lines = [line for path in files_at(location) for line in path.read_text(errors="replace")[-_TAIL:].splitlines()]
    return next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), None)
