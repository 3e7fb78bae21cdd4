"""Why a job waits: every reason of job_state_reason.c (22.05 to 25.05) and squeue(1) has plain words and a remedy."""

import re

import pytest

from slurm import reasons

_AMOUNTS = ("Unknown", "Mem", "Node", "Energy", "GRES", "License", "BB", "Billing")
OF_ACCOUNTS = [
    "AssocGrpCpuLimit", "AssocGrpCPUMinutesLimit", "AssocGrpCPURunMinutesLimit", "AssocGrpJobsLimit",
    "AssocGrpMemLimit", "AssocGrpNodeLimit", "AssocGrpSubmitJobsLimit", "AssocGrpWallLimit", "AssocMaxJobsLimit",
    "AssocMaxCpuPerJobLimit", "AssocMaxCpuMinutesPerJobLimit", "AssocMaxNodePerJobLimit", "AssocMaxCpuPerNode",
    "AssocMaxWallDurationPerJobLimit", "AssocMaxSubmitJobLimit",
    *(f"AssocGrp{amount}{over}" for amount in _AMOUNTS for over in ("", "Minutes", "RunMinutes")),
    *(f"AssocMax{amount}{of}" for amount in _AMOUNTS for of in ("PerJob", "PerNode", "MinutesPerJob")),
]  # fmt: skip
OF_QOS = [
    "QOSGrpCpuLimit", "QOSGrpCPUMinutesLimit", "QOSGrpCPURunMinutesLimit", "QOSGrpJobsLimit", "QOSGrpMemLimit",
    "QOSGrpNodeLimit", "QOSGrpSubmitJobsLimit", "QOSGrpWallLimit", "QOSMaxCpuPerJobLimit",
    "QOSMaxCpuMinutesPerJobLimit", "QOSMaxNodePerJobLimit", "QOSMaxWallDurationPerJobLimit", "QOSMaxCpuPerUserLimit",
    "QOSMaxJobsPerUserLimit", "QOSMaxNodePerUserLimit", "QOSMaxSubmitJobPerUserLimit", "QOSMinCpuNotSatisfied",
    "QOSMaxCpuPerNode", "QOSGrpMemoryMinutes", "QOSGrpMemoryRunMinutes", "QOSMaxMemoryPerJob", "QOSMaxMemoryPerNode",
    "QOSMaxMemoryPerUser", "QOSMaxMemoryMinutesPerJob", "QOSMinMemory",
    *(f"QOSGrp{amount}{over}" for amount in _AMOUNTS for over in ("", "Minutes", "RunMinutes")),
    *(f"QOSMax{amount}{of}" for amount in _AMOUNTS for of in ("PerJob", "PerNode", "PerUser", "MinutesPerJob")),
    *(f"QOSMin{amount}" for amount in _AMOUNTS),
    *(f"Max{amount}PerAccount" for amount in (*_AMOUNTS, "Cpu", "Memory", "Jobs", "SubmitJobs")),
]  # fmt: skip
OTHERS = [
    "None", "Prolog", "Priority", "Dependency", "Resources", "PartitionNodeLimit", "PartitionTimeLimit",
    "PartitionDown", "PartitionInactive", "JobHeldAdmin", "JobHeldUser", "BeginTime", "Licenses",
    "AssociationJobLimit", "AssociationResourceLimit", "AssociationTimeLimit", "Reservation", "ReqNodeNotAvail",
    "FrontEndDown", "SchedDefer", "NodeDown", "BadConstraints", "SystemFailure", "JobLaunchFailure",
    "NonZeroExitCode", "RaisedSignal", "TimeLimit", "InactiveLimit", "InvalidAccount", "InvalidQOS",
    "QOSUsageThreshold", "QOSJobLimit", "QOSResourceLimit", "QOSTimeLimit", "BlockMaxError", "BlockFreeAction",
    "Cleaning", "QOSNotAllowed", "AccountNotAllowed", "DependencyNeverSatisfied", "JobHoldMaxRequeue",
    "JobArrayTaskLimit", "BurstBufferResources", "BurstBufferStageIn", "BurstBufferOperation", "PowerNotAvail",
    "PowerReserved", "DeadLine", "PartitionConfig", "AccountingPolicy", "FedJobLock", "OutOfMemory",
    "MaxMemPerLimit", "ReservationDeleted", "ReservationInvalid", "Constraints", "WaitingForScheduling",
]  # fmt: skip


def test_every_reason_has_words_and_a_remedy() -> None:
    for reason in (*OTHERS, *OF_ACCOUNTS, *OF_QOS):  # one test: as many as there are reasons would take a second
        explained = reasons.explain(reason)
        assert explained is not None and explained.words and explained.remedy, reason
        assert reason not in str(explained) and not re.search(r"(\b\w+\b) \1\b|  |: ;", str(explained)), reason
        assert reasons.explain(f"({reason})") == explained


def test_no_reason_in_the_table_is_an_invention() -> None:
    sentences = {"job_requeued_in_held_state", "launch_failed_requeued_held"}  # a job's own description, in _slurmctld_
    assert set(reasons.REASONS) - sentences == set(OTHERS)


@pytest.mark.parametrize(
    ("reason", "who", "part"),
    [
        ("JobHeldUser", "you", "stepstone release FILE"),
        ("JobHeldAdmin", "administrator", "administrator holds it"),
        ("QOSMaxGRESPerUser", "nobody", "you have as many GPUs (or the like) as the QOS allows one user"),
        ("QOSMaxWallDurationPerJobLimit", "you", "more time than the QOS allows one job, and never starts so"),
        ("AssocGrpCPUMinutesLimit", "administrator", "used up the budget of CPU cores × time"),
        ("AssocGrpGRESRunMinutes", "nobody", "a shorter `time` counts for less"),
        ("MaxMemoryPerAccount", "nobody", "your account has as much memory as the QOS allows it"),
        ("QOSMinGRES", "you", "ask for more"),
        ("ReqNodeNotAvail, UnavailableNodes:node[1-2]", "administrator", "(node[1-2])"),
        ("ReqNodeNotAvail, UnavailableNodes:", "nobody", "busy, reserved, down or drained"),
        ("ReqNodeNotAvail,_Reserved_for_maintenance", "nobody", "ends before it"),
        (
            "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority_partitions",
            "nobody",
            "down or drained",
        ),
    ],
)
def test_who_can_do_what(reason: str, who: str, part: str) -> None:
    explained = reasons.explain(reason)
    assert explained is not None and explained.who == who and part in str(explained)


@pytest.mark.parametrize("reason", ["", "SomethingNew", "QOSMaxFlopsPerJob", "AssocGrp", "Max", "Grüße"])
def test_what_is_not_known_is_told_in_slurms_words(reason: str) -> None:
    assert reasons.explain(reason) is None
    assert reasons.words(reason) == f"Slurm says {reason}"
