"""What keys do to an experiment: cancel, retry, hold, release, requeue, throttle, as the commands of these names do it.

Each looks at Slurm first, says exactly what it would do and how the command line says it, and asks. In a thread of its
own: `Talk` carries questions and lines to the screen.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from launch.draft.shares import shares
from launch.executors import Verb
from launch.plan import Plan
from launch.preflight import checks
from launch.status import Observation
from launch.store import Store
from launch.store import lock as store_lock
from launch.submit import cancel as cancelling
from launch.submit import keep, outcome, submitter
from launch.submit import retry as retrying
from launch.submit import throttle as throttling
from launch.submit.cancel import Cancellation
from launch.submit.keep import Keeping
from launch.text import as_typed
from slurm import snapshot


@dataclass(frozen=True)
class Proposal:
    """What would be done. `lines`: each stage or element, by name; `command`: the same on the command line."""

    question: str
    lines: Sequence[str]
    command: str


@dataclass(frozen=True)
class Talk:
    """How an action speaks with the person. `ask` waits for the answer."""

    ask: Callable[[Proposal], bool]
    say: Callable[[str], None]


Action = Callable[[Talk], None]


def command(plan: Plan, *words: str, stages: Sequence[str] = ()) -> str:
    """A command line about the experiment. stages: by key."""
    verb, *arguments = words
    options = [f"--stage {plan.word(plan.stages[key])}" for key in stages]
    return " ".join(["stepstone", verb, as_typed(plan.experiment.path), *map(shlex.quote, arguments), *options])


def cancel(plan: Plan, keys: Sequence[str] | None) -> Action:
    """End these stages and what waits for them. None: everything."""

    def act(talk: Talk) -> None:
        def agree(proposal: Cancellation) -> bool:
            waiting = len(proposal.stages) - proposal.running
            lines = _stage_lines(plan, proposal.stages)
            if proposal.beside:
                lines += ["with them, in the same elements:", *_stage_lines(plan, proposal.beside)]
            if proposal.outside:
                lines += ["with them, of other files or of this one before an edit:"]
                lines += [f"  {folder.rpartition('-')[0]}" for folder in proposal.outside]
            question = f"End {proposal.running} running and {waiting} waiting stages? Finished results stay."
            return talk.ask(Proposal(question, lines, command(plan, "cancel", stages=keys or ())))

        cancellation = cancelling.cancel(plan, keys or [], agree, talk.say)
        if cancellation is None:
            talk.say("nothing was cancelled")
        elif not cancellation.locations:
            talk.say("nothing to cancel: none of these stages is queued or running")
        else:
            count = len(cancellation.stages) + len(cancellation.beside) + len(cancellation.outside)
            talk.say(f"cancelled {count} stages; to send them again: {command(plan, 'submit')}")

    return act


def retry(plan: Plan, keys: Sequence[str] | None) -> Action:
    """Send failed stages again, and what waited for them."""

    def act(talk: Talk) -> None:
        checks.check(plan)
        checks.check_fetched(plan)
        observation = Observation(plan, Store(plan.experiment.store), max_age=0)
        failed_keys = retrying.select(plan, observation, [], keys or [])
        if not failed_keys:
            talk.say("nothing to retry: none of these stages failed, or was cancelled or held")
            return
        in_order = [key for key in plan.stages if key in failed_keys]
        question = f"Send {len(in_order)} stages again, whatever their budget of retries says?"
        proposal = Proposal(question, _stage_lines(plan, in_order), command(plan, "retry", stages=keys or ()))
        if not talk.ask(proposal):
            talk.say("nothing was sent")
            return
        for line in outcome.lines(submitter.submit(plan, talk.say, only=failed_keys, force=failed_keys)):
            talk.say(line)

    return act


_QUESTIONS: dict[Verb, str] = {
    "hold": "Keep {} elements from starting, until they are released?",
    "release": "Let {} elements start when it is their turn?",
    "requeue": "Stop {} elements and queue them again? Each goes on from its newest checkpoint.",
}


def change(plan: Plan, verb: Verb, keys: Sequence[str] | None) -> Action:
    """Hold, release or requeue the elements of these stages."""

    def act(talk: Talk) -> None:
        def agree(keeping: Keeping) -> bool:
            lines = []
            for job, location in zip(keeping.jobs, keeping.locations, strict=True):
                lines.append(f"  {job}: {', '.join(_name(plan, key) for key in location.keys)}")
            if (shared_line := keeping.of_others(plan)) is not None:
                lines.append(shared_line)
            question = _QUESTIONS[verb].format(len(keeping.locations))
            return talk.ask(Proposal(question, lines, command(plan, verb, stages=keys or ())))

        keeping = keep.change(plan, verb, keys or [], agree)
        if keeping is None:
            talk.say("nothing was changed")
        elif not keeping.locations:
            talk.say(f"nothing to {verb}: {keep.NOTHING[verb]}")
        else:
            talk.say(f"{keep.DONE[verb]}: {len(keeping.locations)} elements")

    return act


def throttle(plan: Plan, cap: int | None) -> Action:
    """Let so many elements of the experiment run at the same time; None: any number."""

    def act(talk: Talk) -> None:
        throttling.check(plan)
        root = plan.experiment.store
        observation = Observation(plan, Store(root), max_age=0)
        if observation.entries is None:
            raise snapshot.unanswered("nothing was changed")
        arrays = throttling.open_arrays(observation)
        new_shares = shares([array.elements for array in arrays], cap)
        lines = [
            f"  job {array.job}: {share or 'all'} of {array.elements} elements (now {array.throttle or 'all'})"
            for array, share in zip(arrays, new_shares, strict=True)
        ]
        words = "any number of elements" if cap is None else f"{cap} elements"
        question = f"Let {words} run at the same time? What runs goes on."
        if not talk.ask(
            Proposal(question, lines or ["  nothing is in the queue now"], command(plan, "throttle", str(cap or 0)))
        ):
            talk.say("nothing was changed")
            return
        with store_lock.lock(root, store_lock.PATIENCE, talk.say):
            for line in throttling.change(Observation(plan, Store(root), max_age=0), cap):
                talk.say(line)
        if (line_of_file := throttling.file_says(plan, cap)) is not None:
            talk.say(line_of_file)

    return act


def _name(plan: Plan, key: str) -> str:
    return plan.stages[key].name if key in plan.stages else f"{key} of another file"


def _stage_lines(plan: Plan, keys: Sequence[str]) -> list[str]:
    return [f"  {plan.stages[key].name}" for key in keys]
