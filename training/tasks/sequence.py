"""Pairs of sentences. NLI sets have one set of labels, whatever their files call them."""

from training.task import Columns, Hub, Task
from training.tasks.languages import PAWSX, XNLI
from training.tasks.presets import INTERMEDIATE, PAIR_TARGET, PAWSX_TARGET, files_of

_NLI = ("entailment", "neutral", "contradiction")
_NLI_MAP = {name: name for name in _NLI} | {"0": "entailment", "1": "neutral", "2": "contradiction"}
_ANLI_MAP = _NLI_MAP | {"e": "entailment", "n": "neutral", "c": "contradiction"}
_XNLI_MAP = _NLI_MAP | {"contradictory": "contradiction"}  # so spelled in XNLI's own files
_PARAPHRASE = ("different", "paraphrase")
_PARAPHRASE_MAP = {
    "0": "different",
    "1": "paraphrase",
    "not_duplicate": "different",
    "duplicate": "paraphrase",
}
GLUE = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
ENTRIES = (
    Task(
        name="mnli",
        format="sequence",
        metric_family="accuracy",
        metric="accuracy",
        licence="OANC and others (see MultiNLI)",
        labels=_NLI,
        label_map=_NLI_MAP,
        unlabelled=("-", "-1"),
        columns=Columns(
            ("{sentence1}", "{premise}"),
            ("{sentence2}", "{hypothesis}"),
            label=("gold_label", "label"),
            id=("pairID", "idx"),
            header=("premise", "hypothesis", "label"),
        ),
        files=files_of("multinli_1.0/multinli_1.0_train.jsonl", "multinli_1.0/multinli_1.0_dev_matched.jsonl"),
        hub=Hub("nyu-mll/glue", GLUE, "mnli", train=("train",), dev=("validation_matched",)),
        intermediate=INTERMEDIATE,
        target=PAIR_TARGET,
    ),
    Task(
        name="anli",  # rounds 1 to 3; ANLI+ adds SNLI and MNLI
        format="sequence",
        metric_family="accuracy",
        metric="accuracy",
        licence="CC BY-NC 4.0",
        labels=_NLI,
        label_map=_ANLI_MAP,
        columns=Columns(("{context}", "{premise}"), ("{hypothesis}",), id=("uid",)),
        files=files_of(
            "anli_v1.0/R1/train.jsonl anli_v1.0/R2/train.jsonl anli_v1.0/R3/train.jsonl",
            "anli_v1.0/R1/dev.jsonl anli_v1.0/R2/dev.jsonl anli_v1.0/R3/dev.jsonl",
        ),
        hub=Hub(
            "facebook/anli",
            "8e4813d81f46d313dac7892e1c28076917cfcdf9",
            "plain_text",
            train=("train_r1", "train_r2", "train_r3"),
            dev=("dev_r1", "dev_r2", "dev_r3"),
        ),
        intermediate=INTERMEDIATE,
        target=PAIR_TARGET,
    ),
    Task(
        name="qqp",
        format="sequence",
        metric_family="accuracy",
        metric="accuracy",
        licence="Quora's terms: research; redistribution unclear",
        labels=_PARAPHRASE,
        label_map=_PARAPHRASE_MAP,
        columns=Columns(("{question1}",), ("{question2}",), label=("is_duplicate", "label"), id=("id", "idx")),
        files=files_of("QQP/train.tsv", "QQP/dev.tsv"),
        hub=Hub("nyu-mll/glue", GLUE, "qqp", train=("train",), dev=("validation",)),
        intermediate=INTERMEDIATE,
        target=PAIR_TARGET,
    ),
    Task(
        name="xnli",
        format="sequence",
        metric_family="accuracy",
        metric="accuracy",
        licence="CC BY-NC 4.0",
        labels=_NLI,
        label_map=_XNLI_MAP,
        columns=Columns(("{premise}",), ("{hypothesis}",), header=("premise", "hypothesis", "label")),
        languages=XNLI,
        training_path="mnli",
        files=files_of(test="xnli/test-{lang}.tsv"),
        hub=Hub("facebook/xnli", "b8dd5d7af51114dbda02c0e3f6133f332186418e", "{lang}", test=("test",)),
        target=PAIR_TARGET,
    ),
    Task(
        name="pawsx",
        format="sequence",
        metric_family="accuracy",
        metric="accuracy",
        licence="free for any purpose, attribution to Google",
        labels=_PARAPHRASE,
        label_map=_PARAPHRASE_MAP,
        columns=Columns(("{sentence1}",), ("{sentence2}",), header=("sentence1", "sentence2", "label")),
        languages=PAWSX,
        training_path="pawsx",
        files=files_of("pawsx/train-en.tsv", "pawsx/dev-en.tsv", "pawsx/test-{lang}.tsv"),
        hub=Hub(
            "google-research-datasets/paws-x",
            "4cd8187c404bda33cb1f62b49b001115862acf37",
            "{lang}",
            train=("train",),
            dev=("validation",),
            test=("test",),
        ),
        target=PAWSX_TARGET,
    ),
)
