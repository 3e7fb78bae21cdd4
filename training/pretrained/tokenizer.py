"""The tokenizer of a model folder. Nothing here needs torch; transformers, which imports it where it is installed, is
itself imported only when a tokenizer is loaded."""

from pathlib import Path
from typing import Any

from slurm.base import UserError
from training.pretrained.start import check_folder


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer of a model folder."""
    from transformers import AutoTokenizer

    check_folder(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    # A tokenizer made without its vocabulary is silently five tokens long.
    if len(tokenizer) < 100:
        raise UserError(f"{folder}: the tokenizer knows {len(tokenizer)} tokens only; copy XLM-R's files again.")
    return tokenizer
