"""sbatch's flags after failures: more memory and time within the partition's limits, nodes left out."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.draft import flags as sbatch_flags
from launch.experiment import Cluster
from launch.status.policy import Changes
from slurm.limits import Limits, seconds


def limits(longest: int | None = None, memory: int | None = None) -> Limits:
    return Limits(1001, None, (), {"gpu": longest, "other": None}, {"gpu": memory}, default="gpu")


def cluster(**given: Any) -> Cluster:
    return Cluster.model_validate({"executor": "slurm", "partition": "gpu"} | given)


def test_without_changes_the_flags_are_the_files() -> None:
    made = cluster(mem="8G", time="1:00:00", exclude="node1")
    assert sbatch_flags.flags(made, None, None) == made.sbatch_flags()
    assert sbatch_flags.flags(made, Changes(), limits()) == made.sbatch_flags()


@pytest.mark.parametrize(
    ("asked", "factor", "most", "expected"),
    [
        ("8G", 1.5, None, "12288M"),
        ("8G", 1.5, 10_000, "10000M"),
        ("8G", 4.0, 4_000, "8192M"),  # never less than what the file asks for
        ("1000", 2.0, None, "2000M"),
        ("0", 2.0, None, "0"),  # all of the node
        ("512K", 2.0, None, "1M"),
        ("1T", 1.0, None, "1T"),
    ],
)
def test_more_memory(asked: str, factor: float, most: int | None, expected: str) -> None:
    flags = sbatch_flags.flags(cluster(mem=asked), Changes(mem_factor=factor), limits(memory=most))
    assert flags["mem"] == expected


@given(st.integers(1, 10_000), st.floats(1, 16, allow_nan=False), st.one_of(st.none(), st.integers(60, 10_000_000)))
def test_more_time_within_the_partitions_limit(minutes: int, factor: float, longest: int | None) -> None:
    flags = sbatch_flags.flags(cluster(time=str(minutes)), Changes(time_factor=factor), limits(longest))
    given_seconds = seconds(flags["time"])
    assert given_seconds is not None and given_seconds >= minutes * 60
    if longest is not None:
        assert given_seconds <= max(minutes * 60, math.ceil(longest / 60) * 60)
    if longest is None:
        assert given_seconds >= int(minutes * 60 * factor)


def test_nodes_are_left_out_beside_those_of_the_file() -> None:
    changes = Changes(exclude=("node3", "node4"))
    assert sbatch_flags.flags(cluster(exclude="node1"), changes, None)["exclude"] == "node1,node3,node4"
    assert sbatch_flags.flags(cluster(), changes, None)["exclude"] == "node3,node4"


def test_what_cannot_be_raised_is_said() -> None:
    assert sbatch_flags.unchanged(cluster(mem="8G", time="10"), Changes(2.0, 2.0)) == []
    lines = sbatch_flags.unchanged(cluster(), Changes(2.0, 2.0))
    assert len(lines) == 2 and "mem: …" in lines[0] and "time: …" in lines[1]


def test_without_a_partition_the_default_ones_limits_hold() -> None:
    made = Cluster(time="20:00:00", mem="12G")
    asked = sbatch_flags.flags(made, Changes(1.5, 1.5), limits(86400, 16_000))
    assert (asked["time"], asked["mem"]) == ("1440", "16000M")


@pytest.mark.parametrize(
    ("nodes", "told", "most"),
    [
        (2, {}, 1),
        (1, {}, 0),
        (0, {}, 0),  # all are down
        (9, {}, 4),
        (9, {"exclude": "node[1-3,7],other"}, 2),
        (9, {"exclude": "rack[1-2]n[1-4]"}, 0),
        (9, {"nodes": "7"}, 2),
        (9, {"nodelist": "node1"}, 0),
        (9, {"partition": "gpu,other"}, 4),  # of `other` nothing is known
        (9, {"partition": "other"}, 2),
        (9, {"gpus-per-node": "1"}, 1),
    ],
)
def test_some_nodes_are_never_left_out(nodes: int, told: dict[str, Any], most: int) -> None:
    known = Limits(1001, None, nodes={"gpu": nodes}, gpu_nodes={"gpu": 2}, default="gpu")
    assert sbatch_flags.most_excluded(Cluster.model_validate({"executor": "slurm"} | told), known) == most


def test_of_an_unknown_number_few_nodes_are_left_out() -> None:
    assert sbatch_flags.most_excluded(cluster(), None) == sbatch_flags.most_excluded(cluster(), limits()) == 2
