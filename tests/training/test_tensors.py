"""Our own writer of safetensors files: what it writes, others read; what it says of the file is so."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load, save

from slurm.base import UserError
from slurm.base.files import sha256_file
from training import tensors
from training.tensors import PassingHash, read_hashed, read_passing, read_tensors, tensors_hash, write_tensors

DTYPES = [
    torch.float64,
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]


def some(dtype: torch.dtype, shape: list[int]) -> torch.Tensor:
    return torch.arange(torch.Size(shape).numel()).remainder(2).reshape(shape).to(dtype)


@given(
    st.dictionaries(st.text(min_size=1), st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3)))
)
def test_safetensors_reads_it(tmp_path_factory: pytest.TempPathFactory, shapes: dict) -> None:  # type: ignore[type-arg]
    shapes.pop("__metadata__", None)
    path = tmp_path_factory.mktemp("tensors") / "t.safetensors"
    written = {name: some(*shape) for name, shape in shapes.items()}
    said = write_tensors(path, written)
    assert said == {"size": path.stat().st_size, "sha256": sha256_file(path)}
    by_name, sha256 = read_hashed(path, lambda name: len(name) % 2 == 0)
    assert sha256 == said["sha256"] and by_name.keys() == {name for name in written if len(name) % 2 == 0}
    assert all(torch.equal(tensor, written[name]) for name, tensor in by_name.items())
    read = load(path.read_bytes())
    assert read.keys() == written.keys()
    for name, tensor in written.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor)
    assert tensors_hash(read_tensors(path)) == tensors_hash(written) == tensors_hash(load(save(written)))


def test_many_chunks_and_no_copy_of_a_transposed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "_CHUNK", 1000)
    weights = torch.randn(123, 45)
    write_tensors(tmp_path / "t", {"w": weights, "turned": weights.T, "part": weights[3:9]})
    read = read_tensors(tmp_path / "t")
    assert torch.equal(read["w"], weights) and torch.equal(read["turned"], weights.T)
    assert torch.equal(read["part"], weights[3:9])
    with safe_open(tmp_path / "t", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


class _Digest:
    """Fails at one of the chunks, the last or an earlier one, and says how many it was given."""

    def __init__(self, fails_at: int) -> None:
        self._fails_at, self.seen = fails_at, 0

    def update(self, chunk: memoryview) -> None:
        self.seen += 1
        if self.seen == self._fails_at:
            raise MemoryError("hashing")

    def hexdigest(self) -> str:
        return "of something else"


@pytest.mark.parametrize("fails_at", [1, 3, 6])
def test_what_could_not_be_hashed_is_not_said_to_be_written(
    fails_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "_CHUNK", 1000)
    digest = _Digest(fails_at)
    monkeypatch.setattr(tensors.hashlib, "sha256", lambda: digest)
    with pytest.raises(MemoryError, match="hashing"):
        write_tensors(tmp_path / "t", {"w": torch.zeros(1000)})  # the header, four chunks of 1000 bytes, an empty one
    assert digest.seen == fails_at


class _SlowPool:
    """Of one thread, so slow that it does its work when somebody waits for it. Counts what waits."""

    def __init__(self, threads: int, thread_name_prefix: str) -> None:
        self.waiting: list[memoryview] = []
        self.most = 0

    def __enter__(self) -> "_SlowPool":
        return self

    def __exit__(self, *_: object) -> None:
        assert not self.waiting

    def submit(self, update: Callable[[memoryview], None], chunk: memoryview) -> SimpleNamespace:
        def result() -> None:
            update(self.waiting.pop(0))

        self.waiting.append(chunk)
        self.most = max(self.most, len(self.waiting))
        return SimpleNamespace(result=result)


def test_one_chunk_at_a_time_waits_to_be_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tensors on a GPU each that waits is a copy in memory."""
    monkeypatch.setattr(tensors, "_CHUNK", 1000)
    pool = _SlowPool(1, "hash")
    monkeypatch.setattr(tensors, "ThreadPoolExecutor", lambda threads, thread_name_prefix: pool)
    written = write_tensors(tmp_path / "t", {"w": torch.zeros(1000)})
    assert written["sha256"] == sha256_file(tmp_path / "t") and pool.most == 1


@pytest.mark.parametrize("large", [1, 1 << 30])
def test_an_encoder_is_hashed_while_its_files_are_read(
    large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its pages and chunks are; where the order or a dtype is another, it does not say."""
    monkeypatch.setattr(tensors, "_CHUNK", 1000)
    monkeypatch.setattr(tensors, "_LARGE", large)
    encoder = {"a": torch.randn(123, 45), "b.c": torch.randn(7), "b.d": torch.randn(0, 3), "e": torch.randn(40, 40)}

    def passing_hash(*files: dict[str, torch.Tensor]) -> str | None:
        passing = PassingHash(lambda name: name.removeprefix("x.") if name.startswith("x.") else None)
        seen: dict[str, torch.Tensor] = {}
        for number, content in enumerate(files):
            write_tensors(tmp_path / str(number), content)
            seen |= read_passing(tmp_path / str(number), lambda name: name != "other", passing)
        assert "other" not in seen and all(torch.equal(seen[f"x.{name}"], encoder[name].to(kind)) for name in encoder)
        return passing.value

    kind = torch.float32
    prefixed = {f"x.{name}": tensor for name, tensor in encoder.items()}
    whole = prefixed | {"other": torch.ones(300, dtype=torch.int64), "lm_head": torch.randn(300)}
    assert passing_hash(whole) == tensors_hash(encoder)
    parts = [{name: prefixed[name] for name in names} for names in (("x.a", "x.b.c"), ("x.b.d", "x.e"))]
    assert passing_hash(*parts) == tensors_hash(encoder)
    assert passing_hash(*reversed(parts)) is None
    kind = torch.float16
    assert passing_hash({name: tensor.half() for name, tensor in prefixed.items()}) is None


def test_it_is_private_and_replaces_what_was_there(tmp_path: Path) -> None:
    write_tensors(tmp_path / "t", {"w": torch.zeros(100)})
    write_tensors(tmp_path / "t", {"w": torch.ones(2)})
    assert read_tensors(tmp_path / "t")["w"].tolist() == [1.0, 1.0]
    assert (tmp_path / "t").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("cut", [1, 3, 7, 40, 90])
def test_a_torn_file_is_one_line(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"a": torch.arange(5.0), "b": torch.arange(3)})
    path.write_bytes(path.read_bytes()[:-cut] if cut < 90 else path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"t\.safetensors: not a whole safetensors file") as error:
        read_hashed(path, lambda name: True)
    assert "\n" not in str(error.value)
