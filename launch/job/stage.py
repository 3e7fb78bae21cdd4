"""The story of a stage, as all ranks of its job live it: finished already? an attempt; train or evaluate; a result.

Whatever stops it on the way becomes a note in its attempt and a `StageFailed`. What no rank can note, such as a kill,
the next start of the job does, or `launch.status.history` finds out.
"""

import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from eval.prediction.dev import dev_scorer
from eval.prediction.stage import EvaluateStage
from launch.experiment import failures as failure_rules
from launch.job import earlier as earlier_steps
from launch.job import results
from launch.job.clock import Clock
from launch.job.inputs import Inputs, Origin, Place
from launch.job.sampling import Node
from launch.job.verdicts import StageFailed, error_verdict, stop_verdict
from launch.status import breaker, history, policy
from launch.store import artifacts, attempts, logs, provenance, sharing
from launch.store.artifacts import DevMetrics, TaskMeasures, generation_of
from launch.store.attempts import Attempt, BeforeNote, FailureNote, Fenced, Heartbeat, RunningElsewhere, Starter
from launch.store.manifests import Manifest, StageEntry
from launch.store.store import processors_folder, token_folder
from slurm import causes, rlimits
from slurm.base import UserError
from slurm.causes import Verdict
from slurm.granted import Granted
from slurm.queue import has_ended
from slurm.signals import StopFlag
from training import distributed
from training.data.tokens import TokenCache, caching
from training.distributed import World
from training.engine import matmul, setup, train
from training.model.parent import Parent, read_parent
from training.stopwatch import phase

_OWN_SIGNALS = (signal.SIGUSR2, signal.SIGXCPU)  # no other rank's failure leads to them
_COMES_BACK = ("time", "preempted", "node", "elsewhere", "unknown")  # what the same job may do better at its next start
_MOMENT, _POLL = 2.0, 0.1  # seconds that a rank leaves the others to say first what they failed of; between two looks


@dataclass
class ElementRun:
    """One job's work. Every method is called by every rank, in the same order. `path`: the manifest's."""

    manifest: Manifest
    path: Path
    world: World
    stop: StopFlag
    granted: Granted | None = None  # what its processes have
    node: Node | None = None  # of whose ranks it takes samples; None: of none
    lane: int | None = None  # of a packed element: which of its processes this is
    neighbours: int = 0  # the others, which share the job

    def __post_init__(self) -> None:
        self.inputs = Inputs(self.manifest)
        self.clock = Clock(self.path, self.node)
        self._held: Origin | None = None  # what the stage before started from or made, for one that starts from it too
        self.policy = failure_rules.from_record(self.manifest.failures)
        self.tokens = TokenCache(token_folder(self.inputs.root))
        packages = self.manifest.packages
        differences = provenance.differences(packages, provenance.versions()) if packages else []
        self.starter = replace(
            Starter.this_process(), packages=tuple(differences), granted=self.granted, neighbours=self.neighbours
        )
        if differences and self.world.first:
            print(f"warning: other packages than at submission: {', '.join(differences)}", file=sys.stderr)

    def run(self, entry: StageEntry) -> None:
        """Do one stage, or nothing where it is finished. StageFailed where it did not get its result."""
        logs.mark_stage(entry.folder)
        if self._held is not None and not self.inputs.may_start_at(entry, self._held.place):
            self._held = None  # before what it does start from is read
        try:
            attempt = self._begin_unless_finished(entry)
            if attempt is None:
                print(f"{entry.folder}: finished already", flush=True)
                return
            self._share(entry)  # how far it is may be looked at meanwhile, and after its end by force
            print(f"{entry.folder}: attempt {attempt.number}", flush=True)
            self._check_budget(entry, attempt)
            decisions = matmul.deciding_in(processors_folder(self.inputs.root))
            counting = self.clock.stage(entry, attempt, notes=self.world.first)
            with self._failures_noted(entry, attempt), counting, caching(self.tokens), decisions:
                if self._decided(lambda: self.inputs.is_finished(entry)):
                    # Published by another attempt after the first look, before this one fenced it: it stays as it is.
                    if self.world.first:
                        attempt.end()
                elif entry.kind == "train":
                    self._train(entry, attempt)
                else:
                    self._evaluate(entry, attempt)
        finally:
            self._share(entry)

    def budget_left(self, entry: StageEntry) -> bool:
        """Whether this very job may start once more after it was stopped at a stage."""
        return self._used_up(entry) is None

    def drop_encoders(self, folders: list[str]) -> None:
        """Remove the encoders of leaf trains, whose evaluates are finished here (`keep:`)."""
        if self.world.first:
            for folder in folders:
                if not artifacts.drop(self.inputs.root, self.path.parent, folder):
                    print(f"{folder}: its encoder stays, as a later submission may need it", flush=True)

    # --- finished already? else an attempt

    def _begin_unless_finished(self, entry: StageEntry) -> Attempt | None:
        """StageFailed where another job is at the stage, or what it starts from is missing."""
        try:
            if self._decided(lambda: self.inputs.is_finished(entry)):
                return None
            if self.lane is not None:
                self._check_failed_before(entry)
            return self._begin(entry)
        except RunningElsewhere as error:
            raise StageFailed(f"{entry.folder}: {error}", "elsewhere", ends_element=False) from None
        except UserError as error:
            cause = causes.classify(None, str(error), "").cause
            raise StageFailed(f"{entry.folder}: {error}", cause, ends_element=False) from None

    def _check_failed_before(self, entry: StageEntry) -> None:
        """StageFailed where this very job has failed at a stage: it was queued again for its neighbours' sake."""
        failures = history.failures_of(self.inputs.stage_folder(entry.folder))
        job = self.starter.job
        if job is not None and failures and failures[-1].job == job and failures[-1].cause not in _COMES_BACK:
            cause = failures[-1].cause
            message = f"{entry.folder}: it failed in this job before ({cause}), and is not tried again in it"
            raise StageFailed(message, cause, ends_element=False)

    def _begin(self, entry: StageEntry) -> Attempt:
        folder = self.inputs.stage_folder(entry.folder)
        name = self._decided(lambda: attempts.begin(folder, self._starter(folder), has_ended).folder.name)
        return Attempt(folder / "attempts" / name)

    def _starter(self, stage_folder: Path) -> Starter:
        """Who begins an attempt; it also remembers how this job's start before was ended, if by force."""
        job = self.starter.job
        for earlier in attempts.attempts_of(stage_folder)[-1:]:
            same_job = job is not None and attempts.starter_of(earlier).job == job
            if same_job and attempts.end_of(earlier) is None:
                assert job is not None
                text = logs.start_before(logs.of_job(self.path, job, self.lane))
                verdict = rlimits.blamed(causes.classify(None, None, text), rlimits.in_log(text))
                if verdict.cause == "unknown":
                    verdict = Verdict("node", "Slurm started the job again without a word, as after a node's failure")
                return replace(self.starter, before=BeforeNote(verdict.cause, verdict.evidence, earlier.number))
        return self.starter

    def _check_budget(self, entry: StageEntry, attempt: Attempt) -> None:
        """StageFailed where Slurm has started this job again more often than the file allows."""
        verdict = self._decided(lambda: self._used_up(entry))
        if verdict is None:
            return
        cause, line = verdict
        if self.world.first:
            self._end(attempt, Verdict(cause, line))
        raise StageFailed(f"{entry.folder}: {line}", cause, ends_element=True)

    def _used_up(self, entry: StageEntry) -> list[Any] | None:
        """Which cause has used up this job's budget, and the line that says so; None: none has."""
        failures = history.failures_of(self.inputs.stage_folder(entry.folder))
        verdict = policy.used_up(failures, self.starter.job, self.policy)
        return None if verdict is None else [verdict.cause, verdict.evidence]

    # --- train or evaluate

    def _train(self, entry: StageEntry, attempt: Attempt) -> None:
        train_spec, runtime = entry.train_spec(), entry.read_runtime()
        parent = self._origin(entry).parent
        self._held = None  # the training takes it
        earlier = [a.folder for a in attempts.attempts_of(attempt.stage_folder) if a.number < attempt.number]
        with Heartbeat(attempt) as heartbeat:
            measures = self._measures(entry, attempt, parent)
            start = setup.read(train_spec, parent)
            stage = train.train(
                start,
                runtime,
                attempt.folder,
                dev_score=dev_scorer(start.parts, start.tokenizer, train_spec.settings, runtime),
                should_stop=self.stop.is_set,
                resume_from=earlier,
                on_step=lambda step, total, loss: heartbeat.progress(step=step, total=total, loss=loss),
            )
            facts = stage.facts | measures | self._earlier_dev(entry, attempt, stage)
        with phase("save"):
            if stage.handed_over is not None:
                files, model = stage.handed_over.files, stage.handed_over.model
                name = results.publish_training(entry, attempt, self.world, facts, files, earlier)
                # In memory it is what was written: a child of it that comes next reads nothing back.
                self._held = Origin(Place(entry.folder, name, generation_of(model.encoder_hash)), model)
            distributed.wait_for_all(self.world)

    def _earlier_dev(self, entry: StageEntry, attempt: Attempt, stage: train.TrainedStage) -> dict[str, Any]:
        """What a training's result says of the steps before it."""
        if not entry.earlier:
            return {}
        device, stop = self.world.device, self.stop.is_set

        def points() -> tuple[DevMetrics, ...]:
            assert stage.handed_over is not None, "rank 0 has it"
            model, steps = stage.handed_over.model, stage.facts["steps"]
            with matmul.using(entry.read_runtime().matmul, "evaluation", model.config.sizes, device):
                return earlier_steps.score(entry, self.inputs, model, steps, device, stop)

        return {"earlier_dev": self._beside(attempt, points)}

    def _measures(self, entry: StageEntry, attempt: Attempt, parent: Parent) -> dict[str, Any]:
        """What a training's result says of its tasks, by the start model, before the training takes that."""
        if not entry.measures:
            return {}
        from launch.job import measuring  # brings scipy

        device, stop = self.world.device, self.stop.is_set
        return {"measures": self._beside(attempt, lambda: measuring.measures_of(entry, parent, device, stop))}

    def _beside(self, attempt: Attempt, work: Callable[[], tuple[DevMetrics | TaskMeasures, ...]]) -> Any:
        """The records that rank 0 works out while the others wait here. Where it was asked to stop on the way, all
        raise Stopped: the next attempt does it again."""
        records: list[dict[str, Any]] | None = None
        if self.world.first:
            with suppress(InterruptedError):
                records = [asdict(record) for record in work()]
        records = distributed.from_first(records, self.world)
        if records is None:
            raise train.Stopped(attempt.folder)
        return records

    def _evaluate(self, entry: StageEntry, attempt: Attempt) -> None:
        """Every rank evaluates its share of the missing languages; the first result of a language stays."""
        evaluate_spec, runtime = entry.evaluate_spec(), entry.read_runtime()
        origin = self._origin(entry)
        generation = origin.place.generation
        missing = self._decided(lambda: self.inputs.missing_languages(entry, generation))
        sizes, device = origin.parent.config.sizes, self.world.device
        with Heartbeat(attempt) as heartbeat, matmul.using(runtime.matmul, "evaluation", sizes, device):
            with phase("load"):
                stage = EvaluateStage(evaluate_spec, runtime, origin.parent, device)
            share = missing[self.world.rank :: self.world.size]
            heartbeat.progress(step=0, total=len(share))

            def stop_where_asked() -> None:
                if self.stop.is_set():
                    raise train.Stopped(attempt.folder)

            with phase("evaluate"):
                for count, (language, result) in enumerate(stage.languages(share, stop_where_asked), start=1):
                    split = evaluate_spec.languages[language]
                    with phase("save"):
                        results.publish_language(entry, attempt, self.world, generation, language, split, result)
                    self.clock.language(language, result.seconds)
                    heartbeat.progress(step=count, total=len(share), language=language)
                distributed.wait_for_all(self.world)
        if self.world.first:
            attempt.end()

    @phase("load")
    def _origin(self, entry: StageEntry) -> Origin:
        """What a stage starts from. Rank 0 reads and verifies every byte of it before the others read it."""
        read_here: list[Origin] = []

        def place() -> list[Any]:
            origin = self.inputs.origin(entry, self._held)
            read_here.append(origin)
            heads = origin.parent.heads_folder
            return [asdict(origin.place), str(origin.parent.folder), str(heads) if heads else None]

        record, folder, heads = self._decided(place)
        if read_here:
            self._held = read_here[0]
        elif self._held is None or self._held.place != Place(**record):
            self._held = Origin(Place(**record), read_parent(Path(folder), Path(heads) if heads else None))
        return self._held

    # --- what all ranks have in common

    def _decided(self, decide: Callable[[], Any]) -> Any:
        """Rank 0's answer, a JSON value; its error is every rank's too, so that none waits for another in vain."""
        answer: dict[str, Any] = {}
        if self.world.first:
            try:
                answer = {"value": decide()}
            except RunningElsewhere as error:
                answer = {"elsewhere": str(error)}
            except UserError as error:
                answer = {"error": str(error)}
        answer = distributed.from_first(answer, self.world)
        if "elsewhere" in answer:
            raise RunningElsewhere(f"running elsewhere: {answer['elsewhere']}")
        if "error" in answer:
            raise UserError(answer["error"])
        return answer["value"]

    def _share(self, entry: StageEntry) -> None:
        """Let the group read that the file names, if any."""
        if not self.world.first:
            return
        try:
            sharing.let_in(self.manifest.share_group, self.inputs.root, [self.inputs.stage_folder(entry.folder)])
        except UserError as error:
            print(f"warning: {error}", file=sys.stderr, flush=True)

    # --- how it fails

    @contextmanager
    def _failures_noted(self, entry: StageEntry, attempt: Attempt) -> Iterator[None]:
        try:
            yield
        except train.Stopped:
            verdict = stop_verdict(self.stop.received)
            if self.world.first or self.stop.is_set():
                self._end(attempt, verdict, may_follow=self.stop.received not in _OWN_SIGNALS)
            message = f"{entry.folder}: {verdict.evidence}"
            raise StageFailed(message, verdict.cause, ends_element=True, stopped=True) from None
        except Fenced:
            message = "a later attempt has begun; this one leaves"
            if self.world.first:
                self._end(attempt, Verdict("elsewhere", message))
            raise StageFailed(f"{entry.folder}: {message}", "elsewhere", ends_element=True) from None
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc()
            verdict = error_verdict(error)
            if self._end(attempt, verdict, may_follow=verdict.cause == "nccl"):
                with suppress(OSError):
                    breaker.note(self.path.parent, entry.folder, verdict, self.policy)
            # An error of one rank leaves the others inside the stage: then the job ends, and takes them with it. After
            # an error of CUDA's other than want of memory, nothing runs on the device any more in this process.
            ends_element = self.world.size > 1 or ("CUDA error" in verdict.evidence and verdict.cause != "cuda-oom")
            message = f"{entry.folder}: {verdict.evidence}"
            raise StageFailed(message, verdict.cause, ends_element=ends_element) from None

    def _end(self, attempt: Attempt, verdict: Verdict, *, may_follow: bool = False) -> bool:
        """Note how an attempt failed; whether ours is the note that stays.

        `may_follow`: perhaps from another rank's failure, which is left a moment to be noted first. Of one that fails,
        the others see a lost connection, and TERM from srun.
        """
        with suppress(OSError):  # a full disk: the log has the reason too
            if may_follow and self.world.size > 1:
                patience = time.monotonic() + _MOMENT
                while attempts.end_of(attempt) is None and time.monotonic() < patience:
                    time.sleep(_POLL)
            return attempt.end(FailureNote(verdict.cause, verdict.evidence))
        return False
