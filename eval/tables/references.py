"""Published rows to stand beside an experiment's, by name: only numbers that were read in a source, which is named.

Left out, as no source at hand had them: the table of Phang et al. 2020 (arXiv 2005.13013) with each intermediate task's
differences, its scores on POS, BUCC and Tatoeba; XLM-R Large's POS and exact match of TyDiQA in XTREME.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from slurm.base import UsageError
from training.tasks import catalogue


@dataclass(frozen=True)
class Reference:
    """`scores`: by (target or average, metric), in percent, as published."""

    label: str
    scores: Mapping[tuple[str, str], float]
    source: str


_MT5 = "the mT5 README (github.com/google-research/multilingual-t5)"
REFERENCES = {
    "xtreme-xlmr-large": Reference(
        "XLM-R Large (XTREME)",
        {
            ("xnli", "accuracy"): 79.2,
            ("pawsx", "accuracy"): 86.4,
            ("panx", "f1"): 65.4,
            ("xquad", "f1"): 76.6,
            ("xquad", "exact_match"): 60.8,
            ("mlqa", "f1"): 71.6,
            ("mlqa", "exact_match"): 53.2,
            ("tydiqa", "f1"): 65.1,
            ("bucc", "f1"): 66.0,
            ("tatoeba", "accuracy"): 57.3,
            ("xtreme", "average"): 68.1,
        },
        "Hu et al. 2020 (arXiv 2003.11080), test sets, one run: accuracies and F1 of XNLI, PAWS-X, PAN-X and question"
        f" answering as {_MT5} has them; exact match, BUCC, Tatoeba and the average from one write-up of VECO"
        " (Luo et al. 2021) alone",
    ),
    "xstilts": Reference(
        "X-STILTs (best per target)",
        {
            ("xnli", "accuracy"): 80.4,
            ("pawsx", "accuracy"): 87.7,
            ("panx", "f1"): 64.7,
            ("xquad", "f1"): 77.2,
            ("mlqa", "f1"): 72.3,
            ("tydiqa", "f1"): 76.0,
        },
        "Phang et al. 2020 (arXiv 2005.13013), XTREME's test sets, the best intermediate task of each target, as"
        f" {_MT5} has it",
    ),
    "jiant-xlmr-large": Reference(
        "XLM-R Large (jiant, dev)",
        {("bucc", "f1"): 71.525, ("tatoeba", "accuracy"): 31.022},  # means over 4 and 36 languages
        "the authors of Phang et al. 2020, github.com/jiant-dev/jiant-dev pull request 128: validation sets,"
        " mean-pooled hidden states, nothing trained",
    ),
    "xlmr-base": Reference(
        "XLM-R Base (XLM-Align)",
        {
            ("udpos", "pos_f1_xtreme"): 75.6,
            ("panx", "f1"): 61.8,
            ("xquad", "f1"): 71.9,
            ("xquad", "exact_match"): 56.4,
            ("mlqa", "f1"): 65.1,
            ("mlqa", "exact_match"): 47.2,
            ("tydiqa", "f1"): 55.4,
            ("tydiqa", "exact_match"): 38.3,
            ("xnli", "accuracy"): 75.0,
            ("pawsx", "accuracy"): 84.9,
        },
        "Chi et al. 2021 (arXiv 2106.06381), as the model card of microsoft/xlm-align-base has it",
    ),
}


def find(name: str) -> Reference:
    """The published row of this name; UsageError where there is none."""
    if name not in REFERENCES:
        raise UsageError(f"--reference {name}: {catalogue.nearest(name, tuple(REFERENCES))}")
    return REFERENCES[name]
