"""What stages will cost, by arithmetic: tokens x operations ÷ a rate per type of device; disk and files at the peak.

The work is done once per definition, so that a plan of 100,000 stages costs no more than its grid of definitions.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median
from typing import Any

from eval.measures import LABELS
from launch import executors
from launch.estimate import amounts, rates, shapes
from launch.estimate.amounts import Amount
from launch.estimate.rates import Measured, Rate
from launch.plan import Plan, Stage
from launch.store import Store
from launch.store.artifacts import TrainResult
from training import formats
from training.flops import Sizes, forward_flops, training_flops
from training.spec import Precision, Runtime, Settings
from training.tasks import catalogue

# Counted where the model is on the Hub, not fetched, and not one that we know.
_UNKNOWN_MODEL = Sizes(24, 1024, 4096, 16, 250_002, 514, 1)
_STAGE_SECONDS = 20.0  # beyond the operations: reading encoder and data, writing and hashing what is handed on
_ELEMENT_SECONDS = 30.0  # starting a job's processes: Python, torch, the process group
_LOOKED_AT = 60  # finished trainings that rates and errors are taken from, evenly spread
_TRIES = 5  # stages of one definition whose result is looked for
_WEIGHT = 4  # bytes: fp32
_CHECKPOINT = 3 * _WEIGHT  # of a trained parameter: itself and Adam's two moments
_CHECKPOINTS = 3  # two are kept while a third is written
_RECORD = 4096  # bytes: the block that a small file takes
_TRAIN_FILES, _RUNNING_FILES = 22, 30  # files and folders of a finished train stage; of checkpoints while it runs
_EVALUATE_FILES, _LANGUAGE_FILES = 10, 2
_TOKEN_BYTES, _TOKEN_FILES = 5, 12  # of the token cache: a token with its share of the rest; of an entry


@dataclass(frozen=True)
class Estimate:
    """One stage. `gpu_seconds`: of all the GPUs that its element holds, whether they are used or not; of all CPU ranks
    where there is no GPU. Disk: what stays."""

    tokens: float
    flops: float
    gpu_seconds: float
    disk_bytes: float
    files: int


@dataclass(frozen=True)
class Totals:
    """Several stages. `wall_clock`: seconds at least, for no wait in the queue is counted; `at_once`: elements that run
    at the same time at most, None: as many as there are. `counted`: how tokens are known."""

    gpu_hours: float
    device: str  # "GPU" or "CPU rank": what the hours are of
    wall_clock: float
    at_once: int | None
    disk_peak: float
    inodes_peak: int
    rate: Rate
    rate_source: str
    counted: str


@dataclass(frozen=True)
class Accuracy:
    """Finished trainings: what was estimated and what they took, in device seconds (of training steps alone)."""

    trainings: int
    measured: float
    first: float  # as estimated before anything had run: from files and data sheets
    calibrated: float  # the same tokens with the measured rate
    typical: float  # of one training: the median of the error's size with the measured rate, as a share


class Estimates:
    """The estimates of one plan; make one per command. Reads at most a few results per definition.

    `sizes`: of the start models, by label.
    """

    def __init__(self, plan: Plan, store: Store | None = None) -> None:
        self.plan = plan
        self.store = store or Store(plan.experiment.store)
        self.sizes = {model: shapes.model_sizes(start) or _UNKNOWN_MODEL for model, start in plan.starts.items()}
        self.cluster = plan.experiment.cluster
        self._known = rates.read(self.store.root)
        self._counts = amounts.read(self.store.root)
        self._rates: dict[tuple[bool, Precision], Rate] = {}
        self._of_work: dict[tuple[tuple[str, str], bool, bool, tuple[str, ...]], Estimate] = {}
        self._amounts: dict[tuple[str, bool], tuple[Amount, Amount]] = {}

    def of_stage(self, stage: Stage) -> Estimate:
        """What one stage will cost."""
        stays = stage.kind == "train" and self._stays(stage)
        before = tuple(training.definition for training, _ in self.plan.earlier(stage)) if stage.kind == "train" else ()
        at = (stage.work, stays, self.plan.measures(stage), before)
        if at not in self._of_work:
            estimate = self._of_train(stage) if stage.kind == "train" else self._of_evaluate(stage)
            self._of_work[at] = (
                estimate if stays else replace(estimate, disk_bytes=estimate.disk_bytes - self._dropped(stage))
            )
        return self._of_work[at]

    def element_seconds(self, stages: Iterable[str]) -> float:
        """Wall-clock seconds of an element with these stages (keys): one after the other, on all its ranks."""
        return _ELEMENT_SECONDS + sum(self.stage_seconds(self.plan.stages[key]) for key in stages)

    def stage_seconds(self, stage: Stage) -> float:
        """Wall-clock seconds of a stage, once its job has started."""
        return self.of_stage(stage).gpu_seconds / self._held * self._sharing

    def of_plan(self, keys: Collection[str]) -> Totals:
        """The stages with these keys together."""
        stages = [stage for stage in self.plan.stages.values() if stage.key in keys]
        estimates = [self.of_stage(stage) for stage in stages]
        rate, gpu = self._main_rate(stages)
        at_once = executors.of_cluster(self.cluster).at_once(self.cluster)
        disk, files = self._peak(stages, at_once)
        return Totals(
            gpu_hours=sum(estimate.gpu_seconds for estimate in estimates) / 3600,
            device="GPU" if gpu else "CPU rank",
            wall_clock=self._wall_clock(stages, at_once),
            at_once=at_once,
            disk_peak=disk,
            inodes_peak=files,
            rate=rate,
            rate_source=f"{rate.device}, {rate.flops_per_second / 1e12:.3g} TFLOP/s: {rate.why}",
            counted=self._counted(stages),
        )

    # --- the operations

    def _of_train(self, stage: Stage) -> Estimate:
        read, dev = self.amounts_of(stage)
        settings, runtime = self._definition(stage)
        scorings = settings.epochs * runtime.dev_points
        earlier = [self.amounts_of(training)[1] for training, _ in self.plan.earlier(stage)]
        besides = [*earlier, *self._measured(stage, read.times(1 / settings.epochs), dev)]
        flops = self._training(stage, read) + self._forward(stage, dev) * scorings
        flops += sum(self._forward(stage, amount) for amount in besides)
        seconds = self._device_seconds(flops, self._rate(settings, runtime))
        encoder = _WEIGHT * self.sizes[stage.model].parameters
        tokens = read.tokens + dev.tokens * scorings + sum(amount.tokens for amount in besides)
        return Estimate(tokens, flops, seconds, encoder + 8 * _RECORD, _TRAIN_FILES)

    def _measured(self, stage: Stage, train: Amount, dev: Amount) -> list[Amount]:
        """What the start model reads to measure a training's tasks; in tagging less, where a word is a label."""
        if not self.plan.measures(stage):
            return []
        tasks = len(self.plan.steps[stage.definition].parts)
        limits = ((train, tasks * LABELS["train"]), (dev, tasks * LABELS["dev"]))
        return [amount.times(min(1.0, most / max(amount.examples, 1.0))) for amount, most in limits]

    def _of_evaluate(self, stage: Stage) -> Estimate:
        spec = self.plan.evaluate_spec(stage)
        read = amounts.of_evaluating(spec, self._counts)
        flops = self._forward(stage, read)
        seconds = self._device_seconds(flops, self._rate(spec.settings, self.plan.runtime(stage)))
        prediction = formats.get(catalogue.find(spec.target).format).prediction_bytes
        files = _EVALUATE_FILES + _LANGUAGE_FILES * len(spec.languages)
        return Estimate(read.tokens, flops, seconds, read.examples * prediction + files * _RECORD, files)

    def amounts_of(self, stage: Stage, *, from_results: bool = True) -> tuple[Amount, Amount]:
        """All epochs of a train stage, and one scoring of dev."""
        at = (stage.definition, from_results)
        if at not in self._amounts:
            self._amounts[at] = self._read(stage, from_results=from_results)
        return self._amounts[at]

    def _read(self, stage: Stage, *, from_results: bool) -> tuple[Amount, Amount]:
        step = self.plan.steps[stage.definition]
        amounts_of_parts = [amounts.of_training(part, step.settings, self._counts) for part in step.parts]
        dev = amounts.together([dev for _, dev in amounts_of_parts])
        epoch = amounts.together([train for train, _ in amounts_of_parts])
        if from_results and stage.definition in self._counted_tokens:
            tokens = self._counted_tokens[stage.definition]
            return replace(epoch.times(tokens / epoch.tokens), source="results"), dev
        return epoch.times(step.settings.epochs), dev

    @cached_property
    def _counted_tokens(self) -> dict[str, int]:
        """By definition: the tokens that a finished training of it counted, in all epochs."""
        tokens: dict[str, int] = {}
        tries: dict[str, int] = {}
        for stage in self.plan.stages.values():
            digest = stage.definition
            if stage.kind != "train" or digest in tokens or tries.get(digest, 0) >= _TRIES:
                continue
            if self.store.exists(stage):
                tries[digest] = tries.get(digest, 0) + 1
                result = self.store.train_result(stage)
                if result is not None and result.tokens:
                    tokens[digest] = result.tokens
        return tokens

    def _training(self, stage: Stage, read: Amount) -> float:
        """Operations of training, all epochs."""
        step = self.plan.steps[stage.definition]
        forms = [formats.get(catalogue.find(part.task).format) for part in step.parts]
        predicted_tokens = int(read.tokens * max(form.predicted_share(step.settings) for form in forms))
        sizes = self.sizes[stage.model]
        return training_flops(sizes, int(read.tokens), int(read.squares), predicted_tokens=predicted_tokens)

    def _forward(self, stage: Stage, read: Amount) -> float:
        return forward_flops(self.sizes[stage.model], int(read.tokens), int(read.squares))

    # --- the devices

    def _definition(self, stage: Stage) -> tuple[Settings, Runtime]:
        table: Any = self.plan.steps if stage.kind == "train" else self.plan.by_digest
        return table[stage.definition].settings, table[stage.definition].runtime

    def _rate(self, settings: Settings, runtime: Runtime) -> Rate:
        at = self._device(settings, runtime)
        if at not in self._rates:
            self._rates[at] = rates.choose(self._known, self.cluster, gpu=at[0], precision=at[1])
        return self._rates[at]

    def _device(self, settings: Settings, runtime: Runtime) -> tuple[bool, Precision]:
        """(whether on a GPU, the precision)."""
        gpu = runtime.device == "cuda" or (runtime.device == "auto" and self.cluster.gpus_asked_for)
        return gpu, settings.precision

    @cached_property
    def _held(self) -> int:
        """Devices that an element holds: its GPUs, of which a rank may have several; else its ranks."""
        return self.cluster.gpus or self.cluster.ranks

    @cached_property
    def _sharing(self) -> int:
        """Elements that share a GPU (`pack`): its rate is of all of them together, and each has its part. Of a CPU each
        has cores of its own."""
        return self.cluster.lanes if self.cluster.gpus else 1

    def _device_seconds(self, flops: float, rate: Rate) -> float:
        """Of all devices that an element holds while its ranks, with one each, do so many operations."""
        return (flops / rate.flops_per_second / self.cluster.ranks + _STAGE_SECONDS) * self._held

    def _main_rate(self, stages: list[Stage]) -> tuple[Rate, bool]:
        """That of the first stage: a file has seldom more than one."""
        settings, runtime = self._definition(stages[0]) if stages else (Settings(), Runtime())
        return self._rate(settings, runtime), self._device(settings, runtime)[0]

    def _counted(self, stages: list[Stage]) -> str:
        sources = {s.definition: s for s in stages if s.kind == "train"}.values()
        names = sorted({self.amounts_of(stage)[0].source for stage in sources})
        return ", ".join(names) or "file sizes"

    # --- the plan as a whole

    def _wall_clock(self, stages: list[Stage], at_once: int | None) -> float:
        """The longest chain of stages, or all of them on what may run at once, whichever takes longer."""
        until: dict[str, float] = {}
        for stage in stages:
            seconds = self.stage_seconds(stage) + _ELEMENT_SECONDS
            until[stage.key] = seconds + (until.get(stage.parent, 0.0) if stage.parent else 0.0)
        longest = max(until.values(), default=0.0)
        together = sum(self.stage_seconds(stage) for stage in stages)
        return max(longest, together / at_once) if at_once else longest

    def _peak(self, stages: list[Stage], at_once: int | None) -> tuple[float, int]:
        """(bytes, files) when most is there: what stays, and what the trainings that run at once need besides."""
        estimates = [self.of_stage(stage) for stage in stages]
        trains = [stage for stage in stages if stage.kind == "train"]
        running = min(len(trains), at_once or len(trains))
        largest = max(sizes.parameters for sizes in self.sizes.values())
        temporary = largest * (_CHECKPOINTS * _CHECKPOINT + 2 * _WEIGHT)  # two: best epoch and hand-over
        read = {stage.definition: self.amounts_of(stage)[0] for stage in trains}
        cache = sum(amount.tokens / self._epochs(digest) for digest, amount in read.items()) * _TOKEN_BYTES
        disk = sum(estimate.disk_bytes for estimate in estimates) + running * temporary + cache
        files = sum(estimate.files for estimate in estimates) + running * _RUNNING_FILES + 2 * len(read) * _TOKEN_FILES
        return disk, files

    def _epochs(self, digest: str) -> int:
        return self.plan.steps[digest].settings.epochs

    def _stays(self, stage: Stage) -> bool:
        """Whether a train stage's encoder is kept once all is finished (`keep:`)."""
        if self.plan.experiment.keep == "all":
            return True
        return any(self.plan.stages[key].kind == "train" for key in self.plan.children[stage.key])

    def _dropped(self, stage: Stage) -> float:
        return _WEIGHT * self.sizes[stage.model].parameters if stage.kind == "train" else 0.0

    # --- finished trainings

    def measured(self) -> list[tuple[Stage, Measured]]:
        """The rates of some finished trainings, evenly spread over the plan."""
        measurements = []
        for stage, result in self._finished():
            flops = self._training(stage, self._as_counted(stage, result))
            rate = flops / _device_seconds_of(result)
            device, cores = result.device_name or result.device, result.cores
            measurements.append((stage, Measured(stage.key, device, result.precision, cores, rate)))
        return measurements

    def _as_counted(self, stage: Stage, result: TrainResult) -> Amount:
        read, _ = self.amounts_of(stage, from_results=False)
        return read.times(result.tokens / read.tokens) if read.tokens else Amount(0, result.tokens, 1)

    def _finished(self) -> Iterator[tuple[Stage, TrainResult]]:
        trains = [stage for stage in self.plan.stages.values() if stage.kind == "train" and self.store.exists(stage)]
        every = max(1, len(trains) // _LOOKED_AT)
        for stage in trains[::every]:
            result = self.store.train_result(stage)
            if result is not None and result.seconds and result.tokens:
                yield stage, result

    def accuracy(self) -> Accuracy | None:
        """How good the estimates of finished trainings were; None: none is finished."""
        device_seconds, first, with_measured_rate = [], [], []
        measurements = rates_of(self)
        for stage, result in self._finished():
            gpu, bf16 = result.device != "cpu", result.precision == "bf16"
            flops = self._training(stage, self.amounts_of(stage, from_results=False)[0])
            counted_flops = self._training(stage, self._as_counted(stage, result))
            device_seconds.append(_device_seconds_of(result))
            first.append(flops / rates.default(self.cluster, gpu=gpu, bf16=bf16).flops_per_second)
            rate = rates.choose(measurements, self.cluster, gpu=gpu, precision=result.precision, cores=result.cores)
            with_measured_rate.append(counted_flops / rate.flops_per_second)
        if not device_seconds:
            return None
        errors = [abs(estimate / true - 1) for estimate, true in zip(with_measured_rate, device_seconds, strict=True)]
        return Accuracy(len(device_seconds), sum(device_seconds), sum(first), sum(with_measured_rate), median(errors))


def _device_seconds_of(result: TrainResult) -> float:
    """Of a GPU that elements shared its part of them; of a CPU each has cores of its own."""
    part = 1.0 if result.device == "cpu" else result.made_by.share
    return result.seconds * result.world_size * part


def rates_of(estimates: Estimates) -> list[Measured]:
    """What the store remembers, and what its finished trainings say now. Writes nothing."""
    by_stage = {measurement.stage: measurement for measurement in rates.read(estimates.store.root)}
    return list((by_stage | {measurement.stage: measurement for _, measurement in estimates.measured()}).values())


def calibrate(plan: Plan, store: Store) -> None:
    """Remember the rates of the plan's finished trainings in the store, for the next estimates."""
    rates.remember(store.root, [measurement for _, measurement in Estimates(plan, store).measured()])
