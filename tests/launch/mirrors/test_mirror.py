"""One mirror's looks at a store: what it takes, what it remembers, when it is over."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from launch.mirrors.mirror import Mirror, alone
from launch.mirrors.readings import Point, Run
from launch.plan import Plan
from launch.status import racing
from launch.status.racing import Racing
from launch.store import Store
from slurm.base import UserError
from slurm.base.files import make_folder
from tests.launch.mirrors.logged_stage import LOG, begin, evaluate, finish, finish_all, lines
from tests.launch.workspace import Workspace


class Sink:
    """Keeps what it is given. `fails_at`: the write that raises."""

    def __init__(self, fails_at: int = -1) -> None:
        self.points: dict[str, list[Point]] = {}
        self.over: list[str] = []
        self.writes, self.fails_at = 0, fails_at

    def write(self, run: Run, points: Sequence[Point], *, last: bool) -> None:
        self.writes += 1
        if self.writes == self.fails_at:
            raise ConnectionError("gone")
        self.points.setdefault(run.name, []).extend(points)
        self.over += [run.name] if last else []

    def close(self) -> None:
        pass


def _mirror(plan: Plan, sink: Sink, root: Path) -> Mirror:
    return Mirror(plan, sink, make_folder(root / "mirror"), lambda points: None)


def test_every_stage_is_over_once(workspace: Workspace) -> None:
    plan = workspace.plan(seeds=["1"])
    finish_all(plan)
    sink = Sink()
    assert _mirror(plan, sink, workspace.root).look() and _mirror(plan, sink, workspace.root).look()
    assert sorted(sink.over) == sorted(stage.name for stage in plan.stages.values())


def test_after_a_failed_write_the_rest_comes_next_time(workspace: Workspace) -> None:
    plan = workspace.plan(seeds=["1"])
    finish_all(plan)
    whole = Sink()
    _mirror(plan, whole, workspace.root / "whole").look()
    for fails_at in range(1, whole.writes + 1):
        root = workspace.root / str(fails_at)
        sink = Sink(fails_at)
        with pytest.raises(ConnectionError):
            _mirror(plan, sink, root).look()
        assert _mirror(plan, sink, root).look()
        assert sink.points == whole.points


def test_scores_of_an_encoder_that_was_trained_anew_come_too(workspace: Workspace) -> None:
    plan = workspace.plan(seeds=["1"])
    store, sink, other_hash = finish_all(plan), Sink(), "sha256:" + "9" * 64
    training = plan.find("squad-s1")
    evaluations = [s for s in plan.stages.values() if s.kind == "evaluate" and s.parent == training.key]
    assert _mirror(plan, sink, workspace.root).look() and evaluations
    points_before = {name: list(points) for name, points in sink.points.items()}
    (store.stage_folder(training.folder) / "result.json").rename(workspace.root / "before")
    attempt = begin(store, training, lines(LOG))
    assert not _mirror(plan, sink, workspace.root).look()
    finish(store, training, attempt, other_hash)
    assert not _mirror(plan, sink, workspace.root).look()
    for stage in evaluations:
        evaluate(plan, store, stage, encoder_hash=other_hash)
    assert _mirror(plan, sink, workspace.root).look()
    for name, points in sink.points.items():
        new_points = points[len(points_before[name]) :]
        assert [point.values for point in new_points] == (
            [point.values for point in points_before[name]] if name in {stage.name for stage in evaluations} else []
        )
        assert {point.step for point in new_points} <= {1}


def test_a_race_is_over_without_the_seeds_that_it_does_without(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = workspace.plan(seeds={"min": "2", "max": "3", "until": "0.5"})
    store = Store(plan.experiment.store)
    late = {stage.key for stage in plan.stages.values() if stage.seed == 3}
    for stage in plan.stages.values():
        if stage.key in late:
            continue
        if stage.kind == "train":
            finish(store, stage, begin(store, stage, lines(LOG)))
        else:
            evaluate(plan, store, stage)
    assert late
    monkeypatch.setattr(racing, "of", lambda plan, observation: Racing(unneeded=dict.fromkeys(late, "decided")))
    assert _mirror(plan, Sink(), workspace.root).look()
    one_wanted = dict.fromkeys(sorted(late)[1:], "decided")
    monkeypatch.setattr(racing, "of", lambda plan, observation: Racing(unneeded=one_wanted))
    assert not _mirror(plan, Sink(), workspace.root).look()


def test_a_folder_that_cannot_be_made_is_another_to_choose(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Not a directory\. Choose another `--folder`"), alone(tmp_path / "file" / "x"):
        pass
