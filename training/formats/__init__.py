"""The formats by name, one file each: how examples are read, what a model sees of them, what its outputs mean.

Imports `training.tasks`, `training.spec`, `training.seeds` and `slurm.base`; no torch: heads are in
`training.model.heads`. Begin with `base`, all that is asked about a format, and `sequence`, the plainest; to add one:
docs/adding-a-format.md.
"""

from typing import Any

from training.formats.base import Format
from training.formats.choice import Choice
from training.formats.dual_encoder import DualEncoder
from training.formats.image_text import ImageText
from training.formats.mining import Mining
from training.formats.mlm import MaskedLanguageModel
from training.formats.parallel import Parallel
from training.formats.prompts.form import PromptedChoice, PromptedPair
from training.formats.prompts.generated import PromptedSpan
from training.formats.retrieval import Retrieval
from training.formats.sequence import Sequence
from training.formats.span import Span
from training.formats.tagging import Tagging

_FORMATS: dict[str, Format[Any]] = {
    form.name: form  # in the order of what people are shown
    for form in (
        Sequence(),
        Choice(),
        Span(),
        Tagging(),
        MaskedLanguageModel(),
        PromptedPair(),
        PromptedChoice(),
        PromptedSpan(),
        DualEncoder(),
        Retrieval(),
        Parallel(),
        Mining(),
        ImageText(),
    )
}
NAMES = tuple(_FORMATS)


def get(name: str) -> Format[Any]:
    """The format of this name."""
    return _FORMATS[name]
