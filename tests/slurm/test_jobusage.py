"""What jobs used, as accounting has it: by the formulas of seff and of jobstats, on lines as sacct writes them."""

from dataclasses import dataclass

import pytest

from slurm import jobusage
from slurm.accounting import NoAccounting
from slurm.commands import Output, Refusal, Silent
from slurm.jobusage import JobUsage, _bytes, _seconds
from tests.paths import SHARED_DATA
from tests.slurm.answers import install

SUBMITTED = "2026-11-21T09:00:00"
# A job with two steps beside its script, of which the second had two tasks.
LINES = f"""\
12_3|COMPLETED|600|720|billing=4,cpu=4,gres/gpu:a100=2,gres/gpu=2,mem=8G,node=2|40:00.500||||18000|{SUBMITTED}|a|b
12_3.batch|COMPLETED|600||cpu=4,mem=8G,node=1|00:01.500|6000K|1|cpu=00:00:01,energy=0,mem=6000K,vmem=9M||{SUBMITTED}|batch
12_3.extern|COMPLETED|600||billing=4,cpu=4,mem=8G,node=2|00:00:00||1||0|{SUBMITTED}|extern
12_3.0|COMPLETED|590||cpu=4,mem=8G,node=2|39:59|3145728K|2|cpu=00:39:59,mem=5.50G,pages=0|18000|{SUBMITTED}|python3
12_[4-9]|PENDING|0|720||00:00:00||||0|Unknown|a|b
12_1|RUNNING|30|720|cpu=4,mem=8G,node=1|00:00:00||||0|{SUBMITTED}|a|b
77|COMPLETED|30|720|cpu=4,mem=8G,node=1|00:01||||0|{SUBMITTED}|no array
"""


def _look(patch: pytest.MonkeyPatch, text: str) -> list[JobUsage]:
    install(patch, sacct=text)
    jobs = jobusage.look(["12"])
    assert jobs is not None
    return jobs


def test_a_job_with_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = _look(monkeypatch, LINES)
    assert job == JobUsage(
        "12", 3, "a|b", SUBMITTED, "COMPLETED", 600, 720 * 60, 4, 2, 2, 8 << 30, 2400.5, round(5.5 * 2**30), 18000
    )
    assert job.cpu_efficiency == pytest.approx(2400.5 / 2400) and job.memory_efficiency == pytest.approx(5.5 / 8)


def test_every_start_of_a_job_that_was_queued_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(
        f"12_0|{state}|{seconds}|UNLIMITED|cpu=1,mem=1G,node=1|00:00||||0|{SUBMITTED}|a\n"
        f"12_0.batch|CANCELLED|{seconds}||cpu=1,mem=1G,node=1|00:05|100M|1|||{SUBMITTED}|batch\n"
        for state, seconds in (("REQUEUED", 10), ("COMPLETED", 20))
    )
    jobs = _look(monkeypatch, lines)
    assert [(job.state, job.elapsed, job.cpu, job.limit, job.memory) for job in jobs] == [
        ("REQUEUED", 10, 5.0, None, 100 << 20), ("COMPLETED", 20, 5.0, None, 100 << 20),
    ]  # fmt: skip


def test_without_steps_the_jobs_own_line_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = _look(monkeypatch, f"12_0|CANCELLED by 7|5|10|cpu=1,node=1|00:03||||0|{SUBMITTED}|a\n")
    assert (job.state, job.cpu, job.memory, job.memory_efficiency) == ("CANCELLED", 3.0, 0, None)


def test_an_older_sacct_is_asked_for_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def sacct(command: list[str]) -> Output:
        if "TRESUsageInTot" in command[-1]:
            return Output(1, "", 'sacct: fatal: Invalid field requested: "TRESUsageInTot"')
        line = f"12_0|COMPLETED|60|1-00:00:00|cpu=2,mem=4G,node=1|01:00|100K|3|90K|0|{SUBMITTED}|a\n"
        return Output(0, line, "")

    install(monkeypatch, sacct=sacct)
    jobs = jobusage.look(["12"])
    assert jobs is not None and (jobs[0].limit, jobs[0].cpu, jobs[0].gpus) == (86400, 60.0, 0)


def test_silence_refusal_and_no_accounting(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, sacct=Silent("late"))
    assert jobusage.look(["12"]) is None
    install(monkeypatch, sacct=Output(1, "", "Slurm accounting storage is disabled"))
    with pytest.raises(NoAccounting):
        jobusage.look(["12"])
    install(monkeypatch, sacct=Output(1, "", "sacct: error: you may not"))
    with pytest.raises(Refusal, match="you may not"):
        jobusage.look(["12"])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:00", 0), ("39:59", 2399), ("03:04.567", 184.567), ("21:14:48", 76488), ("1-02:03:04", 93784), ("", 0)],
)
def test_times(text: str, seconds: float) -> None:
    assert _seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "count"),
    [("62328K", 62328 << 10), ("1.50G", 3 << 29), ("8G", 8 << 30), ("1024", 1024), ("4000Mc", 4000 << 20), ("", 0),
     ("16?", 16)],
)  # fmt: skip
def test_amounts(text: str, count: int) -> None:
    assert _bytes(text) == count


# --- the same numbers as others' tools


@dataclass(frozen=True)
class Step:
    """What seff and jobstats read of a step: seconds and bytes."""

    cpu: float
    peak_of_tasks: int  # together


def _seff(steps: list[Step], elapsed: int, cpus: int, allocated: int) -> tuple[float, float]:
    """As its source works them out: CPU seconds of all steps, microseconds rounded to whole ones; memory of the step
    with the most. Both in percent."""
    whole, fractions = sum(int(step.cpu) for step in steps), sum(step.cpu % 1 for step in steps)
    cpu = whole + int(fractions + 0.5)
    memory = max((step.peak_of_tasks / 1024 for step in steps), default=0.0)
    return 100 * cpu / (elapsed * cpus), 100 * memory / (allocated / 1024)


def _jobstats(nodes: list[tuple[float, int]], used: int, allocated: int, elapsed: int) -> tuple[float, int]:
    """Its overall lines, of (CPU seconds, cores) of each node and of memory: percent, to a tenth and to a whole one."""
    total = sum(elapsed * cores for _, cores in nodes)
    return round(100 * sum(seconds for seconds, _ in nodes) / total, 1), round(100 * used / allocated)


# Slurm 22.05.8's own lines of a job that burned 12 seconds of one of its two cores, with 300 MB, while others computed
# on the same machine; and of one that failed at once.
REAL = """\
1_0|COMPLETED|95|10|billing=2,cpu=2,gres/gpu=1,mem=1G,node=1|00:12.424||||0|2026-11-26T22:59:08|wrap
1_0.batch|COMPLETED|95||cpu=2,gres/gpu=1,mem=1G,node=1|00:00.017|10780K|1|cpu=00:00:00,energy=0,fs/disk=29170,mem=10780K,pages=0,vmem=219356K|0|2026-11-26T22:59:09|batch
1_0.0|COMPLETED|95||cpu=2,gres/gpu=1,mem=1G,node=1|00:12.407|320632K|1|cpu=00:00:12,energy=0,fs/disk=1686152,mem=320632K,pages=0,vmem=323772K|0|2026-11-26T22:59:09|python3
3_0|FAILED|0|60|billing=1,cpu=1,mem=64M,node=1|00:00.002|||||2026-11-26T22:59:09|wrap
3_0.batch|FAILED|0||cpu=1,mem=64M,node=1|00:00.002||1|energy=0|0|2026-11-26T23:00:45|batch
"""


def test_real_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    burning, failing = _look(monkeypatch, REAL)
    assert (burning.elapsed, burning.limit, burning.cpus, burning.gpus) == (95, 600, 2, 1)
    assert burning.cpu_efficiency is not None and burning.memory_efficiency is not None
    cpu, memory = _seff([Step(0.017, 10780 << 10), Step(12.407, 320632 << 10)], 95, 2, 1 << 30)
    assert 100 * burning.cpu_efficiency == pytest.approx(cpu, abs=100 * 0.5 / 190)
    assert f"{100 * burning.memory_efficiency:.2f}" == f"{memory:.2f}" == "30.58"
    assert (failing.state, failing.cpu_efficiency, failing.memory_efficiency) == ("FAILED", None, None)


def test_seffs_and_jobstats_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within what each rounds."""
    (job,) = _look(monkeypatch, LINES)
    assert job.cpu_efficiency is not None and job.memory_efficiency is not None
    steps = [Step(1.5, 6000 << 10), Step(0, 0), Step(2399, round(5.5 * 2**30))]
    cpu, memory = _seff(steps, 600, 4, 8 << 30)
    assert 100 * job.cpu_efficiency == pytest.approx(cpu, abs=100 * 0.5 / 2400)  # half a second
    assert 100 * job.memory_efficiency == pytest.approx(memory, abs=0.005)
    cpu, memory = _jobstats([(1201.5, 2), (1199.0, 2)], job.memory, 8 << 30, 600)
    assert 100 * job.cpu_efficiency == pytest.approx(cpu, abs=0.05)
    assert 100 * job.memory_efficiency == pytest.approx(memory, abs=0.5)


@pytest.mark.skipif(not (SHARED_DATA / "slurm_outputs").is_dir(), reason="no ../shared/data/slurm_outputs")
@pytest.mark.parametrize(
    ("number", "allocated", "cpu_percent", "memory_percent"),
    # What reportseff's own columns say by seff's formulas: CPU time and memory of its steps, of what it had.
    [(19, 4000 << 20, 100 * (19 * 3600 + 28 * 60 + 36) / (21 * 3600 + 14 * 60 + 48), 100 * 62328 / (4000 * 1024)),
     (23, 40 << 30, 100 * 3600 / (3629 * 2), 100 * 19855760 / (40 << 20))],
)  # fmt: skip
def test_recorded_jobs(
    monkeypatch: pytest.MonkeyPatch, number: int, allocated: int, cpu_percent: float, memory_percent: float
) -> None:
    """Real lines that were posted with a test of reportseff; in our columns, as an element of an array."""
    (path,) = (SHARED_DATA / "slurm_outputs").glob(f"{number}_*")
    lines = []
    for row in (line.split("^|^") for line in path.read_text().splitlines() if line.strip()):
        _, cpus, elapsed, identifier, _, memory, _, tasks, _, state, total, *_ = row
        job, dot, step = identifier.partition(".")
        tres = f"cpu={cpus},mem={allocated >> 20}M,node=1"
        lines.append(
            f"{job}_0{dot}{step}|{state}|{round(_seconds(elapsed))}|100|{tres}|{total}|{memory}|{tasks}|||{SUBMITTED}|j\n"
        )
    install(monkeypatch, sacct="".join(lines))
    (job_usage,) = jobusage.look(["1"]) or []
    assert job_usage.cpu_efficiency is not None and job_usage.memory_efficiency is not None
    assert 100 * job_usage.cpu_efficiency == pytest.approx(cpu_percent, abs=0.005)
    assert 100 * job_usage.memory_efficiency == pytest.approx(memory_percent, abs=0.005)
