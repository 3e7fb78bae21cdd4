"""Ways of asking: what a site's own command refuses is asked otherwise, and its words are kept and told."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm import accounting, commands, limits, queue, snapshot, usercache, ways
from slurm.commands import Output, Refusal, Silent
from tests.slurm.answers import install
from tests.slurm.scripted import Scheduler

# Words of real commands, most from public reports, and whether somebody else might answer later.
FAILURES = {
    "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection to localhost:6819: "
    "Connection refused\nsacct: error: slurmdbd: Sending PersistInit msg: Connection refused\n"
    "sacct: error: Problem talking to the database: Connection refused\n": True,
    "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n": True,
    "slurm_load_jobs error: Socket timed out on send/recv operation\n": True,
    "squeue: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\n"
    "squeue: error: fetch_config: DNS SRV lookup failed\nsqueue: fatal: Could not establish a configuration source\n":
        False,
    "error: too many requests, wait a minute\n": True,
    "slurm_load_jobs error: Invalid job id specified\n": False,
    "sacct: error: slurmdbd: Too wide of a date range in query\n": False,
    "squeue: unrecognized option '--array'\nTry \"squeue --help\" for more information\n": False,
    "squeue: ERROR: only --me is allowed on this system\n": False,
    "": False,
}  # fmt: skip


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduler]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Scheduler().installed() as ready:
        yield ready


@pytest.mark.parametrize(("words", "silence"), FAILURES.items())
def test_a_refusal_is_told_from_silence(words: str, silence: bool) -> None:
    assert Output(1, "", words).is_silence is silence
    assert not Output(0, "", words).is_silence
    assert Output(-9, "", words).is_silence  # it was killed


def test_words_are_the_complaint_and_not_what_stands_around_it() -> None:
    asked = Output(
        1, "", "Lmod: loaded slurm/23\nsqueue: unrecognized option '--array'\nTry \"squeue --help\" for more\n"
    )
    assert asked.said == "squeue: unrecognized option '--array'"
    assert Output(1, "", "Welcome\nsqueue: error: a\nsqueue: error: b\n").said == "squeue: error: a; squeue: error: b"
    assert Output(1, "only on stdout\n", " \n").said == "only on stdout"
    assert Output(3, "", "").said == "exit code 3, without a word"


@pytest.mark.parametrize(
    "options",
    [
        {"--array"},
        {"--user", "-u", "--me", "-h", "--noheader"},
        {"--all", "-a"},
        {"--array", "-r"},
        {"--user", "-u"},
        {"--noheader", "--all", "--user"},
    ],
)
def test_squeue_is_asked_in_a_way_that_a_site_takes(scheduler: Scheduler, options: set[str]) -> None:
    array = scheduler.accept("#SBATCH --array=0-3,9%2\n#SBATCH --job-name=mine\n")
    scheduler.add_others(2, user="other")
    expected = queue.squeue()
    assert expected is not None and len(expected) == len(array.elements)
    scheduler.unknown_options["squeue"] = options
    assert sorted(queue.squeue() or [], key=repr) == sorted(expected, key=repr)
    assert queue.has_ended(f"{array.id}_3") is False
    scheduler.calls.clear()
    queue.squeue()
    assert scheduler.calls["squeue"] == 1  # what was refused is not tried again


def test_the_first_way_is_tried_again_after_a_day(scheduler: Scheduler) -> None:
    scheduler.unknown_options["squeue"] = {"--all"}
    queue.squeue()
    scheduler.unknown_options.clear()
    scheduler.advance(100_000)
    scheduler.calls.clear()
    assert queue.squeue() == [] and scheduler.calls["squeue"] == 1


def test_a_way_that_is_refused_later_is_replaced(scheduler: Scheduler) -> None:
    scheduler.unknown_options["squeue"] = {"--all"}
    queue.squeue()
    scheduler.unknown_options["squeue"] = {"-h"}
    assert queue.squeue() == []


def test_accounting_and_limits_take_what_older_commands_know(scheduler: Scheduler) -> None:
    array = scheduler.accept("#SBATCH --array=0-1\n#SBATCH --job-name=mine\n")
    scheduler.run_all()
    expected = accounting.ended([str(array.id)])
    known = limits.discover(None, None, None)
    assert expected and known.submit == () and known.nodes
    scheduler.unknown_options = {
        "sacct": {"--duplicates", "--parsable2", "--name"}, "sinfo": {"--all", "-a"}, "sacctmgr": {"--readonly", "-r"},
    }  # fmt: skip
    assert accounting.ended([str(array.id)]) == expected
    assert limits.discover(None, None, None) == known


def test_where_every_way_is_refused_the_words_for_the_first_are_told(scheduler: Scheduler) -> None:
    scheduler.errors["squeue"] = "squeue: ERROR: ask the help desk"
    with pytest.raises(Refusal, match="ask the help desk"):
        queue.squeue()
    look = snapshot.look(0)
    assert look.entries is None and look.refusal == "squeue: ERROR: ask the help desk" and look.stale_since
    assert snapshot.look().refusal == look.refusal  # kept for the next command
    assert "ask the help desk" in str(snapshot.unanswered("nothing was sent"))
    scheduler.errors["squeue"] = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    scheduler.advance(20)
    assert snapshot.look(0).refusal is None and queue.squeue() is None
    assert "Slurm does not answer" in str(snapshot.unanswered("nothing was sent"))
    scheduler.errors.clear()
    assert snapshot.look(0).stale_since is None


def test_a_command_that_hangs_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = tmp_path / "squeue"
    slow.write_text("#!/bin/sh\necho 'waiting for a licence' >&2\nexec sleep 20\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Silent, match=r"did not answer in 0 s: waiting for a licence|did not answer in 0 s$"):
        commands.run(["squeue"], timeout=0.3)


def test_what_commands_print_on_stderr_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, squeue=Output(0, "", "Lmod: loaded\nslurm\n"), sacct=Output(1, "", "no\ud800"))
    before = time.time()
    queue.squeue()
    with pytest.raises(Refusal):
        accounting.ended(["1"])
    words = usercache.words(before - 1)
    assert {(command, code) for _, command, code, _ in words} == {("squeue", 0), ("sacct", 1)}
    assert words[0][3] == "Lmod: loaded\nslurm\n" and usercache.words(time.time() + 1) == []
    (log,) = (tmp_path / "stepstone").glob("slurm-*/stderr-*.log")
    assert log.stat().st_mode & 0o777 == 0o600


def test_tried_ways_say_which_is_taken(scheduler: Scheduler) -> None:
    scheduler.unknown_options["squeue"] = {"--all"}
    trials = list(ways.tried("squeue", queue.squeue_ways(), queue.read))
    assert [trial.refusal for trial in trials] == ["squeue: unrecognized option '--all'", None]
    assert trials[-1].command[:2] == ("squeue", "-h")


def test_a_passing_refusal_makes_no_weaker_way_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was refused is asked once more before a way that may see less is taken, and remembered for a day."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked: list[str] = []

    def answer_of(way: list[str]) -> str:
        asked.append(way[1])
        if asked == ["--all"]:
            raise Refusal("squeue: fatal: Could not establish a configuration source")
        return way[1]

    monkeypatch.setattr(commands, "answer_of", answer_of)
    every_way = [["squeue", "--all"], ["squeue", "--me"]]
    assert ways.ask("passing", every_way, str) == "--all"
    assert ways.ask("passing", every_way, str) == "--all"
    assert asked == ["--all", "--me", "--all", "--all"]
