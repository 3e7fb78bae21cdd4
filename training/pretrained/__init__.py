"""What training starts from: an XLM-R folder or a pinned commit on the Hub, checked and identified by its content.

Imports `slurm.base` alone; no torch. Begin with `start`: `resolve` says which model `model:` means, `check_folder`
whether it is one that we can train. `small` writes a real small one, without a network.
"""

from training.pretrained.start import (
    StartModel,
    check_folder,
    resolve,
    start_model_folder,
    tokenizer_hash,
    weight_files,
)

__all__ = ["StartModel", "check_folder", "resolve", "start_model_folder", "tokenizer_hash", "weight_files"]
