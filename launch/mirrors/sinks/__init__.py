"""The programs that runs can be mirrored to, a file each: what is asked of one, and its own library."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from launch.mirrors.readings import Point, Run

KINDS = ("tensorboard", "mlflow", "wandb", "trackio")  # each a file here, and the package that it needs
PACKAGES = {"mlflow": "mlflow-skinny"}  # where pip calls it otherwise


@dataclass(frozen=True)
class Place:
    """Where runs go. `online`: to the server that the program's own settings name; else below `folder` alone."""

    folder: Path
    project: str
    online: bool


class Sink(Protocol):
    """One program. It raises what it raises: the process that it runs in is its own."""

    def write(self, run: Run, points: Sequence[Point], *, last: bool) -> None:
        """Add points to a run, begun where it is new; durable when this returns. `last`: nothing more will come."""

    def close(self) -> None:
        """Leave all runs."""


def open_sink(kind: str, place: Place) -> Sink:
    """The sink of this kind."""
    assert kind in KINDS, kind
    sink: Sink = import_module(f"launch.mirrors.sinks.{kind}").open_sink(place)
    return sink
