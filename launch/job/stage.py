"""The stages of one element, done by all ranks of its job: train, then evaluate, each under an attempt of its own."""

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from eval.prediction import predict
from eval.prediction.predict import LanguageResult
from eval.prediction.stage import EvaluateStage
from launch.experiment import failures as failure_rules
from launch.job.verdicts import StageFailed, error_verdict, parent_missing, stop_verdict
from launch.status import breaker, history, policy
from launch.store import artifacts, attempts, logs, provenance, sharing
from launch.store.artifacts import generation_of
from launch.store.attempts import Attempt, Fenced, Heartbeat, RunningElsewhere, Starter
from launch.store.store import token_folder
from slurm import causes
from slurm.base import UserError
from slurm.base.files import read_sealed
from slurm.causes import Verdict
from slurm.queue import has_ended
from slurm.signals import StopFlag
from training import distributed, spec
from training.data.tokens import TokenCache, caching
from training.distributed import World
from training.engine import matmul, train
from training.pretrained import start as start_model

_RESULT_SCHEMA = 1
_MOMENT, _POLL = 2.0, 0.1  # seconds that a rank leaves the others to say first what they failed of; between two looks


class ElementRun:
    """One job's work. Every method is called by every rank, in the same order. `path`: the manifest's."""

    def __init__(self, manifest: dict[str, Any], path: Path, world: World, stop: StopFlag) -> None:
        self.manifest = manifest
        self.path = path
        self.root = Path(manifest["store"])
        self.world = world
        self.stop = stop
        self.policy = failure_rules.from_record(manifest.get("failures", {}))
        self.starter = Starter.this_process()
        self.tokens = TokenCache(token_folder(self.root))
        sent = manifest.get("packages")
        self.differences = provenance.differences(sent, provenance.versions()) if sent else []
        if self.differences and world.first:
            print(f"warning: other packages than at submission: {', '.join(self.differences)}", file=sys.stderr)

    def run(self, entry: dict[str, Any]) -> None:
        """Do one stage, or nothing where it is finished. StageFailed where it did not get its result."""
        try:
            self._run(entry)
        finally:
            if self.world.first:
                self._share(entry)

    def _share(self, entry: dict[str, Any]) -> None:
        """Let the group read that the file names, if any."""
        try:
            sharing.let_in(self.manifest.get("share_group"), self.root, [self._stage_folder(entry["folder"])])
        except UserError as error:
            print(f"warning: {error}", file=sys.stderr, flush=True)

    def _run(self, entry: dict[str, Any]) -> None:
        logs.mark_stage(entry["folder"])
        try:
            if self._decided(lambda: self._is_finished(entry)):
                print(f"{entry['folder']}: finished already", flush=True)
                return
            attempt = self._begin(entry)
        except RunningElsewhere as error:
            raise StageFailed(f"{entry['folder']}: {error}", "elsewhere", ends_element=False) from None
        except UserError as error:
            cause = causes.classify(None, str(error), "").cause
            raise StageFailed(f"{entry['folder']}: {error}", cause, ends_element=False) from None
        if self.world.first:
            self._share(entry)  # how far it is may be looked at meanwhile, and after its end by force
        print(f"{entry['folder']}: attempt {attempt.number}", flush=True)
        self._check_budget(entry, attempt)
        with self._failures_noted(entry, attempt), caching(self.tokens):
            if self._decided(lambda: self._is_finished(entry)):
                # Published by another attempt after the first look, before this one fenced it: it stays as it is.
                if self.world.first:
                    attempt.end()
            elif entry["kind"] == "train":
                self._train(entry, attempt)
            else:
                self._evaluate(entry, attempt)

    def budget_left(self, entry: dict[str, Any]) -> bool:
        """Whether this very job may start once more after it was stopped at a stage."""
        failures = history.failures_of(self._stage_folder(entry["folder"]))
        return policy.used_up(failures, self.starter.job, self.policy) is None

    def drop_encoders(self, folders: list[str]) -> None:
        """Remove the encoders of leaf trains, whose evaluates are finished here (`keep:`)."""
        if self.world.first:
            for folder in folders:
                if not artifacts.drop(self.root, self.path.parent, folder):
                    print(f"{folder}: its encoder stays, as a later submission may need it", flush=True)

    def _decided(self, decide: Callable[[], Any]) -> Any:
        """Rank 0 decides; its error is every rank's, so that none waits for another in vain."""
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

    def _begin(self, entry: dict[str, Any]) -> Attempt:
        stage_folder = self._stage_folder(entry["folder"])
        name = self._decided(
            lambda: attempts.begin(stage_folder, self.starter, has_ended, self._note(stage_folder)).folder.name
        )
        return Attempt(stage_folder / "attempts" / name)

    def _note(self, stage_folder: Path) -> dict[str, Any]:
        """What an attempt is to remember: other packages, and how this job's start before it was ended, if by force."""
        note: dict[str, Any] = {"packages": self.differences} if self.differences else {}
        for earlier in attempts.attempts_of(stage_folder)[-1:]:
            same_job = self.starter.job is not None and attempts.starter_of(earlier).get("job") == self.starter.job
            if same_job and attempts.end_of(earlier) is None:
                assert self.starter.job is not None
                log = logs.start_before(logs.of_job(self.path, self.starter.job))
                verdict = causes.classify(None, None, log)
                if verdict.cause == "unknown":
                    verdict = Verdict("node", "Slurm started the job again without a word, as after a node's failure")
                note["before"] = history.before_record(verdict, earlier.number)
        return note

    def _check_budget(self, entry: dict[str, Any], attempt: Attempt) -> None:
        """StageFailed where Slurm has started this job again more often than the file allows."""
        found = self._decided(lambda: self._used_up(entry))
        if found is None:
            return
        cause, line = found
        if self.world.first:
            self._end(attempt, Verdict(cause, line))
        raise StageFailed(f"{entry['folder']}: {line}", cause, ends_element=True)

    def _used_up(self, entry: dict[str, Any]) -> list[str] | None:
        failures = history.failures_of(self._stage_folder(entry["folder"]))
        verdict = policy.used_up(failures, self.starter.job, self.policy)
        return [verdict.cause, verdict.evidence] if verdict else None

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
            return attempt.end({"class": verdict.cause, "message": verdict.evidence})
        return False

    @contextmanager
    def _failures_noted(self, entry: dict[str, Any], attempt: Attempt) -> Iterator[None]:
        try:
            yield
        except train.Stopped:
            verdict = stop_verdict(self.stop.received)
            if self.world.first or self.stop.is_set():
                self._end(attempt, verdict, may_follow=self.stop.received != signal.SIGUSR2)
            message = f"{entry['folder']}: {verdict.evidence}"
            raise StageFailed(message, verdict.cause, ends_element=True, stopped=True) from None
        except Fenced:
            message = "a later attempt has begun; this one leaves"
            if self.world.first:
                self._end(attempt, Verdict("elsewhere", message))
            raise StageFailed(f"{entry['folder']}: {message}", "elsewhere", ends_element=True) from None
        except Exception as error:
            known = isinstance(error, UserError)
            if not known:
                traceback.print_exc()
            verdict = error_verdict(error)
            if self._end(attempt, verdict, may_follow=verdict.cause == "nccl"):
                with suppress(OSError):
                    breaker.note(self.path.parent, entry["folder"], verdict, self.policy)
            # An error of one rank leaves the others inside the stage: then the job ends, and takes them with it. After
            # an error of CUDA's other than want of memory, nothing runs on the device any more in this process.
            ends_element = self.world.size > 1 or ("CUDA error" in verdict.evidence and verdict.cause != "cuda-oom")
            message = f"{entry['folder']}: {verdict.evidence}"
            raise StageFailed(message, verdict.cause, ends_element=ends_element) from None

    def _stage_folder(self, folder: str) -> Path:
        return self.root / "stages" / folder

    def _result(self, folder: str) -> dict[str, Any] | None:
        return read_sealed(self._stage_folder(folder) / "result.json")

    def _is_finished(self, entry: dict[str, Any]) -> bool:
        if entry["kind"] == "evaluate":
            return not self._missing_languages(entry, self._generation(entry))
        result = self._result(entry["folder"])
        if result is None:
            return False
        return artifacts.encoder_is_whole(self._stage_folder(entry["folder"]), result) or self._was_dropped(
            entry, result
        )

    def _was_dropped(self, entry: dict[str, Any], result: dict[str, Any]) -> bool:
        """Whether this job, started again, finds a train whose encoder was dropped after its last evaluate."""
        if not any(entry["folder"] in folders for folders in self.manifest["drop"].values()):
            return False
        generation = generation_of(result["encoder_hash"])
        sent = (other for entries in self.manifest["elements"].values() for other in entries)
        children = [other for other in sent if other["parent"] == entry["folder"]]
        return all(e["kind"] == "evaluate" and not self._missing_languages(e, generation) for e in children)

    def _generation(self, entry: dict[str, Any]) -> str:
        """Of the encoder that an evaluate is of. UserError where its parent has no result."""
        if entry["parent"] is None:
            return generation_of(self.manifest["start"]["identity"])
        return generation_of(self._parent_result(entry)["encoder_hash"])

    def _parent_result(self, entry: dict[str, Any]) -> dict[str, Any]:
        """UserError where there is none: a dependency on a job that Slurm has forgotten does not hold a stage back."""
        result = self._result(entry["parent"])
        if result is None:
            raise parent_missing(entry, "has no result")
        return result

    def _missing_languages(self, entry: dict[str, Any], generation: str) -> list[str]:
        wanted = spec.evaluate_spec(entry["spec"]).languages
        folder = self._stage_folder(entry["folder"])
        return [code for code, split in wanted.items() if not artifacts.read_language(folder, generation, code, split)]

    def _parent(self, entry: dict[str, Any]) -> tuple[str, Path, Path | None]:
        """The generation, the encoder folder and the heads folder that a stage starts from; every byte is verified.

        UserError where they cannot be had. A damaged encoder is put aside, so that the next submission makes it again.
        """
        if entry["parent"] is None:
            start = self.manifest["start"]
            folder = start["folder"] and Path(start["folder"])
            if folder:
                start_model.check_folder(folder)
            return (
                generation_of(start["identity"]),
                folder or start_model.start_model_folder(start["repo"], start["revision"]),
                None,
            )
        stage_folder = self._stage_folder(entry["parent"])
        result = self._parent_result(entry)
        if not artifacts.encoder_is_whole(stage_folder, result):
            raise parent_missing(entry, "has lost its encoder")
        if not artifacts.encoder_verifies(stage_folder, result):
            aside = artifacts.put_encoder_aside(stage_folder, result)
            raise parent_missing(entry, f"had a damaged encoder, which is now {aside}")
        made = stage_folder / result["attempt"]
        return generation_of(result["encoder_hash"]), made / "encoder", made / "heads"

    def _train(self, entry: dict[str, Any], attempt: Attempt) -> None:
        train_spec, runtime = spec.train_spec(entry["spec"]), spec.runtime(entry["runtime"])
        _, parent, _ = self._decided_parent(entry)
        earlier = [a.folder for a in attempts.attempts_of(attempt.stage_folder) if a.number < attempt.number]
        with Heartbeat(attempt) as heartbeat:
            made = train.train(
                train_spec,
                runtime,
                parent,
                attempt.folder,
                dev_score=predict.dev_scorer(train_spec, runtime, parent),
                should_stop=self.stop.is_set,
                resume_from=earlier,
                on_step=lambda step, total, loss: heartbeat.progress(step=step, total=total, loss=loss),
            )
        if self.world.first:
            files = artifacts.list_files(attempt.folder, ("encoder", "heads"))
            record = (
                self._record(entry, attempt) | {"attempt": f"attempts/{attempt.folder.name}", "files": files} | made
            )
            attempt.publish(record)
            for folder in (attempt.folder, *earlier):
                shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            attempt.end()
            print(f"{entry['folder']}: finished, dev {made['dev_score']:.1f}", flush=True)
        distributed.wait_for_all(self.world)

    def _decided_parent(self, entry: dict[str, Any]) -> tuple[str, Path, Path | None]:
        """`_parent`, checked by rank 0 for all: the check reads every byte of the encoder."""
        generation, encoder, heads = self._decided(lambda: [str(p) if p else None for p in self._parent(entry)])
        return generation, Path(encoder), Path(heads) if heads else None

    def _evaluate(self, entry: dict[str, Any], attempt: Attempt) -> None:
        """Every rank evaluates its share of the missing languages; the first result of a language stays."""
        evaluate_spec = spec.evaluate_spec(entry["spec"])
        generation, encoder, heads = self._decided_parent(entry)
        missing = self._decided(lambda: self._missing_languages(entry, generation))
        runtime = spec.runtime(entry["runtime"])
        with Heartbeat(attempt) as heartbeat, matmul.using(runtime.matmul, self.world.device):
            stage = EvaluateStage(evaluate_spec, runtime, encoder, heads, self.world.device)
            mine = missing[self.world.rank :: self.world.size]
            heartbeat.progress(step=0, total=len(mine))

            def stop_where_asked() -> None:
                if self.stop.is_set():
                    raise train.Stopped(attempt.folder)

            for done, (language, result) in enumerate(stage.languages(mine, stop_where_asked), start=1):
                self._publish_language(entry, attempt, generation, language, evaluate_spec.languages[language], result)
                heartbeat.progress(step=done, total=len(mine), language=language)
        distributed.wait_for_all(self.world)
        if self.world.first:
            attempt.end()

    def _publish_language(
        self,
        entry: dict[str, Any],
        attempt: Attempt,
        generation: str,
        language: str,
        split: spec.Split,
        result: LanguageResult,
    ) -> None:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in result.predictions)
        record = self._record(entry, attempt) | {
            "language": language,
            "generation": generation,
            "scores": result.scores,
            "examples": len(result.predictions),
            "seconds": round(result.seconds, 3),
        }
        if result.layers:
            record["layers"] = dict(result.layers)
        artifacts.publish_language(attempt.stage_folder, generation, language, split, record, lines.encode())
        print(f"{entry['folder']}: {language} {result.scores}", flush=True)

    def _record(self, entry: dict[str, Any], attempt: Attempt) -> dict[str, Any]:
        """What every result says of where it comes from."""
        return {
            "schema": _RESULT_SCHEMA,
            "key": entry["key"],
            "kind": entry["kind"],
            "made_by": attempts.starter_of(attempt),
            "code": provenance.code_root().name,  # in a job: the frozen code's hash
            "runtime": entry["runtime"],
            "versions": provenance.versions(),
            "device_name": _device_name(self.world),
            "cores": _cores(),
        }


def _device_name(world: World) -> str:
    return torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "cpu"


def _cores() -> int:
    """Of this rank, by which rates are told apart: as Slurm was asked for them, else what its threads may use."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return int(os.environ.get("SLURM_CPUS_PER_TASK", "1"))
    return torch.get_num_threads()
