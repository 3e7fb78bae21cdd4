"""Attempts and fencing, with many real processes at once: what was fenced publishes nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.store import attempts
from launch.store.attempts import Attempt, FailureNote, Fenced, Heartbeat, RunningElsewhere, Starter, attempts_of, begin
from slurm.base.files import read_sealed
from slurm.base.processes import start_time
from tests.at_once import at_once, trials


def _job(job: str | None, restart: int = 0, host: str = "node1", pid: int = 1) -> Starter:
    return Starter(job, restart, host, pid, None)


def _running(job: str) -> bool | None:
    return False


def _ended(job: str) -> bool | None:
    return True


def _unknown(job: str) -> bool | None:
    return None


def _age(attempt: Attempt, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(attempt.folder / "heartbeat.json", (then, then))


# --- who may start


def test_the_first_attempt(tmp_path: Path) -> None:
    attempt = begin(tmp_path / "stage", _job("7_0"), _running)
    assert attempt.number == 1 and not attempt.is_fenced()
    assert attempts.starter_of(attempt).job == "7_0"
    assert attempt.folder.stat().st_mode & 0o777 == 0o700
    attempt.publish({"made": 1})
    assert read_sealed(tmp_path / "stage" / "result.json") == {"made": 1}


def test_a_live_other_job_is_left_alone(tmp_path: Path) -> None:
    first = begin(tmp_path, _job("7_0"), _running)
    for answer in (_running, _unknown):  # unknown is never "ended"
        with pytest.raises(RunningElsewhere, match="7_0"):
            begin(tmp_path, _job("8_0"), answer)
    first.publish({"made": 1})


def test_a_later_start_of_the_same_job_fences(tmp_path: Path) -> None:
    first = begin(tmp_path, _job("7_0"), _running)
    second = begin(tmp_path, _job("7_0", restart=1), _running)
    assert (second.number, first.is_fenced()) == (2, True)
    with pytest.raises(Fenced):
        first.publish({"made": 1})
    assert not (tmp_path / "result.json").exists()
    second.publish({"made": 2})
    with pytest.raises(Fenced):
        first.publish({"made": 1})
    assert read_sealed(tmp_path / "result.json") == {"made": 2}


def test_a_job_that_slurm_says_has_ended_is_fenced(tmp_path: Path) -> None:
    first = begin(tmp_path, _job("7_0"), _running)
    assert begin(tmp_path, _job("8_0"), _ended).number == 2
    assert first.is_fenced()


def test_a_stale_heartbeat_is_fenced_a_fresh_one_is_not(tmp_path: Path) -> None:
    first = begin(tmp_path, _job("7_0"), _running)
    _age(first, attempts.STALE_SECONDS - 20)
    with pytest.raises(RunningElsewhere):
        begin(tmp_path, _job("8_0"), _unknown)
    _age(first, attempts.STALE_SECONDS + 20)
    assert begin(tmp_path, _job("8_0"), _unknown).number == 2
    assert not list(first.folder.glob(".clock*"))


def test_an_attempt_that_noted_its_end_is_over(tmp_path: Path) -> None:
    first = begin(tmp_path, _job("7_0"), _running)
    first.end(FailureNote("user", "no"))
    assert attempts.end_of(first).failure == FailureNote("user", "no")
    assert begin(tmp_path, _job("8_0"), _running).number == 2


def test_a_dead_local_process_is_fenced_a_live_one_is_not(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    me = Starter(None, 0, "here", os.getpid(), start_time(os.getpid()))
    begin(tmp_path, Starter(None, 0, "here", process.pid, start_time(process.pid)), _running)
    with pytest.raises(RunningElsewhere):
        begin(tmp_path, me, _ended)
    process.kill()
    process.wait()
    assert begin(tmp_path, me, _running).number == 2


def test_a_later_process_with_the_same_number_is_another(tmp_path: Path) -> None:
    now = start_time(os.getpid())
    assert now is not None
    begin(tmp_path, Starter(None, 0, "here", os.getpid(), now - 1), _running)
    assert begin(tmp_path, _job(None, host="here"), _running).number == 2


def test_a_local_process_of_another_host_is_judged_by_its_heartbeat(tmp_path: Path) -> None:
    first = begin(tmp_path, _job(None, host="there", pid=2**22 + 1), _running)
    with pytest.raises(RunningElsewhere):
        begin(tmp_path, _job(None, host="here"), _ended)
    _age(first, attempts.STALE_SECONDS + 20)
    assert begin(tmp_path, _job(None, host="here"), _ended).number == 2


def test_starter_from_slurms_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ARRAY_JOB_ID", "12"), ("ARRAY_TASK_ID", "3"), ("JOB_ID", "15"), ("RESTART_COUNT", "2")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    starter = Starter.this_process()
    assert (starter.job, starter.restart, starter.pid) == ("12_3", 2, os.getpid())


# --- publishing


def test_publishing_twice_is_one_result(tmp_path: Path) -> None:
    """A network file system may lose the reply of a rename that was done; a retry must not look like fencing."""
    attempt = begin(tmp_path, _job("7_0"), _running)
    attempt.publish({"made": 1})
    attempt.publish({"made": 1})
    with pytest.raises(Fenced):
        attempt.publish({"made": 2})
    assert read_sealed(tmp_path / "result.json") == {"made": 1}


@pytest.mark.parametrize("content", [b"", b"{}", b'{"made":1}', b"\xff\x00"])
def test_a_torn_result_does_not_verify(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "result.json").write_bytes(content)
    assert read_sealed(tmp_path / "result.json") is None


def test_a_result_cut_anywhere_does_not_verify(tmp_path: Path) -> None:
    begin(tmp_path, _job("7_0"), _running).publish({"made": 1})
    whole = (tmp_path / "result.json").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "result.json").write_bytes(whole[:length])
        assert read_sealed(tmp_path / "result.json") is None, length


def test_a_heartbeat_says_how_far_it_is(tmp_path: Path) -> None:
    attempt = begin(tmp_path, _job("7_0"), _running)
    _age(attempt, 1000)
    with Heartbeat(attempt) as beat:
        beat.progress(step=3, total=9)
    path = attempt.folder / "heartbeat.json"
    assert json.loads(path.read_bytes())["step"] == 3 and time.time() - path.stat().st_mtime < 100


# --- killed in between

KILLED = """
import os, signal, sys
from pathlib import Path
from launch.store import attempts
left = int(sys.argv[2])
def counted(function):
    def wrapper(*arguments, **named):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return wrapper
for name in ("open", "mkdir", "rename", "replace", "fsync", "unlink", "link", "write"):
    setattr(os, name, counted(getattr(os, name)))
starter = attempts.Starter(None, 0, "here", os.getpid(), attempts.start_time(os.getpid()))
attempts.begin(Path(sys.argv[1]), starter, lambda job: None).publish({"made": "killed"})
print("through")
"""


def _killed_at(folder: Path, step: int) -> bool:
    """Begin and publish in a process that is killed before its n-th call to the system; whether it got through."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(step)], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode == 0


@pytest.mark.slow
def test_killed_at_any_step_the_stage_can_be_claimed(tmp_path: Path) -> None:
    through = False
    step = 0
    while not through:
        step += 1
        folder = tmp_path / str(step)
        through = _killed_at(folder, step)
        result = read_sealed(folder / "result.json")
        assert result in (None, {"made": "killed"})  # never torn
        attempt = begin(folder, _job(None, host="here"), _running)
        if result is None:
            attempt.publish({"made": "later"})
            assert read_sealed(folder / "result.json") == {"made": "later"}
    assert step > 10


# --- many at once

TRIALS = trials(25)


@pytest.mark.parametrize("trial", TRIALS)
def test_many_starts_of_one_job_publish_one_result(tmp_path: Path, trial: int) -> None:
    """Every start fences those before it: all get a number of their own, and the highest can always publish."""

    def work(number: int) -> tuple[int, str]:
        attempt = begin(tmp_path, _job("7_0", restart=number, pid=number), _running)
        try:
            attempt.publish({"by": number})
        except Fenced:
            return attempt.number, "fenced"
        return attempt.number, "published"

    answers = at_once(4 + trial % 5, work)
    numbers = sorted(number for number, _ in answers)
    assert numbers == list(range(1, len(answers) + 1))
    assert dict(answers)[numbers[-1]] == "published"
    (highest,) = (n for n, (number, _) in enumerate(answers) if number == numbers[-1])
    assert read_sealed(tmp_path / "result.json") == {"by": highest}
    assert [attempt.is_fenced() for attempt in attempts_of(tmp_path)] == [True] * len(answers)


@pytest.mark.parametrize("trial", TRIALS)
def test_many_jobs_at_once_agree_on_the_one_that_publishes(tmp_path: Path, trial: int) -> None:
    """Different jobs: some leave, some are fenced; after all have begun only the highest attempt can publish."""

    def start(number: int) -> str | None:
        try:
            return begin(tmp_path, _job(f"{number}_0", pid=number), _running).folder.name
        except RunningElsewhere:
            return None

    def publish(number: int) -> bool:
        try:
            begun[number].publish({"by": number})
        except Fenced:
            return False
        return True

    names = [name for name in at_once(4 + trial % 5, start) if name]
    begun = sorted((Attempt(tmp_path / "attempts" / name) for name in names), key=lambda attempt: attempt.number)
    assert [attempt.is_fenced() for attempt in begun] == [True] * (len(begun) - 1) + [False]
    assert at_once(len(begun), publish) == [False] * (len(begun) - 1) + [True]
    assert read_sealed(tmp_path / "result.json") == {"by": len(begun) - 1}


@pytest.mark.parametrize("trial", TRIALS)
def test_a_slow_publisher_never_replaces_what_a_later_attempt_published(tmp_path: Path, trial: int) -> None:
    """One publishes again and again while others begin and publish: once a later one has, the slow one cannot."""
    slow = begin(tmp_path, _job("1_0"), _running)

    def work(number: int) -> bool:
        if number == 0:
            time.sleep(0.0005 * (trial % 7))
            try:
                slow.publish({"by": 0})
            except Fenced:
                return False
            return read_sealed(tmp_path / "result.json") is not None
        later = begin(tmp_path, _job("1_0", restart=number), _running)
        try:
            later.publish({"by": number})
        except Fenced:
            return False
        assert read_sealed(tmp_path / "result.json") != {"by": 0}  # ours came after the slow one was fenced
        return True

    answers = at_once(4, work)
    assert any(answers[1:])
    assert read_sealed(tmp_path / "result.json") != {"by": 0}
    with pytest.raises(Fenced):
        slow.publish({"by": "late"})
