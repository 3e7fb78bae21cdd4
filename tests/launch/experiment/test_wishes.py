"""What the shell's SBATCH_ variables add to an experiment file, and what they do not."""

from typing import Any

import pytest

from launch.experiment import Cluster, wishes
from slurm.base import UsageError

WHERE = {
    "SBATCH_ACCOUNT": "nlp",
    "SBATCH_PARTITION": "gpu",
    "SBATCH_QOS": "long",
    "SBATCH_RESERVATION": "course",
}
INSIDE = {"SLURM_JOB_ID": "77", "SLURM_JOB_PARTITION": "gpu", "SLURM_CPUS_PER_TASK": "8", "SLURM_MEM_PER_NODE": "9"}


def cluster(**section: Any) -> Cluster:
    return Cluster.model_validate({"executor": "slurm"} | section)


def test_what_the_file_does_not_say_is_taken_and_told() -> None:
    granted, told = wishes.grant(cluster(mem="8G"), WHERE)
    flags = granted.sbatch_flags()
    assert {name: flags[name] for name in ("account", "partition", "qos", "reservation", "mem")} == {
        "account": "nlp", "partition": "gpu", "qos": "long", "reservation": "course", "mem": "8G",
    }  # fmt: skip
    assert [wish.words for wish in told] == [
        "account: nlp, from SBATCH_ACCOUNT; the file says nothing of it",
        "partition: gpu, from SBATCH_PARTITION; the file says nothing of it",
        "qos: long, from SBATCH_QOS; the file says nothing of it",
        "reservation: course, from SBATCH_RESERVATION; the file says nothing of it",
    ]


def test_the_file_goes_before_the_shell() -> None:
    section = cluster(account="own", partition="gpu", sbatch={"reservation": "mine"})
    granted, told = wishes.grant(section, WHERE)
    assert (granted.account, granted.partition, granted.qos) == ("own", "gpu", "long")
    assert granted.sbatch == {"reservation": "mine"}
    assert [wish.words for wish in told if wish.why_not] == [  # of the partition both say the same
        "SBATCH_ACCOUNT=nlp is not taken: `account: own` stands in the file, or was taken before it",
        "SBATCH_RESERVATION=course is not taken: `reservation: mine` stands in the file, or was taken before it",
    ]


@pytest.mark.parametrize(
    ("section", "shell", "flags"),
    [
        ({"mem-per-cpu": "4G"}, {"SBATCH_MEM_PER_NODE": "9G"}, {"mem-per-cpu": "4G"}),
        ({"sbatch": {"gpus": "4"}}, {"SBATCH_GRES": "gpu:1"}, {"gpus": "4"}),
        ({}, {"SBATCH_MEM_PER_NODE": "9G", "SBATCH_MEM_PER_CPU": "1G"}, {"mem-per-cpu": "1G"}),
        ({}, {"SBATCH_GPUS_PER_NODE": "2", "SBATCH_TIMELIMIT": "1:00:00"}, {"gpus-per-node": "2", "time": "1:00:00"}),
        ({}, {"SBATCH_MEM_PER_NODE": "64gb"}, {"mem": "64G"}),
        ({}, {"SBATCH_TIMELIMIT": "unlimited"}, {}),
        ({}, {"SBATCH_CONSTRAINT": "a100|v100", "SBATCH_HINT": ""}, {"constraint": "a100|v100"}),
    ],
)
def test_one_way_of_asking_is_enough(section: dict[str, Any], shell: dict[str, str], flags: dict[str, Any]) -> None:
    granted, told = wishes.grant(cluster(**section), shell)
    ours = {name: value for name, value in granted.sbatch_flags().items() if name not in ("nodes", "ntasks-per-node")}
    assert ours == flags
    assert len(told) == sum(bool(value) for value in shell.values())


def test_inside_a_job_only_who_pays_is_taken() -> None:
    granted, told = wishes.grant(cluster(), WHERE | INSIDE | {"SBATCH_MEM_BIND": "local", "SBATCH_CPU_BIND_TYPE": "x"})
    assert (granted.account, granted.partition, granted.qos, granted.sbatch) == ("nlp", None, None, {})
    assert granted.cpus_per_task is None and granted.mem is None
    assert [(wish.words, wish.mend) for wish in told if wish.why_not] == [
        (
            f"{variable}={WHERE[variable]} is not taken: it may be this very job's",
            f"if it is meant, write cluster: {key}",
        )
        for variable, key in (
            ("SBATCH_PARTITION", "{partition: gpu}"),
            ("SBATCH_QOS", "{qos: long}"),
            ("SBATCH_RESERVATION", "{sbatch: {reservation: course}}"),
        )
    ]


def test_what_stepstone_sets_itself_is_never_taken() -> None:
    shell = {"SBATCH_EXPORT": "NONE", "SBATCH_ARRAY_INX": "0-9", "SBATCH_CLUSTERS": "south", "SBATCH_ODD": "1"}
    granted, told = wishes.grant(cluster(), shell)
    assert granted == cluster() and len(told) == 4 and all(wish.why_not for wish in told)
    assert told[1].mend.endswith("set SLURM_CLUSTERS, which all of Slurm's commands go by")


def _refusal(section: Cluster, shell: dict[str, str]) -> str:
    granted, told = wishes.grant(section, shell)
    assert granted == section
    with pytest.raises(UsageError) as refusal:
        wishes.refuse_what_sbatch_would(told)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_a_value_that_sbatch_would_not_take_is_one_line() -> None:
    line = _refusal(cluster(), {"SBATCH_ACCOUNT": "a b"})
    assert line.startswith("SBATCH_ACCOUNT: 'a b' is not a value that sbatch takes ")
    assert line.endswith("; unset it, or write cluster: {account: …}")
    line = _refusal(cluster(), {"SBATCH_RESERVATION": "x\n#SBATCH --account=y"})
    assert line.startswith("SBATCH_RESERVATION: line breaks")


def test_a_value_that_sbatch_would_not_take_does_not_hide_the_others() -> None:
    granted, told = wishes.grant(cluster(), WHERE | {"SBATCH_MEM_PER_NODE": "much"})
    assert (granted.account, granted.mem) == ("nlp", None)
    assert [wish.variable for wish in told if wish.is_refused] == ["SBATCH_MEM_PER_NODE"]


def test_local_workers_have_no_use_for_them() -> None:
    local = Cluster.model_validate({"executor": "local"})
    assert wishes.grant(local, WHERE) == (local, ())


def test_a_wish_that_does_not_go_with_the_file_names_its_variable() -> None:
    line = _refusal(cluster(nodes="2"), {"SBATCH_GPUS": "3"})
    assert line.startswith("SBATCH_GPUS: gpus: 3: its nodes would have different numbers") and "; unset it" in line
    granted, _ = wishes.grant(cluster(), {"SBATCH_ACCOUNT": "nlp"})
    assert "account" not in granted.only_slurms  # the file does not say it
