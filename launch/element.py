"""The stages of one element, done by all ranks of its job: train, then evaluate, each under an attempt of its own."""

import json
import platform
import shutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from eval import predict
from eval.predict import LanguageResult
from eval.stage import EvaluateStage
from launch import attempts, store
from launch.attempts import Attempt, Fenced, Heartbeat, RunningElsewhere, Starter
from launch.store import generation_of, token_folder
from slurm.errors import UserError
from slurm.files import read_sealed
from slurm.queue import has_ended
from training import distributed, engine, math_library, spec, startmodel
from training.distributed import World
from training.tokens import TokenCache, caching

_PACKAGES = ("torch", "transformers", "tokenizers", "deepspeed", "datasets", "safetensors", "numpy", "submitit")
_RESULT_SCHEMA = 1


class StageFailed(Exception):
    """A stage did not get its result. `ends_element`: later stages of the element need it, or nothing can go on."""

    def __init__(self, message: str, *, ends_element: bool) -> None:
        super().__init__(message)
        self.ends_element = ends_element


class ElementRun:
    """One job's work. Every method is called by every rank, in the same order."""

    def __init__(self, manifest: dict[str, Any], root: Path, world: World, should_stop: Callable[[], bool]) -> None:
        self.manifest = manifest
        self.root = root
        self.world = world
        self.should_stop = should_stop
        self.tokens = TokenCache(token_folder(root))

    def run(self, entry: dict[str, Any]) -> None:
        """Do one stage, or nothing where it is finished. StageFailed where it did not get its result."""
        train = entry["kind"] == "train"
        # An error of one rank leaves the others inside the stage: then the job ends, and takes them with it.
        ends_element = train or self.world.size > 1
        if self._decided(lambda: self._is_finished(entry)):
            print(f"{entry['folder']}: finished already", flush=True)
            return
        try:
            attempt = self._begin(entry)
        except (UserError, RunningElsewhere) as error:
            raise StageFailed(f"{entry['folder']}: {error}", ends_element=train) from None
        print(f"{entry['folder']}: attempt {attempt.number}", flush=True)
        with self._failures_noted(entry, attempt, ends_element=ends_element), caching(self.tokens):
            if train:
                self._train(entry, attempt)
            else:
                self._evaluate(entry, attempt)

    def drop_encoders(self, folders: list[str]) -> None:
        """Remove the encoders of leaf trains: their evaluates are finished, and quotas are small (`keep:`)."""
        if self.world.first:
            for folder in folders:
                result = self._result(folder)
                if result:
                    shutil.rmtree(self._stage_folder(folder) / result["attempt"] / "encoder", ignore_errors=True)

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
        starter = Starter.this_process()
        stage_folder = self._stage_folder(entry["folder"])
        name = self._decided(lambda: attempts.begin(stage_folder, starter, has_ended).folder.name)
        return Attempt(stage_folder / "attempts" / name)

    @contextmanager
    def _failures_noted(self, entry: dict[str, Any], attempt: Attempt, *, ends_element: bool) -> Iterator[None]:
        try:
            yield
        except engine.Stopped:
            if self.world.first:
                attempt.end({"class": "stopped", "message": "stopped by a signal; resumes from its checkpoint"})
            raise StageFailed(f"{entry['folder']}: stopped by a signal", ends_element=True) from None
        except Fenced:
            raise StageFailed(
                f"{entry['folder']}: a later attempt has begun; this one leaves", ends_element=True
            ) from None
        except Exception as error:
            known = isinstance(error, UserError)
            message = str(error) if known else f"{type(error).__name__}: {error}".splitlines()[0]
            if not known:
                traceback.print_exc()
            attempt.end({"class": "user" if known else "crash", "message": message})
            raise StageFailed(f"{entry['folder']}: {message}", ends_element=ends_element) from None

    def _stage_folder(self, folder: str) -> Path:
        return self.root / "stages" / folder

    def _result(self, folder: str) -> dict[str, Any] | None:
        return read_sealed(self._stage_folder(folder) / "result.json")

    def _is_finished(self, entry: dict[str, Any]) -> bool:
        if entry["kind"] == "train":
            result = self._result(entry["folder"])
            return result is not None and store.encoder_is_whole(self._stage_folder(entry["folder"]), result)
        generation, _, _ = self._parent(entry)
        return not self._missing_languages(entry, generation)

    def _missing_languages(self, entry: dict[str, Any], generation: str) -> list[str]:
        wanted = spec.evaluate_spec(entry["spec"]).languages
        folder = self._stage_folder(entry["folder"])
        return [code for code, split in wanted.items() if not store.read_language(folder, generation, code, split)]

    def _parent(self, entry: dict[str, Any]) -> tuple[str, Path, Path | None]:
        """The generation, the encoder folder and the heads folder that a stage starts from.

        UserError where the parent has no result: a dependency on a job that Slurm has forgotten does not hold it back.
        """
        if entry["parent"] is None:
            start = self.manifest["start"]
            folder = start["folder"] and Path(start["folder"])
            if folder:
                startmodel.check_folder(folder)
            return (
                generation_of(start["identity"]),
                folder or startmodel.start_model_folder(start["repo"], start["revision"]),
                None,
            )
        stage_folder = self._stage_folder(entry["parent"])
        result = self._result(entry["parent"])
        if result is None or not store.encoder_verifies(stage_folder, result):
            what = "has no result" if result is None else "has lost its encoder"
            raise UserError(f"parent-missing: {entry['parent']} {what}; `stepstone submit FILE` sends what is missing")
        made = stage_folder / result["attempt"]
        return generation_of(result["encoder_hash"]), made / "encoder", made / "heads"

    def _train(self, entry: dict[str, Any], attempt: Attempt) -> None:
        train_spec, runtime = spec.train_spec(entry["spec"]), spec.runtime(entry["runtime"])
        _, parent, _ = self._decided_parent(entry)
        earlier = [a.folder for a in attempts.attempts_of(attempt.stage_folder) if a.number < attempt.number]
        with Heartbeat(attempt) as heartbeat:
            made = engine.train(
                train_spec,
                runtime,
                parent,
                attempt.folder,
                dev_score=predict.dev_scorer(train_spec, runtime, parent),
                should_stop=self.should_stop,
                resume_from=earlier,
                on_step=lambda step, total, loss: heartbeat.progress(step=step, total=total, loss=loss),
            )
        if self.world.first:
            files = store.list_files(attempt.folder, ("encoder", "heads"))
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
        with Heartbeat(attempt) as heartbeat, math_library.using(runtime.matmul, self.world.device):
            stage = EvaluateStage(evaluate_spec, runtime, encoder, heads, self.world.device)
            mine = missing[self.world.rank :: self.world.size]
            heartbeat.progress(step=0, total=len(mine))

            def stop_where_asked() -> None:
                if self.should_stop():
                    raise engine.Stopped(attempt.folder)

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
        store.publish_language(attempt.stage_folder, generation, language, split, record, lines.encode())
        print(f"{entry['folder']}: {language} {result.scores}", flush=True)

    def _record(self, entry: dict[str, Any], attempt: Attempt) -> dict[str, Any]:
        """What every result says of where it comes from."""
        return {
            "schema": _RESULT_SCHEMA,
            "key": entry["key"],
            "kind": entry["kind"],
            "made_by": attempts.starter_of(attempt),
            "code": Path(__file__).resolve().parents[1].name,  # the frozen code's hash
            "runtime": entry["runtime"],
            "versions": _versions(),
        }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
