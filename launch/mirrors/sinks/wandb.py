"""W&B: offline run folders that `wandb sync` takes to its server later, or the server itself.

A run's id is the stage's key: an offline folder that was begun anew goes on in the same run when it is synced.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import wandb

from launch.mirrors.readings import Point, Run
from launch.mirrors.sinks import Place

_OPEN = 16  # runs at once
_TELLS_NOTHING: dict[str, Any] = {  # of the machine, its user, their code
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "silent": True,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}


class WandB:
    def __init__(self, place: Place) -> None:
        self._place = place
        self._runs: OrderedDict[str, Any] = OrderedDict()

    def write(self, run: Run, points: Sequence[Point], *, last: bool) -> None:
        wandb_run = self._runs.pop(run.key, None) or self._open(run)
        for point in points:
            wandb_run.log(dict(point.values), step=point.step)
        if last:
            wandb_run.finish()
        else:
            self._runs[run.key] = wandb_run

    def close(self) -> None:
        for wandb_run in self._runs.values():
            wandb_run.finish()
        self._runs.clear()

    def _open(self, run: Run) -> Any:
        while len(self._runs) >= _OPEN:
            self._runs.popitem(last=False)[1].finish()
        return wandb.init(
            project=self._place.project,
            id=run.key,
            name=run.name,
            group=run.group,
            job_type=run.kind,
            config=dict(run.config),
            mode="online" if self._place.online else "offline",
            resume="allow",
            reinit="create_new",
            dir=self._place.folder,
            settings=wandb.Settings(**_TELLS_NOTHING),
        )


def open_sink(place: Place) -> WandB:
    return WandB(place)
