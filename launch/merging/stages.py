"""Which stages' results are read, and what becomes of those that do not verify."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars
from polars import col

from launch.merging import memory, merge, reading, scan
from launch.merging.reading import Answer, Evaluation, Flawed, Request, Training
from launch.merging.scan import Scan
from launch.plan import Plan, Stage, keys
from launch.store import Store, verification
from launch.store.artifacts import QUARANTINED
from slurm.base import UserError

_RESULT = "result.json"
_CLOSED = "may not be read by you"
_EARLIER = "did not verify when it was read before"


@dataclass(frozen=True)
class SetAside:
    """A result that does not count. `what`: the stage's name, and the language of an evaluate stage. `moved`: it lies
    at `path`, out of the way of a new one; else it is where it was, as it may be good, or cannot be moved."""

    what: str
    why: str
    path: Path
    stage: str  # key
    moved: bool


@dataclass
class Reader:
    """One collection's. `scans` are those of what was read in the end; `unread`: some of it may read well next time."""

    plan: Plan
    store: Store
    scans: dict[str, Scan]
    may_set_aside: bool
    trainings: dict[str, Training] = field(default_factory=dict)  # by stage key
    unread: bool = False
    _set_aside: dict[Path, SetAside] = field(default_factory=dict)

    def take_trainings(self, trainings_before: polars.DataFrame) -> None:
        """What is remembered of all trainings."""
        names = list(Training._fields)
        self.trainings = {values[0]: Training(*values) for values in trainings_before.select(names).iter_rows()}

    def read(self, trainings_before: polars.DataFrame, evaluations_before: polars.DataFrame) -> polars.DataFrame:
        """All results of evaluate stages: what is remembered and still holds, and the rest from its files."""
        self._name(
            Flawed(key, "", path, _CLOSED, False) for key in list(self.scans) for path in self.scans[key].closed_folders
        )
        self._read_trainings(trainings_before)
        holding_keys = self._holding(evaluations_before)
        open_keys = [key for key in self._of_kind("evaluate") if key not in holding_keys]
        answers = self._answers(open_keys)
        flaws = [flaw for answer in answers for flaw in answer.flaws]
        if self._put_aside(flaws):
            damaged_keys = {flaw.key for flaw in flaws}
            answers = [answer for answer in answers if answer.request.key not in damaged_keys]
            again = self._answers(sorted(damaged_keys))
            self._name(flaw for answer in again for flaw in answer.flaws)
            answers += again
        evaluations_held = evaluations_before.filter(col("key").is_in(list(holding_keys))).select(Evaluation._fields)
        new = memory.evaluations([result for answer in answers for result in answer.results])
        return polars.concat([evaluations_held, new]).sort("key", "language")

    def _of_kind(self, kind: str) -> Iterator[str]:
        return (key for key in self.scans if self.plan.stages[key].kind == kind)

    # --- trainings

    def _read_trainings(self, trainings_before: polars.DataFrame) -> None:
        """Those that hold, and the rest from their files."""
        listings = {key: self.scans[key].listing for key in self._of_kind("train")}
        names = [*Training._fields, "listing"]
        for *values, listing in trainings_before.select(names).iter_rows():
            if listing and listings.get(values[0]) == listing:
                self.trainings[values[0]] = Training(*values)
        keys_to_read = [key for key in listings if key not in self.trainings]
        flaws = self._read_results(keys_to_read)
        if self._put_aside(flaws):
            self._name(self._read_results([flaw.key for flaw in flaws]))

    def _read_results(self, keys_to_read: Iterable[str]) -> list[Flawed]:
        """Take what verifies; what does not."""
        requests = [
            Request(key, str(self._folder(key)), "", (("", _RESULT),))
            for key in keys_to_read
            if _RESULT in self.scans[key].names[""]
        ]
        answers = list(reading.each(reading.training, requests, len(requests)))
        self.trainings |= {answer.key: answer for answer in answers if isinstance(answer, Training)}
        return [answer for answer in answers if isinstance(answer, Flawed)]

    def _folder(self, key: str) -> Path:
        return self.store.stage_folder(self.plan.stages[key].folder)

    # --- evaluations

    def _generations(self, key: str) -> Collection[str]:
        return merge.generations(self.plan, self.trainings, self.scans[key])

    def _holding(self, evaluations_before: polars.DataFrame) -> set[str]:
        """The evaluate stages of which what is remembered is what is there."""
        if evaluations_before.is_empty():
            return set()
        stages = evaluations_before.select("key", "generation", "listing").unique().iter_rows()
        return {
            key
            for key, generation, listing in stages
            if listing
            and key in self.scans
            and self.scans[key].listing == listing
            and self._generations(key) == (generation,)
            and (self.plan.stages[key].parent is None or self.plan.stages[key].parent in self.trainings)
        }

    def _answers(self, stage_keys: Iterable[str]) -> list[Answer]:
        """Of each stage one: of the generation of which the most verifies, where several may count."""
        requests = [request for key in stage_keys for request in self._requests(key)]
        files = 2 * sum(len(request.files) for request in requests)
        by_key: dict[str, list[Answer]] = defaultdict(list)
        for answer in reading.each(reading.evaluation, requests, files):
            by_key[answer.request.key].append(answer)
        return [max(answers, key=lambda answer: len(answer.results)) for answers in by_key.values()]

    def _requests(self, key: str) -> Iterator[Request]:
        stage = self.plan.stages[key]
        for generation in self._generations(key):
            names = set(self.scans[key].names.get(generation, ()))
            files = [
                (language, f"{language}-{keys.language_identity(split)}.json")
                for language, split in self.plan.by_digest[stage.definition].languages.items()
            ]
            there = tuple((language, name) for language, name in files if name in names)
            if there:
                yield Request(key, str(self._folder(key) / "languages" / generation), generation, there)

    # --- what does not verify

    def _put_aside(self, flaws: Iterable[Flawed]) -> bool:
        """Set aside what is damaged; whether any of it is to be read again, as something there may be another now."""
        looks_again = False
        for flaw in flaws:
            if not flaw.is_damaged or not self.may_set_aside:
                self._name([flaw])
                continue
            path = Path(flaw.path)
            try:
                if flaw.language:
                    aside = verification.put_language_aside(path, flaw.key, flaw.language)
                else:
                    aside = verification.put_training_aside(path, flaw.key)
            except (OSError, UserError):
                self._name([flaw])
                continue
            looks_again = True
            stage = self.plan.stages[flaw.key]
            if aside is not None:
                self._set_aside[aside] = SetAside(_what(stage, flaw.language), flaw.why, aside, flaw.key, True)
            self.scans |= scan.of_stages(self.plan, self.store, [stage])
        return looks_again

    def _name(self, flaws: Iterable[Flawed]) -> None:
        """Say what does not count and stays where it is; it is read again next time."""
        for flaw in flaws:
            self.unread = True
            name, path = _what(self.plan.stages[flaw.key], flaw.language), Path(flaw.path)
            self._set_aside[path] = SetAside(name, flaw.why, path, flaw.key, False)
            self.scans[flaw.key] = self.scans[flaw.key]._replace(listing="")

    def set_aside(self) -> tuple[SetAside, ...]:
        """What this collection set aside or named, and what earlier ones did that nothing took the place of."""
        names = {aside.what for aside in self._set_aside.values()}
        earlier = [aside for key in self.scans for aside in self._earlier(key) if aside.what not in names]
        return (*self._set_aside.values(), *earlier)

    def _earlier(self, key: str) -> Iterator[SetAside]:
        if not self.scans[key].has_quarantined:
            return
        names = self.scans[key].names
        stage, folder = self.plan.stages[key], self._folder(key)
        if stage.kind == "evaluate":
            for language, generation, name in merge.languages_aside(self.plan, self.trainings, self.scans[key]):
                path = folder / "languages" / generation / name
                yield SetAside(_what(stage, language), _EARLIER, path, key, True)
        elif _RESULT not in names[""]:
            last = [name for name in names[""] if name.endswith(QUARANTINED)][-1]
            yield SetAside(stage.name, _EARLIER, folder / last, key, True)

    # --- to be remembered

    def trainings_read(self) -> polars.DataFrame:
        """With their listings."""
        return self.with_listings(memory.trainings([self.trainings[key] for key in sorted(self.trainings)]))

    def with_listings(self, frame: polars.DataFrame) -> polars.DataFrame:
        """What was read, each stage's rows with the listing that they were read at."""
        listings = polars.DataFrame(
            [(key, of_stage.listing) for key, of_stage in self.scans.items()],
            schema={"key": polars.String, "listing": polars.String},
            orient="row",
        )
        return frame.join(listings, on="key", how="left", maintain_order="left")


def _what(stage: Stage, language: str) -> str:
    return f"{stage.name} {language}" if language else stage.name
