"""Fixtures of the tests of `training`."""

from pathlib import Path
from typing import Any

import pytest

from training.pretrained.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def xlmr_tokenizer(tiny_model: Path) -> Any:
    """XLM-R's own tokenizer."""
    return Tokenizer(tiny_model)


@pytest.fixture(scope="session")
def library_tokenizer(tiny_model: Path) -> Any:
    """The same as transformers has it: what ours is compared with."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)
