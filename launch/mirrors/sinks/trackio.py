"""trackio: its data base below TRACKIO_DIR, which the process was given, or the Space of TRACKIO_SPACE_ID.

It holds one run at a time, so each write begins its run anew; trackio knows it by its name.
"""

from collections.abc import Sequence

import trackio

from launch.mirrors.readings import Point, Run
from launch.mirrors.sinks import Place


class Trackio:
    def __init__(self, place: Place) -> None:
        self._project = place.project

    def write(self, run: Run, points: Sequence[Point], *, last: bool) -> None:
        trackio_run = trackio.init(
            self._project,
            name=run.unique_name,
            group=run.group,
            config=dict(run.config),
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        for point in points:
            trackio_run.log(dict(point.values), step=point.step)
        trackio_run.finish()

    def close(self) -> None:
        """Every write was its own."""


def open_sink(place: Place) -> Trackio:
    return Trackio(place)
