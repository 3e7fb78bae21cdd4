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
    late_imports = (_TRANSFORMERS if any(map(_encodes, runs)) else ()) + (
        _DEEPSPEED if any(map(_uses_deepspeed, entries)) else ()
    )
    with _without_a_gpu(entries):
        for name in (*_STAGE, *late_imports):
            importlib.import_module(name)
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


def _uses_deepspeed(entry: StageEntry) -> bool:
    """Whether it surely does; where `auto` comes to it, an element imports it itself."""
    return entry.kind == "train" and entry.read_runtime().zero in (1, 2, 3)


@contextmanager
def _without_a_gpu(entries: Sequence[StageEntry]) -> Iterator[None]:
    """Have libraries that ask for GPUs at their import ask the system, not CUDA, which would not outlive a fork; and
    DeepSpeed take at its import what `training.distributed` will tell each element's."""
    import torch

    names = ("PYTORCH_NVML_BASED_CUDA_CHECK", "DS_ACCELERATOR")
    before = {name: os.environ.get(name) for name in names}
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    on_gpu = any(entry.read_runtime().device != "cpu" for entry in entries) and torch.cuda.is_available()
    os.environ["DS_ACCELERATOR"] = "cuda" if on_gpu else "cpu"
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
