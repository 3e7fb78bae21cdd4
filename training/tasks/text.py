"""Plain text in many languages."""

from training.tasks import examples
from training.tasks.presets import INTERMEDIATE, files_of
from training.tasks.task import Columns, Hub, Task

ENTRIES = (
    Task(
        name="mlm",
        format="mlm",
        metric_family="words",
        metric="accuracy",
        licence="that of the text",
        columns=Columns(("{text}",)),
        files=files_of("mlm/{lang}.txt", hold_out=0.01),
        hub=Hub("", None),
        intermediate=INTERMEDIATE,
        target=INTERMEDIATE,
        example=examples.MLM,
    ),
)
