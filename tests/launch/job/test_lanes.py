"""The process of a packed element: it starts the lanes, hands signals on, notes who was killed, says how all ended."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.job import FAILED, TRY_AGAIN, lanes
from launch.store import attempts, logs
from launch.store.attempts import Starter
from launch.store.manifests import Manifest, StageEntry
from slurm.base.files import make_folder
from slurm.resources import Asked
from slurm.signals import StopFlag
from training.pretrained import StartModel

JOB = "77_3"
# Stands for `python -m launch.job … --lane N`: does what its lane's file says, after it has taken the signals.
STUB = """\
#!{python} -IS
import os, signal, sys, time
lane = sys.argv[sys.argv.index("--lane") + 1]
print("--- start 0", flush=True)
signal.signal(signal.SIGUSR2, lambda *_: os._exit(75))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2, signal.SIGTERM])
open("{folder}/began-" + lane, "w").close()
exec(open("{folder}/lane-" + lane).read())
"""
Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(lanes, "_GRACE_SECONDS", 0.0)
    monkeypatch.setattr(lanes, "_POLL_SECONDS", 0.01)
    for name, value in (("SLURM_ARRAY_JOB_ID", "77"), ("SLURM_ARRAY_TASK_ID", "3"), ("SLURM_JOB_ID", "80")):
        monkeypatch.setenv(name, value)
    stub = tmp_path / "python"
    stub.write_text(STUB.format(python=sys.executable, folder=tmp_path))
    stub.chmod(0o755)
    monkeypatch.setattr(lanes.sys, "executable", str(stub))
    make_folder(tmp_path / "submission/logs/0")

    def run_lanes(*work: str, stop: StopFlag | None = None) -> int:
        for lane, text in enumerate(work):
            (tmp_path / f"lane-{lane}").write_text(text)
        entries = tuple(StageEntry(f"k{n}", f"stage-{n}", "train", {}, {}) for n in range(len(work)))
        manifest = Manifest(str(tmp_path), StartModel("folder:0"), {3: entries}, {3: ()}, lanes={3: (1,) * len(work)})
        return lanes.run(manifest, tmp_path / "submission/manifest-0.json", 3, stop or StopFlag())

    return run_lanes


def _begin(root: Path, stage: str, job: str = JOB) -> attempts.Attempt:
    return attempts.begin(make_folder(root / "stages" / stage), Starter(job), lambda job: False)


@pytest.mark.parametrize(
    ("codes", "code"), [((0, 0), 0), ((0, 1), FAILED), ((75, 0), TRY_AGAIN), ((75, 1, 0), FAILED), ((0, 3), FAILED)]
)
def test_the_job_has_failed_where_any_lane_has(run: Run, codes: tuple[int, ...], code: int) -> None:
    assert run(*(f"sys.exit({lane_code})" for lane_code in codes)) == code


def test_each_lane_prints_to_a_log_of_its_own(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run("print('mine')", "print('yours', file=sys.stderr)")
    folder = tmp_path / "submission/logs/0"
    (folder / "77_3_0_log.out").write_text("the job's")
    assert sorted(path.name for path in folder.iterdir()) == [
        "77_3_0_log.out", "77_3_1_log.err", "77_3_1_log.out", "77_3_2_log.err", "77_3_2_log.out",
    ]  # fmt: skip
    assert "mine" in (folder / "77_3_1_log.out").read_text() and "yours" in (folder / "77_3_2_log.err").read_text()
    names = [path.name for path in logs.of_job(tmp_path / "submission/manifest-0.json", JOB, 1)]
    assert names == ["77_3_0_log.out", "77_3_2_log.err", "77_3_2_log.out"]
    said = capfd.readouterr().out.splitlines()
    assert said[0].startswith("lane 1: stage-0: ") and "lane 2: exit code 0" in said


def test_a_killed_lane_is_noted_at_its_stage_alone(run: Run, tmp_path: Path) -> None:
    killed, neighbour = _begin(tmp_path, "stage-0"), _begin(tmp_path, "stage-1")
    assert run("os.kill(os.getpid(), 9)", "pass") == FAILED
    note = attempts.end_of(killed)
    assert note is not None and note.failure is not None and note.failure.cause == "host-oom"
    assert attempts.end_of(neighbour) is None
    err = (tmp_path / "submission/logs/0/77_3_1_log.err").read_text()
    assert "ended by signal 9: exit code 137" in err


def test_what_another_job_is_at_is_not_noted(run: Run, tmp_path: Path) -> None:
    elsewhere = _begin(tmp_path, "stage-0", "78_0")
    run("os.kill(os.getpid(), 9)", "pass")
    assert attempts.end_of(elsewhere) is None


def _signal_when_begun(folder: Path, count: int, stop: StopFlag, number: int) -> None:
    def look() -> None:
        while len(list(folder.glob("began-*"))) < count:
            time.sleep(0.01)
        stop.received = number

    threading.Thread(target=look, daemon=True).start()


def test_all_are_told_and_the_job_comes_back_once(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requeued: list[bool] = []
    monkeypatch.setattr(lanes, "requeue", lambda: requeued.append(True) or True)
    stop = StopFlag()
    _signal_when_begun(tmp_path, 3, stop, signal.SIGUSR2)
    assert run("time.sleep(60)", "time.sleep(60)", "pass", stop=stop) == TRY_AGAIN
    assert requeued == [True]


def test_who_is_ended_by_term_is_not_queued_again_nor_said_to_have_run_out_of_memory(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "requeue", lambda: pytest.fail("queued again"))
    attempt, stop = _begin(tmp_path, "stage-0"), StopFlag()
    _signal_when_begun(tmp_path, 2, stop, signal.SIGTERM)
    assert run("time.sleep(60)", "time.sleep(60)", stop=stop) == FAILED
    assert attempts.end_of(attempt) is None


def test_each_lane_has_its_part_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[list[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {8, 9, 2, 3, 4})
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: taken.append(cores))
    entries = tuple(StageEntry(f"k{n}", f"stage-{n}", "train", {}, {}) for n in range(2))
    for asked, cores in ((Asked(cores=4), 2), (Asked(cores=8), 4), (None, 2)):
        manifest = Manifest("/", StartModel("folder:0"), {0: entries}, {0: ()}, asked=asked, lanes={0: (1, 1)})
        lane = lanes.share(manifest, 0, 1)
        assert lane.asked is not None and lane.asked.cores == cores and [e.key for e in lane.elements[0]] == ["k1"]
    assert taken == [[4, 8]] * 3
