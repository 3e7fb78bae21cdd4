"""Questions that researchers ask of intermediate training, answered from what was collected: pure functions.

Begin with `study`, the face that each has, and `STUDIES`, which lists them. `records` has what studies are drawn from,
`finding` what they say; `transfer` and `means` are what several of them compute. A study is a file or a folder with a
function `find`, and a line here. Imports `eval.statistics` alone. Not covered: where the records come from, and how a
finding is drawn.
"""

from eval.studies.alignment.study import find as find_alignment
from eval.studies.complexity.study import find as find_complexity
from eval.studies.correlation.study import find as find_correlation
from eval.studies.order.study import find as find_order
from eval.studies.prompts.study import find as find_prompts
from eval.studies.study import Study

STUDIES = (
    Study("order", "Does the order of intermediate tasks change zero-shot transfer?", ("runs",), find_order),
    Study("correlation", "Which metric of an intermediate task predicts transfer?", ("runs", "dev_points"),
          find_correlation),
    Study("complexity", "Does a harder intermediate task transfer more?", ("runs", "measures"), find_complexity),
    Study("alignment", "Does English intermediate training align languages, and in which domains?",
          ("runs", "representations"), find_alignment),
    Study("prompts", "Do intermediate training and in-context prompts add up?", ("runs", "prompted_targets"),
          find_prompts),
)  # fmt: skip
