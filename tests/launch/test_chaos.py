"""Jobs and daemons of a real Slurm killed at random, to the end. `make chaos` does so with 1,000 stages."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.launch import chaos
from tests.launch.test_faults import Lab, folder, make_lab, place  # noqa: F401

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_whatever_is_killed_every_stage_gets_its_result(make_lab: Callable[..., Lab]) -> None:  # noqa: F811
    lab = make_lab(seconds=0.1)
    lab = replace(lab, plan=chaos.plan(lab.workspace, 26))
    counts = chaos.run(lab, seed=3, quiet_after=20)
    assert counts.total() > counts["submit"]
