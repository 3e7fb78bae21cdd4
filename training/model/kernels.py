"""Kernels of a GPU for attention over rows of different lengths, and which of them is used where.

flash-attn is used where it is installed. torch's public kernel, `varlen_attn`, has no dropout, which XLM-R's training
has by default; the operators below it have: `aten::_flash_attention_forward` (from Ampere on, bf16) and
`aten::_efficient_attention_forward` (any card, fp32 too), both with autograd. They are private, so they are used with
torch versions whose operators were read alone, and on a device after a trial: outputs and gradients against torch's
fused attention, and whether the backward pass drops what the forward pass dropped. Where that fails, attention goes by
padded buckets (`training.model.attention`).

None of this was run on a GPU yet: what was tested are the operators' signatures, their autograd on shapes alone, and
the trial, with kernels that are right and wrong.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from training.model.packing import Layout

Attend = Callable[[Tensor, Tensor, Tensor, Layout, float, float], Tensor]
_HALF = (torch.bfloat16, torch.float16)
_AMPERE = (8, 0)
_WIDEST = 256  # of a head, for flash attention
TORCH = ((2, 13), (2, 14))  # from, and below: whose private operators were read
# The private operators by the arguments that are given to them in this order; others have defaults.
OPERATORS: dict[str, tuple[str, ...]] = {
    "_flash_attention_forward": (
        "query", "key", "value", "cum_seq_q", "cum_seq_k", "max_q", "max_k", "dropout_p", "is_causal",
        "return_debug_mask",
    ),
    "_efficient_attention_forward": (
        "query", "key", "value", "bias", "cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k", "dropout_p",
        "custom_mask_type", "compute_log_sumexp",
    ),
}  # fmt: skip
_TRIAL = (5, 33, 1, 70)  # lengths of rows
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 4e-2, torch.float16: 1e-2}


@dataclass(frozen=True)
class Kernel:
    """`name`: for the result of a training. `attend`: q, k, v [tokens, heads, width], layout, dropout, scaling → as q.

    `dtypes`: that it takes. `capability`: of the first devices that it runs on. `operator`: the private one it calls.
    """

    name: str
    attend: Attend
    has_dropout: bool
    dtypes: tuple[torch.dtype, ...] = _HALF
    capability: tuple[int, int] = _AMPERE
    operator: str | None = None

    def fits(self, capability: tuple[int, int], dtype: torch.dtype, width: int, *, dropout: bool) -> bool:
        """Whether it can be used, by what is known of it."""
        is_small = width % 8 == 0 and width <= _WIDEST
        is_known = self.operator is None or is_usable(self.operator)
        return (
            is_small
            and is_known
            and dtype in self.dtypes
            and capability >= self.capability
            and (self.has_dropout or not dropout)
        )


@cache
def of_device(device: torch.device, dtype: torch.dtype, width: int, *, dropout: bool) -> Kernel | None:
    """The kernel for heads of this width, with dropout or without; None: there is none. Draws nothing from torch's
    generators."""
    if device.type != "cuda":
        return None
    capability = torch.cuda.get_device_capability(device)
    return choose(kernels(), capability, dtype, width, dropout=dropout, trial=lambda k: passes(k, device, dtype, width))


def choose(
    candidates: Sequence[Kernel],
    capability: tuple[int, int],
    dtype: torch.dtype,
    width: int,
    *,
    dropout: bool,
    trial: Callable[[Kernel], bool],
) -> Kernel | None:
    """The first candidate that fits; of those that call a private operator, that passes its trial too."""
    for kernel in candidates:
        if kernel.fits(capability, dtype, width, dropout=dropout) and (kernel.operator is None or trial(kernel)):
            return kernel
    return None


@cache
def kernels() -> tuple[Kernel, ...]:
    """Those of this installation, the best first."""
    return (
        *_flash_attn(),
        *_varlen(),
        Kernel("torch flash, varlen", _by_flash, True, operator="_flash_attention_forward"),
        Kernel(
            "torch efficient, varlen",
            _by_efficient,
            True,
            dtypes=(torch.float32, torch.float16),
            capability=(5, 0),
            operator="_efficient_attention_forward",
        ),
    )


def _flash_attn() -> list[Kernel]:
    try:
        from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found]
    except ImportError:
        return []

    def attend(q: Tensor, k: Tensor, v: Tensor, layout: Layout, dropout: float, scaling: float) -> Tensor:
        return flash_attn_varlen_func(q, k, v, *_bounds(layout), dropout_p=dropout, softmax_scale=scaling)  # type: ignore[no-any-return]

    return [Kernel("flash-attn", attend, True)]


def _varlen() -> list[Kernel]:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return []

    def attend(q: Tensor, k: Tensor, v: Tensor, layout: Layout, dropout: float, scaling: float) -> Tensor:
        assert dropout == 0.0, "it has none"
        return varlen_attn(q, k, v, *_bounds(layout), scale=scaling)  # type: ignore[return-value]

    return [Kernel("torch varlen", attend, False)]


def _by_flash(q: Tensor, k: Tensor, v: Tensor, layout: Layout, dropout: float, scaling: float) -> Tensor:
    operator = torch.ops.aten._flash_attention_forward
    return operator(q, k, v, *_bounds(layout), dropout, False, False, scale=scaling)[0]  # type: ignore[no-any-return]


def _by_efficient(q: Tensor, k: Tensor, v: Tensor, layout: Layout, dropout: float, scaling: float) -> Tensor:
    operator = torch.ops.aten._efficient_attention_forward
    needs_sums = torch.is_grad_enabled() and q.requires_grad  # which the backward pass reads
    states = (q[None], k[None], v[None], None, *_bounds(layout))
    return operator(*states, dropout, 0, needs_sums, scale=scaling)[0][0]  # type: ignore[no-any-return]


def _bounds(layout: Layout) -> tuple[Tensor, Tensor, int, int]:
    return layout.ends, layout.ends, layout.longest, layout.longest


def is_usable(operator: str) -> bool:
    """Whether torch is of a version whose operator was read, and has it as it was."""
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if not TORCH[0] <= version < TORCH[1] or torch.version.hip is not None:
        return False
    return arguments(operator)[: len(OPERATORS[operator])] == OPERATORS[operator]


def arguments(operator: str) -> tuple[str, ...]:
    """The names of an operator's arguments; none where torch has no such operator."""
    overloads = getattr(torch.ops.aten, operator, None)
    return () if overloads is None else tuple(argument.name for argument in overloads.default._schema.arguments)


def passes(kernel: Kernel, device: torch.device, dtype: torch.dtype, width: int) -> bool:
    """Whether a kernel does on this device what is wanted of it, on a few rows. It may raise whatever it likes."""
    draws_kept = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    # A stage may ask for the first time inside an evaluation, or in autocast.
    as_plain = torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False)
    with draws_kept, as_plain[0], as_plain[1], as_plain[2]:
        torch.manual_seed(0)
        q, k, v, gradient = (torch.randn(sum(_TRIAL), 2, width, device=device, dtype=dtype) for _ in range(4))
        try:
            return _is_exact(kernel, q, k, v, gradient) and _drops_alike(kernel, q, k, v, gradient)
        except Exception:  # a kernel that this build or this card lacks: whatever it says, there is another way
            return False


def _is_exact(kernel: Kernel, q: Tensor, k: Tensor, v: Tensor, gradient: Tensor) -> bool:
    """Without dropout: outputs and gradients are those of each row alone in fp32."""
    scaling = q.shape[-1] ** -0.5
    inputs = [states.clone().requires_grad_() for states in (q, k, v)]
    output = kernel.attend(inputs[0], inputs[1], inputs[2], Layout(_TRIAL, q.device), 0.0, scaling)
    torch.autograd.backward(output, gradient)
    exact_inputs = [states.clone().float().requires_grad_() for states in (q, k, v)]
    queries, keys, values = (torch.split(states.transpose(0, 1), list(_TRIAL), dim=1) for states in exact_inputs)
    rows = zip(queries, keys, values, strict=True)
    exact = torch.cat([scaled_dot_product_attention(*row, scale=scaling) for row in rows], dim=1).transpose(0, 1)
    torch.autograd.backward(exact, gradient.float())
    pairs = [
        (output, exact),
        *((input_.grad, exact_input.grad) for input_, exact_input in zip(inputs, exact_inputs, strict=True)),
    ]
    return all(
        value is not None and exact_value is not None and _is_near(value, exact_value) for value, exact_value in pairs
    )


def _drops_alike(kernel: Kernel, q: Tensor, k: Tensor, v: Tensor, gradient: Tensor) -> bool:
    """With dropout: the same seed drops the same, another something else. The output is linear in v, so the backward
    pass drops what the forward pass did where the output times its gradient is v times v's."""
    layout, v = Layout(_TRIAL, q.device), v.clone().requires_grad_()

    def output(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return kernel.attend(q, k, v, layout, 0.5, q.shape[-1] ** -0.5)

    first, again, second = output(1), output(1), output(2)
    torch.autograd.backward(first, gradient)
    assert v.grad is not None
    products = (first.double() * gradient.double()).sum(), (v.double() * v.grad.double()).sum()
    size = float((first.double() * gradient.double()).detach().norm())
    is_alike = float((products[0] - products[1]).detach().abs()) <= _TOLERANCE[q.dtype] * size
    return is_alike and torch.equal(first, again) and not torch.equal(first, second)


def _is_near(values: Tensor, exact: Tensor) -> bool:
    scale = max(1.0, float(exact.detach().abs().max()))
    return float((values.detach().float() - exact.detach()).abs().max()) <= _TOLERANCE[values.dtype] * scale
