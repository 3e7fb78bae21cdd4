"""What `plan` shows of the shapes of its trainings."""

from typing import Any

import pytest

from launch.estimate import shapes
from slurm.base import UsageError
from tests.launch.workspace import Workspace

LARGE = "FacebookAI/xlm-roberta-large"
ONE_GPU = {"executor": "slurm", "gpus-per-node": "1"}


def _lines(workspace: Workspace, label: str, **changes: Any) -> list[str]:
    grid: dict[str, Any] = {
        "recipes": ["none"],
        "targets": ["xnli"],
        "seeds": ["1"],
        "cluster": ONE_GPU,
        "model": LARGE,
    }
    return [line for name, line in shapes.lines(workspace.plan(**(grid | changes))) if name == label]


def test_the_large_model_on_one_gpu(workspace: Workspace) -> None:
    assert _lines(workspace, "shape") == [
        "mnli: ZeRO 0 on 1 GPU, 1 micro-batch of at most 16,384 tokens a step;"
        " 10.6 GB of states + 1.14 MB a token, 19.9 GB a rank at most"
    ]


@pytest.mark.parametrize(
    ("flag", "shown"),
    [
        ({"gres": "license:1,gpu:a100:2"}, "on 2 GPUs,"),
        ({"gpus": "1"}, "on 1 GPU,"),
        ({"gpus": "4"}, "on 4 GPUs,"),
        ({"gpus-per-task": "a100:1"}, "on 1 GPU,"),
    ],
)
def test_gpus_may_be_asked_for_by_any_flag(workspace: Workspace, flag: dict[str, str], shown: str) -> None:
    (line,) = _lines(workspace, "shape", cluster={"executor": "slurm", "sbatch": flag})
    assert shown in line


def test_a_mixture_of_offload_and_no_zero_is_refused(workspace: Workspace) -> None:
    told = {"squad": {"offload": "true"}, "mnli": {"zero": "none"}}
    with pytest.raises(UsageError, match="'mnli \\+ squad' gets offload: true and zero: none; say one"):
        _lines(workspace, "shape", recipes=["mnli + squad"], training={"epochs": "1"}, tasks=told)


def test_equal_shapes_share_a_line(workspace: Workspace) -> None:
    told = {"recipes": ["qqp", "hellaswag", "squad"], "targets": ["xnli"], "training": {"max_length": "200"}}
    first, second, third = _lines(workspace, "shape", **told)
    assert first.startswith("qqp, mnli: ") and second.startswith("hellaswag: ") and third.startswith("squad: ")
    assert "1 micro-batch (more with windows) of" in third
    assert _lines(workspace, "vocabulary", **told) == [
        "qqp, mnli, hellaswag, squad: compact (rows that train and dev use; the states above count all rows)"
    ]


@pytest.mark.parametrize(
    ("cluster", "shown"),
    [
        ({"executor": "slurm"}, "ZeRO 0 on 1 CPU rank, up to 2 micro-batches of at most 4,096"),
        ({"executor": "slurm", "gpus-per-node": "4", "nodes": "2"}, "ZeRO 1 on 8 GPUs, 1 micro-batch"),
        ({"executor": "slurm", "ntasks-per-node": "3"}, "ZeRO 1 on 3 CPU ranks, 1 micro-batch"),
        ({"executor": "local", "ntasks-per-node": "2", "nodes": "5"}, "ZeRO 1 on 2 CPU ranks"),
        ({"executor": "slurm", "sbatch": {"gres": "gpu:1"}}, "ZeRO 0 on 1 GPU"),
    ],
)
def test_ranks_and_device_are_those_of_the_cluster(workspace: Workspace, cluster: dict[str, Any], shown: str) -> None:
    (line,) = _lines(workspace, "shape", cluster=cluster)
    assert shown in line


def test_what_the_file_sets_is_shown(workspace: Workspace) -> None:
    training = {"zero": "none", "token_budget": "1000", "compact_vocabulary": "false"}
    (line,) = _lines(workspace, "shape", training=training)
    assert "DDP without DeepSpeed on 1 GPU, up to 11 micro-batches of at most 1,000 tokens" in line
    assert _lines(workspace, "vocabulary", training=training) == ["mnli: all rows (compact_vocabulary: false)"]
    (line,) = _lines(workspace, "shape", training={"zero": "2", "offload": "true"})
    assert "ZeRO 2 and offload on 1 GPU" in line


def test_a_language_model_in_a_mixture_keeps_all_rows(workspace: Workspace) -> None:
    (workspace.root / "data" / "mlm-en.txt").write_text("A sentence.\n" * 8)
    added = {"my_mlm": {"format": "mlm", "files": {"train": ["mlm-{lang}.txt"], "dev": ["mlm-{lang}.txt"]}}}
    told = {"recipes": ["my_mlm + qqp"], "targets": ["tatoeba"], "catalogue": added}
    line = "my_mlm + qqp: all rows, because a language model predicts any token"
    assert _lines(workspace, "vocabulary", **told) == [line]


def test_a_model_without_known_sizes_says_what_to_type(workspace: Workspace) -> None:
    model = "someone/their-model@" + "0" * 40
    assert _lines(workspace, "shape", model=model) == ["known once `stepstone prepare` has fetched the model"]


def test_json_has_a_shape_per_definition(workspace: Workspace) -> None:
    made = workspace.plan(seeds=["1", "2", "3"])
    found = shapes.of_plan(made)
    assert found.keys() == {("", digest) for digest in made.steps}
    (record,) = [shape.record for shape in found.values() if shape.task == "squad"]
    assert (record["zero"], record["ranks"], record["compact_vocabulary"]) == (0, 1, True)
    assert record["states_bytes"] < record["bytes"]
