"""Why a stage stands where it stands: the cause, the line that proves it, what was tried, and what to type next.

Nothing is concluded here that `status` does not say: the evidence is looked for in the logs, the failure policy asked.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from launch import executors
from launch.logbook import parts
from launch.logbook.parts import Part
from launch.logbook.selection import elements_of
from launch.plan import Plan, Stage
from launch.status import Observation, StageState, history, policy
from launch.status.history import Failure
from launch.store import Location
from launch.text import as_typed
from slurm import causes
from slurm.base import look

_BEFORE, _AFTER = 8, 4  # lines around the evidence
_TRACEBACK_LINES = 30  # that belong to it where a traceback leads to it
_END_LINES = 12  # of a log that does not have the evidence
_MOST_BYTES = 16 << 20  # of a log that are looked at
_LETTERS = 60  # of the evidence that a line must have
_CHANGE_WORDS = {"mem_factor": "memory", "time_factor": "time", "token_budget_factor": "token_budget"}
_SLURM_SAYS = re.compile(r"^Slurm says [^:]*(: )?")


@dataclass(frozen=True)
class Excerpt:
    """Lines of a log. `number`: of the first, from 1; `proof`: the evidence's place among them; None: not there."""

    path: Path
    number: int
    lines: tuple[str, ...]
    proof: int | None


@dataclass(frozen=True)
class Why:
    """Why a stage stands where it stands. `chain`: from it up to the ancestor that is the reason."""

    chain: tuple[Stage, ...]
    state: StageState  # of the last of the chain
    excerpt: Excerpt | None
    tried: tuple[str, ...]
    policy: str | None  # what the failure policy says of one that failed
    next: tuple[str, ...]  # commands, each with why

    @property
    def stage(self) -> Stage:
        """The one that it is about: the last of the chain."""
        return self.chain[-1]

    def lines(self) -> list[str]:
        """For people."""
        told_lines = [
            f"{stage.name} waits for {parent.name}, which it starts from"
            for stage, parent in zip(self.chain, self.chain[1:], strict=False)
        ]
        job = f" in job {self.state.job}" if self.state.job else ""
        cause = f" ({self.state.cause})" if self.state.cause else ""
        told_lines.append(f"{self.stage.name} is {self.state.state}{cause}{job}")
        if self.state.reason:
            told_lines += ["", "evidence", f"  {self.state.reason}"]
        if self.excerpt is not None:
            told_lines += self._excerpt_lines(self.excerpt)
        if self.tried:
            told_lines += ["", "tried", *(f"  {line}" for line in self.tried)]
        if self.policy:
            told_lines += ["", "policy", f"  {self.policy}"]
        return [*told_lines, "", "next", *(f"  {line}" for line in self.next)]

    @staticmethod
    def _excerpt_lines(excerpt: Excerpt) -> list[str]:
        if excerpt.proof is None:
            heading = f"  not in its log, which ends so: {excerpt.path}"
        else:
            heading = f"  in {excerpt.path}, line {excerpt.number + excerpt.proof}:"
        width = len(str(excerpt.number + len(excerpt.lines)))
        return [heading] + [
            f"  {'>' if n == excerpt.proof else ' '} {excerpt.number + n:>{width}}  {line}"
            for n, line in enumerate(excerpt.lines)
        ]


def explain(plan: Plan, observation: Observation, stage: Stage, location: Location | None = None) -> Why:
    """Why a stage stands where it stands; of one that is held by an ancestor's failure, why that failed.

    location: the element that is asked about; None: the one it was last sent in. Slurm is asked nothing more.
    """
    chain = _chain(plan, observation, stage)
    stage = chain[-1]
    state, failures = observation.state(stage), observation.failures(stage)
    if len(chain) > 1 or location is None:
        location = observation.locations.get(stage.key)
    decision = policy.decide(failures, plan.experiment.failures) if state.state == "failed" and failures else None
    return Why(
        chain=tuple(chain),
        state=replace(state, reason=state.plain_reason),
        excerpt=_excerpt(location, stage, state) if state.state == "failed" else None,
        tried=tuple(_tried(plan, observation, stage, failures)),
        policy=_policy_line(decision, failures[-1]) if decision is not None else None,
        next=tuple(_next(plan, stage, state, decision)),
    )


def _chain(plan: Plan, observation: Observation, stage: Stage) -> list[Stage]:
    """A stage and, while it did not fail itself but waits for one that did, its ancestors."""
    chain = [stage]
    while observation.state(chain[-1]).state in ("held", "new", "queued") and chain[-1].parent is not None:
        parent = plan.stages[chain[-1].parent]
        if observation.state(parent).state not in ("failed", "held", "cancelled"):
            break
        chain.append(parent)
    return chain


# --- the evidence in its surroundings


def _excerpt(location: Location | None, stage: Stage, state: StageState) -> Excerpt | None:
    """The line that proves a failure, and those around it; where no log has it, the end of what the job printed."""
    if location is None or state.reason is None:
        return None
    paths = parts.in_order(executors.of_location(location).logs(location), errors=False)
    last_parts = parts.last_start(part for path in paths for part in parts.parts_of(path))
    proof = _SLURM_SAYS.sub("", state.reason).rstrip("…")[:_LETTERS].strip()
    # Errors first: what is said in both files is said there with what led to it.
    for part in sorted(last_parts, key=lambda part: part.path.suffix != ".err"):
        excerpt = _around(part, stage.folder, proof) if proof else None
        if excerpt is not None:
            return excerpt
    with_words = [end for part in last_parts if (end := _end(part, stage.folder)).lines]
    return max(with_words, key=lambda end: end.path.suffix == ".err", default=None)


def _around(part: Part, folder: str, proof: str) -> Excerpt | None:
    lines = _numbered(part, folder)
    places = [place for place, (_, line) in enumerate(lines) if proof in causes.one_line(line)]
    if not places:
        return None
    place = places[0]  # what comes later says it again
    first = max(0, place - _BEFORE)
    for before in range(place, max(-1, place - _TRACEBACK_LINES), -1):
        if lines[before][1].startswith("Traceback (most recent call last)"):
            first = min(first, before)
            break
    shown_lines = lines[first : place + _AFTER + 1]
    return Excerpt(part.path, shown_lines[0][0], tuple(line for _, line in shown_lines), place - first)


def _end(part: Part, folder: str) -> Excerpt:
    lines = _numbered(part, folder)[-_END_LINES:]
    return Excerpt(part.path, lines[0][0] if lines else 1, tuple(line for _, line in lines), None)


def _numbered(part: Part, folder: str) -> list[tuple[int, str]]:
    """The lines of a part with their numbers in the file, without those of other stages; of a large one the end."""
    part = replace(part, begin=max(part.begin, part.end - _MOST_BYTES))
    with look.named(part.path), part.path.open("rb") as file:
        chunks = iter(lambda: file.read(min(1 << 20, part.begin - file.tell())), b"")
        lines_before = sum(chunk.count(b"\n") for chunk in chunks)
    stage_filter = parts.StageFilter(folder if parts.came_to([part], folder) else None)
    numbered_lines = enumerate(parts.lines(part, None), start=lines_before + 1)
    return [(number, _plain(line)) for number, line in numbered_lines if stage_filter.lets(line)]


def _plain(line: str) -> str:
    """Without what a terminal would obey."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", " ", line.rstrip("\n")).expandtabs().rstrip()


# --- what was tried, and what is next


def _tried(plan: Plan, observation: Observation, stage: Stage, failures: list[Failure]) -> list[str]:
    """Each attempt, and with what changes of the file's resources it was sent."""
    if not observation.store.exists(stage):
        return []
    told_lines = history.lines(observation.store.stage_folder(stage.folder), failures)
    for location in elements_of(observation.submissions, stage.key):
        changes = location.submission.arrays[location.array].changes
        if changes and (words := _changes(changes)):
            told_lines.append(f"job {executors.of_location(location).job(location)} was sent with {words}")
    return told_lines


def _changes(changes: object) -> str:
    assert isinstance(changes, dict), changes
    factors = [
        f"{changes[name]:g} times the {word}" for name, word in _CHANGE_WORDS.items() if changes.get(name, 1.0) != 1.0
    ]
    nodes = changes.get("exclude") or ()
    return ", ".join([*factors, *([f"without {' '.join(nodes)}"] if nodes else [])])


def _policy_line(decision: policy.Decision, last: Failure) -> str:
    changes = {name: getattr(decision.changes, name) for name in (*_CHANGE_WORDS, "exclude")}
    words = f"; with {changes_text}" if (changes_text := _changes(changes)) else ""
    verdict = "the next submit sends it again by itself" if decision.send else "it is not sent again by itself"
    return f"{verdict}: {decision.why.partition(f': {last.evidence}')[0]}{words}"


def _next(plan: Plan, stage: Stage, state: StageState, decision: policy.Decision | None) -> Sequence[str]:
    """Commands to type, the first first."""
    file, name = as_typed(plan.experiment.path), plan.word(stage)
    logs = f"stepstone logs {file} {name}"
    match state.state:
        case "failed" if decision is None or decision.send:
            return [f"to send it again: stepstone submit {file}", f"all that it printed: {logs} --all"]
        case "failed":
            look_at_nodes = [f"what nodes see: stepstone doctor {file} --nodes"] if state.cause == "not-started" else []
            again = f"once that is mended: stepstone retry {file} --stage {name}"
            return [*look_at_nodes, again, f"all that it printed: {logs} --all"]
        case "held":
            return [f"once that is mended: stepstone retry {file}", f"where each stands: stepstone status {file}"]
        case "running":
            return [f"as it goes on: {logs} --follow"]
        case "queued":
            return [f"as soon as it prints: {logs} --follow", f"where each stands: stepstone status {file}"]
        case "unknown":
            return [f"what Slurm answers: stepstone doctor {file}"]
        case "finished":
            return [f"the table: stepstone collect {file}"]
        case "new" | "cancelled":
            return [f"to send it: stepstone submit {file}"]
