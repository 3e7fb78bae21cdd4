"""The shapes that a plan's trainings take, by arithmetic: what `plan` shows. Work per step definition, not per stage.

The memory of the nodes is not known here; jobs choose again with what they find.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.tables.baseline import split, with_label
from launch.experiment import Cluster
from launch.plan import Plan, StepDefinition
from launch.text import some
from slurm.base import UserError
from training import formats
from training.flops import Sizes
from training.pretrained import StartModel
from training.pretrained import start as start_model
from training.pretrained.config import model_config
from training.shape import Shape, choose, gigabytes
from training.tasks import catalogue

# As their config.json says: a plan needs no download.
_PUBLISHED = {
    "FacebookAI/xlm-roberta-base": Sizes(12, 768, 3072, 12, 250_002, 514, 1),
    "FacebookAI/xlm-roberta-large": Sizes(24, 1024, 4096, 16, 250_002, 514, 1),
}


@dataclass(frozen=True)
class StepShape:
    """How the trainings of one step definition run, of one start model."""

    task: str  # with the model's label before it, if it has one
    shape: Shape
    gpu: bool
    tokens: int  # of a micro-batch at most
    micro_batches: int  # per rank and step, where every sequence is as long as can be
    bytes: int  # per rank at most, likewise
    windows: bool  # long texts of an example are several sequences, so that there may be more micro-batches
    vocabulary: str  # "compact", or why all rows of the word embeddings are trained

    @property
    def record(self) -> dict[str, Any]:
        """For programs."""
        model, task = split(self.task)
        return {
            **({"model": model} if model else {}),
            "task": task,
            "zero": self.shape.zero,
            "offload": self.shape.offload,
            "ranks": self.shape.world,
            "token_budget": self.shape.token_budget,
            "micro_batches": self.micro_batches,
            "bytes": self.bytes,
            "states_bytes": self.shape.states_bytes,
            "token_bytes": self.shape.token_bytes,
            "compact_vocabulary": self.vocabulary == "compact",
        }

    @property
    def line(self) -> str:
        """For people; without the task, which may share it with others."""
        shape = self.shape
        stage = "DDP without DeepSpeed" if shape.zero == "none" else f"ZeRO {shape.zero}"
        ranks = f"{shape.world} {'GPU' if self.gpu else 'CPU rank'}{'' if shape.world == 1 else 's'}"
        micro_batches = "1 micro-batch" if self.micro_batches == 1 else f"up to {self.micro_batches} micro-batches"
        more = " (more with windows)" if self.windows else ""
        return (
            f"{stage}{' and offload' if shape.offload else ''} on {ranks}, {micro_batches}{more} of at most"
            f" {self.tokens:,} tokens a step; {gigabytes(shape.states_bytes)} of states"
            f" + {shape.token_bytes / 1e6:.2f} MB a token, {gigabytes(self.bytes)} a rank at most"
        )


def of_plan(plan: Plan) -> dict[tuple[str, str], StepShape]:
    """The shape of every step, by the start model's label and the step's digest; without models whose sizes are not
    known yet."""
    return {
        (model, digest): of_step(with_label(model, step.task), step, sizes, plan.experiment.cluster)
        for model, start in plan.starts.items()
        if (sizes := model_sizes(start)) is not None
        for digest, step in plan.steps.items()
    }


def lines(plan: Plan) -> list[tuple[str, str]]:
    """What `plan` prints: a line per distinct shape and one per state of the vocabulary, each with its tasks."""
    step_shapes = of_plan(plan)
    models = {model for model, _ in step_shapes}
    unknown = [
        ("shape", with_label(model, "known once `stepstone prepare` has fetched the model"))
        for model in plan.starts
        if plan.steps and model not in models
    ]
    shapes: dict[str, list[str]] = {}
    vocabularies: dict[str, list[str]] = {}
    for step in step_shapes.values():
        shapes.setdefault(step.line, []).append(step.task)
        vocabularies.setdefault(step.vocabulary, []).append(split(step.task)[1])  # the same of all models
    return [
        *(("shape", f"{_names(tasks)}: {line}") for line, tasks in shapes.items()),
        *unknown,
        *(("vocabulary", f"{_names(tasks)}: {_VOCABULARY.get(text, text)}") for text, tasks in vocabularies.items()),
    ]


_VOCABULARY = {"compact": "compact (rows that train and dev use; the states above count all rows)"}


def _names(tasks: list[str]) -> str:
    return some(dict.fromkeys(tasks), 6)


def of_step(name: str, step: StepDefinition, sizes: Sizes, cluster: Cluster) -> StepShape:
    """The shape of one step definition, for people under a name."""
    settings, runtime = step.settings, step.runtime
    tasks = [catalogue.find(part.task) for part in step.parts]
    gpu = runtime.device == "cuda" or (runtime.device == "auto" and cluster.gpus_asked_for)
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and gpu)
    forms = [formats.get(task.format) for task in tasks]
    language_model = any(form.is_language_model for form in forms)
    shape = choose(
        sizes,
        cluster.ranks,
        None,
        runtime,
        bf16=bf16,
        gpu=gpu,
        max_length=settings.max_length,
        predicted_share=max(form.predicted_share(settings) for form in forms),
    )
    loads = [
        shape.most(
            settings.global_batch_size,
            settings.max_length,
            form.rows_of_example(task),
            form.examples_together(settings),
        )
        for form, task in zip(forms, tasks, strict=True)
    ]
    windows = any(form.makes_windows for form in forms)
    micro_batches = max(passes for passes, _ in loads)
    longest = max(shape.token_budget if windows else 0, *(tokens for _, tokens in loads))
    peak_bytes = shape.states_bytes + longest * shape.token_bytes
    if language_model:
        vocabulary = "all rows, because a language model predicts any token"
    else:
        vocabulary = "compact" if runtime.compact_vocabulary else "all rows (compact_vocabulary: false)"
    return StepShape(name, shape, gpu, max(shape.token_budget, longest), micro_batches, peak_bytes, windows, vocabulary)


def model_sizes(start: StartModel) -> Sizes | None:
    """The sizes of a start model; None where it is on the Hub, not fetched yet, and not one whose sizes we know."""
    if start.folder:
        return model_config(Path(start.folder)).sizes
    assert start.repo and start.revision, start
    if start.repo in _PUBLISHED:
        return _PUBLISHED[start.repo]
    try:
        return model_config(start_model.start_model_folder(start.repo, start.revision, local_only=True)).sizes
    except UserError:
        return None
