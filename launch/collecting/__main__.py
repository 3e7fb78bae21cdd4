"""`python -m launch.collecting [REQUEST]`: what a job, a local worker or a waiting command starts to have a table.

The request is a file in a submission, or comes on stdin; the last argument but it says who asks. One line on stdout
says how it went, and the exit code whether there is a table.
"""

import gc
import os
import sys
from pathlib import Path

from launch.collecting import collecting
from launch.store import collects
from launch.store.collects import CollectNote, CollectRequest
from launch.store.submissions import Submission

_NICENESS = 10  # beside what a person, or a training, is at


def main() -> None:
    """Collect what the request asks for."""
    by, *request_paths = sys.argv[1:]
    job = os.environ.get("SLURM_ARRAY_JOB_ID")
    if job is None:
        os.nice(_NICENESS)
    gc.disable()  # a plan is large and lives as long as this process
    request = _request(request_paths)
    note = collecting.collect(request, f"job {job}" if job else by, _log(request_paths, job))
    print(_line(note, request), flush=True)
    sys.exit(1 if note.error else 0)


def _request(paths: list[str]) -> CollectRequest:
    if not paths:
        return collects.read_request(sys.stdin.buffer.read())
    request = collects.request_in(Submission(Path(paths[0]).parent))
    assert request is not None, f"{paths[0]} is not there"
    return request


def _log(paths: list[str], job: str | None) -> str:
    """Where what this prints is kept."""
    if not paths:
        return ""
    folder = Path(paths[0]).parent
    return str(folder / "logs" / "0" / f"{job}_0_0_log.out" if job else folder / "local" / "logs" / "last.log")


def _line(note: CollectNote, request: CollectRequest) -> str:
    if note.error:
        return note.error
    return f"{note.finished} of {note.stages} stages finished"


if __name__ == "__main__":
    main()
