"""The logs of a stage: what the job that last ran it printed."""

from pathlib import Path

from launch import submissions
from launch.plan import Stage
from slurm.errors import UserError


def files(root: Path, stage: Stage) -> list[Path]:
    """The log files of the element that a stage was last sent in, whichever task wrote them."""
    location = submissions.locate(submissions.read_all(root)).get(stage.key)
    if location is None:
        raise UserError(f"{stage.name} was never sent; `stepstone submit FILE` sends it")
    submission = location.submission
    if submission.is_local:
        number = submission.local_element(location.array, location.index)
        found = (submission.folder / "local" / "logs").glob(f"{number}_*_log.*")
    else:
        found = submission.logs(location.array).glob(f"{location.job}_{location.index}_*_log.*")
    return sorted(path for path in found if path.stat().st_size)
