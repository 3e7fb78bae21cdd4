"""Several stages in one element: what happens at one of them is no failure of the others, and nothing is done again."""

import socket
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from launch import submit
from launch.draft import budget
from launch.job import element, inputs
from launch.job.stage import ElementRun
from launch.plan import Plan
from launch.status import Observation
from launch.store import Store, artifacts, attempts, manifests, provenance, sharing
from launch.store.attempts import Attempt, FailureNote, Starter
from launch.store.manifests import Manifest, StageEntry
from launch.submit import cancel, follow, retry
from slurm import local
from slurm.base.files import make_folder, to_json, write_atomic
from slurm.local import LocalRun
from slurm.queue import has_ended
from slurm.signals import StopFlag, requeue
from tests.launch import faulty_job, stub_job
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Limits, Run, Scheduler
from training.distributed import World
from training.model.parent import Parent

CLUSTER = {"executor": "slurm", "partition": "gpu", "time": "01:00:00", "mem": "8G"}
MORE: dict[str, Any] = {"recipes": ["none"], "targets": ["xquad"], "languages": {"default": ["en", "de"]}}
Work = Callable[[Run], Generator[None, None, int]]


@pytest.fixture(autouse=True)
def _quick(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    monkeypatch.setattr(inputs, "read_parent", _unread)


def _unread(folder: Path, heads: Path | None = None, known_hash: str | None = None) -> Parent:
    """Of a double's model, whose weights are none."""
    config: Any = None
    return Parent(folder, config, {}, "", heads_folder=heads, known_hash=known_hash)


def _look(plan: Plan) -> Observation:
    return Observation(plan, Store(plan.experiment.store), max_age=0)


def _states(plan: Plan) -> dict[str, str]:
    seen = _look(plan)
    return {stage.name: seen.state(stage).state for stage in plan.stages.values()}


def _manifest(run: Run) -> tuple[Manifest, Path, tuple[StageEntry, ...]]:
    manifest = manifests.read(Path(run.manifest))
    return manifest, Path(manifest.store), manifest.elements[run.index]


def _in_turn(work: Callable[[Run, StageEntry, Attempt], Generator[None, None, int | None]]) -> Work:
    """Each unfinished stage in an attempt; encoders go as in a real job. An exit code of `work` ends the element."""

    def run_in_turn(run: Run) -> Generator[None, None, int]:
        manifest, root, entries = _manifest(run)
        for entry in entries:
            if faulty_job._is_finished(root, manifest, entry):
                continue
            attempt = attempts.begin(root / "stages" / entry.folder, Starter.this_process(), has_ended)
            code = yield from work(run, entry, attempt)
            if code is not None:
                return code
            faulty_job._publish(manifest, entry, attempt)
            attempt.end()
            for folder in element.no_longer_read(entries, entry, manifest.drop[run.index], set()):
                artifacts.drop(root, run.manifest.parent, folder)
        return 0

    return run_in_turn


def _killed_at(target: str) -> Work:
    """Stands still in an attempt at that stage, until it is killed."""

    def work(run: Run, entry: StageEntry, attempt: Attempt) -> Generator[None, None, int | None]:
        while target in entry.folder:
            yield
        return None

    return _in_turn(work)


def _failing_at(target: str) -> Work:
    """As with several ranks: an error of one stage ends the job."""

    def work(run: Run, entry: StageEntry, attempt: Attempt) -> Generator[None, None, int | None]:
        yield
        if target not in entry.folder:
            return None
        attempt.end(FailureNote("code", "KeyError: 'answers'"))
        return 1

    return _in_turn(work)


def _near_the_time_limit(run: Run, entry: StageEntry, attempt: Attempt) -> Generator[None, None, int | None]:
    """A train takes 50 of the 60 minutes, and stops at the signal before the limit."""
    for _ in range(300 if entry.kind == "train" else 1):
        yield
        if run.signalled:
            attempt.end(FailureNote("time", "stopped by the signal before the time limit"))
            requeue()
            return element.TRY_AGAIN
    return None


def _as_the_job_does(run: Run) -> int:
    """The element's real loop and its real checks; only the computing is left to the double."""
    manifest, _, entries = _manifest(run)
    real = ElementRun(manifest, run.manifest, World(0, 1, 0, torch.device("cpu")), StopFlag())

    def compute(entry: StageEntry, attempt: Attempt) -> None:
        real._origin(entry)
        faulty_job._publish(manifest, entry, attempt)
        attempt.end()

    real._train = real._evaluate = compute  # type: ignore[method-assign]
    return element.run_stages(real, entries, manifest.drop[run.index])


def test_what_was_not_reached_did_not_fail(workspace: Workspace) -> None:
    """One evaluate is killed for want of memory until it is not sent any more; its neighbour has no part in that."""
    plan = workspace.plan(**(MORE | {"cluster": CLUSTER, "seeds": ["1"], "targets": ["xquad", "mlqa"]}))
    bad, good = plan.find("squad-s1--xquad"), plan.find("squad-s1--mlqa")
    with Scheduler(_killed_at("--xquad")).installed() as scheduler:
        for sent in range(4):
            done = submit.submit(plan)
            scheduler.advance(30)
            for running in list(scheduler.running):
                scheduler.kill(running, "OUT_OF_MEMORY", 0, 9)
            scheduler.run_all()
            seen = _look(plan)
            assert seen.state(bad).cause == "host-oom"
            assert seen.failures(good) == []
            if sent < 3:
                assert seen.state(good).state == "new"
        assert _states(plan)["squad-s1--mlqa"] == "finished"
        assert bad.key in done.draft.blocked and good.key not in done.draft.blocked


def test_it_stays_so_while_the_neighbour_is_tried_again(workspace: Workspace) -> None:
    """Alone, as somebody asks for, and for a file that asks only for the one that was not reached."""
    more: dict[str, Any] = MORE | {"cluster": CLUSTER, "seeds": ["1"], "keep": "all"}
    first = workspace.plan(**more | {"targets": ["mlqa"], "languages": {"default": ["en"]}})  # makes the encoder
    plan = workspace.plan(**more | {"targets": ["xquad", "mlqa"]})
    other = workspace.plan(**more | {"targets": ["mlqa"], "name": "other"})
    bad, good = plan.find("squad-s1--xquad"), plan.find("squad-s1--mlqa")
    with Scheduler(_killed_at("--xquad")).installed() as scheduler:
        submit.submit(first)
        scheduler.run_all()
        submit.submit(plan)
        scheduler.advance(30)
        for running in list(scheduler.running):
            scheduler.kill(running, "OUT_OF_MEMORY", 0, 9)
        scheduler.run_all()
        assert retry.select(plan, _look(plan), [], []) >= {bad.key, good.key}
        assert retry.select(plan, _look(plan), [], ["squad-s1--mlqa"]) == {good.key}
        submit.submit(plan, only={bad.key}, force={bad.key})
        scheduler.advance(30)
        for asked in (plan, other):
            seen = _look(asked)
            assert seen.state(good).state == "new" and seen.failures(good) == []


def test_local_attempts_are_of_the_run_that_they_began_in(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stages whose element died before either, twice; one alone is then done: the other stays as it was."""
    plan = workspace.plan(**(MORE | {"cluster": {"executor": "local"}, "seeds": ["1"], "targets": ["xquad", "mlqa"]}))
    monkeypatch.setattr(local, "start", _ended_at_once(lambda entries: entries[:1]))
    submit.submit(plan)  # the training alone
    monkeypatch.setattr(local, "start", _ended_at_once(lambda entries: ()))
    for _ in range(4):
        done = submit.submit(plan)
    left = plan.find("squad-s1--xquad")
    assert left.key in done.draft.blocked
    monkeypatch.setattr(local, "start", _ended_at_once(lambda entries: entries))
    chosen = {plan.find("squad-s1--mlqa").key}
    submit.submit(plan, only=chosen, force=chosen)
    assert _states(plan)["squad-s1--mlqa"] == "finished" and _states(plan)["squad-s1--xquad"] == "failed"
    assert left.key in submit.submit(plan).draft.blocked


def _ended_at_once(done: Callable[[tuple[StageEntry, ...]], tuple[StageEntry, ...]]) -> Callable[..., list[int]]:
    """Local workers that did some of each element's stages, and are over when they are looked at."""

    def start(folder: Path, run: LocalRun, workers: int, environment: dict[str, str]) -> list[int]:
        for name in ("claims", "ends", "logs"):
            make_folder(folder / name)
        write_atomic(folder / "workers.json", to_json({"host": socket.gethostname(), "workers": []}))
        for number, told in enumerate(run.elements):
            manifest = manifests.read(Path(told["STEPSTONE_MANIFEST"]))
            entries = manifest.elements[int(told["STEPSTONE_INDEX"])]
            finished = done(entries)
            for entry in finished:
                stub_job.do(Path(manifest.store), entry)
            (folder / "logs" / f"{number}_0_log.out").write_text("ImportError: libcudart.so.12: cannot open\n")
            write_atomic(folder / "ends" / f"{number}.json", to_json({"exit": int(finished != entries)}))
        return []

    return start


def test_neighbours_do_not_trip_the_breaker(workspace: Workspace) -> None:
    """Two stages fail alike, and `equal: 3` waits for a third."""
    plan = workspace.plan(**(MORE | {"cluster": CLUSTER, "seeds": ["1", "2"], "targets": ["xquad", "mlqa"]}))
    with Scheduler(_failing_at("--xquad")).installed() as scheduler:
        for _ in range(3):
            done = submit.submit(plan)
            scheduler.run_all()
            assert done.draft.breaker is None
        assert sorted(name for name, state in _states(plan).items() if state == "failed") == [
            "squad-s1--xquad",
            "squad-s2--xquad",
        ]


@pytest.mark.slow
def test_a_bundle_that_may_not_be_requeued_is_followed_to_its_end(workspace: Workspace) -> None:
    cluster = CLUSTER | {"bundle": "59:00"}
    plan = workspace.plan(**(MORE | {"cluster": cluster, "seeds": ["1", "2", "3", "4"]}))
    limits = Limits(may_requeue=False, partitions={"gpu": 3600.0})
    said: list[str] = []
    with Scheduler(_in_turn(_near_the_time_limit), limits).installed():
        submit.submit(plan)
        assert follow.follow(plan, said.append), said


def test_a_dropped_encoder_does_not_make_its_training_queued(workspace: Workspace) -> None:
    """Nor does the element that made it, started again, make it again."""
    cluster = CLUSTER | {"bundle": "10:00:00", "time": "24:00:00"}
    plan = workspace.plan(**(MORE | {"cluster": cluster, "seeds": ["1", "2", "3"]}))
    first = plan.find("squad-s1")
    with Scheduler(_killed_at("squad-s2--")).installed() as scheduler:
        submit.submit(plan)
        scheduler.advance(30)
        seen = _look(plan)
        assert not seen.has_encoder(first) and seen.state(first).state == "finished"
        assert first.key not in cancel.select(plan, seen).stages
        assert [stage.name for stage in seen.among(["running"])] == ["squad-s2--xquad"]
        scheduler.work = _as_the_job_does
        scheduler.requeue(scheduler.running[0])
        scheduler.run_all()
    assert set(_states(plan).values()) == {"finished"}
    tries = {s.name: len(attempts.attempts_of(seen.store.stage_folder(s.folder))) for s in plan.stages.values()}
    assert tries == dict.fromkeys(tries, 1) | {"squad-s2--xquad": 2}


def test_a_damaged_encoder_is_made_again(workspace: Workspace) -> None:
    """And the stages of another encoder in the same element go on."""
    cluster = CLUSTER | {"bundle": "10:00:00", "time": "24:00:00"}
    more = MORE | {"cluster": cluster, "seeds": ["1"], "recipes": ["squad", "hellaswag"], "keep": "all"}
    plan = workspace.plan(**more)
    with Scheduler(_as_the_job_does).installed() as scheduler:
        submit.submit(plan)
        scheduler.run_all()
        plan = workspace.plan(**(more | {"targets": ["xquad", "mlqa"]}))
        damaged = plan.find("squad.squad-s1")
        store = Store(plan.experiment.store)
        result = store.train_result(damaged)
        assert result is not None
        weights = store.stage_folder(damaged.folder) / result.attempt / "encoder" / "weights"
        weights.write_bytes(bytes(byte ^ 1 for byte in weights.read_bytes()))  # of the same size
        submit.submit(plan)
        scheduler.run_all()
        seen = _look(plan)
        assert seen.state(plan.find("squad.squad-s1--mlqa")).cause == "parent-missing"
        assert seen.state(plan.find("hellaswag.squad-s1--mlqa")).state == "finished"
        assert len(list(weights.parents[1].glob("encoder.*.quarantined"))) == 1
        submit.submit(plan)
        scheduler.run_all()
    assert set(_states(plan).values()) == {"finished"}


def test_the_group_is_let_in_while_a_stage_runs(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    shared: list[list[Path]] = []
    monkeypatch.setattr(sharing, "let_in", lambda group, root, parts: shared.append([*parts]))
    plan = workspace.plan(**(MORE | {"cluster": CLUSTER, "seeds": ["1"]}))
    with Scheduler(_as_the_job_does).installed() as scheduler:
        submit.submit(plan)
        shared.clear()
        scheduler.run_all()
    stages = Store(plan.experiment.store).root / "stages"
    assert shared == [[stages / stage.folder] for stage in plan.stages.values() for _ in range(2)]


def test_an_attempt_that_an_earlier_job_left_open_does_not_run(workspace: Workspace) -> None:
    """Nor does the time since count as GPU-hours."""
    cluster = CLUSTER | {"gpus-per-node": "4"}
    plan = workspace.plan(**(MORE | {"cluster": cluster, "seeds": ["1"]}))
    with Scheduler(_killed_at("squad-s1"), Limits(preempt="CANCEL")).installed() as scheduler:
        submit.submit(plan)
        scheduler.advance(30)
        assert _states(plan)["squad-s1"] == "running"
        scheduler.preempt(scheduler.running[0])
        scheduler.advance(30 * 3600)
        scheduler.work = _before_the_first_attempt
        submit.submit(plan)
        scheduler.advance(60)
        assert scheduler.running and set(_states(plan).values()) == {"queued"}
        assert budget.of(plan, _look(plan)).used < 1


def _before_the_first_attempt(run: Run) -> Generator[None, None, int]:
    while True:
        yield
