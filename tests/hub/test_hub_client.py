"""Verifying what lies in the Hub's cache, and the line that an error becomes."""

import hashlib
import os
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from slurm.base import UserError
from tests.hub import miniatures
from tests.hub.server import git_oid
from training.hub_client import Repository, errors_in_one_line, verify
from training.pretrained import start_model_folder

MODEL = Repository("model", "org/encoder", "1" * 40)
CONTENT = b"weights\n"


def cached(folder: Path, name: str, content: bytes = CONTENT) -> Path:
    """A file of the cache as the client lays it down: a link to what it is called by its hash."""
    (folder / "blobs").mkdir()
    (folder / "snapshot").mkdir()
    (folder / "blobs" / name).write_bytes(content)
    link = folder / "snapshot" / "model.safetensors"
    link.symlink_to(Path("..", "blobs", name))
    return link


def lines() -> AbstractContextManager[None]:
    return errors_in_one_line(MODEL, "model")


NAMES = {
    "large": hashlib.sha256(CONTENT).hexdigest(),
    "small": git_oid(CONTENT),
    "of a mirror": hashlib.sha1(CONTENT).hexdigest(),
    "without a hash": "some-etag",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_what_is_as_the_hub_calls_it_stays(name: str, tmp_path: Path) -> None:
    link = cached(tmp_path, name)
    verify([link])
    assert link.read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["large", "small"])
def test_what_is_not_is_deleted_with_its_link(kind: str, tmp_path: Path) -> None:
    link = cached(tmp_path, NAMES[kind], CONTENT + b"!")
    with pytest.raises(UserError, match=r"model\.safetensors arrived damaged .* type the command again"):
        verify([link])
    assert not link.is_symlink() and not list((tmp_path / "blobs").iterdir())


def test_a_cache_without_links_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(CONTENT)
    verify([tmp_path / "model.safetensors"])


def test_a_job_reads_no_weights_to_verify_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    snapshot = tmp_path / "models--org--encoder" / "snapshots" / MODEL.commit
    blobs = tmp_path / "models--org--encoder" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, (name, content) in enumerate(miniatures.model_files().items()):
        if "/" not in name:
            (blobs / f"{number:064}").write_bytes(content)  # another hash than the file's
            (snapshot / name).symlink_to(blobs / f"{number:064}")
    assert start_model_folder(MODEL.name, MODEL.commit) == snapshot


UNKNOWN = ValueError("https://x/y?X-Amz-Signature=abc is odd\nand more")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, os.strerror(28)), r"no room left in .*: make some, or set HF_HOME to another folder"),
        (PermissionError(13, os.strerror(13), "/hub"), r"/hub: Permission denied: set HF_HOME"),
        (UNKNOWN, r"https://x/y is odd \(type the command again.*, or give a folder as `model:`\)"),
        (KeyError(), r"KeyError \(type the command again"),
    ],
    ids=["full", "forbidden", "unknown", "without words"],
)
def test_an_error_is_one_line_that_says_what_to_do(error: Exception, words: str) -> None:
    with pytest.raises(UserError, match=f"^model: cannot be fetched: {words}") as raised, lines():
        raise error
    assert "\n" not in str(raised.value)


def test_the_cause_inside_an_error_counts() -> None:
    with pytest.raises(UserError, match="no room left"), lines():
        raise RuntimeError("An error occurred while generating the dataset") from OSError(28, os.strerror(28))
