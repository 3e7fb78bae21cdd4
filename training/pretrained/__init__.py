"""What training starts from: a model folder or a pinned commit on the Hub, checked and identified by its content.

Imports `training.flops` and `slurm.base`; no torch, and transformers only when a tokenizer is loaded. Begin with
`start`: `resolve` says which model `model:` means, `check_folder` whether it is one that we can train: an XLM-R,
`altclip` with its text tower, or `causal`, a language model of transformers. `tokenizer` loads its tokenizer; `small`
writes a real small model, without a network.
"""

from training.pretrained.start import (
    StartModel,
    check_folder,
    resolve,
    start_model_folder,
    tokenizer_hash,
    weight_files,
)
from training.pretrained.tokenizer import load_tokenizer

__all__ = [
    "StartModel",
    "check_folder",
    "load_tokenizer",
    "resolve",
    "start_model_folder",
    "tokenizer_hash",
    "weight_files",
]
