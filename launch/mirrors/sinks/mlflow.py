"""MLflow: its folder of files, or the tracking server of MLFLOW_TRACKING_URI. A run is known again by a tag."""

import os
from collections.abc import Sequence

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from launch.mirrors.readings import Point, Run
from launch.mirrors.sinks import Place
from slurm.base import UsageError

_KEY = "stepstone.key"
_MOST = 1000  # metrics of one call
_PAGE = 1000


class MLflow:
    def __init__(self, place: Place) -> None:
        self._client = MlflowClient(_address(place))
        experiment = self._client.get_experiment_by_name(place.project)
        self._experiment = experiment.experiment_id if experiment else self._client.create_experiment(place.project)
        self._runs = self._existing_runs()

    def write(self, run: Run, points: Sequence[Point], *, last: bool) -> None:
        run_id = self._runs.get(run.key) or self._begin(run)
        metrics = [
            Metric(name, value, int(point.time * 1000), point.step)
            for point in points
            for name, value in point.values.items()
        ]
        for start in range(0, len(metrics), _MOST):
            self._client.log_batch(run_id, metrics[start : start + _MOST])
        if last:
            self._client.set_terminated(run_id)

    def close(self) -> None:
        """Every call was its own."""

    def _begin(self, run: Run) -> str:
        tags = {_KEY: run.key, "stepstone.kind": run.kind}
        run_id: str = self._client.create_run(self._experiment, run_name=run.unique_name, tags=tags).info.run_id
        params = [Param(name, str(value)) for name, value in run.config.items()]
        self._client.log_batch(run_id, params=params, tags=[RunTag("stepstone.recipe", run.group)])
        self._runs[run.key] = run_id
        return run_id

    def _existing_runs(self) -> dict[str, str]:
        """Their ids by stage key."""
        runs: dict[str, str] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=_PAGE, page_token=token)
            runs |= {run.data.tags[_KEY]: run.info.run_id for run in page if _KEY in run.data.tags}
            token = page.token
            if not token:
                return runs


def _address(place: Place) -> str:
    if not place.online:
        return (place.folder / "mlruns").absolute().as_uri()
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise UsageError("mlflow: --online goes to the server that MLFLOW_TRACKING_URI names; set it")
    return os.environ["MLFLOW_TRACKING_URI"]


def open_sink(place: Place) -> MLflow:
    return MLflow(place)
