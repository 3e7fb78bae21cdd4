"""Dropout on a CPU is torch's: as often, scaled alike, a function of torch's seed; only quicker."""

import pytest
import torch

from training.model.dropout import CpuDropout, dropout, use_on_cpu


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_it_drops_as_often_and_scales_what_is_kept(p: float) -> None:
    torch.manual_seed(1)
    made = dropout(torch.ones(400, 501), p)
    dropped = float((made == 0).float().mean())
    assert abs(dropped - p) < 4 * (p * (1 - p) / made.numel()) ** 0.5
    assert made.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)], rel=1e-4)
    assert float(made.mean()) == pytest.approx(1.0, abs=0.02)


def test_neighbours_are_independent() -> None:
    torch.manual_seed(1)
    kept = (dropout(torch.ones(200_000), 0.5) > 0).float() - 0.5
    for distance in (1, 2, 3, 4, 64, 384):
        assert abs(float((kept[distance:] * kept[:-distance]).mean())) < 0.003, distance


def test_torchs_seed_decides() -> None:
    values = torch.ones(1000)
    torch.manual_seed(3)
    first, second = dropout(values, 0.3), dropout(values, 0.3)
    torch.manual_seed(3)
    assert torch.equal(dropout(values, 0.3), first) and not torch.equal(first, second)


def test_gradients_are_those_of_what_was_kept() -> None:
    values = torch.ones(1000, requires_grad=True)
    made = dropout(values, 0.25)
    made.sum().backward()
    assert values.grad is not None and torch.equal(values.grad, made.detach())


def test_none_and_all_and_evaluation() -> None:
    values = torch.randn(10)
    assert torch.equal(dropout(values, 0.0), values) and not dropout(values, 1.0).any()
    assert torch.equal(CpuDropout(0.5).eval()(values), values)


def test_every_dropout_of_a_module_is_replaced() -> None:
    module = torch.nn.Sequential(
        torch.nn.Dropout(0.2), torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.4))
    )
    use_on_cpu(module)
    assert [part.p for part in module.modules() if isinstance(part, CpuDropout)] == [0.2, 0.4]
