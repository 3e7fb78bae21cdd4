"""Slurm's commands, answered by the test: what was asked is kept, and a command without an answer fails the test."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from slurm import commands, usercache
from slurm.commands import Missing, Output, Silent

Say = str | Output | Exception | Callable[[Sequence[str]], Output]


class Answers:
    """Answers by the beginning of the command line; the longest that fits counts."""

    def __init__(self, **by_name: Say) -> None:
        self.by_start: dict[str, Say] = dict(by_name)
        self.asked: list[list[str]] = []
        self.timeouts: list[float] = []
        self.umasks: list[int] = []
        self.variables: list[Mapping[str, str]] = []

    def __call__(self, command: Sequence[str], timeout: float, umask: int, variables: Mapping[str, str]) -> Output:
        self.asked.append(list(command))
        self.timeouts.append(timeout)
        self.umasks.append(umask)
        self.variables.append(variables)
        fitting = [start for start in self.by_start if " ".join(command).startswith(start)]
        assert fitting, f"nobody expected {command}"
        said = self.by_start[max(fitting, key=len)]
        if isinstance(said, Exception):
            raise said
        if callable(said):
            return said(command)
        return Output(0, said, "") if isinstance(said, str) else said


def install(patch: pytest.MonkeyPatch, cache: Path | None = None, **by_name: Say) -> Answers:
    """Put these answers in Slurm's place, and `cache` (else none) in that of the user's cache."""
    answers = Answers(**by_name)
    if cache:
        patch.setenv("XDG_CACHE_HOME", str(cache))
    else:
        patch.setattr(usercache, "folder", lambda: None)
    patch.setattr(usercache, "_held", {})
    patch.setattr(commands, "runner", answers)
    return answers


def no_answers(command: str) -> Iterator[Say]:
    """The ways in which a command can stay without one."""
    yield Missing(command)
    yield Silent(f"{command} did not answer in 60 s")
    yield Output(1, "", f"{command}: error: Unable to contact slurm controller (connect failure)\n")
