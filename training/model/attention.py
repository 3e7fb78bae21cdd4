"""Attention over packed rows, each of which sees itself only.

On a GPU by a kernel for rows of different lengths, where there is one (`training.model.kernels`). Else the rows are
padded in a few buckets of similar length, in here alone, as on a CPU in training; on a CPU without gradients, rows of
one length go through the fused kernel together, without any padding.
"""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from training.model import kernels, products
from training.model.dropout import dropout as cpu_dropout
from training.model.packing import Bucket, Layout


def packed_attention(
    query: Tensor, key: Tensor, value: Tensor, packing: Layout, dropout: float, scaling: float
) -> Tensor:
    """query, key, value: [1, heads, tokens, width] → [1, tokens, heads, width]."""
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
    kernel = kernels.of_device(q.device, q.dtype, q.shape[-1], dropout=dropout > 0.0)
    if kernel is not None:
        out = kernel.attend(q, k, v, packing, dropout, scaling)
    elif dropout == 0.0 and not query.is_cuda and not (torch.is_grad_enabled() and q.requires_grad):
        out = _by_runs(q, k, v, packing, scaling)
    else:
        out = _by_buckets(q, k, v, packing, dropout, scaling)
    return out[None]


def kernel_name(device: torch.device, width: int, dropout: float, *, half: bool) -> str:
    """What training uses, for the result. `width`: of one of attention's heads."""
    dtype = torch.bfloat16 if half else torch.float32
    kernel = kernels.of_device(device, dtype, width, dropout=dropout > 0.0)
    if kernel is not None:
        return kernel.name
    by_steps = device.type == "cpu" and dropout > 0.0
    return f"{'step by step' if by_steps else 'sdpa'}, in buckets of similar length"


def _by_runs(q: Tensor, k: Tensor, v: Tensor, packing: Layout, scaling: float) -> Tensor:
    """Rows of one length that follow each other are a batch as they lie."""
    out = torch.empty_like(q)
    # oneDNN prepares each of the kernel's small products anew, which takes two to ten times as long as MKL's.
    with products.by("mkl"):
        for start, rows, length in packing.runs:
            inside = slice(start, start + rows * length)
            shape = rows, length
            attended_values = scaled_dot_product_attention(
                _batch(q[inside], shape), _batch(k[inside], shape), _batch(v[inside], shape), scale=scaling
            )
            out[inside] = attended_values.transpose(1, 2).flatten(0, 1)
    return out


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
