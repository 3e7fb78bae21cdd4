"""The face of a study: its name, what it asks, what it needs of the results, and what it finds in them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from eval.studies.finding import Finding
from eval.studies.records import Results

Need = Literal[
    "runs", "dev_points", "measures", "representations", "prompted_targets"
]  # the fields of `Results` without which there is nothing to say


@dataclass(frozen=True)
class Study:
    """`find`: a pure function; where results are too few it says so in the finding's sentence, and raises nothing."""

    name: str
    question: str
    needs: tuple[Need, ...]
    find: Callable[[Results], Finding]
