"""Forward passes without gradients: rows sorted by length, packed up to a budget of tokens, one batch made ahead.

Under ZeRO-3 a forward pass is collective; every rank runs all batches here, which is simple and equal by construction.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training import distributed, shape
from training.formats.base import Piece
from training.model import heads
from training.model.encoder import StageModel
from training.model.packing import Packed, pack
from training.spec import Runtime

FloatArray = NDArray[np.float32]
SCORES_SHARE = 4  # of the budget one in so many where every token that is read is scored for the whole vocabulary


def by_length(
    model: StageModel,
    form: str,
    pieces: Sequence[Piece],
    budget: int,
    forward: Callable[[Packed], Tensor],
    read: Callable[[Tensor, Sequence[Piece]], list[FloatArray]],
    between: Callable[[], None] = lambda: None,
) -> list[FloatArray]:
    """One array per piece, in the pieces' order: those of its rows, joined at the first axis.

    `forward` makes a batch's outputs on the device, `read` an array for each of its pieces, which have one row each.
    `between` is called before every batch; what it raises ends the work.
    """
    # A piece for each row: rows of one length are computed together, whosever they are.
    rows = [piece if len(piece.rows) == 1 else replace(piece, rows=(row,)) for piece in pieces for row in piece.rows]
    arrays: list[FloatArray] = [_NOTHING] * len(rows)
    waiting: tuple[Sequence[int], Packed, Tensor] | None = None

    def keep(batch: Sequence[int], packed_batch: Packed, outputs: Tensor) -> None:
        for row, array in zip(batch, read(outputs, packed_batch.pieces), strict=True):
            arrays[row] = array

    with evaluating(model), closing(_ahead(rows, form, budget)) as coming:
        for batch, packed_batch in coming:
            between()
            outputs = forward(packed_batch.to(model.device))
            # What the batch before made is read only now: a GPU has this one's work in its queue already.
            if waiting is not None:
                keep(*waiting)
            waiting = batch, packed_batch, outputs
        if waiting is not None:
            keep(*waiting)
    return _joined(pieces, arrays)


_NOTHING: FloatArray = np.empty(0, np.float32)


def _joined(pieces: Sequence[Piece], row_arrays: Sequence[FloatArray]) -> list[FloatArray]:
    arrays = iter(row_arrays)
    piece_arrays = []
    for piece in pieces:
        of_piece = [next(arrays) for _ in piece.rows]
        piece_arrays.append(of_piece[0] if len(of_piece) == 1 else np.concatenate(of_piece))
    return piece_arrays


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices, the longest first, of equal ones the first, in batches of at most `budget` tokens or of one row."""
    batch: list[int] = []
    used = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and used + lengths[index] > budget:
            yield batch
            batch, used = [], 0
        batch.append(index)
        used += lengths[index]
    if batch:
        yield batch


def _ahead(rows: Sequence[Piece], form: str, budget: int) -> Generator[tuple[list[int], Packed]]:
    """The batches, each packed while the one before is computed."""

    def packed(batch: Sequence[int]) -> Packed:
        pieces = [rows[index] for index in batch]
        return pack(pieces, heads.reads(form, pieces))

    index_batches = list(batches([len(piece.rows[0]) for piece in rows], budget))
    with ThreadPoolExecutor(1, thread_name_prefix="pack") as pool:
        coming = pool.submit(packed, index_batches[0]) if index_batches else None
        for number, batch in enumerate(index_batches):
            assert coming is not None
            ready = coming.result()
            coming = pool.submit(packed, index_batches[number + 1]) if number + 1 < len(index_batches) else None
            yield batch, ready


@contextmanager
def evaluating(model: StageModel) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        with _without_gradients(model):
            yield
    finally:
        model.train(was_training)


def _without_gradients(model: StageModel) -> AbstractContextManager[Any]:
    """ZeRO-3 gathers parameters in a forward pass and may keep them: they must not become inference tensors."""
    return torch.no_grad() if is_gathered(model) else torch.inference_mode()


def is_gathered(model: StageModel) -> bool:
    """Whether ZeRO-3 has its parameters."""
    return any(hasattr(parameter, "ds_id") for parameter in model.parameters())


def token_budget(model: StageModel, runtime: Runtime) -> int:
    """Tokens per forward pass: as told, else by the memory that is free."""
    if runtime.eval_token_budget is not None:
        return runtime.eval_token_budget
    device, sizes = model.device, model.encoder.config.sizes
    budget = shape.eval_budget(sizes, _free_memory(device), bf16=model.bf16, gpu=device.type == "cuda")
    world = distributed.current()
    # Where a forward pass is collective, every rank must make as many.
    return distributed.least(budget, world) if world is not None and is_gathered(model) else budget


def _free_memory(device: torch.device) -> int | None:
    """Bytes of a GPU that nothing uses; of a CPU not asked for."""
    if device.type != "cuda":
        return None
    kept_back = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + kept_back
    # Of a GPU that is shared with other elements (`pack`) no more than this process's part.
    return int(min(free, distributed.device_memory(device) - torch.cuda.memory_allocated(device)))
