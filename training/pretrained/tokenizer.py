"""The tokenizer of a model folder. Nothing here needs torch; transformers, which imports it where it is installed, is
itself imported only when a tokenizer is loaded, and that only when a text is to be encoded."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from slurm.base import UserError
from slurm.base.files import read_sealed, seal, write_atomic
from training.pretrained.start import check_folder, is_causal, tokenizer_hash

_FEWEST = 100  # tokens: a tokenizer made without its vocabulary is silently five tokens long


@dataclass(frozen=True)
class TokenizerFacts:
    """What is asked of a tokenizer beside encoding."""

    size: int  # tokens
    special_ids: tuple[int, ...]
    mask_id: int | None  # of a causal language model's mostly None


class Tokenizer:
    """A model folder's fast tokenizer, loaded when it is first needed: where all tokens are in the cache it never is.

    `facts`: a file that keeps what is asked beside encoding, written when it is loaded; None: nothing is kept.
    """

    def __init__(self, folder: Path, facts: Path | None = None) -> None:
        self.folder, self.hash = folder, tokenizer_hash(folder)
        self._facts_file = facts
        self._facts: TokenizerFacts | None = None

    @cached_property
    def is_causal(self) -> bool:
        """Whether its model is a causal language model, for which prompts are other rows."""
        return is_causal(self.folder)

    def __len__(self) -> int:
        return self.facts.size

    def __getattr__(self, name: str) -> Any:
        """What encoding asks for: transformers' own."""
        return getattr(_loaded(self.hash, self.folder), name)

    @property
    def all_special_ids(self) -> list[int]:
        return list(self.facts.special_ids)

    @property
    def mask_token_id(self) -> int | None:
        return self.facts.mask_id

    def keep_facts(self) -> None:
        """See that they are in their file: jobs that find all tokens beside it need no tokenizer then."""
        self._facts = self._remembered() or self._read()

    @property
    def facts(self) -> TokenizerFacts:
        if self._facts is None:
            self._facts = self._remembered() or self._read()
        return self._facts

    def _remembered(self) -> TokenizerFacts | None:
        record = read_sealed(self._facts_file) if self._facts_file is not None else None
        if record is None or record["hash"] != self.hash or record["packages"] != packages():
            return None
        return TokenizerFacts(record["size"], tuple(record["special_ids"]), record["mask_id"])

    def _read(self) -> TokenizerFacts:
        tokenizer = _loaded(self.hash, self.folder)
        facts = TokenizerFacts(len(tokenizer), tuple(tokenizer.all_special_ids), tokenizer.mask_token_id)
        if self._facts_file is not None and self._facts_file.parent.is_dir():
            record = asdict(facts) | {"special_ids": list(facts.special_ids)}
            with suppress(OSError):  # a full disk costs the next job the time, no more
                write_atomic(self._facts_file, seal(record | {"hash": self.hash, "packages": packages()}))
        return facts


def packages() -> list[str]:
    """The versions of those that encode."""
    return [version("tokenizers"), version("transformers")]


_newest: tuple[str, Any] = ("", None)  # one is 100 MB; all models of an experiment have the same


def _loaded(identity: str, folder: Path) -> Any:
    """The tokenizer of this hash, loaded once in a process."""
    global _newest
    if _newest[0] != identity:
        _newest = identity, load_tokenizer(folder)
    return _newest[1]


def load_tokenizer(folder: Path) -> Any:
    """transformers' fast tokenizer of a model folder."""
    from transformers import AutoTokenizer

    check_folder(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if len(tokenizer) < _FEWEST:
        raise UserError(f"{folder}: the tokenizer knows {len(tokenizer)} tokens only; copy the model's files again.")
    if not tokenizer.is_fast:
        raise UserError(f"{folder}: the tokenizer is no fast one, which alone is used; see its tokenizer.json.")
    return tokenizer
