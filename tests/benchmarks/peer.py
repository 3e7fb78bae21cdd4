"""The peer: Hugging Face Trainer with DeepSpeed ZeRO-2, in one process. Needs torch, transformers, deepspeed alone.

`DEFAULT` is what its run scripts do when nothing is asked for, `BEST` what its documentation offers against padding.
"""

import logging
import os
import socket
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.benchmarks.windows import Measured, Windows, timed

MODELS = {
    "sequence": "AutoModelForSequenceClassification",
    "choice": "AutoModelForMultipleChoice",
    "span": "AutoModelForQuestionAnswering",
    "tagging": "AutoModelForTokenClassification",
}
Feature = dict[str, Any]  # input_ids, attention_mask, labels (span: start_positions, end_positions)


@dataclass(frozen=True)
class Way:
    """How the peer is configured. `eval_batch_size`: examples per forward pass (8 is Trainer's default)."""

    name: str
    by_script: bool  # pad as the task's run script does, else to the longest of each batch, grouped by length
    eval_batch_size: int
    zero: Mapping[str, Any]


# DEFAULT: as in the configuration that transformers' documentation shows for ZeRO-2. BEST: as small as suits the model.
DEFAULT = Way("default", True, 8, {"overlap_comm": True, "contiguous_gradients": True})
BEST = Way("best", False, 64, {"overlap_comm": False, "contiguous_gradients": False})
_DOCUMENTED_BUCKET = 200_000_000


@dataclass(frozen=True)
class Job:
    """What is trained and evaluated. `pad_to`: what the task's run script pads every row to; None: the batch's longest.

    `tokenizer` pads. `micro_batch`: examples of a forward pass, where the memory is too small for all of a step's.
    """

    form: str
    model: Any
    tokenizer: Any
    train: Sequence[Feature]
    test: Sequence[Feature]
    pad_to: int | None
    batch: int
    micro_batch: int | None = None
    bf16: bool = False
    on_gpu: bool = False


def features(form: str, rows: Sequence[Sequence[int]], target: Sequence[int]) -> Feature:
    """One example as Trainer's data sets hold it, from a piece's rows and target."""
    many = [list(row) for row in rows]
    ids: Any = many if form == "choice" else many[0]
    mask: Any = [[1] * len(row) for row in many] if form == "choice" else [1] * len(many[0])
    feature: Feature = {"input_ids": ids, "attention_mask": mask, "length": max(map(len, many))}
    if form == "span":
        return feature | {"start_positions": target[0], "end_positions": target[1]}
    return feature | {"labels": list(target) if form == "tagging" else target[0]}


def tokens_of(feature: Feature) -> int:
    """Real tokens of an example."""
    return sum(_sizes(feature["input_ids"]))


def _sizes(ids: Any) -> Iterator[int]:
    yield from (len(row) for row in ids) if isinstance(ids[0], list) else [len(ids)]


def build(job: Job, way: Way, windows: Windows, out: Path, learning_rate: float = 1e-5) -> Any:
    """The Trainer, ready to `train()`; it asks `windows` after every step. `evaluate` goes by the same object."""
    from transformers import PrinterCallback, TrainingArguments

    _quiet()
    _alone()
    options: dict[str, Any] = {"use_cpu": True, "dataloader_pin_memory": False} if not job.on_gpu else {}
    _compile_nothing()
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=100_000,
        per_device_train_batch_size=job.micro_batch or job.batch,
        gradient_accumulation_steps=job.batch // (job.micro_batch or job.batch),
        per_device_eval_batch_size=way.eval_batch_size,
        learning_rate=learning_rate,
        weight_decay=0.01,
        warmup_steps=100,
        max_grad_norm=1.0,
        bf16=job.bf16,
        train_sampling_strategy="random" if way.by_script else "group_by_length",
        average_tokens_across_devices=False,
        save_strategy="no",
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
        seed=1,
        deepspeed=_deepspeed_config(job, way),
        **options,
    )
    between = _callback(windows)
    trainer = _trainer_class()(
        model=job.model,
        args=arguments,
        train_dataset=_data_set(job.train),
        eval_dataset=_data_set(job.test),
        data_collator=_collator(job, way),
        processing_class=job.tokenizer,
        callbacks=[between],
    )
    between.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    return trainer


def evaluate(trainer: Any, test: Sequence[Feature]) -> Measured:
    """Predict `test`: the logits of all examples, as arrays, as its run scripts have them before they score."""
    return timed(lambda: trainer.predict(trainer.eval_dataset), sum(map(tokens_of, test)), len(test))


def _trainer_class() -> Any:
    """Imported late: it takes seconds."""
    from transformers import Trainer

    class Counting(Trainer):  # type: ignore[misc]
        """Counts real tokens and examples of a step, where they lie (no wait for a GPU)."""

        counted: Any = 0
        examples = 0

        def _get_train_sampler(self, *rest: Any, **more: Any) -> Any:
            """Grouped by length, it begins with the longest rows: the same batches in a random order, so that the first
            steps stand for all."""
            sampler = super()._get_train_sampler(*rest, **more)
            if self.args.train_sampling_strategy != "group_by_length":
                return sampler
            places, size = list(sampler), self.args.per_device_train_batch_size
            whole = [places[start : start + size] for start in range(0, len(places) - size + 1, size)]
            Random(1).shuffle(whole)
            return [place for batch in whole for place in batch] + places[len(whole) * size :]

        def training_step(self, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            mask = inputs["attention_mask"]
            self.counted, self.examples = self.counted + mask.sum(), self.examples + len(mask)
            return super().training_step(model, inputs, *rest, **more)

    return Counting


def _callback(windows: Windows) -> Any:
    from transformers import TrainerCallback

    class Between(TrainerCallback):  # type: ignore[misc]
        """Hands each step's counts on, and ends the training when there are to be no more."""

        trainer: Any

        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            control.should_training_stop = not windows.begin()

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.trainer.counted, tokens = 0, self.trainer.counted
            self.trainer.examples, examples = 0, self.trainer.examples
            control.should_training_stop = not windows.step_done(tokens, examples)

    return Between()


def _data_set(rows: Sequence[Feature]) -> Any:
    """As its run scripts have it, with the column that grouping by length goes by; a list where datasets is missing."""
    try:
        from datasets import Dataset
    except ImportError:
        return list(rows)
    return Dataset.from_list(list(rows))


def _collator(job: Job, way: Way) -> Any:
    from transformers import DataCollatorForTokenClassification, DataCollatorWithPadding
    from transformers.data.data_collator import DataCollatorForMultipleChoice

    to_longest = not way.by_script or job.pad_to is None
    padding: dict[str, Any] = {"padding": True} if to_longest else {"padding": "max_length", "max_length": job.pad_to}
    kinds = {"choice": DataCollatorForMultipleChoice, "tagging": DataCollatorForTokenClassification}
    return kinds.get(job.form, DataCollatorWithPadding)(job.tokenizer, **padding)


def _deepspeed_config(job: Job, way: Way) -> dict[str, Any]:
    """Torch's own AdamW: DeepSpeed's needs a compiler."""
    parameters = sum(parameter.numel() for parameter in job.model.parameters())
    fitting = min(50_000_000, max(2_000_000, parameters // 20)) // 2 * 2
    bucket = _DOCUMENTED_BUCKET if way.by_script else fitting
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "train_batch_size": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": 2,
            "allgather_bucket_size": bucket,
            "reduce_bucket_size": bucket,
            **way.zero,
        },
    }


def _alone() -> None:
    """What a launcher says to the only rank; without it DeepSpeed looks for MPI."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in said.items()})


def _compile_nothing() -> None:
    """Else DeepSpeed builds a C++ extension for ranks on one node at its first start: minutes, for one rank in vain."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def _quiet() -> None:
    """Its lines on standard error are many."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore")
    for name in ("DeepSpeed", "transformers", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)
