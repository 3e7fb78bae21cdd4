"""The measures of a task by the names of `eval.studies.complexity`: of its texts, its labels, its words, its features.

What is `dev`'s was fitted on train alone. A label is one decision: of an example or, where it has several, of each
(every word's tag; where an answer starts and where it ends). Losses are nats a label, scores the share of labels told
right, in percent; `code_length` is bits a label.
"""

from collections.abc import Callable, Sequence

import numpy as np

from eval.measures import prequential, problems, texts
from eval.measures.problems import Ints, Problem

Measures = dict[str, float]


def of_texts(examples: Sequence[Sequence[str]], subwords: Sequence[int]) -> Measures:
    """`examples`: the texts of each, in an order that says nothing; `subwords`: how many these have together."""
    ratio = texts.type_token_ratio(text for of_example in examples for text in of_example)
    return {
        "length": float(np.mean(subwords)),
        "segments": float(np.mean([len(of_example) for of_example in examples])),
        **({} if ratio is None else {"type_token_ratio": ratio}),
    }


def of_labels(train: Ints, dev: Ints, classes: int) -> Measures:
    """Labels below `classes`. The constant answer is train's most frequent label; its loss is that of train's shares,
    every label counted once more than it occurs (Laplace), as dev may have one that train lacks."""
    counts = np.bincount(train, minlength=classes)
    losses = np.log(len(train) + classes) - np.log(counts + 1)
    return {
        "label_entropy": entropy(train),
        "majority_loss": float(losses[dev].mean()),
        "majority_score": 100.0 * float((dev == counts.argmax()).mean()),
    }


def entropy(labels: Ints) -> float:
    """Bits, by the shares of the labels that occur."""
    shares = np.unique_counts(labels).counts / len(labels)
    return float(-(shares * np.log2(shares)).sum())


def of_words(train: Problem, dev: Problem, between: Callable[[], None] = lambda: None) -> Measures:
    """Features are counts of words. The penalty is the one that codes train's labels best."""
    penalty = prequential.code(train, between).penalty
    loss, score = _on_dev([(train, dev)], [penalty], between)
    return {"bag_of_words_score": score, "bag_of_words_loss": loss}


def of_probe(pairs: Sequence[tuple[Problem, Problem]], between: Callable[[], None] = lambda: None) -> Measures:
    """Features are frozen states of the start model. `pairs`: (train, dev) of each label that an example has."""
    codes = [prequential.code(train, between) for train, _ in pairs]
    loss, score = _on_dev(pairs, [code.penalty for code in codes], between)
    bits, uniform_bits = sum(code.bits for code in codes), sum(code.uniform_bits for code in codes)
    return {
        "probe_score": score,
        "probe_loss": loss,
        "code_length": bits / sum(len(train) for train, _ in pairs),
        **({"compression": uniform_bits / bits} if bits else {}),  # of labels that are all known, no ratio
    }


def _on_dev(
    pairs: Sequence[tuple[Problem, Problem]], penalties: Sequence[float], between: Callable[[], None]
) -> tuple[float, float]:
    """(loss, score) over dev's labels of all pairs."""
    fits = [problems.fit(train, penalty, between) for (train, _), penalty in zip(pairs, penalties, strict=True)]
    losses = [dev.losses(weights) for (_, dev), weights in zip(pairs, fits, strict=True)]
    right = [dev.are_right(weights) for (_, dev), weights in zip(pairs, fits, strict=True)]
    return float(np.concatenate(losses).mean()), 100.0 * float(np.concatenate(right).mean())
