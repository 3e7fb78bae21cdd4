"""The public face of slurm/ against a real Slurm: what it writes is what the readers were written for."""

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurm import accounting, control, jobusage, limits, queue, snapshot
from slurm.accounting import Ended
from slurm.arrays import ArrayRequest, Refused, send
from slurm.base import UserError
from slurm.base.files import make_folder
from tests.conftest import DevCluster

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _here(devcluster: DevCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", devcluster.environment["SLURM_CONF"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _send(folder: Path, name: str, command: str, indices: tuple[int, ...], **more: str) -> str:
    flags = {"cpus-per-task": 1, "ntasks-per-node": 1, "time": "5"} | more
    dependency = flags.pop("dependency", None)
    return send(
        ArrayRequest(
            name, ("bash", "-c", command), indices, folder / name, flags, dependency=str(dependency or "") or None
        )
    )


def _wait(found: Callable[[], object], seconds: float = 120) -> None:
    patience = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < patience, "it did not come to pass"
        time.sleep(0.3)


def _ended(job: str) -> dict[int, Ended]:
    return {index: one for (_, index), one in (accounting.ended([job]) or {}).items() if one.phase == "ended"}


def test_from_the_limits_to_the_last_record(tmp_path: Path) -> None:
    known = limits.discover(None, None, None)
    assert known.array_size == limits.max_array_size() == 1001
    assert known.jobs == 20000 and known.submit == () and known.times["gpu"] is None
    assert (known.default, known.nodes["gpu"], known.gpu_nodes["gpu"]) == ("gpu", 2, 2)
    assert limits.config()["PreemptMode"] == "REQUEUE" and limits.config()["PowerPlugin"] == ""
    assert accounting.available() is True

    well = _send(tmp_path, "well-1.0", "exit $((SLURM_ARRAY_TASK_ID == 1))", (0, 1, 3), gpus="1")
    sleeping = _send(tmp_path, "sleeping-1.0", "sleep 300", (0, 1, 2, 7))
    never = _send(tmp_path, "never-1.0", "true", (0,), dependency=f"afterok:{sleeping}_7")
    look = snapshot.look()
    assert look.stale_since is None and look.entries is not None
    assert {(e.job, e.index) for e in look.entries if e.job == sleeping} == {(sleeping, n) for n in (0, 1, 2, 7)}
    assert {e.name for e in look.entries} >= {"sleeping-1.0", "never-1.0"}

    control.set_throttle(sleeping, 1)
    control.cancel([f"{sleeping}_[1-2,7]", f"{sleeping}_0", never, "4000000"])
    assert snapshot.look().taken > look.taken
    _wait(lambda: not [e for e in snapshot.look(max_age=0).entries or [] if e.job in (sleeping, never)])
    assert queue.has_ended(f"{sleeping}_0") is True

    _wait(lambda: len(_ended(well)) == 3)
    records = _ended(well)
    assert {index: (one.state, one.exit_code) for index, one in records.items()} == {
        0: ("COMPLETED", 0), 1: ("FAILED", 1), 3: ("COMPLETED", 0),
    }  # fmt: skip
    assert {one.name for one in records.values()} == {"well-1.0"}
    assert accounting.ended([f"{well}_1", f"{well}_3"]) == {(well, index): records[index] for index in (1, 3)}
    an_hour_ago = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 3600))
    assert accounting.named("well-1.0", an_hour_ago) == [well]
    assert snapshot.calls(0)["sbatch"] == 3


_BURN = "import time; block = bytearray(300 << 20)\nwhile time.process_time() < 6: pass\nprint(time.process_time())"


def test_what_a_job_used_is_what_it_did(tmp_path: Path) -> None:
    """One of two cores for six seconds, with 300 MB; by seff's formulas on sacct's own columns, as they round."""
    job = _send(tmp_path, "burn-1.0", f"python3 -c '{_BURN}'", (0,), mem="1G", **{"cpus-per-task": "2"})
    _wait(lambda: 0 in _ended(job))
    (used,) = jobusage.look([job]) or []
    assert (used.name, used.state, used.cpus, used.allocated, used.limit) == ("burn-1.0", "COMPLETED", 2, 1 << 30, 300)
    assert 6 <= used.cpu < 12 and 300 << 20 < used.memory < 400 << 20
    columns = subprocess.run(
        ["sacct", "-n", "-P", "-j", f"{job}_0", "-o", "JobID,ElapsedRaw,CPUTimeRAW,MaxRSS"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    (_, elapsed, core_seconds, _), *steps = (line.split("|") for line in columns)
    largest = max(int(step[3].removesuffix("K") or 0) for step in steps)
    assert used.elapsed == int(elapsed) and used.cpu_efficiency == pytest.approx(used.cpu / int(core_seconds))
    assert used.memory_efficiency == pytest.approx(largest / (1 << 20), abs=0.0001)  # of one task, the largest is all


def test_a_requeued_element_has_the_record_of_its_last_start(tmp_path: Path) -> None:
    job = _send(tmp_path, "again-1.0", "sleep $((SLURM_RESTART_COUNT ? 0 : 300))", (4,))
    _wait(lambda: [e for e in queue.squeue() or [] if e.job == job and e.phase == "running"])
    assert control.requeue(f"{job}_4") and not control.requeue("4000000")
    assert queue.has_ended(f"{job}_4") is False
    _wait(lambda: _ended(job), 50)
    assert _ended(job)[4].state == "COMPLETED"


def test_what_waits_for_the_end_waits_for_that_of_a_requeued_element(tmp_path: Path) -> None:
    """`afterany`, by which the last job of an experiment waits."""
    note = tmp_path / "note"
    requeue = "scontrol requeue ${SLURM_ARRAY_JOB_ID}_0; sleep 60"  # the first start of element 0
    command = f"if [ $SLURM_ARRAY_TASK_ID$SLURM_RESTART_COUNT = 0 ]; then {requeue}; fi; sleep 1; echo over >> {note}"
    job = _send(tmp_path, "requeued-1.0", command, (0, 1))
    _send(tmp_path, "last-1.0", f"echo last >> {note}", (0,), dependency=f"afterany:{job}")
    _wait(lambda: note.exists() and "last" in note.read_text())
    assert note.read_text().split() == ["over", "over", "last"]


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o027, 0o640)])
def test_logs_are_closed_though_slurm_opens_them_first(tmp_path: Path, umask: int, mode: int) -> None:
    logs = make_folder(tmp_path / "logs")
    if umask == 0o027:  # as where a group is let in
        os.chown(logs, -1, 1)
        logs.chmod(0o2750)
    before = os.umask(0o002)
    try:
        flags = {"time": "5", "ntasks-per-node": 2}
        job = send(ArrayRequest("closed-1.0", ("sh", "-c", "umask"), (0, 1), logs, flags, umask=umask))
    finally:
        os.umask(before)
    _wait(lambda: len(_ended(job)) == 2)
    found = {path.name: path.stat() for path in logs.iterdir() if path.name != "script.sh"}
    assert {f"{job}_0_0_log.out", f"{job}_1_1_log.err"} <= found.keys()
    assert {stat.S_IMODE(one.st_mode) for one in found.values()} == {mode}
    assert {one.st_gid for one in found.values()} == {logs.stat().st_gid}
    assert (logs / f"{job}_0_1_log.out").read_text() == f"{umask:04o}\n"  # the job's own


def test_sbatchs_own_words(tmp_path: Path) -> None:
    for flags, words in (
        ({"partition": "nowhere"}, "invalid partition specified: nowhere; Batch job submission failed"),
        ({"account": "nobody"}, "Invalid account or account/partition combination specified"),
        ({"mem": "9000G"}, "Memory specification can not be satisfied"),
    ):
        with pytest.raises(UserError, match=f"^sbatch refused: .*{words}") as refused:
            _send(tmp_path, "bad-1.0", "true", (0,), **flags)
        assert type(refused.value) is Refused
    with pytest.raises(UserError, match="Invalid job array specification"):
        _send(tmp_path, "bad-1.0", "true", (1001,))


_WRAPPER = """\
#!/bin/bash
echo '*** Welcome | a | b | c | d | e | f | g | h | to the cluster ***'
echo 'Lmod: loaded slurm' >&2
for word in "$@"; do
  if [ "$word" = --all ] && [ {name} = squeue ]; then echo "squeue: unrecognized option '--all'" >&2; exit 1; fi
done
exec {real} "$@"
"""


def test_greetings_a_sites_own_squeue_held_arrays_and_requeuehold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "squeue", "sacct", "sacctmgr", "scontrol", "scancel", "sinfo"):
        wrapper = tmp_path / "bin" / name
        wrapper.write_text(_WRAPPER.format(name=name, real=shutil.which(name)))
        wrapper.chmod(0o755)
    known = limits.discover(None, None, None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    assert limits.discover(None, None, None) == known
    plain = ["sbatch", "--parsable", "--hold", "--array=0-40:2", "--output=/dev/null", "--wrap=true"]
    foreign = subprocess.run(plain, capture_output=True, text=True, check=True).stdout.split()[-1]
    words: list[str] = []
    request = ArrayRequest(
        "held-1.0",
        ("bash", "-c", "sleep $((SLURM_RESTART_COUNT ? 0 : 300))"),
        (0, 2),
        tmp_path / "held é",
        {"time": "5"},
    )
    job = send(request, words.append)
    assert words == ["Lmod: loaded slurm"]
    _wait(lambda: len([e for e in queue.squeue() or [] if e.job == job and e.phase == "running"]) == 2)
    entries = queue.squeue() or []
    assert [e.index for e in sorted(entries, key=lambda e: e.index or 0) if e.job == foreign and e.pending] == [
        *range(0, 41, 2)
    ]
    subprocess.run(["scontrol", "requeuehold", f"{job}_0"], check=True)
    _wait(lambda: [e for e in queue.squeue() or [] if e.job == job and e.index == 0 and e.pending])
    assert queue.has_ended(f"{job}_0") is False and queue.has_ended(f"{job}_2") is False
    assert accounting.available() is True and 0 not in _ended(job)
    control.cancel([f"{job}_2"])
    subprocess.run(["scontrol", "release", f"{job}_0"], check=True)
    _wait(lambda: {0, 2} <= _ended(job).keys())
    assert {index: record.state for index, record in _ended(job).items()} == {0: "COMPLETED", 2: "CANCELLED"}
    control.cancel([foreign])
    _wait(lambda: not [e for e in queue.squeue() or [] if e.job == foreign])
