"""One optimizer step of a stage: the gradients of its micro-batches, the update, what the ranks agree on, what is noted
of it; and what becomes of one for which memory does not suffice, or whose loss is not finite."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch

from slurm.base import UserError
from training import distributed
from training.checkpoints.progress import Progress
from training.checkpoints.saver import Saver
from training.distributed import World
from training.engine import choices, setup
from training.engine.batches import Feed, Micro, PreparedStep
from training.engine.ddp import PlainEngine
from training.engine.log import TrainingLog, timed
from training.engine.lone import LoneEngine
from training.engine.optimizer import learning_rate
from training.engine.setup import StageModelParts
from training.engine.zero import ZeroEngine
from training.flops import training_flops
from training.model import heads
from training.model.packing import Packed
from training.shape import Shape

Engine = ZeroEngine | PlainEngine | LoneEngine


@dataclass(frozen=True)
class StepTaken:
    """The same on every rank. `stop`, `save`: whether any of them was asked to stop, whether a checkpoint is due."""

    loss: float
    stop: bool
    save: bool


@dataclass(frozen=True)
class Steps:
    """Takes a stage's steps, and counts them in `progress`. Every rank has one and calls it alike. `out`: the attempt's
    folder, where a step that did not fit leaves what the next attempt must not exceed."""

    start: StageModelParts
    shape: Shape
    engine: Engine
    feed: Feed
    progress: Progress
    record: TrainingLog
    saver: Saver
    out: Path
    world: World

    def take(self, number: int, should_stop: Callable[[], bool]) -> StepTaken:
        """One update. UserError where it diverges, or where memory does not suffice and this process cannot go on."""
        started_at = time.monotonic()
        prepared_step, losses = self._gradients(number)
        rate = learning_rate(number, self.start.order.total, self.start.spec.settings)
        norm, updating = timed(lambda: self.engine.update(rate))
        # A place for each micro-batch and three flags: one sum over the ranks serves all, the losses' order is fixed.
        flags = [float(should_stop()), float(self.saver.is_due()), float(self.saver.failed)]
        news = torch.cat([losses, losses.new_tensor(flags)])
        *summed_losses, stop, save, write_failed = distributed.summed(news, self.world).tolist()
        if not all(map(math.isfinite, [*summed_losses, norm])):
            self._refuse_divergence(prepared_step, summed_losses)
        loss = sum(summed_losses) / prepared_step.terms
        self._note(prepared_step, loss, rate, norm, time.monotonic() - started_at, updating)
        if write_failed:
            self._note_failed_write(number)
        return StepTaken(loss, stop > 0, save > 0)

    def _gradients(self, number: int) -> tuple[PreparedStep, torch.Tensor]:
        """The gradients of a step, and the undivided losses of its micro-batches, this rank's in their places."""
        while True:
            prepared_step, wait_seconds = timed(lambda: self.feed.take(number))
            self.record.times.data_wait += wait_seconds
            try:
                return prepared_step, self._accumulate(prepared_step)
            except RuntimeError as error:
                if not choices.is_out_of_memory(error):
                    raise
            self._shrink(prepared_step)

    def _accumulate(self, prepared_step: PreparedStep) -> torch.Tensor:
        losses = torch.zeros(len(prepared_step.micros), dtype=torch.float64, device=self.world.device)
        for place, (micro, batch) in enumerate(prepared_step.batches):
            last = place == len(prepared_step.batches) - 1
            losses[micro.index] += self._backward(prepared_step, micro, batch, last=last).double()
        return losses

    def _backward(self, prepared_step: PreparedStep, micro: Micro, micro_batch: Packed, *, last: bool) -> torch.Tensor:
        form, contrast = prepared_step.part.task.format, self.start.spec.settings.contrast_size
        batch = micro_batch.to(self.world.device)
        # Dropout by place in the data, not by rank: a resume, or a rank more, needs no state of a generator.
        torch.manual_seed(setup.dropout_seed(self.start.spec.seed, prepared_step.step.number, micro.index))
        return self.engine.backward(
            batch,
            prepared_step.part.head.name,
            lambda logits: heads.loss(form, logits, batch.pieces, contrast) * micro.weight,
            prepared_step.terms,
            last=last,
        )

    def _shrink(self, prepared_step: PreparedStep) -> None:
        """Out of memory: half as many tokens at a time. UserError where it cannot be done in this process."""
        budget = self.progress.token_budget // 2
        hint = f"step {prepared_step.step.number}: out of memory with token_budget {self.progress.token_budget}"
        if max(len(micro) for micro in prepared_step.micros) <= prepared_step.unit:
            raise UserError(f"{hint}, with one sequence at a time; ask for more memory or set a smaller max_length.")
        if self.world.size > 1 or self.shape.zero not in ("none", 0):
            # Other ranks, or DeepSpeed itself, are in the middle of something: the next attempt has smaller ones.
            choices.note(self.out, prepared_step.step.number, budget)
            raise UserError(f"{hint}; submit again: it goes on with {budget}, the same examples a step.")
        self.engine.discard()
        if self.world.device.type == "cuda":
            torch.cuda.empty_cache()
        self.progress.out_of_memory.append({"step": prepared_step.step.number, "token_budget": budget})
        self.progress.token_budget = self.feed.budget = budget
        self.record.line(out_of_memory=prepared_step.step.number, token_budget=budget)
        print(f"{hint}: going on with {budget}, the same examples a step", file=sys.stderr, flush=True)

    def _refuse_divergence(self, prepared_step: PreparedStep, losses: list[float]) -> NoReturn:
        bad = [micro for micro, loss in zip(prepared_step.micros, losses, strict=True) if not math.isfinite(loss)]
        quantity = "loss" if bad else "gradient"
        ids = list(dict.fromkeys(id_ for micro in bad or prepared_step.micros for id_ in prepared_step.ids(micro)))
        number, task = prepared_step.step.number, prepared_step.part.task.name
        self.record.line(not_finite=quantity, step=number, task=task, ids=ids)
        more = f" and {len(ids) - 8} more (log.jsonl has all)" if len(ids) > 8 else ""
        raise UserError(
            f"step {number} of task {task}: the {quantity} is not finite at examples {', '.join(ids[:8])}"
            f"{more}; look at them, lower learning_rate or set precision: fp32."
        )

    # --- what is noted

    def _note(
        self, prepared_step: PreparedStep, loss: float, rate: float, norm: float, seconds: float, updating: float
    ) -> None:
        step, progress, times = prepared_step.step, self.progress, self.record.times
        progress.step, progress.examples = progress.step + 1, progress.examples + len(step.examples)
        progress.tokens, progress.seconds = progress.tokens + prepared_step.tokens, progress.seconds + seconds
        self.record.line(
            step=step.number,
            epoch=step.epoch,
            task=prepared_step.part.task.name,
            loss=loss,
            learning_rate=rate,
            grad_norm=norm,
            examples=len(step.examples),
            tokens=prepared_step.tokens,
            seconds=round(seconds, 4),
        )
        lengths = [len(row) for piece in prepared_step.pieces for row in piece.rows]
        times.steps, times.examples = times.steps + 1, times.examples + len(step.examples)
        times.tokens, times.filler = times.tokens + prepared_step.tokens, times.filler + prepared_step.filler
        times.computed += sum(batch.layout.tokens for _, batch in prepared_step.batches)
        predicted_tokens = prepared_step.terms if prepared_step.part.form.is_language_model else 0
        squares, sizes = sum(length**2 for length in lengths), self.start.encoder.config.sizes
        times.flops += training_flops(sizes, prepared_step.tokens, squares, predicted_tokens=predicted_tokens)
        times.update += updating
        self.record.step_done(step.number)

    def _note_failed_write(self, number: int) -> None:
        """A checkpoint that could not be written costs time after a kill, not the run."""
        reason = self.saver.take_failure() or "on another rank"
        self.record.line(checkpoint_failed=reason, step=number)
        print(f"{self.out}: a checkpoint could not be written ({reason}): going on", file=sys.stderr, flush=True)
