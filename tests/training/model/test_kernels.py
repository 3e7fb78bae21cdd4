"""A GPU's kernels for rows of different lengths: which one is used, the contract of torch's private operators (by their
signatures, and on shapes alone), and the trial that a device's must pass. On a GPU, the kernels themselves."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from training.model import attention, kernels
from training.model.kernels import Kernel
from training.model.packing import Layout

CPU = torch.device("cpu")
BF16, FP32 = torch.bfloat16, torch.float32


def test_torch_has_the_private_operators_as_they_are_called() -> None:
    """A torch that changed them makes this fail: read them again, then move `kernels.TORCH`."""
    for operator, names in kernels.OPERATORS.items():
        assert kernels.is_usable(operator), torch.__version__
        assert kernels.arguments(operator)[: len(names)] == names
        schema = getattr(torch.ops.aten, operator).default._schema
        assert all(argument.has_default_value() for argument in schema.arguments[len(names) :])
        assert "scale" in [argument.name for argument in schema.arguments if argument.kwarg_only]
        assert [str(result.type) for result in schema.returns[:1]] == ["Tensor"]


@pytest.mark.parametrize("kernel", [k for k in kernels.kernels() if k.operator], ids=lambda kernel: kernel.name)
def test_a_private_operator_is_called_rightly_and_has_a_backward_pass(kernel: Kernel) -> None:
    """On shapes alone, which every build can do."""
    meta = torch.device("meta")
    q, k, v = (torch.empty(20, 2, 8, dtype=kernel.dtypes[0], device=meta, requires_grad=True) for _ in range(3))
    layout = Layout((5, 15), CPU)
    output = kernel.attend(q, k, v, layout, 0.1, 0.3)
    assert output.shape == q.shape and output.dtype == q.dtype
    node = output.grad_fn
    while node is not None and "Attention" not in node.name():
        node = node.next_functions[0][0]
    assert node is not None, "no backward pass of an attention"


@pytest.fixture
def no_memory_of_the_choice() -> Iterator[None]:
    kernels.of_device.cache_clear()
    yield
    kernels.of_device.cache_clear()


@pytest.mark.parametrize("version", ["2.12.1", "2.14.0+cu130", "3.0.0"])
def test_of_another_torch_no_private_operator_is_used(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    assert not any(map(kernels.is_usable, kernels.OPERATORS))


def test_an_operator_that_has_changed_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = ("query", "value", *kernels.OPERATORS["_flash_attention_forward"][2:])
    monkeypatch.setitem(kernels.OPERATORS, "_flash_attention_forward", changed)
    assert not kernels.is_usable("_flash_attention_forward")
    assert kernels.is_usable("_efficient_attention_forward")
    monkeypatch.setitem(kernels.OPERATORS, "_gone", ("query",))
    assert not kernels.is_usable("_gone")


def names_of(candidates: list[Kernel], dtype: torch.dtype, capability: tuple[int, int], width: int = 64) -> list[str]:
    """With dropout, without."""
    chosen = [
        kernels.choose(candidates, capability, dtype, width, dropout=dropout, trial=lambda _: True)
        for dropout in (True, False)
    ]
    return [kernel.name if kernel else "" for kernel in chosen]


def test_the_kernel_follows_from_card_type_width_and_dropout() -> None:
    shipped = [kernel for kernel in kernels.kernels() if kernel.name != "flash-attn"]
    flash, efficient = "torch flash, varlen", "torch efficient, varlen"
    assert names_of(shipped, BF16, (9, 0)) == [flash, "torch varlen"]
    assert names_of(shipped, FP32, (9, 0)) == [efficient, efficient]
    assert names_of(shipped, torch.float16, (7, 5)) == [efficient, efficient]
    assert names_of(shipped, BF16, (7, 5)) == ["", ""]
    assert names_of(shipped, BF16, (8, 0), width=12) == ["", ""]
    assert names_of(shipped, BF16, (8, 0), width=512) == ["", ""]
    installed = [replace(shipped[0], name="flash-attn", has_dropout=True), *shipped]
    assert names_of(installed, BF16, (8, 0)) == ["flash-attn", "flash-attn"]
    assert kernels.choose(shipped, (9, 0), BF16, 64, dropout=True, trial=lambda _: False) is None


def test_on_a_cpu_there_is_none() -> None:
    assert kernels.of_device(CPU, FP32, 64, dropout=False) is None
    assert attention.kernel_name(CPU, 64, 0.1, half=False) == "step by step, in buckets of similar length"
    assert attention.kernel_name(CPU, 64, 0.0, half=False) == "sdpa, in buckets of similar length"


# --- the trial


def by_buckets(q: Tensor, k: Tensor, v: Tensor, layout: Layout, dropout: float, scaling: float) -> Tensor:
    return attention._by_buckets(q, k, v, layout, dropout, scaling)


def wrong_scale(q: Tensor, k: Tensor, v: Tensor, layout: Layout, dropout: float, scaling: float) -> Tensor:
    return by_buckets(q, k, v, layout, dropout, 0.9 * scaling)


def rows_see_each_other(q: Tensor, k: Tensor, v: Tensor, layout: Layout, dropout: float, scaling: float) -> Tensor:
    return by_buckets(q, k, v, Layout([layout.tokens], CPU), dropout, scaling)


def never_drops(q: Tensor, k: Tensor, v: Tensor, layout: Layout, dropout: float, scaling: float) -> Tensor:
    return by_buckets(q, k, v, layout, 0.0, scaling)


class DropsAnew(torch.autograd.Function):
    """Its backward pass draws what it drops once more."""

    @staticmethod
    def forward(context: object, weights: Tensor, values: Tensor) -> Tensor:
        context.save_for_backward(weights, values)  # type: ignore[attr-defined]
        return torch.nn.functional.dropout(weights, 0.5) @ values

    @staticmethod
    def backward(context: object, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        weights, values = context.saved_tensors  # type: ignore[attr-defined]
        return gradient @ values.mT, torch.nn.functional.dropout(weights, 0.5).mT @ gradient


def drops_anew(q: Tensor, k: Tensor, v: Tensor, layout: Layout, dropout: float, scaling: float) -> Tensor:
    if dropout == 0.0:
        return by_buckets(q, k, v, layout, 0.0, scaling)
    rows = zip(*(states.split(list(layout.lengths)) for states in (q, k, v)), strict=True)
    outputs = []
    for query, key, value in rows:
        weights = (scaling * query.transpose(0, 1) @ key.permute(1, 2, 0)).softmax(-1)
        outputs.append(DropsAnew.apply(weights, value.transpose(0, 1)).transpose(0, 1))  # type: ignore[no-untyped-call]
    return torch.cat(outputs)


def has_no_gradient(q: Tensor, k: Tensor, v: Tensor, layout: Layout, dropout: float, scaling: float) -> Tensor:
    return by_buckets(q, k, v, layout, dropout, scaling).detach()


def is_missing(*_: object) -> Tensor:
    raise NotImplementedError("Could not run 'aten::_flash_attention_forward'")


@pytest.mark.parametrize("dtype", [FP32, BF16])
@pytest.mark.parametrize(
    ("attend", "passes"),
    [
        (by_buckets, True),
        (wrong_scale, False),
        (rows_see_each_other, False),
        (never_drops, False),
        (drops_anew, False),
        (has_no_gradient, False),
        (is_missing, False),
    ],
)
def test_a_trial_tells_right_kernels_from_wrong_ones(
    attend: Callable[..., Tensor], passes: bool, dtype: torch.dtype
) -> None:
    before = torch.get_rng_state()
    assert kernels.passes(Kernel("tried", attend, True, operator="x"), CPU, dtype, 64) is passes
    assert torch.equal(torch.get_rng_state(), before)


def test_a_trial_passes_wherever_it_is_first_asked_for() -> None:
    kernel = Kernel("tried", by_buckets, True, operator="x")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert kernels.passes(kernel, CPU, FP32, 64)


# --- on a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("kernel", kernels.kernels(), ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("dtype", [BF16, torch.float16, FP32])
def test_a_kernel_passes_its_trial_on_a_gpu(kernel: Kernel, dtype: torch.dtype) -> None:
    device = torch.device("cuda")
    capability = torch.cuda.get_device_capability(device)
    if not kernel.fits(capability, dtype, 64, dropout=False):
        pytest.skip("not for this card or type")
    draw = torch.Generator(device).manual_seed(1)
    q, k, v, gradient = (torch.randn(500, 4, 64, device=device, dtype=dtype, generator=draw) for _ in range(4))
    assert kernels._is_exact(kernel, *(states[: sum(kernels._TRIAL)] for states in (q, k, v, gradient)))
    if kernel.has_dropout:
        assert kernels.passes(kernel, device, dtype, 64)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_dropout_keeps_its_share_on_a_gpu(no_memory_of_the_choice: None) -> None:
    """Values of 1 come out as the sum of the weights that were kept, over 1 - p: 1 on average."""
    device = torch.device("cuda")
    kernel = kernels.of_device(device, BF16, 64, dropout=True)
    if kernel is None:
        pytest.skip("no kernel with dropout for this card")
    q, k = torch.randn(2, 4000, 4, 64, device=device, dtype=BF16)
    values = torch.ones_like(q)
    output = kernel.attend(q, k, values, Layout([40] * 100, device), 0.1, 0.125)
    assert float(output.float().mean()) == pytest.approx(1.0, abs=0.01)
    assert float(output.float().std()) > 0.01
