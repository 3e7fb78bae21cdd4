"""Jobs, slurmd and slurmctld of a real Slurm killed in any order, to the end. `make chaos` does so for 1,000 stages."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.launch import chaos
from tests.launch.test_faults import Lab, folder, make_lab, place  # noqa: F401

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

STAGES = 26


def test_whatever_is_killed_every_stage_gets_its_result(make_lab: Callable[..., Lab]) -> None:  # noqa: F811
    """Each blow falls at least once: until then the stages last, and from then on they take no time."""
    lab = make_lab(seconds=3)
    lab = replace(lab, plan=chaos.plan(lab.workspace, STAGES))
    seed = time.time_ns()
    print(f"seed {seed}")
    kills = chaos.Chaos(lab, seed)
    blows = [*chaos.BLOWS, "job", "job"]
    kills.random.shuffle(blows)
    struck = 0.0
    for blow in blows:
        while (blow == "slurmctld" and not _is_noted(lab, struck)) or not kills.strike(blow):
            assert not kills.is_finished(), f"it was through before a {blow} could be killed"
            time.sleep(0.5)
        if blow in ("job", "requeue"):
            struck = time.time()
    lab.pace(0)
    while not kills.is_finished():
        assert kills.seconds < 400, {s.name: lab.look().state(s) for s in lab.plan.stages.values()}
        time.sleep(0.5)
    kills.check()
    assert len(lab.plan.stages) == STAGES and all(kills.counts[blow] for blow in chaos.BLOWS)


def _is_noted(lab: Lab, struck: float) -> bool:
    """Whether slurmctld has saved what became of its jobs since it was sent the last one, the last one began, or was
    hit. Where it is killed before, it forgets that, and `submit` waits a minute for accounting to know of it."""
    files = [*lab.store.glob("submissions/*/receipt-*.json"), *lab.store.glob("stages/*/attempts/*/starter.json")]
    last = max([struck, *(path.stat().st_mtime for path in files)])
    return bool(files) and (lab.cluster / "ctld" / "job_state").stat().st_mtime > last
