"""Attention over packed rows, each of which sees itself only.

On a GPU: flash-attn where it is installed, else torch's kernel for rows of different lengths, which has no dropout.
With dropout, and on a CPU in training, the rows are padded in a few buckets of similar length, in here alone; on a CPU
without gradients, rows of one length go through the fused kernel together, without any padding.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from training.model.dropout import dropout as cpu_dropout
from training.model.packing import Bucket, Layout

_HALF = (torch.bfloat16, torch.float16)


def packed_attention(
    query: Tensor, key: Tensor, value: Tensor, packing: Layout, dropout: float, scaling: float
) -> Tensor:
    """query, key, value: [1, heads, tokens, width] → [1, tokens, heads, width]."""
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
    on_gpu = query.is_cuda and query.dtype in _HALF and _has_kernels(query.device, q.shape[-1])
    if on_gpu and _flash() is not None:
        bounds = packing.ends, packing.ends, packing.longest, packing.longest
        out = _flash()(q, k, v, *bounds, dropout_p=dropout, softmax_scale=scaling)
    elif on_gpu and dropout == 0.0 and _varlen() is not None:
        out = _varlen()(q, k, v, packing.ends, packing.ends, packing.longest, packing.longest, scale=scaling)
    elif dropout == 0.0 and not query.is_cuda and not (torch.is_grad_enabled() and q.requires_grad):
        out = _by_runs(q, k, v, packing, scaling)
    else:
        out = _by_buckets(q, k, v, packing, dropout, scaling)
    return out[None]  # type: ignore[no-any-return]


def kernel_name(device: torch.device, width: int, dropout: float, *, half: bool) -> str:
    """What training uses, for the result. `width`: of one of attention's heads."""
    on_gpu = device.type == "cuda" and half and _has_kernels(device, width)
    if on_gpu and _flash() is not None:
        return "flash-attn"
    if on_gpu and dropout == 0.0 and _varlen() is not None:
        return "torch varlen"
    by_steps = device.type == "cpu" and dropout > 0.0
    return f"{'step by step' if by_steps else 'sdpa'}, in buckets of similar length"


def _has_kernels(device: torch.device, width: int) -> bool:
    """Whether the kernels for rows of different lengths run there: from Ampere on."""
    return torch.cuda.get_device_capability(device) >= (8, 0) and width % 8 == 0


@cache
def _flash() -> Any:
    try:
        from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found]
    except ImportError:
        return None
    return flash_attn_varlen_func


@cache
def _varlen() -> Any:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def _by_runs(q: Tensor, k: Tensor, v: Tensor, packing: Layout, scaling: float) -> Tensor:
    """Rows of one length that follow each other are a batch as they lie."""
    out = torch.empty_like(q)
    with _without_onednn():
        for start, rows, length in packing.runs:
            inside = slice(start, start + rows * length)
            shape = rows, length
            attended_values = scaled_dot_product_attention(
                _batch(q[inside], shape), _batch(k[inside], shape), _batch(v[inside], shape), scale=scaling
            )
            out[inside] = attended_values.transpose(1, 2).flatten(0, 1)
    return out


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Where the engine has chosen oneDNN for fp32 products: it prepares each of the kernel's small ones anew, which
    takes two to ten times as long as MKL's."""
    switch: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = switch.fp32_precision
    switch.fp32_precision = "ieee"
    try:
        yield
    finally:
        switch.fp32_precision = before


def _by_buckets(q: Tensor, k: Tensor, v: Tensor, packing: Layout, dropout: float, scaling: float) -> Tensor:
    buckets, back = packing.buckets
    bucket_outputs = [_of_bucket(q, k, v, bucket, dropout, scaling) for bucket in buckets]
    return torch.cat(bucket_outputs).index_select(0, back)


def _of_bucket(q: Tensor, k: Tensor, v: Tensor, bucket: Bucket, dropout: float, scaling: float) -> Tensor:
    """[tokens, heads, width] → [rows · length of the bucket, heads, width]."""
    places, (rows, length) = bucket.places.flatten(), bucket.places.shape
    queries, keys, values = (_batch(states.index_select(0, places), (rows, length)) for states in (q, k, v))
    if dropout > 0.0 and not q.is_cuda:
        attended_values = _with_dropout(queries, keys, values, bucket.mask, dropout, scaling)
    else:
        attended_values = scaled_dot_product_attention(
            queries, keys, values, attn_mask=bucket.mask, dropout_p=dropout, scale=scaling
        )
    return attended_values.transpose(1, 2).flatten(0, 1)


def _with_dropout(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, scaling: float) -> Tensor:
    """What torch does on a CPU where there is dropout, which its fused kernel has not; but with our faster dropout."""
    scores = (q * scaling) @ k.transpose(2, 3)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return cpu_dropout(scores.softmax(-1), dropout) @ v


def _batch(states: Tensor, shape: tuple[int, int]) -> Tensor:
    """[rows · length, heads, width] → [rows, heads, length, width]."""
    return states.view(*shape, *states.shape[1:]).transpose(1, 2)
