"""The contract with submitit: the script that it makes of our request, and nothing else in it. No Slurm needed."""

import errno
import os
import shlex
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm import arrays, commands, usercache
from slurm.arrays import ArrayRequest, LimitReached, Refused, SendUnclear, index_list, script, send
from slurm.base import UserError
from slurm.commands import Output, Silent
from tests.slurm.answers import install

POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"

TOKENS = {
    "HF_TOKEN": "hf_0xToken",
    "WANDB_API_KEY": "0xKey",
    "AWS_SECRET_ACCESS_KEY": "0xAccess",
    "MY_PASSWORD": "0xWord",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that holds secrets, of which nothing may travel."""
    for name in os.environ:
        if name.startswith(("SLURM_", "SBATCH_")):
            monkeypatch.delenv(name)
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)


def _request(folder: Path, **changes: Any) -> ArrayRequest:
    base = ArrayRequest(
        name="crossing-0123abcd.2",
        command=(
            "env",
            "--ignore-signal=USR2",
            "/some where/python",
            "-P",
            "-m",
            "launch.job",
            "/store/manifest-2.json",
        ),
        indices=(0, 1, 2, 5),
        logs=folder / "logs",
        flags={"partition": "gpu", "gpus-per-node": 2, "ntasks-per-node": 2, "nodes": 1, "time": "12:00:00"},
        setup=("module load cuda", 'echo "$HOSTNAME"'),
        environment={"PYTHONPATH": "/store/code/a b", "PYTHONSAFEPATH": "1"},
    )
    return replace(base, **changes)


def _flags(text: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for line in text.splitlines():
        if line.startswith("#SBATCH "):
            name, _, value = line.removeprefix("#SBATCH --").partition("=")
            assert name not in found
            found[name] = " ".join(shlex.split(value)) if "=" in line else None
    return found


def test_submitit_is_the_version_that_this_was_written_for() -> None:
    assert version("submitit") == "1.5.4"


def test_the_scripts_flags_are_exactly_ours(tmp_path: Path) -> None:
    assert _flags(script(_request(tmp_path, throttle=4, dependency="aftercorr:77"))) == {
        "array": "0-2,5%4",
        "dependency": "aftercorr:77",
        "error": f"{tmp_path}/logs/%A_%a_0_log.err",
        "export": "ALL",
        "gpus-per-node": "2",
        "job-name": "crossing-0123abcd.2",
        "kill-on-invalid-dep": "yes",
        "nodes": "1",
        "ntasks-per-node": "2",
        "open-mode": "append",
        "output": f"{tmp_path}/logs/%A_%a_0_log.out",
        "partition": "gpu",
        "propagate": "NONE",
        "requeue": None,
        "signal": "USR2@120",
        "time": "12:00:00",
    }


def test_without_a_time_limit_the_partitions_own_counts(tmp_path: Path) -> None:
    found = _flags(script(_request(tmp_path, flags={})))
    assert not {"time", "wckey", "dependency", "partition", "mem"} & set(found)
    assert found["array"] == "0-2,5"


def test_the_scripts_lines_after_the_flags(tmp_path: Path) -> None:
    lines = script(_request(tmp_path)).splitlines()
    assert lines[0] == "#!/bin/bash"
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands[:5] == [
        "export PYTHONPATH='/store/code/a b'",
        "export PYTHONSAFEPATH=1",
        "module load cuda",
        'echo "$HOSTNAME"',
        "export SUBMITIT_EXECUTOR=slurm",
    ]
    (srun,) = commands[5:]
    assert shlex.split(srun) == [
        *("srun", "--unbuffered", "--output", f"{tmp_path}/logs/%A_%a_%t_log.out"),
        *("--error", f"{tmp_path}/logs/%A_%a_%t_log.err", "--export=ALL", "--kill-on-bad-exit=1"),
        *("env", "--ignore-signal=USR2", "/some where/python", "-P", "-m", "launch.job", "/store/manifest-2.json"),
    ]


def test_srun_is_told_the_cores_that_sbatch_was_told(tmp_path: Path) -> None:
    """It does not take them over by itself since 22.05, and where tasks are bound each gets one core."""
    for name in ("cpus-per-task", "cpus_per_task"):
        text = script(_request(tmp_path, flags={name: 8}))
        assert _flags(text)["cpus-per-task"] == "8"
        assert " --kill-on-bad-exit=1 --cpus-per-task=8 env " in text.splitlines()[-1]
    assert "--cpus-per-task" not in script(_request(tmp_path, flags={}))


def test_what_is_passed_reaches_sbatch_and_no_value_of_it_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = install(monkeypatch, sbatch="7\n")
    asked = _request(tmp_path, passed={"PATH": "/bin", "HF_TOKEN": TOKENS["HF_TOKEN"]}, remarks=("goes: HF_TOKEN",))
    assert send(asked) == "7"
    assert answers.variables == [{"PATH": "/bin", "HF_TOKEN": TOKENS["HF_TOKEN"]}]
    text = script(asked)
    assert "\n# goes: HF_TOKEN\n" in text and "#SBATCH" not in text.partition("# goes:")[2]
    assert not [value for value in TOKENS.values() if value in text + repr(asked)]


def test_limits_of_the_shell_go_with_jobs_only_where_the_file_says_so(tmp_path: Path) -> None:
    assert _flags(script(_request(tmp_path, flags={"propagate": "CORE"})))["propagate"] == "CORE"


def test_a_site_flag_without_a_value(tmp_path: Path) -> None:
    found = _flags(script(_request(tmp_path, flags={"exclusive": True, "comment": "it's mine", "mail_type": "END"})))
    assert found["exclusive"] is None
    assert (found["comment"], found["mail-type"]) == ("it's mine", "END")


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\x00b", "a\x1bb", "a\x7fb"])
def test_a_control_character_never_reaches_a_script(tmp_path: Path, bad: str) -> None:
    for more in ({"flags": {"comment": bad}}, {"flags": {bad: "x"}}, {"remarks": (bad,)}):
        with pytest.raises(AssertionError, match="control character"):
            script(_request(tmp_path, **more))


@given(st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=40))
@settings(max_examples=40)
def test_a_flags_value_stays_one_shell_word(value: str) -> None:
    text = script(_request(Path("/logs"), flags={"comment": value}))
    (line,) = [line for line in text.split("\n") if "--comment" in line]
    assert shlex.split(line, comments=False) == ["#SBATCH", f"--comment={value}"]


@given(st.sets(st.integers(0, 300), min_size=1, max_size=60))
@settings(max_examples=40)
def test_an_index_list_names_exactly_its_indices(indices: set[int]) -> None:
    found: list[int] = []
    for part in index_list(indices).split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    assert found == sorted(indices)
    runs = sum(index - 1 not in indices for index in indices)
    assert len(index_list(indices).split(",")) == runs  # as short as can be


def test_a_job_that_submits_does_not_hand_its_own_settings_on(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT")
    for name in (*kept, "SLURM_CPUS_PER_TASK", "SBATCH_PARTITION", "SQUEUE_FORMAT", "SACCT_FORMAT"):
        monkeypatch.setenv(name, "x")
    left = {name: value for name, value in commands.environment().items() if name.startswith(("S", "s"))}
    assert {name: "x" for name in kept}.items() <= left.items()
    assert {"SLURM_BITSTR_LEN": "0", "SLURM_TIME_FORMAT": "standard"}.items() <= left.items()
    assert not {"SLURM_CPUS_PER_TASK", "SBATCH_PARTITION", "SQUEUE_FORMAT", "SACCT_FORMAT"} & left.keys()


def test_sending_leaves_the_script_that_sbatch_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = install(monkeypatch, sbatch="1234\n")
    asked = _request(tmp_path)
    assert send(asked) == "1234"
    path = tmp_path / "logs" / "script.sh"
    assert answers.asked == [["sbatch", "--parsable", str(path)]]
    assert answers.timeouts == [arrays.SBATCH_TIMEOUT] and sum(range(16)) < arrays.SBATCH_TIMEOUT
    assert answers.umasks == [0o077]
    assert path.read_text() == script(asked)
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700


def test_no_sbatch_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usercache, "folder", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no sbatch here; run on a login node, or set `cluster: \{executor: local\}`"):
        send(_request(tmp_path))


FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    "out",
    ["77\n", "77;north\n", "welcome to our cluster\n77\n", "77\nquota: 5 of 10 hours left\n"],
)
def test_the_id_is_found_in_what_sbatch_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    install(monkeypatch, sbatch=out)
    assert send(_request(tmp_path)) == "77"


@pytest.mark.parametrize(
    "answer",
    [
        Silent("sbatch did not answer in 180 s"),
        Output(0, "", ""),
        Output(0, "", " \n"),
        Output(0, "Submitted batch job\n", ""),
        Output(-9, "", ""),
        Output(1, "77\n", "sbatch: error: the site's wrapper failed\n"),
        *(Output(1, "", f"{FAILED}{words}\n") for words in arrays.UNCLEAR),
    ],
    ids=str,
)
def test_what_may_have_been_sent_is_no_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Output | Exception
) -> None:
    install(monkeypatch, sbatch=answer)
    with pytest.raises(SendUnclear, match=r"it may have sent crossing-0123abcd\.2"):
        send(_request(tmp_path))


@pytest.mark.parametrize(
    "said",
    [
        "sbatch: error: AssocMaxSubmitJobLimit\n" + FAILED + POLICY,
        "sbatch: error: QOSMaxSubmitJobPerUserLimit\n" + FAILED + POLICY,
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
        + FAILED
        + "Resource temporarily unavailable",
    ],
)
def test_a_full_queue_is_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    install(monkeypatch, sbatch=Output(1, "", said + "\n"))
    with pytest.raises(LimitReached, match=r"sbatch refused: .*; Batch job submission failed: "):
        send(_request(tmp_path))


@pytest.mark.parametrize(
    "said",
    [
        FAILED + "Invalid account or account/partition combination specified",
        FAILED + "Requested time limit is invalid (missing or exceeds some limit)",
        FAILED + POLICY,  # a job that is too large says the same; only the reason beside it tells
        FAILED + "Invalid job array specification",
        "sbatch: error: The last outage (Connection timed out) is over.\n" + FAILED + "Unspecified error",
        "sbatch: error: invalid partition specified: x\n" + FAILED + "Invalid partition name specified",
        "sbatch: unrecognized option '--colour'",
    ],
)
def test_a_refusal_for_certain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    install(monkeypatch, sbatch=Output(1, "", said + "\n"))
    with pytest.raises(UserError, match="sbatch refused: ") as refused:
        send(_request(tmp_path))
    assert type(refused.value) is Refused
    assert said.rpartition(": ")[2] in str(refused.value)


def test_a_refusal_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for said in (Output(1, "", "\n"), Output(1, " \n", "")):
        install(monkeypatch, sbatch=said)
        with pytest.raises(Refused, match=r"^sbatch refused: exit code 1, without a word$"):
            send(_request(tmp_path))
    install(monkeypatch, sbatch=Output(1, "it is closed\n", "\n"))
    with pytest.raises(Refused, match=r"^sbatch refused: it is closed$"):
        send(_request(tmp_path))


def _programs(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """An sbatch of our own, first on PATH."""
    (folder / "sbatch").write_text(text)
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setattr(usercache, "folder", lambda: None)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_sbatchs_own_umask_is_the_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _programs(tmp_path, monkeypatch, '#!/bin/sh\numask > "$(dirname "$0")/umask"\necho 7\n')
    before = os.umask(0o002)
    try:
        for umask in (0o077, 0o027):
            assert send(_request(tmp_path, umask=umask)) == "7"
            assert int((tmp_path / "umask").read_text(), 8) == umask
    finally:
        assert os.umask(before) == 0o002


def test_an_sbatch_that_is_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _programs(tmp_path, monkeypatch, "")  # ENOEXEC
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no sbatch here"):
        send(_request(tmp_path))


@pytest.mark.parametrize("number", [errno.E2BIG, errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_what_could_not_be_started_was_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*arguments: Any, **more: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(usercache, "folder", lambda: None)
    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(UserError, match=rf"^sbatch could not be started: {os.strerror(number)}; it was not") as caught:
        send(_request(tmp_path))
    assert not isinstance(caught.value, SendUnclear)
    assert commands.ask(["squeue"]) is None


def test_nobody_there_means_nothing_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = FAILED + "Unable to contact slurm controller (connect failure)\n"
    install(monkeypatch, sbatch=Output(1, "", said))
    with pytest.raises(UserError, match=r"Slurm does not answer .*; nothing was sent, try again later") as refused:
        send(_request(tmp_path))
    assert type(refused.value) is UserError


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "Traceback\nsbatch: error: invalid partition specified: x\nsbatch: error: Batch job submission failed\n",
            "invalid partition specified: x; Batch job submission failed",
        ),
        ("sbatch: error: twice\nsbatch: error: twice", "twice"),
        ("first\nlast words\n\n", "last words"),
        ("sbatch: unrecognized option '--x'\nTry \"sbatch --help\"\n", "unrecognized option '--x'"),
    ],
)
def test_a_refusal_is_sbatchs_own_words_on_one_line(output: str, said: str) -> None:
    assert arrays._refusal(output) == said
