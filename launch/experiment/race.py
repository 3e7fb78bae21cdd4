"""The section `seeds: {min: 2, max: 10, until: 0.5}`: seeds go on where a difference to `none` is still uncertain."""

from typing import Annotated

from launch.experiment.fields import Number, Section, Whole
from training.spec import Says


class Race(Section):
    """How many seeds a recipe on a target gets, and when its difference to `none` is decided."""

    min: Annotated[Annotated[int, Whole(2, 100)], Says("seeds that every recipe gets on every target", "2")]
    max: Annotated[Annotated[int, Whole(3, 100)], Says("seeds at most", "10")]
    until: Annotated[
        Annotated[float, Number(0.001, 100)],
        Says("points: a difference is decided once it is shown to be one, or to be within ± this", "0.5"),
    ]
    alpha: Annotated[
        Annotated[float, Number(0.001, 0.2)], Says("the error rate of each decision, over all looks at it", "0.01")
    ] = 0.05
