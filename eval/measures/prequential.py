"""How many bits it takes to send labels to somebody who has their features, the model being learned on the way.

Prequential (online) code: the first block is sent as if nothing were known, each further one by a model of all before
it (Dawid 1984; Blier & Ollivier 2018, arXiv 1802.07044; blocks as in Voita & Titov 2020, 2003.12298).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from eval.measures import problems
from eval.measures.problems import Problem

FRACTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)  # of the labels: ends of blocks
PENALTIES = (1000.0, 100.0, 10.0, 1.0)  # of which the first, the most cautious, begins


@dataclass(frozen=True)
class Code:
    """Lengths in bits, of all labels together. `penalty`: with which the model that is chosen now would go on."""

    bits: float
    uniform_bits: float
    penalty: float


def block_ends(labels: int) -> list[int]:
    """How many labels have been sent after each block; blocks without any are left out."""
    return sorted({end for fraction in FRACTIONS if (end := round(fraction * labels))})


def code(problem: Problem, between: Callable[[], None] = lambda: None) -> Code:
    """The code of a problem's labels in their order. A block's model has the penalty that would have sent all blocks
    before it in the fewest bits: sender and receiver both know that, so nothing is chosen by what is yet to be sent."""
    ends = block_ends(len(problem))
    nats = problem.part(0, ends[0]).uniform()
    so_far = np.zeros(len(PENALTIES))
    for end, next_end in pairwise(ends):
        earlier, block = problem.part(0, end), problem.part(end, next_end)
        of_block = [float(block.losses(problems.fit(earlier, penalty, between)).sum()) for penalty in PENALTIES]
        nats += of_block[int(so_far.argmin())]
        so_far += of_block
    return Code(float(nats / np.log(2)), float(problem.uniform() / np.log(2)), PENALTIES[int(so_far.argmin())])
