"""What the entries of the catalogue share: default settings, and how paths and labels are written.

Settings: Phang et al. 2020 (arXiv 2005.13013) as in the authors' jiant scripts; XCOPA's as in XTREME-R's.
"""

from collections.abc import Sequence

from training.tasks.task import File, Files

# paper-intermediate
INTERMEDIATE = {"learning_rate": 1e-5, "epochs": 3, "global_batch_size": 32, "max_length": 256}
# paper-target, from here on
PAIR_TARGET = {"learning_rate": 1e-5, "epochs": 2, "global_batch_size": 32, "max_length": 256}
PAWSX_TARGET = PAIR_TARGET | {"epochs": 5}
TAGGING_TARGET = PAIR_TARGET | {"epochs": 10}
QA_TARGET = PAIR_TARGET | {"global_batch_size": 16, "max_length": 384, "doc_stride": 128, "max_query_length": 64}
RETRIEVAL_TARGET = {"max_length": 512}
XCOPA_TARGET = {"learning_rate": 3e-5, "epochs": 5, "global_batch_size": 32, "max_length": 128}
# XTREME-R's dual encoders, with the warm-up and the weight decay of the other targets
LAREQA_TARGET = {
    "learning_rate": 2e-5,
    "epochs": 3,
    "global_batch_size": 16,
    "max_length": 256,
    "max_query_length": 96,
    "contrast_size": 4,
}
MEWSLIX_TARGET = {
    "learning_rate": 1e-5,
    "epochs": 2,
    "global_batch_size": 32,
    "max_length": 64,
    "max_query_length": 64,
    "contrast_size": 8,
}

# xtreme: what google-research/xtreme's scripts/train_*.sh give XLM-R large, and the defaults of the programs they start
# (run_tag.py; those of run_classify.py and run_xcopa.py are recalled): neither weight decay nor warm-up.
_XTREME = {"global_batch_size": 32, "weight_decay": 0.0, "warmup_steps": 0}
PAWSX_XTREME = _XTREME | {"learning_rate": 2e-5, "epochs": 5, "max_length": 128}
NLI_XTREME = PAWSX_XTREME | {"learning_rate": 3e-5}
XCOPA_XTREME = NLI_XTREME
# Their tagging data is cut to 128 - 3 subwords; our windows add two specials.
TAGGING_XTREME = _XTREME | {"learning_rate": 2e-5, "epochs": 10, "max_length": 127}
QA_XTREME = {
    "learning_rate": 3e-5,
    "epochs": 3,
    "global_batch_size": 32,
    "max_length": 384,
    "doc_stride": 128,
    "max_query_length": 64,
    "weight_decay": 1e-4,
    "warmup_steps": 500,
}
RETRIEVAL_XTREME = {"max_length": 512}
# 4 questions are each other's negatives, 4 times before a step; questions of 96 tokens, answers of 256. What is trained
# on as a pair (processors/lareqa.py@c168376) is evaluated as one text (evaluate_retrieval.py@68ff4be).
LAREQA_XTREME = _XTREME | LAREQA_TARGET | {"candidate_text": "joined"}
MEWSLIX_XTREME = _XTREME | MEWSLIX_TARGET  # of 8, 4 times


XTREME = "google/xtreme"
XTREME_COMMIT = "ec5f1f46e9af79639a90684a7a70a956c4998f04"


def files_of(
    train: str = "", dev: str = "", test: str = "", *, hold_out: float | None = None, roles: Sequence[str] = ()
) -> Files:
    """Files from space-separated paths; `roles`: those of the test files."""
    of_test = test.split()
    test_files = tuple(File(path, role) for path, role in zip(of_test, roles or [""] * len(of_test), strict=True))
    return Files(
        tuple(File(path) for path in train.split()), tuple(File(path) for path in dev.split()), test_files, hold_out
    )


def same(labels: Sequence[str]) -> dict[str, str]:
    """A label map of a data set that calls its labels as we do."""
    return {label: label for label in labels}
