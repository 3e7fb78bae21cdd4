"""What sbatch's flags ask for: every documented form of each, alone and together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm import resources
from slurm.resources import Asked, Contradiction, asked

KINDS = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True)
COUNTS = st.integers(0, 64)
# One number without a type, or a number for each of some types.
REQUESTS = COUNTS.map(lambda count: {"": count}) | st.dictionaries(KINDS, COUNTS, min_size=1, max_size=4)
OTHER_GRES = st.sampled_from(["license:2", "mps:100", "shard:4", "tmp:10G", "nic", "gpumem:3", "craynetwork:1"])


def _item(kind: str | None, count: int) -> str:
    return f"{kind}:{count}" if kind else str(count)


@given(REQUESTS)
def test_gpus_are_the_sum_of_all_types(request: dict[str, int]) -> None:
    assert resources.gpus(",".join(_item(*item) for item in request.items())) == sum(request.values())


@given(REQUESTS, st.lists(OTHER_GRES, max_size=3), st.sampled_from(["", "gres:"]), st.data())
def test_gres_counts_the_gpus_among_other_things(
    request: dict[str, int], others: list[str], prefix: str, data: st.DataObject
) -> None:
    entries = [f"{prefix}gpu:{_item(*item)}" for item in request.items()] + others
    text = ",".join(data.draw(st.permutations(entries)))
    assert resources.gres_gpus(text) == sum(request.values())


# What a real sbatch (22.05.8) made of each, on nodes with two A100 and two V100: gres/gpu of the job; None: refused.
TAKEN_BY_SBATCH: list[tuple[str, str, int | None]] = [
    ("gpus", "a100", 1),
    ("gpus", "a100:1", 1),
    ("gpus", "a100:1,v100:2", 3),
    ("gpus", "3", 3),
    ("gpus", "0", 0),
    ("gpus-per-node", "a100", 1),
    ("gpus-per-node", "a100:2,v100:1", 3),
    ("gpus-per-node", "A100:1", 1),
    ("gpus-per-node", "2,v100:1", None),
    ("gpus-per-node", "v100:1,1", None),
    ("gpus-per-task", "a100:1", 1),
    ("gres", "gpu", 1),
    ("gres", "gpu:a100", 1),
    ("gres", "gpu:a100:2", 2),
    ("gres", "gpu:02", 2),
    ("gres", "gpu:0", 0),
    ("gres", "none", 0),
    ("gres", "gres:gpu:2", 2),
    ("gres", "gpu:a100:1,gpu:v100:1", 2),
    ("gres", "gpu:2,gpu:v100:1", None),
    ("gres", "gpu:1,gpu:1", None),  # taken, for one: refused here, since it is not what it looks like
]


@pytest.mark.parametrize(("flag", "text", "count"), TAKEN_BY_SBATCH)
def test_gpus_are_counted_as_slurm_counts_them(flag: str, text: str, count: int | None) -> None:
    if count is not None:
        assert asked({flag: text}).gpus == count
        return
    with pytest.raises(Contradiction, match="can stand there once, and none without a type beside them"):
        asked({flag: text})


@given(KINDS, KINDS)
def test_a_name_without_a_number_is_one(kind: str, other: str) -> None:
    assert resources.gres_gpus(f"gpu:{kind}a,gpu:{other}b:2") == 3
    assert resources.gres_gpus(f"{kind}a,gpu") == resources.gpus(kind) == 1


@pytest.mark.parametrize("text", ["", "a100:", ":4", "a100:b:1", "a100:x:", "4,", "-1", "a b", "a100: 1", "gpu:"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number of GPUs such as 4 or a100:4"):
        resources.gpus(text)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("32G", 32768),
        ("500", 500),
        ("500M", 500),
        ("1T", 1048576),
        ("512K", 0.5),
        ("0", None),
        ("0G", None),
        ("x", None),
    ],
)
def test_memory_is_megabytes(text: str, amount: float | None) -> None:
    assert resources.megabytes(text) == amount


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, Asked()),
        ({"gpus-per-node": "4"}, Asked(tasks=4, gpus=4)),
        ({"gpus-per-node": "a100:4"}, Asked(tasks=4, gpus=4)),
        ({"gpus-per-node": "a100:2,v100:1", "nodes": 2}, Asked(2, 3, gpus=3)),
        ({"gres": "gpu:a100:4"}, Asked(tasks=4, gpus=4)),
        ({"gres": "license:1"}, Asked()),
        ({"gpus": "8", "nodes": "2"}, Asked(2, 4, gpus=4)),
        ({"gpus": "8", "gpus-per-node": "4", "nodes": "2"}, Asked(2, 4, gpus=4)),
        ({"gpus-per-node": "4", "ntasks-per-node": 1}, Asked(gpus=4)),
        ({"gpus-per-node": "0"}, Asked()),
        ({"gpus-per-task": "1"}, Asked(gpus=1)),
        ({"gpus-per-task": "a100:1", "ntasks-per-node": "4"}, Asked(tasks=4, gpus=4)),
        ({"gpus-per-task": "1", "gpus": "4"}, Asked(tasks=4, gpus=4)),
        ({"gpus-per-task": "1", "ntasks": "8", "nodes": "2"}, Asked(2, 4, gpus=4)),
        ({"gpus-per-socket": "2", "sockets-per-node": "2"}, Asked(tasks=4, gpus=4)),
        ({"ntasks": "6", "nodes": 3}, Asked(3, 2)),
        ({"cpus-per-task": 8}, Asked(cores=8)),
        ({"cpus-per-gpu": "8", "gres": "gpu:2"}, Asked(tasks=2, cores=8, gpus=2)),
        ({"cpus-per-gpu": "8", "gres": "gpu:2", "ntasks-per-node": 1}, Asked(cores=16, gpus=2)),
        ({"mem": "8G"}, Asked(memory=8192)),
        ({"mem": "0"}, Asked()),
        ({"mem-per-cpu": "1G", "cpus-per-task": 2, "ntasks-per-node": 3}, Asked(1, 3, 2, memory=6144)),
        ({"mem-per-cpu": "1G"}, Asked(memory=1024)),
        ({"mem-per-gpu": "16G", "gpus": "2"}, Asked(tasks=2, gpus=2, memory=32768)),
        ({"comment": "gpu:4", "exclusive": True}, Asked()),
    ],
)
def test_what_flags_ask_for_together(flags: dict[str, Any], expected: Asked) -> None:
    assert asked(flags) == expected


@pytest.mark.parametrize(
    ("flags", "flag", "said"),
    [
        ({"mem": "1G", "mem-per-cpu": "1G"}, "mem-per-cpu", "mem and mem-per-cpu: sbatch takes one of them"),
        ({"mem-per-cpu": "1G", "mem-per-gpu": "1G", "gpus": "1"}, "mem-per-gpu", "sbatch takes one of them"),
        ({"mem-per-gpu": "1G"}, "mem-per-gpu", "needs GPUs"),
        ({"cpus-per-gpu": "2"}, "cpus-per-gpu", "needs GPUs"),
        ({"cpus-per-gpu": "1", "gpus": "2", "ntasks-per-node": "4"}, "cpus-per-gpu", "does not divide"),
        ({"cpus-per-gpu": "1", "gpus": "2", "cpus-per-task": "4"}, "cpus-per-gpu", "keep one"),
        ({"gpus-per-node": "2", "gres": "gpu:4"}, "gres", "gpus-per-node: 2 (2 a node) and gres: gpu:4 (4 a node)"),
        ({"gpus": "4", "gpus-per-node": "4", "nodes": "2"}, "gpus", "gpus: 4 (2 a node)"),
        ({"gpus": "3", "nodes": "2"}, "gpus", "write gpus-per-node, or a number that nodes: 2 divides"),
        ({"gpus-per-task": "2"}, "gpus-per-task", "a process computes on one GPU"),
        ({"gpus-per-task": "1", "gpus": "4", "ntasks-per-node": "2"}, "gpus-per-task", "do not ask for the same"),
        ({"gpus-per-socket": "2"}, "gpus-per-socket", "sbatch wants sockets-per-node beside it"),
        ({"ntasks": "3", "nodes": "2"}, "ntasks", "does not go with nodes: 2"),
        ({"ntasks": "3", "ntasks-per-node": "2"}, "ntasks", "does not go with ntasks-per-node: 2 on nodes: 1"),
        ({"ntasks": "many"}, "ntasks", "'many' is not a whole number from 1 on"),
        ({"gpus": "four four"}, "gpus", "gpus: 'four four' is not a number of GPUs"),
    ],
)
def test_what_does_not_agree_names_the_flag_and_the_mend(flags: dict[str, Any], flag: str, said: str) -> None:
    with pytest.raises(Contradiction) as caught:
        asked(flags)
    assert caught.value.flag == flag and said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@given(
    st.integers(1, 8), st.integers(1, 16), st.sampled_from(["gpus", "gpus-per-node", "gres", "gpus-per-task"]),
    KINDS | st.none(), st.integers(1, 32),
)  # fmt: skip
def test_every_way_to_ask_for_gpus_asks_for_the_same(
    nodes: int, count: int, way: str, kind: str | None, cores: int
) -> None:
    flags: dict[str, Any] = {
        "gpus": {"gpus": _item(kind, count * nodes)},
        "gpus-per-node": {"gpus-per-node": _item(kind, count)},
        "gres": {"gres": f"gpu:{_item(kind, count)}"},
        "gpus-per-task": {"gpus-per-task": _item(kind, 1), "ntasks-per-node": count},
    }[way]
    same = Asked(nodes, count, cores, count, cores * count)
    assert asked(flags | {"nodes": nodes, "cpus-per-task": cores, "mem-per-cpu": "1"}) == same
    assert asked(flags | {"nodes": nodes, "cpus-per-gpu": cores, "mem-per-cpu": "1"}) == same
    assert asked(flags | {"nodes": nodes, "cpus-per-gpu": cores, "mem-per-gpu": str(cores)}) == same
