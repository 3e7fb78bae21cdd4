"""Sentences and their translations."""

from training.task import Columns, Hub, Task
from training.tasks.languages import ISO3, TATOEBA, TATOEBA_EXTRA
from training.tasks.presets import RETRIEVAL_TARGET, XTREME, files_of

ENTRIES = (
    Task(
        name="tatoeba",
        format="retrieval",
        metric_family="retrieval",
        metric="accuracy",
        licence="CC BY 2.0 FR",
        columns=Columns(("{target_sentence}",), ("{source_sentence}",)),
        languages=TATOEBA,
        extra_languages=TATOEBA_EXTRA,
        iso3=ISO3,
        training_path="none",
        files=files_of(
            test="tatoeba/tatoeba.{iso3}-eng.{iso3} tatoeba/tatoeba.{iso3}-eng.eng", roles=("other", "english")
        ),
        hub=Hub(XTREME, None, "tatoeba.{iso3}", test=("validation",)),
        target=RETRIEVAL_TARGET,
    ),
)
