"""The contract with submitit: the script that it makes of our request, and nothing else in it. No Slurm needed."""

import os
import shlex
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm import arrays
from slurm.arrays import ArrayExecutor, ArrayRequest, index_list, script, send
from slurm.errors import UserError

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
    for name in arrays.EXPORTED:
        if name not in ("PATH", "HOME"):
            monkeypatch.delenv(name, raising=False)
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
        "export": "PATH,HOME",
        "gpus-per-node": "2",
        "job-name": "crossing-0123abcd.2",
        "kill-on-invalid-dep": "yes",
        "nodes": "1",
        "ntasks-per-node": "2",
        "open-mode": "append",
        "output": f"{tmp_path}/logs/%A_%a_0_log.out",
        "partition": "gpu",
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


def test_no_secret_of_the_shell_is_in_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/cache")
    text = script(_request(tmp_path))
    assert _flags(text)["export"] == "PATH,HOME,HF_HOME"
    assert not [part for name, value in TOKENS.items() for part in (name, value) if part in text]


def test_a_site_flag_without_a_value(tmp_path: Path) -> None:
    found = _flags(script(_request(tmp_path, flags={"exclusive": True, "comment": "it's mine", "mail_type": "END"})))
    assert found["exclusive"] is None
    assert (found["comment"], found["mail-type"]) == ("it's mine", "END")


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\x00b", "a\x1bb", "a\x7fb"])
def test_a_control_character_never_reaches_a_script(tmp_path: Path, bad: str) -> None:
    for flags in ({"comment": bad}, {bad: "x"}):
        with pytest.raises(AssertionError, match="control character"):
            script(_request(tmp_path, flags=flags))


@given(st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=40))
def test_a_flags_value_stays_one_shell_word(value: str) -> None:
    text = script(_request(Path("/logs"), flags={"comment": value}))
    (line,) = [line for line in text.split("\n") if "--comment" in line]
    assert shlex.split(line, comments=False) == ["#SBATCH", f"--comment={value}"]


@given(st.sets(st.integers(0, 300), min_size=1, max_size=60))
def test_an_index_list_names_exactly_its_indices(indices: set[int]) -> None:
    found: list[int] = []
    for part in index_list(indices).split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    assert found == sorted(indices)
    runs = sum(index - 1 not in indices for index in indices)
    assert len(index_list(indices).split(",")) == runs  # as short as can be


def test_a_job_that_submits_does_not_hand_its_own_settings_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SLURM_CPUS_PER_TASK", "SBATCH_PARTITION", "SLURM_CONF"):
        monkeypatch.setenv(name, "x")
    command = ArrayExecutor(_request(tmp_path))._make_submission_command(Path("/script.sh"))
    assert command[0] == "env" and command[-2:] == ["sbatch", "/script.sh"]
    assert set(command[1:-2]) == {"--unset=SLURM_CPUS_PER_TASK", "--unset=SBATCH_PARTITION"}


def test_no_sbatch_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no sbatch here; run on a login node, or set `cluster: \{executor: local\}`"):
        send(_request(tmp_path))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "Traceback\nsbatch: error: invalid partition specified: x\nsbatch: error: Batch job submission failed\n",
            "invalid partition specified: x; Batch job submission failed",
        ),
        ("sbatch: error: twice\nsbatch: error: twice", "twice"),
        ("first\nlast words\n\n", "last words"),
    ],
)
def test_a_refusal_is_sbatchs_own_words_on_one_line(output: str, said: str) -> None:
    assert arrays._refusal(output) == said
