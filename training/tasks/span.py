"""Questions with their answer in a context."""

from training.task import Hub, Task
from training.tasks.languages import MLQA, TYDI_NAMES, TYDIQA, XQUAD
from training.tasks.presets import INTERMEDIATE, QA_TARGET, XTREME, files_of

ENTRIES = (
    Task(
        name="squad",
        format="span",
        metric_family="squad",
        metric="f1",
        licence="CC BY-SA 4.0",
        files=files_of("squad/train-v1.1.json", "squad/dev-v1.1.json"),
        hub=Hub(
            "rajpurkar/squad",
            "7b6d24c440a36b6815f21b70d25016731768db1f",
            "plain_text",
            train=("train",),
            dev=("validation",),
        ),
        intermediate=INTERMEDIATE,
        target=QA_TARGET,
    ),
    Task(
        name="xquad",
        format="span",
        metric_family="squad",
        metric="f1",
        licence="CC BY-SA 4.0",
        languages=XQUAD,
        extra_languages=("ro",),
        training_path="squad",
        files=files_of(test="xquad/xquad.{lang}.json"),
        hub=Hub(
            "google/xquad",
            "51adfef1c1287aab1d2d91b5bead9bcfb9c68583",
            "xquad.{lang}",
            test=("validation",),
            languages=(*XQUAD, "ro"),
        ),
        target=QA_TARGET,
    ),
    Task(
        name="mlqa",
        format="span",
        metric_family="mlqa",
        metric="f1",
        licence="CC BY-SA 3.0",
        languages=MLQA,
        training_path="squad",
        files=files_of(test="mlqa/MLQA_V1/test/test-context-{lang}-question-{lang}.json"),
        hub=Hub(XTREME, None, "MLQA.{lang}.{lang}", test=("test",)),
        target=QA_TARGET,
    ),
    Task(
        name="tydiqa",
        format="span",
        metric_family="squad",
        metric="f1",
        licence="Apache 2.0",
        languages=TYDIQA,
        training_path="tydiqa",
        # XTREME's test is the published dev: English dev is held out from train, so that nothing selects on test.
        files=files_of(
            "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json",
            test="tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{lang}.dev.json",
            hold_out=0.1,
        ),
        hub=Hub(
            "google-research-datasets/tydiqa",
            "da78f23f9119363459acbaf46bf89426ff26c259",
            "secondary_task",
            train=("train",),
            test=("validation",),
            hold_out=0.1,
            names=TYDI_NAMES,
            by_id=True,
        ),
        target=QA_TARGET,
    ),
)
