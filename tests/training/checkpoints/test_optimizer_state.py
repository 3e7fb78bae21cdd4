"""State by name under every ZeRO stage: what one number of ranks wrote, another goes on from."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.ranks import finish, start_ranks
from tests.training.state_loop import Loop, everything
from training import distributed
from training.shape import ZeroStage

STAGES: list[tuple[ZeroStage, bool]] = [
    ("none", False),
    (0, False),
    (1, False),
    (2, False),
    (3, False),
    (2, True),
    (3, True),
]

QUICK = ("none", False)


def same(one: Path, other: Path) -> bool:
    first, second = everything(one), everything(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("stage", "offload"),
    [case if case == QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in STAGES],
)
def test_alone_it_goes_on_bit_for_bit(stage: ZeroStage, offload: bool, tmp_path: Path) -> None:
    world = distributed.current() or distributed.init("cpu")
    whole = Loop(stage, world, offload)
    whole.steps(2)
    middle = whole.save(tmp_path / "middle")
    whole.steps(2)
    end = whole.save(tmp_path / "end")
    full = whole.full_parameters()
    whole.close()
    again = Loop(stage, world, offload, source=middle)
    assert same(middle, again.save(tmp_path / "again"))
    again.steps(2)
    assert same(end, again.save(tmp_path / "resumed")) and not same(middle, end)
    again.close()
    assert all(torch.equal(tensor, everything(end)[f"parameters {name}"]) for name, tensor in full.items())


def run_ranks(out: Path, world: int, runs: list[dict[str, Any]]) -> None:
    finish(start_ranks("tests.training.state_loop", json.dumps({"out": str(out), "runs": runs}), world))


@pytest.mark.slow
def test_two_ranks_read_what_one_wrote_and_the_other_way_round(tmp_path: Path) -> None:
    alone = Loop("none", distributed.current() or distributed.init("cpu"))
    alone.steps(2)
    first = alone.save(tmp_path)
    started: list[dict[str, Any]] = [
        {
            "stage": stage,
            "offload": offload,
            "source": str(first),
            "steps": 2,
            "out": str(tmp_path / f"{stage}{offload}"),
        }
        for stage, offload in STAGES
        if stage != "none"  # without DDP around it, every rank would go its own way
    ]
    resumed = [
        run | {"source": f"{run['out']}/end/checkpoints/step-000004", "out": f"{run['out']}-on"} for run in started
    ]
    run_ranks(tmp_path / "ranks", 2, started + resumed)
    ends = []
    for run in started:
        folder = Path(run["out"])
        assert same(first, folder / "start" / "checkpoints" / "step-000002")
        end = folder / "end" / "checkpoints" / "step-000004"
        assert {path.name for path in end.glob("*.safetensors")} == {"rank-00000.safetensors", "rank-00001.safetensors"}
        assert same(end, Path(f"{folder}-on") / "start" / "checkpoints" / "step-000004")
        for source, last in ((folder, end), (Path(f"{folder}-on"), Path(f"{folder}-on/end/checkpoints/step-000006"))):
            full = torch.load(source / "full.pt", weights_only=True)
            assert all(torch.equal(tensor, everything(last)[f"parameters {name}"]) for name, tensor in full.items())
        # And one process takes over from two.
        taken = Loop("none", alone.world, source=end)
        assert same(end, taken.save(folder / "taken"))
        ends.append(everything(end))
    # The stages differ by the order of sums alone.
    for other in ends[1:]:
        assert all(torch.allclose(other[name], tensor, atol=1e-6) for name, tensor in ends[0].items())
