"""What the entries of the catalogue share: default settings, and how paths and labels are written.

Settings: Phang et al. 2020 (arXiv 2005.13013) as in the authors' jiant scripts; XCOPA's as in XTREME-R's.
"""

from collections.abc import Sequence

from training.task import File, Files

# paper-intermediate
INTERMEDIATE = {"learning_rate": 1e-5, "epochs": 3, "global_batch_size": 32, "max_length": 256}
# paper-target, from here on
PAIR_TARGET = {"learning_rate": 1e-5, "epochs": 2, "global_batch_size": 32, "max_length": 256}
PAWSX_TARGET = PAIR_TARGET | {"epochs": 5}
TAGGING_TARGET = PAIR_TARGET | {"epochs": 10}
QA_TARGET = PAIR_TARGET | {"global_batch_size": 16, "max_length": 384, "doc_stride": 128, "max_query_length": 64}
RETRIEVAL_TARGET = {"max_length": 512}
XCOPA_TARGET = {"learning_rate": 3e-5, "epochs": 5, "global_batch_size": 32, "max_length": 128}


XTREME = "google/xtreme"  # no commit of it is pinned anywhere in public


def files_of(
    train: str = "", dev: str = "", test: str = "", *, hold_out: float | None = None, roles: Sequence[str] = ()
) -> Files:
    """Files from space-separated paths; `roles`: those of the test files."""
    of_test = test.split()
    named = tuple(File(path, role) for path, role in zip(of_test, roles or [""] * len(of_test), strict=True))
    return Files(
        tuple(File(path) for path in train.split()), tuple(File(path) for path in dev.split()), named, hold_out
    )


def same(labels: Sequence[str]) -> dict[str, str]:
    """A label map of a data set that calls its labels as we do."""
    return {label: label for label in labels}
