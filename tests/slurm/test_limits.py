"""The cluster's limits, read from what Slurm prints; what nobody says is not made up."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm import limits
from slurm.base import UserError
from slurm.commands import Missing, Output, Silent
from slurm.limits import Limits, SubmitLimit, discover, seconds
from slurm.queue import QueueEntry
from tests.slurm.answers import Answers, Say, install

CONFIG = """\
Configuration data as of 2026-11-21T14:30:05
AccountingStorageEnforce = associations,limits,qos
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = stepstone
PowerPlugin             =\x20
PreemptMode             = REQUEUE
PriorityFlags           =\x20
MaxArraySize            = 11
MaxJobCount             = 20000
SLURM_VERSION           = 22.05.8

Cgroup Support Configuration:
AllowedRAMSpace         = 100.0%

Slurmctld(primary) at host is UP
"""
PARTITIONS = (
    "PartitionName=gpu AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A "
    "MaxNodes=UNLIMITED MaxTime=2-00:00:00 MaxMemPerNode=UNLIMITED TRES=cpu=8,mem=128000M,node=2,gres/gpu=4\n"
    "PartitionName=short AllowGroups=ALL Default=NO QoS=small MaxTime=UNLIMITED\n"
)
USER = "lab|lab|||40|normal\nlab|lab|short|10||\nlab|other||3||long\n"
QOS = "normal|100|||\nlong||||\nsmall|25|50||\nover|7|||DenyOnLimit,OverPartQOS\nwide|||20|\n"


def _slurm(patch: pytest.MonkeyPatch, **changes: Say) -> Answers:
    nodes = (
        "gpu|64000|2|idle|(null)\ngpu|128000|3|mixed|gpu:4(S:0)\ngpu|64000|1|down*|gpu:4\nshort|64000+|1|idle|(null)\n"
    )
    answers = install(patch, scontrol="", sinfo=nodes, sacctmgr="")
    answers.by_start |= {
        "scontrol show config": CONFIG,
        "scontrol show partition": PARTITIONS,
        "sacctmgr --noheader --parsable2 --readonly show user": USER,
        "sacctmgr --noheader --parsable2 --readonly show qos": QOS,
        **changes,
    }
    return answers


def test_what_slurm_says(monkeypatch: pytest.MonkeyPatch) -> None:
    _slurm(monkeypatch)
    found = discover(None, None, None)
    assert (found.array_size, found.jobs) == (11, 20000)
    assert _named(found) == {"MaxSubmitJobsPerUser of QOS normal": 100, "GrpSubmitJobs of account lab": 40}
    assert found.times == {"gpu": 172800, "short": None} and found.default == "gpu"
    assert (found.nodes, found.gpu_nodes) == ({"gpu": 5, "short": 1}, {"gpu": 3, "short": 0})
    assert found.memory == {"gpu": 128000, "short": 64000}
    assert limits.max_array_size() == 11


def _named(found: Limits) -> dict[str, int]:
    return {limit.name: limit.most for limit in found.submit}


@pytest.mark.parametrize(
    ("account", "partition", "qos", "expected"),
    [
        # short: its own association, whose MaxSubmitJobs (10) its own QOS replaces
        (None, "short", None, {"MaxSubmitJobsPerUser of QOS small": 25, "MaxSubmitJobsPerAccount of QOS small": 50}),
        ("other", None, None, {"MaxSubmitJobs of account other": 3}),
        ("other", None, "wide", {"MaxSubmitJobs of account other": 3, "GrpSubmitJobs of QOS wide": 20}),
        (None, None, "wide", {"GrpSubmitJobs of QOS wide": 20}),  # instead of the association's 40
        (None, None, "long", {"GrpSubmitJobs of account lab": 40}),
        ("nobody", "gpu", "long", {}),
        ("nobody", "gpu", None, {"MaxSubmitJobsPerUser of QOS normal": 100}),
        # the partition's QOS before the job's, unless that one says otherwise
        (
            "nobody",
            "short",
            "normal",
            {"MaxSubmitJobsPerUser of QOS small": 25, "MaxSubmitJobsPerAccount of QOS small": 50},
        ),
        (
            "nobody",
            "short",
            "over",
            {"MaxSubmitJobsPerUser of QOS over": 7, "MaxSubmitJobsPerAccount of QOS small": 50},
        ),
        (
            "other",
            "gpu,short",
            None,
            {
                "MaxSubmitJobs of account other": 3,
                "MaxSubmitJobsPerUser of QOS small": 25,
                "MaxSubmitJobsPerAccount of QOS small": 50,
            },
        ),
    ],
)
def test_the_limits_that_hold_for_these_flags(
    monkeypatch: pytest.MonkeyPatch,
    account: str | None,
    partition: str | None,
    qos: str | None,
    expected: dict[str, int],
) -> None:
    _slurm(monkeypatch)
    assert _named(discover(account, partition, qos)) == expected


def test_which_jobs_count_against_a_limit() -> None:
    def counted(limit: SubmitLimit) -> list[str]:
        return [entry.job for entry in queued if limit.counts(entry)]

    queued = [
        QueueEntry(job, 0, "PENDING", "None", "n", "", partition, account, qos)
        for job, partition, account, qos in (
            ("1", "gpu", "lab", "normal"), ("2", "short", "lab", "normal"), ("3", "cpu,short", "other", "long"),
            ("4", "gpu", "other", "small"),
        )
    ]  # fmt: skip
    assert counted(SubmitLimit(1, "", account="lab")) == ["1", "2"]
    assert counted(SubmitLimit(1, "", account="lab", partitions=("short",))) == ["2"]
    assert counted(SubmitLimit(1, "", qos="normal")) == ["1", "2"]
    assert counted(SubmitLimit(1, "", qos="small", partitions=("short",))) == ["2", "3", "4"]


def test_a_limit_knows_what_it_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    _slurm(monkeypatch)
    per_user, per_account = discover(None, "short", None).submit
    assert (per_user.qos, per_user.partitions) == (per_account.qos, per_account.partitions) == ("small", ("short",))
    normal, association = discover(None, None, None).submit
    assert (normal.qos, normal.partitions, association.account, association.qos) == ("normal", (), "lab", "")


def test_a_slurmdbd_that_serves_several_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen on 22.05: without a cluster's name the others' rows come too, whichever goes first."""
    answers = _slurm(monkeypatch)
    start = "sacctmgr --noheader --parsable2 --readonly show user"
    others = "zlab|zlab||7||\n"

    def say(command: Sequence[str]) -> Output:
        return Output(0, USER if "cluster=stepstone" in command else others + USER, "")

    answers.by_start[start] = say
    assert _named(discover(None, None, "long")) == {"GrpSubmitJobs of account lab": 40}


def test_a_setting_without_a_value_does_not_take_the_next_line(monkeypatch: pytest.MonkeyPatch) -> None:
    _slurm(monkeypatch)
    found = limits.config()
    assert (found["PowerPlugin"], found["PreemptMode"], found["PriorityFlags"]) == ("", "REQUEUE", "")
    assert found["MaxArraySize"] == "11"


def test_real_lines_of_a_cluster_without_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    start = "sacctmgr --noheader --parsable2 --readonly show"
    _slurm(monkeypatch, **{f"{start} user": "root|root||||\n", f"{start} qos": "normal||||\nsmall|2|||\n"})  # 22.05.8
    assert discover(None, None, None).submit == ()
    assert _named(discover(None, None, "small")) == {"MaxSubmitJobsPerUser of QOS small": 2}


def test_limits_that_are_not_enforced_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = _slurm(monkeypatch, **{"scontrol show config": CONFIG.replace("associations,limits,qos", "associations")})
    assert discover(None, None, None).submit == ()
    assert not [command for command in answers.asked if command[0] == "sacctmgr"]


@pytest.mark.parametrize(
    "silence",
    [Missing("sacctmgr"), Silent("sacctmgr"), Output(1, "", "sacctmgr: error: Connection refused"), Output(0, "x", "")],
)
def test_without_slurmdbd_limits_of_submission_are_unknown(monkeypatch: pytest.MonkeyPatch, silence: Say) -> None:
    start = "sacctmgr --noheader --parsable2 --readonly show"
    _slurm(monkeypatch, **{f"{start} user": silence, f"{start} qos": silence})
    found = discover("lab", "gpu", None)
    assert (found.submit, found.array_size) == ((), 11)


@pytest.mark.parametrize(
    ("silence", "words"),
    [
        (Missing("scontrol"), r"there is no Slurm here .* set `cluster: \{executor: local\}`"),
        (Silent("scontrol did not answer in 60 s"), r"Slurm does not answer \(scontrol did not answer in 60 s\)"),
        (
            Output(1, "", "slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)\n"),
            r"Slurm does not answer \(slurm_load_ctl_conf error: .*\); try again later, nothing was sent",
        ),
    ],
)
def test_no_slurmctld_is_an_error(monkeypatch: pytest.MonkeyPatch, silence: Say, words: str) -> None:
    install(monkeypatch, scontrol=silence)
    for ask in (limits.max_array_size, lambda: discover(None, None, None)):
        with pytest.raises(UserError, match=words):
            ask()


@pytest.mark.parametrize("clusters", ["north,south", "all"])
def test_several_clusters_at_once_are_refused(monkeypatch: pytest.MonkeyPatch, clusters: str) -> None:
    _slurm(monkeypatch)
    monkeypatch.setenv("SLURM_CLUSTERS", clusters)
    with pytest.raises(UserError, match="names several clusters; set it to the one to send to"):
        discover(None, None, None)


def test_what_is_not_said_is_slurms_default_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, scontrol="", sinfo=Missing("sinfo"))
    found = discover(None, None, None)
    assert (found.array_size, found.jobs, found.times, found.memory) == (1001, None, {}, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", 1800), ("30:10", 1810), ("12:00:00", 43200), ("1-12", 129600), ("1-12:30", 131400),
        ("2-00:00:00", 172800), ("UNLIMITED", None), ("INFINITE", None), ("NONE", None), ("", None), ("1:2:3:4", None),
        ("-5", None), ("1-", None),
    ],
)  # fmt: skip
def test_time_limits(text: str, expected: int | None) -> None:
    assert seconds(text) == expected


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
@settings(max_examples=40)
def test_days_and_clock(days: int, hours: int, minutes: int, rest: int) -> None:
    whole = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    assert seconds(f"{days}-{hours:02}:{minutes:02}:{rest:02}") == whole
    assert seconds(f"{days * 24 + hours}:{minutes:02}:{rest:02}") == whole
