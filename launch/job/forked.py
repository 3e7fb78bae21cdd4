"""An element as a fork of a local worker (`slurm.local`), which has imported what its stages use."""

import importlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from launch.job import __main__ as job
from launch.store import manifests, provenance
from launch.store.manifests import Manifest, StageEntry
from launch.store.store import token_folder
from slurm.base import UserError
from training.data import tokens

_STAGE = ("launch.job.element", "launch.job.stage", "numpy.random")
_TRANSFORMERS = (
    "transformers.models.auto.tokenization_auto",
    "transformers.models.xlm_roberta.tokenization_xlm_roberta",
)
_DEEPSPEED = ("deepspeed", "deepspeed.ops.op_builder.all_ops", "deepspeed.module_inject.auto_ep_layer", "setuptools")


def prepare(elements: Sequence[Mapping[str, str]]) -> None:
    """Import what these elements' stages use, the parts that the libraries import late too. Starts no thread."""
    runs = list(_manifests(elements))
    entries = [entry for manifest in runs for entry in manifest.entries()]
    trains = [entry for entry in entries if entry.kind == "train"]
    # Libraries that ask for GPUs at their import shall ask the system, not CUDA, which would not outlive a fork.
    with _told("PYTORCH_NVML_BASED_CUDA_CHECK", "1"):
        _import(*_STAGE, *(_TRANSFORMERS if any(map(_encodes, runs)) else ()))
        accelerators = set(map(_accelerator, trains))
        # DeepSpeed takes one at its import and for good: where elements differ, each imports it for its own.
        if any(map(_uses_deepspeed, trains)) and len(accelerators) == 1:
            with _told("DS_ACCELERATOR", accelerators.pop()):
                _import(*_DEEPSPEED)
    provenance.versions()  # of what has just been imported, whatever is installed later


def main() -> None:
    """The element that the environment names."""
    sys.argv = ["launch.job"]
    job.main()


def _manifests(elements: Sequence[Mapping[str, str]]) -> Iterator[Manifest]:
    """Those of some elements, as far as they can be read: an element's own start says what is wrong with it."""
    for path in {element["STEPSTONE_MANIFEST"] for element in elements}:
        with suppress(UserError, OSError):
            yield manifests.read(Path(path))


def _encodes(manifest: Manifest) -> bool:
    """Whether no tokens lie in the store yet, whose making needs a tokenizer."""
    return not tokens.has_facts(token_folder(Path(manifest.store)))


def _uses_deepspeed(train: StageEntry) -> bool:
    """Whether it surely does; where `auto` comes to it, an element imports it itself."""
    return train.read_runtime().zero in (1, 2, 3)


def _accelerator(train: StageEntry) -> str:
    """What `training.distributed` will tell DeepSpeed in a train's element."""
    import torch

    return "cuda" if train.read_runtime().device != "cpu" and torch.cuda.is_available() else "cpu"


def _import(*names: str) -> None:
    for name in names:
        importlib.import_module(name)


@contextmanager
def _told(name: str, value: str) -> Iterator[None]:
    """With a variable of the environment, which is as it was afterwards."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
