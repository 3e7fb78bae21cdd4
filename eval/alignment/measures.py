"""All measures of one layer and pooling of a pair of languages."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.alignment.cka import linear_cka
from eval.alignment.cosines import cosine_gap
from eval.alignment.hubness import skewness
from eval.alignment.isotropy import iso_score
from eval.alignment.probe import language_accuracy
from eval.alignment.retrieval import Nearest, by_cosine, by_margin

Floats = NDArray[np.float32]
Places = NDArray[np.int64]
FEWEST = 5  # pairs, that there be a number at all; what it says of so few is another matter


@dataclass(frozen=True)
class Sides:
    """English and the other language: vectors [n, width] as they were pooled, and the same of length 1."""

    english: Floats
    other: Floats
    unit_english: Floats
    unit_other: Floats


@dataclass(frozen=True)
class Choices:
    """Of each pair, which row is taken for the translation: forward of the English sentence, backward of the other."""

    forward: Places
    backward: Places
    margin_forward: Places
    margin_backward: Places


def choices(forward: Nearest, backward: Nearest) -> Choices:
    """`forward`: of each English sentence its nearest of the other language; `backward`: the reverse."""
    return Choices(by_cosine(forward), by_cosine(backward), by_margin(forward, backward), by_margin(backward, forward))


def of_choices(chosen_rows: Choices) -> dict[str, float]:
    """Retrieval accuracies in percent, as `eval.metrics.alignment` has them of ids."""
    rows = np.arange(len(chosen_rows.forward))
    return {
        name: 100.0 * float((places == rows).mean())
        for name, places in (
            ("accuracy", chosen_rows.forward),
            ("accuracy_reverse", chosen_rows.backward),
            ("margin_accuracy", chosen_rows.margin_forward),
            ("margin_accuracy_reverse", chosen_rows.margin_backward),
        )
    }


def of_vectors(sides: Sides, forward: Nearest, backward: Nearest) -> dict[str, float]:
    """What is no sum over pairs: in percent of their full value, but for hubness, which is a skewness.

    `hubness`: of the other language's sentences, for English queries; `hubness_reverse`: of the English ones.
    """
    n = len(sides.english)
    assert n >= FEWEST, n
    cka = linear_cka(sides.english, sides.other)
    return {
        "cka": 100.0 * cka.linear,
        "cka_debiased": 100.0 * cka.debiased,
        "cosine_gap": 100.0 * cosine_gap(sides.unit_english, sides.unit_other),
        "isotropy": 100.0 * iso_score(sides.other),
        "isotropy_english": 100.0 * iso_score(sides.english),
        "hubness": skewness(forward.places, n),
        "hubness_reverse": skewness(backward.places, n),
        "language_probe": 100.0 * language_accuracy(sides.english, sides.other),
    }
