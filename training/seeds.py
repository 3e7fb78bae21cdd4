"""Every random choice of a stage comes from its seed and a purpose, never from a generator's left-over state."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def sub_seed(seed: int, *purpose: str | int) -> int:
    """A seed below 2**63 for one purpose: a hash of the stage's seed and the purpose's words and numbers."""
    text = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def random_words(seed: int, count: int) -> NDArray[np.uint64]:
    """`count` random 64-bit numbers. Raw words: numpy keeps these the same between versions, its distributions not."""
    return np.atleast_1d(np.asarray(np.random.PCG64(seed).random_raw(count), dtype=np.uint64))


def permutation(seed: int, count: int) -> tuple[int, ...]:
    """A permutation of range(count)."""
    return tuple(int(index) for index in np.argsort(random_words(seed, count), kind="stable"))
