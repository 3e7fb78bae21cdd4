"""What real clusters of several versions and sites have printed, read by our readers; where the recordings lie beside
the project. Each is read by the columns that it has of ours."""

import pytest

from slurm import accounting, control, queue
from slurm.accounting import Ended, ended
from slurm.arrays import _outcome
from slurm.causes import classify
from slurm.commands import Output
from slurm.jobstates import STATES, base, phase
from tests.paths import SHARED_DATA
from tests.slurm.answers import install

FOLDER = SHARED_DATA / "slurm_outputs"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no ../shared/data/slurm_outputs beside the repository")
MOMENT = "2026-11-21T09:00:00"


def _text(number: int) -> str:
    (path,) = FOLDER.glob(f"{number:02d}_*")
    return path.read_bytes().decode(errors="replace")


def _table(number: int, separator: str = "|") -> list[dict[str, str]]:
    """The rows of a recording that begins with its heading, or has a cluster's name above it; but for one whose name
    holds the separator, which ours may, as it comes last."""
    lines = [line for line in _text(number).split("\n") if line and not line.startswith("CLUSTER:")]
    rows = [line.split(separator) for line in lines if line.count(separator) <= lines[0].count(separator)]
    return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]


def _sacct(rows: list[dict[str, str]]) -> str:
    """In our columns, as elements of arrays: of what a recording lacks, something ordinary."""
    lines = []
    for row in rows:
        job, dot, step = row["JobID"].partition(".")
        exit_code, nodes, name = row.get("ExitCode", "0:0"), row.get("NodeList", "n1"), row.get("JobName", "job")
        lines.append(f"{job}_0{dot}{step}|{row['State']}|{exit_code}|{MOMENT}|{nodes}|{name}\n")
    return "".join(lines)


def _read(patch: pytest.MonkeyPatch, rows: list[dict[str, str]]) -> dict[str, Ended]:
    install(patch, sacct=_sacct(rows))
    records = ended(["1"])
    assert records is not None
    return {job: record for (job, _), record in records.items()}


@pytest.mark.parametrize(
    ("number", "states"),
    [
        (1, ["CANCELLED"]),
        (2, ["TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "FAILED"]),
        (3, ["RUNNING"]),
        (4, ["COMPLETED"]),
        (31, ["CANCELLED", "CANCELLED"]),  # so its step says
    ],
)
def test_records_of_accounting(monkeypatch: pytest.MonkeyPatch, number: int, states: list[str]) -> None:
    records = _read(monkeypatch, _table(number))
    assert [record.state for record in records.values()] == states
    assert {record.phase for record in records.values()} == {"running" if number == 3 else "ended"}


def test_a_step_that_was_ended_though_its_job_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    (first, *_) = _read(monkeypatch, _table(31)).values()
    assert (first.exit_code, first.signal, first.node) == (0, 10, "galvani-cn001")
    assert classify(first, None, "").cause == "cancelled"


def test_a_job_that_was_cancelled_before_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = _text(30).strip().split("|")
    state = next(field for field in fields if field.startswith("CANCELLED"))
    assert "None assigned" in fields
    row = {"JobID": fields[0], "State": state, "ExitCode": "0:0", "NodeList": "None assigned", "JobName": fields[-1]}
    (record,) = _read(monkeypatch, [row]).values()
    assert (record.state, record.node) == ("CANCELLED", "")


def test_default_tables_cut_ids_and_names_and_are_not_taken_for_ours() -> None:
    for number in (37, 39):
        assert not [row for line in _text(number).split("\n") if (row := accounting._row(line))]


@pytest.mark.parametrize("number", [2, 14, 18, 41])
def test_every_state_of_a_recording_is_known(number: int) -> None:
    separators = {14: ",", 18: "\x1f"}
    if number in (14, 41):
        words = [line.split(separators.get(number, "|"))[1] for line in _text(number).split("\n") if line]
    else:
        words = [row.get("State") or row["STATE"] for row in _table(number, separators.get(number, "|"))]
    assert words and all(base(word) in STATES and phase(word) != "unknown" for word in words)


@pytest.mark.parametrize(("number", "count"), [(15, 2), (17, 1), (18, 3)])
def test_entries_of_the_queue(monkeypatch: pytest.MonkeyPatch, number: int, count: int) -> None:
    columns = ("ARRAY_JOB_ID", "ARRAY_TASK_ID", "STATE", "PARTITION", "SUBMIT_TIME", "REASON", "ACCOUNT", "QOS", "NAME")
    rows = _table(number, "\x1f")
    heading = "CLUSTER: dawn\n" + "|".join(columns) + "\n"
    install(monkeypatch, squeue=heading + "".join("|".join(row[name] for name in columns) + "\n" for row in rows))
    entries = queue.squeue()
    assert entries is not None and len(entries) == count
    assert [entry.name for entry in entries] == [row["NAME"] for row in rows]
    assert all(entry.phase in ("pending", "running", "ended") for entry in entries)
    if number == 17:
        assert (entries[0].job, entries[0].index) == ("29471683", 9) and "�" in entries[0].name


def test_ranges_that_were_cut_off_and_what_is_over() -> None:
    (over, well) = _text(34).strip().split("\n")
    assert over.partition(":")[0].endswith("...")
    assert control._complaints(Output(1, "", f"{over}\n{well}\n")) == []
    with pytest.raises(queue.Unreadable):
        queue.expand(over.partition(":")[0].partition("_")[2])


def test_errors_are_silence_or_a_refusal() -> None:
    lines = _text(43).strip().split("\n")
    said = {line: Output(1, "", line).is_silence for line in lines if "error:" in line or " error" in line}
    assert len(said) == 6
    for line, silence in said.items():
        assert silence is any(words in line for words in ("Connection refused", "failed to open")), line
    parsable, sentence = lines[-2:]
    assert _outcome(Output(0, f"{parsable}\n", ""), "job") == _outcome(Output(0, f"{sentence}\n", ""), "job")
