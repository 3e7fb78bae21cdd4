"""The circuit breaker of one submission: once enough stages failed alike by their code, what starts later ends at once.

submissions/<time>-<id>/  failures/<stage>.json  held.json
"""

import os
from pathlib import Path

from launch.policies import Failures, held_words
from slurm.base.files import make_folder, read_sealed, seal, write_once
from slurm.causes import Verdict, alike


def note(submission: Path, stage: str, verdict: Verdict, policy: Failures) -> None:
    """Count a stage's failure; with the last one that the policy allows, hold the rest. Of other causes, nothing."""
    if verdict.cause != "code":
        return
    folder = make_folder(submission / "failures")
    write_once(folder / f"{stage}.json", seal({"stage": stage, "evidence": verdict.evidence}))
    # Counted after one's own is there: of several at once, the last to write sees all.
    found = [read_sealed(folder / name) for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    equal = sum(record is not None and alike(record["evidence"]) == alike(verdict.evidence) for record in found)
    if equal >= policy.equal:
        write_once(
            submission / "held.json", seal({"line": held_words(equal, verdict.evidence), "evidence": verdict.evidence})
        )


def held_line(submission: Path) -> str | None:
    """Why the rest of a submission is held; None where it is not."""
    record = read_sealed(submission / "held.json")
    return str(record["line"]) if record else None
