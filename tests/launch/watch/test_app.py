"""The app through Textual's pilot, at 80 x 24, over a scripted Slurm: what it shows, does and survives."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from textual.widgets import Static

from launch import submit
from launch.plan import Plan
from launch.submit import retry
from launch.watch.acting import Proposal
from launch.watch.asking import Question
from launch.watch.cell import CellScreen
from slurm import commands
from slurm.base import look
from tests.launch import stub_job
from tests.launch.watch.driving import Drive, drive
from tests.launch.workspace import Workspace, look_at
from tests.slurm.scripted import Scheduler

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_its_folder")]  # a second each


@pytest.fixture
def scheduler(scheduler: Scheduler) -> Iterator[Scheduler]:
    """One that a test and the app's threads may use at once."""
    lock, answer, advance = threading.RLock(), commands.runner, scheduler.advance

    def answer_alone(*asked: Any) -> commands.Output:
        with lock:
            return answer(*asked)

    def advance_alone(seconds: float) -> None:
        with lock:
            advance(seconds)

    with (
        mock.patch.object(commands, "runner", answer_alone),
        mock.patch.object(scheduler, "advance", advance_alone),
    ):
        yield scheduler


def states(plan: Plan) -> dict[str, int]:
    return {state: count for state, count in look_at(plan).counts().items() if count}


def test_the_matrix_moves_with_the_experiment(
    scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(at: Drive) -> None:
        assert f"0 of {len(plan.stages)} finished, {len(plan.stages)} new" in at.text
        assert "recipe" in at.text and "xnli" in at.text and "stepstone submit" in at.text
        submit.submit(plan)
        scheduler.advance(2)
        await at.look()
        assert "run" in at.text and "waits" in at.text
        scheduler.run_all()
        await at.look()
        assert f"{len(plan.stages)} of {len(plan.stages)} finished" in at.text
        assert "50.0" in at.text and "stepstone collect" in at.text

    drive(monkeypatch, plan, steps)


def test_a_cell_opens_and_closes(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    submit.submit(plan)
    scheduler.advance(2)

    async def steps(at: Drive) -> None:
        await at.press("down", "enter")
        await at.until(lambda: isinstance(at.app.screen, CellScreen))
        await at.shows("squad × xnli")
        await at.shows("attempt 1: job")
        await at.press("down")
        await at.shows("it waits: another job must end first")
        await at.shows("nothing to do: it starts by itself")
        await at.press("2")
        await at.shows("nothing on stdout yet")
        await at.press("tab", "tab")
        await at.shows("no attempt yet")
        await at.press("escape")
        assert not isinstance(at.app.screen, CellScreen)

    drive(monkeypatch, plan, steps)


def test_a_cell_says_how_its_pair_races(
    scheduler: Scheduler, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = workspace.plan(targets=["xnli"], seeds={"min": "2", "max": "4", "until": "0.5"})

    async def steps(at: Drive) -> None:
        await at.press("down", "enter")
        await at.shows("race: racing, 0 of 2 to 4 seeds")
        await at.press("escape", "up", "enter")
        await at.shows("none × xnli")
        assert "race:" not in at.text

    drive(monkeypatch, plan, steps)


def test_logs_and_curves_are_followed(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    submit.submit(plan)
    scheduler.advance(2)
    stage = next(stage for stage in plan.stages.values() if stage.name == "squad-s1")
    folder = plan.experiment.store / "stages" / stage.folder / "attempts" / "0001"
    log = folder / "log.jsonl"
    log.write_text('{"step": 0, "loss": 2.5}\n{"interval": [0, 0], "seconds": 1.0, "tokens_per_second": 1200.0}\n')
    samples = [
        '{"time": 1.0, "cpu": 1.0, "memory": 2000000000, "gpus": [90.0, null, 70.0], "gpu_memory": [1, 9000000000]}'
    ]
    (folder / "usage.jsonl").write_text("\n".join([*samples, ""]))
    location = look_at(plan).locations[stage.key]
    printed = location.submission.logs(location.array)
    printed.mkdir(parents=True, exist_ok=True)
    (printed / f"{location.job}_{location.index}_0_log.out").write_text("\x1b[31mfirst [b]line\r50%\rdone\n")

    async def steps(at: Drive) -> None:
        await at.press("down", "enter", "2")
        await at.shows("done")
        assert "50%" not in at.text and "\x1b" not in at.text
        with (printed / f"{location.job}_{location.index}_0_log.out").open("a") as file:
            file.write("second [/b] line\n")
        await at.shows("second [/b] line")
        await at.press("5")
        await at.shows("loss: 2.5")
        assert "tokens/s: 1,200" in at.text and "GPUs busy: 80 %" in at.text
        assert "GPU memory: 9 GB" in at.text and "memory: 2 GB" in at.text
        with log.open("a") as file:
            file.write('{"step": 0, "loss": NaN}\n{"step": 0, "loss": -Infinity}\n')
            file.write('{"step": 1, "loss": 1.25}\n{"step": 2, "lo')
        await at.shows("loss: 1.25  (1.25 to 2.5)")

    drive(monkeypatch, plan, steps)


def test_a_failed_stage_shows_cause_and_evidence(
    scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler.work = stub_job.failing(("squad-s1",), "CUDA out of memory. Tried to allocate 2 GiB", "cuda-oom")
    submit.submit(plan)
    scheduler.run_all()

    async def steps(at: Drive) -> None:
        assert "failed cuda-oom" in at.text
        await at.press("down", "enter")
        await at.shows("cuda-oom: CUDA out of memory. Tried to allocate 2 GiB")

    drive(monkeypatch, plan, steps)


def test_cancel_asks_and_no_means_no(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    submit.submit(plan)
    scheduler.advance(2)
    before = states(plan)

    async def steps(at: Drive) -> None:
        await at.press("down", "c")
        question = await at.question()
        assert question.proposal.lines == ["  squad.mnli-s1", "  squad.mnli-s1--xnli"]
        options = "--stage squad.mnli-s1--xnli --stage squad.mnli-s1"
        assert question.proposal.command == f"stepstone cancel experiment.yaml {options}"
        await at.press("n")
        await at.said("nothing was cancelled")
        assert states(plan) == before
        await at.press("c")
        await at.question()
        await at.press("enter")  # without reading: no
        await at.said("nothing was cancelled")
        assert states(plan) == before

    drive(monkeypatch, plan, steps)


def test_cancel_with_yes_ends_what_was_named(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    submit.submit(plan)
    scheduler.advance(2)

    async def steps(at: Drive) -> None:
        await at.press("C")
        question = await at.question()
        assert len(question.proposal.lines) == len(plan.stages)
        assert question.proposal.command == "stepstone cancel experiment.yaml"
        await at.press("y")
        await at.said(f"cancelled {len(plan.stages)} stages")
        await at.look()
        assert "cancelled" in at.text

    drive(monkeypatch, plan, steps)
    assert states(plan) == {"cancelled": len(plan.stages)}


def test_hold_release_requeue_and_throttle(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    submit.submit(plan)
    scheduler.advance(2)

    async def steps(at: Drive) -> None:
        await at.press("H")
        question = await at.question()
        assert question.proposal.command == "stepstone hold experiment.yaml"
        held = [line.split(":")[0].strip() for line in question.proposal.lines]
        await at.press("y")
        await at.said("held: ")
        assert [element.id for element in scheduler.elements if element.held] == sorted(held)
        scheduler.advance(0)
        await at.press("L")
        await at.question()
        await at.press("y")
        await at.said("released: ")
        assert not any(element.held for element in scheduler.elements)
        await at.press("U")
        running = {element.id for element in scheduler.running}
        question = await at.question()
        assert {line.split(":")[0].strip() for line in question.proposal.lines} == running
        await at.press("y")
        await at.said("queued again: ")
        assert all(element.restarts == 1 for element in scheduler.elements if element.id in running)
        await at.press("t", "1", "enter")
        question = await at.question()
        assert question.proposal.command == "stepstone throttle experiment.yaml 1"
        await at.press("y")
        await at.said("the file still says throttle: none")
        assert {array.throttle for array in scheduler.arrays} == {1}

    drive(monkeypatch, plan, steps)


def test_the_throttle_is_not_asked_for_while_slurm_is_silent(
    scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit.submit(plan)
    scheduler.advance(2)

    async def steps(at: Drive) -> None:
        scheduler.ctld = "down"
        await at.press("t", "1", "enter")
        await at.said("Slurm does not answer, so what is queued is unknown")
        assert not isinstance(at.app.screen, Question)

    drive(monkeypatch, plan, steps)


def test_a_question_about_very_many_stages_shows_the_first(
    scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(at: Drive) -> None:
        proposal = Proposal("Send 20,000 stages again?", [f"  stage-{n}" for n in range(20_000)], "stepstone retry")
        at.app.post_message(at.app.Asked(proposal, lambda is_agreed: None))
        question = await at.question()
        lines = str(question.query_one("#lines", Static).render()).splitlines()
        assert lines[-2:] == ["  stage-199", "  … 19,800 more"] and len(lines) == 201
        assert question.proposal is proposal
        await at.press("n")

    drive(monkeypatch, plan, steps)


def test_retry_sends_what_failed(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler.work = stub_job.failing(("squad-s1",), "it broke")
    submit.submit(plan)
    scheduler.run_all()
    scheduler.work = stub_job.work
    assert retry.select(plan, look_at(plan), [], [])

    async def steps(at: Drive) -> None:
        await at.press("R")
        question = await at.question()
        assert "  squad-s1" in question.proposal.lines
        assert question.proposal.command == "stepstone retry experiment.yaml"
        await at.press("y")
        await at.said("sent")

    drive(monkeypatch, plan, steps)
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


def test_the_users_command_is_told_of_the_end(
    scheduler: Scheduler, workspace: Workspace, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = workspace.root / "told"
    command = ["sh", "-c", f'echo "$STEPSTONE_EVENT" >> {told}', "sh"]
    cluster = {"executor": "slurm", "partition": "gpu"}
    telling = workspace.plan(cluster=cluster, seeds=["1"], notify={"command": command})
    submit.submit(telling)

    async def steps(at: Drive) -> None:
        assert not told.exists()
        scheduler.run_all()
        await at.look()
        await at.until(told.exists)
        await at.look()

    drive(monkeypatch, telling, steps)
    assert told.read_text() == "done\n"


def test_search_shows_what_fits(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(at: Drive) -> None:
        await at.press("slash", *"squad tato", "enter")
        assert at.grid("matrix").table.rows == 1 and list(at.grid("matrix").table.headings) == ["recipe", "tatoeba"]
        assert "small /squad tato, " in at.text
        await at.press("enter")
        await at.shows("squad × tatoeba")
        await at.press("escape", "escape")
        assert at.grid("matrix").table.rows == 2 and len(at.grid("matrix").table.headings) == 3
        await at.press("slash", *"nosuch", "enter")
        assert "no cell fits" in at.text

    drive(monkeypatch, plan, steps)


def test_the_scheduler_goes_and_comes_back(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    submit.submit(plan)
    scheduler.advance(2)

    async def steps(at: Drive) -> None:
        assert "run" in at.text
        scheduler.ctld = "down"
        await at.look()
        assert "Slurm does not answer since" in at.text and "the store say" in at.text.replace("\n", " ")
        assert "unknown" in at.text and "failed" not in at.text
        await at.press("C")
        await at.said("Slurm does not answer")
        scheduler.ctld = "up"
        await at.look()
        assert "does not answer since" not in at.shown("trouble") and "unknown" not in at.shown("head")

    drive(monkeypatch, plan, steps)


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.ETIMEDOUT])
def test_the_store_goes_and_comes_back(
    scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    submit.submit(plan)
    scheduler.run_all()
    names = look.names

    def away(folder: Path) -> Any:
        raise OSError(code, os.strerror(code), str(folder))

    async def steps(at: Drive) -> None:
        monkeypatch.setattr(look, "names", away)
        await at.look()
        assert os.strerror(code) in at.text and "this is what was seen" in at.text
        assert "50.0" in at.text  # the last picture stays
        monkeypatch.setattr(look, "names", names)
        await at.look()
        assert not at.app.screen.query_one("#trouble").display

    drive(monkeypatch, plan, steps)


def test_a_store_that_is_not_mounted_is_no_new_experiment(
    scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit.submit(plan)
    scheduler.run_all()
    store = plan.experiment.store

    async def steps(at: Drive) -> None:
        store.rename(store.with_name("away"))
        await at.look()
        assert "the store is not there" in at.text.replace("\n", " ") and "50.0" in at.text
        store.with_name("away").rename(store)
        await at.look()
        assert not at.app.screen.query_one("#trouble").display

    drive(monkeypatch, plan, steps)


def test_a_window_of_any_size(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(at: Drive) -> None:
        for size in ((120, 40), (40, 12), (20, 6), (80, 24)):
            await at.pilot.resize_terminal(*size)
            await at.pilot.pause()
            assert "recipe" in at.text or size[0] < 30
        assert "xnli" in at.text

    drive(monkeypatch, plan, steps)


def test_several_experiments_in_tabs(
    scheduler: Scheduler, plan: Plan, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = {"executor": "slurm", "partition": "gpu"}
    second = workspace.plan(name="second", recipes=["none"], targets=["tatoeba"], cluster=cluster, seeds=["1"])

    async def steps(at: Drive) -> None:
        assert "small, " in at.text
        await at.press("right_square_bracket")
        await at.shows("0 of 1 finished")
        await at.press("left_square_bracket")
        await at.shows("small, ")

    drive(monkeypatch, [plan, second], steps)


def test_the_mouse_opens_a_cell(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(at: Drive) -> None:
        lines = at.text.splitlines()
        y = next(n for n, line in enumerate(lines) if line.startswith("squad"))
        x = next(line for line in lines if line.startswith("recipe")).index("tatoeba")
        await at.pilot.click(offset=(x, y))
        await at.pilot.pause()
        assert (at.grid("matrix").row, at.grid("matrix").column) == (1, 2)
        await at.pilot.click(offset=(x, y))
        await at.shows("squad × tatoeba")

    drive(monkeypatch, plan, steps)


def test_help_names_every_key(scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(at: Drive) -> None:
        await at.press("question_mark")
        await at.shows("Slurm is asked once a minute")
        for key in ("c cancel", "r retry", "h hold", "l release", "u requeue", "t throttle", "q  "):
            assert key in at.text, key
        await at.press("escape")
        assert "asked once a minute" not in at.text

    drive(monkeypatch, plan, steps)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_it_leaves_with_exit_code_0(
    scheduler: Scheduler, plan: Plan, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    async def steps(at: Drive) -> None:
        await at.press(key)
        assert at.app._exit and at.app.return_code == 0

    drive(monkeypatch, plan, steps)


def test_no_number_is_cut_at_any_width(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    many = workspace.plan(
        targets=["xnli", "tatoeba", "xquad", "mlqa", "panx"], recipes=["none", "subsets(squad, mnli, qqp)"]
    )

    async def steps(at: Drive) -> None:
        picture = at.app.shown.picture
        assert picture is not None
        for width in (40, 60, 80, 120):
            await at.pilot.resize_terminal(width, 24)
            await at.pilot.pause()
            for _ in many.experiment.targets:
                line = next(line for line in at.text.splitlines() if line.startswith("recipe"))
                headings = [word for word in line.split() if word.isalpha() and word != "more"]
                assert set(headings) <= {"recipe", *many.targets} and len(headings) > 1, line
                await at.press("right")
            assert at.grid("matrix").column == 5
            await at.press(*["left"] * 5)

    drive(monkeypatch, many, steps)
