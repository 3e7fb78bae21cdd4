"""Fragments: whoever cut a tensor however, any part of it is read again."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.checkpoints.fragments import Fragment, FragmentReader, file_name
from training.tensors import write_tensors


def cut(folder: Path, values: torch.Tensor, cuts: list[int], ranks: int) -> FragmentReader:
    """A checkpoint of one parameter `a/b`, cut at `cuts` and dealt out to the ranks."""
    edges = [0, *sorted(cuts), values.numel()]
    files: list[dict[str, torch.Tensor]] = [{} for _ in range(ranks)]
    for number, (start, end) in enumerate(pairwise(edges)):
        if start < end:
            fragment = Fragment("exp_avg", "a/b", start, values[start:end])
            files[number % ranks][fragment.key] = fragment.values
    for rank, tensors in enumerate(files):
        write_tensors(folder / file_name(rank), tensors)
    return FragmentReader(folder, [file_name(rank) for rank in range(ranks)])


@given(st.integers(1, 40), st.integers(1, 4), st.data())
def test_any_part_is_read_from_any_cut(
    tmp_path_factory: pytest.TempPathFactory, size: int, ranks: int, data: st.DataObject
) -> None:
    values = torch.arange(float(size))
    cuts = data.draw(st.lists(st.integers(0, size), max_size=6))
    reader = cut(tmp_path_factory.mktemp("cut"), values, cuts, ranks)
    start = data.draw(st.integers(0, size))
    length = data.draw(st.integers(0, size - start))
    assert torch.equal(reader.read("exp_avg", "a/b", start, length), values[start : start + length])


def test_a_tensor_has_its_shape_again(tmp_path: Path) -> None:
    reader = cut(tmp_path, torch.arange(12.0), [5, 7], 2)
    assert torch.equal(reader.tensor("exp_avg", "a/b", (3, 4)), torch.arange(12.0).reshape(3, 4))


def test_what_is_not_there_is_not_made_up(tmp_path: Path) -> None:
    write_tensors(tmp_path / "0", {"exp_avg/0/w": torch.zeros(3), "exp_avg/4/w": torch.zeros(3)})
    reader = FragmentReader(tmp_path, ["0"])
    assert reader.read("exp_avg", "w", 4, 3).numel() == 3
    for kind, start, length in (("exp_avg", 0, 7), ("exp_avg", 3, 1), ("exp_avg", 6, 2), ("exp_avg_sq", 0, 1)):
        with pytest.raises(AssertionError, match="from element"):
            reader.read(kind, "w", start, length)  # type: ignore[arg-type]
