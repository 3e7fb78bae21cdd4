"""Trains one stage: a parent's encoder on one step of a path, with fresh heads, on any number of ranks.

Below `out`: log.jsonl (see `training.engine.log`), checkpoints/, and at the end encoder/ and heads/ of the best epoch.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from slurm.base import UserError
from training import distributed
from training.checkpoints import files, hand_over
from training.checkpoints.files import Checkpoint
from training.checkpoints.fragments import FragmentReader
from training.checkpoints.hand_over import HandOver
from training.checkpoints.progress import DevScore, Progress
from training.checkpoints.saver import Saver
from training.distributed import World
from training.engine import choices, setup
from training.engine import matmul as matmul_library
from training.engine.batches import Feed, Maker, Micro, PreparedStep
from training.engine.ddp import PlainEngine
from training.engine.dev import DevSchedule, DevScoring
from training.engine.log import TrainingLog, timed
from training.engine.lone import LoneEngine
from training.engine.optimizer import learning_rate
from training.engine.setup import StageModelParts
from training.engine.zero import ZeroEngine
from training.flops import training_flops
from training.model import attention, heads
from training.model.encoder import StageModel, use_bf16
from training.model.packing import Packed
from training.model.vocabulary import full_table, ids_hash
from training.spec import Runtime
from training.stopwatch import phase

_STATIC_TOKENS = 256  # with `compile`: the number of tokens of a forward pass is a multiple of it


class Stopped(Exception):
    """Training stopped between two steps because it was asked to; `folder` is the checkpoint to go on from."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"stopped; the checkpoint is {folder}")
        self.folder = folder


OnStep = Callable[[int, int, float], None]


@dataclass(frozen=True)
class TrainedStage:
    """`facts`: of the run (JSON). `handed_over`: what rank 0 wrote; the others' is None."""

    facts: dict[str, Any]
    handed_over: HandOver | None


def train(
    start: StageModelParts,
    runtime: Runtime,
    out: Path,
    *,
    dev_score: Callable[[StageModel], DevScore],
    should_stop: Callable[[], bool],
    resume_from: Sequence[Path] = (),
    on_step: OnStep | None = None,
) -> TrainedStage:
    """Train the stage that `setup.read` has read.

    Every rank calls it alike, after `distributed.init` (a lone process may leave that out).
    `dev_score` is called by all ranks `dev_points` times in each epoch, and rank 0's counts. The epoch that is best at
    its end is handed on, of equal ones the earliest. `should_stop` is asked on every rank between steps: at one True
    all save a checkpoint and raise Stopped. `resume_from`: folders of earlier attempts; the furthest whole checkpoint
    in them or in `out` is gone on from. `on_step(steps done, steps in all, loss)`. UserError where data or model do not
    fit, memory does not suffice, or the loss diverges.
    """
    world = distributed.current() or distributed.init(runtime.device)
    stage = _Training(start, runtime, out, world)
    try:
        stage.begin([*resume_from, out])
        stage.run(dev_score, should_stop, on_step)
        return stage.hand_over()
    finally:
        stage.close()


class _Training:
    """One train stage under way: what it has been made from, how far it is, who computes."""

    def __init__(self, start: StageModelParts, runtime: Runtime, out: Path, world: World) -> None:
        self.start, self.runtime, self.out, self.world = start, runtime, out, world
        self.spec, self.order = start.spec, start.order
        self.sizes = self.start.encoder.config.sizes
        self.progress = Progress()
        self.engine: ZeroEngine | PlainEngine | LoneEngine | None = None
        self.feed: Feed | None = None
        self._matmul_before: str | None = None
        out.mkdir(parents=True, exist_ok=True)
        self.saver = Saver(out, world, self.start.identity, runtime.checkpoint_minutes)

    # --- the beginning: fresh, or from a checkpoint

    @phase("load")
    def begin(self, folders: Sequence[Path]) -> None:
        """Build the engine, on a checkpoint's weights and moments where there is one."""
        checkpoint = self._agree_on_checkpoint(folders)
        if checkpoint is not None:
            self.progress = Progress(**checkpoint.state)
        self.ids = self._vocabulary(resuming=checkpoint is not None)
        self.progress.vocabulary = None if self.ids is None else ids_hash(self.ids)
        self.model, self.table = self.start.model(self.ids, bf16=use_bf16(self.spec.settings, self.world.device))
        self.model.to(self.world.device)
        self.record = TrainingLog(self.out, first=self.world.first, world=self.world.size)
        schedule = DevSchedule(self.runtime.dev_points, self.order.steps_per_epoch, self.spec.settings.epochs)
        self.dev = DevScoring(schedule, self.progress, self.record, self.world)
        self._choose(folders)
        if len(self.progress.scores) == self.spec.settings.epochs:
            return  # only the hand-over is still to be done
        if checkpoint is not None:
            self._load_parameters(checkpoint)
        self._start_engine()
        if checkpoint is not None:
            self._engine.state.load(checkpoint.reader())
            self._engine.state.set_updates(self.progress.step)
        self.saver.begin(self._engine.state, self.ids)
        maker = self._maker()
        self.feed = Feed(
            lambda number, budget: maker.prepare(self.order.step(number), budget),
            self.order.total,
            self.progress.token_budget,
        )

    def _agree_on_checkpoint(self, folders: Sequence[Path]) -> Checkpoint | None:
        """Rank 0 looks, for the others may see a shared file system a little later."""
        checkpoint = files.newest(folders, self.start.identity) if self.world.first else None
        if checkpoint is not None:
            files.link_best(checkpoint, self.out)
        folder = distributed.from_first(checkpoint and str(checkpoint.folder), self.world)
        return files.opened(Path(folder)) if folder else None

    def _vocabulary(self, *, resuming: bool) -> Any:
        """The ids of the compact vocabulary; None: all words are trained. A resume keeps to what the run began with."""
        compact = self.runtime.compact_vocabulary and not self.start.needs_all_words
        if resuming:
            compact = self.progress.vocabulary is not None
        if not compact:
            return None
        ids = self.start.used_ids()
        assert self.progress.vocabulary in (None, ids_hash(ids)), "equal data has equal ids"
        return ids

    def _choose(self, folders: Sequence[Path]) -> None:
        """How this run computes: its shape, and what rounds its numbers."""
        progress = self.progress
        words = None if self.ids is None else len(self.ids)
        self.shape = choices.run_shape(self.start, self.model, words, self.runtime, self.world)
        matmul = choices.matmul(self.runtime, progress.matmul, self.world)
        if matmul is not None:
            self._matmul_before = matmul_library.apply(matmul.name)
            self.record.line(matmul=matmul.name, why=matmul.why, relative_error=matmul.exact_error)
        self.record.peak = choices.peak(self.world, matmul, bf16=self.model.bf16)
        budget = choices.token_budget(self.runtime, progress, self.shape, folders, self.world)
        changes = (
            progress.matmul and matmul is not None and progress.matmul != matmul.name,
            progress.token_budget not in (0, budget),
        )
        if any(changes):
            self.record.line(not_bit_equal_from=progress.step, token_budget=budget, matmul=matmul and matmul.name)
        progress.token_budget, progress.matmul = budget, matmul.name if matmul else ""

    def _load_parameters(self, checkpoint: Checkpoint) -> None:
        """Before DeepSpeed makes its own copies of the weights."""
        reader = checkpoint.reader()
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(reader.tensor("parameters", name, tuple(parameter.shape)))

    def _start_engine(self) -> None:
        if self.runtime.compile:
            setup.compile_layers(self.model.encoder)
        if self.shape.zero == "none":
            self.engine = PlainEngine(self.model, self.spec.settings, self.world)
        elif self.shape.zero == 0 and self.world.size == 1:
            self.engine = LoneEngine(self.model, self.spec.settings, self.world)
        else:
            self.engine = ZeroEngine(self.model, self.spec.settings, self.shape, self.world)

    @property
    def _engine(self) -> ZeroEngine | PlainEngine | LoneEngine:
        assert self.engine is not None, "all steps are done"
        return self.engine

    def _maker(self) -> Maker:
        return Maker(
            self.start.parts,
            self.spec.seed,
            self.start.tokenizer,
            self.spec.settings,
            self.world.rank,
            self.world.size,
            _STATIC_TOKENS if self.runtime.compile else 1,
        )

    # --- training

    @phase("train")
    def run(
        self, dev_score: Callable[[StageModel], DevScore], should_stop: Callable[[], bool], on_step: OnStep | None
    ) -> None:
        """All steps that are still to be done."""
        self.model.train()
        self._score_dev_where_due(dev_score)
        self.record.pause()
        while self.progress.step < self.order.total:
            loss, stop, save = self._one_step(self.progress.step, should_stop)
            if on_step is not None:
                on_step(self.progress.step, self.order.total, loss)
            if stop:  # at once: scoring dev may take longer than is left
                self._stop()
            self._score_dev_where_due(dev_score)
            if save and self.progress.step < self.order.total:
                with phase("save"):
                    self.record.times.stall += self.saver.save(self.progress)

    @phase("save")
    def _stop(self) -> NoReturn:
        """Save and leave. A full disk costs what was done since the last checkpoint, no more."""
        folder = files.step_folder(self.out, self.progress.step)
        try:
            self.saver.save_now(self.progress)
        except UserError as error:
            print(str(error), file=sys.stderr, flush=True)
        raise Stopped(folder)

    def _one_step(self, number: int, should_stop: Callable[[], bool]) -> tuple[float, bool, bool]:
        """One update. Returns the loss, whether to stop, and whether to save: the same on every rank."""
        started_at = time.monotonic()
        prepared_step, losses = self._gradients(number)
        rate = learning_rate(number, self.order.total, self.spec.settings)
        norm, updating = timed(lambda: self._engine.update(rate))
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
        return loss, stop > 0, save > 0

    def _gradients(self, number: int) -> tuple[PreparedStep, torch.Tensor]:
        """The gradients of a step, and the undivided losses of its micro-batches, this rank's in their places."""
        assert self.feed is not None
        while True:
            prepared_step, wait_seconds = timed(lambda: self.feed.take(number))  # type: ignore[union-attr]
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
        form, contrast = prepared_step.part.task.format, self.spec.settings.contrast_size
        batch = micro_batch.to(self.world.device)
        # Dropout by place in the data, not by rank: a resume, or a rank more, needs no state of a generator.
        torch.manual_seed(setup.dropout_seed(self.spec.seed, prepared_step.step.number, micro.index))
        return self._engine.backward(
            batch,
            prepared_step.part.head.name,
            lambda logits: heads.loss(form, logits, batch.pieces, contrast) * micro.weight,
            prepared_step.terms,
            last=last,
        )

    def _shrink(self, prepared_step: PreparedStep) -> None:
        """Out of memory: half as many tokens at a time. UserError where it cannot be done in this process."""
        assert self.feed is not None
        budget = self.progress.token_budget // 2
        hint = f"step {prepared_step.step.number}: out of memory with token_budget {self.progress.token_budget}"
        if max(len(micro) for micro in prepared_step.micros) <= prepared_step.unit:
            raise UserError(f"{hint}, with one sequence at a time; ask for more memory or set a smaller max_length.")
        if self.world.size > 1 or self.shape.zero not in ("none", 0):
            # Other ranks, or DeepSpeed itself, are in the middle of something: the next attempt has smaller ones.
            choices.note(self.out, prepared_step.step.number, budget)
            raise UserError(f"{hint}; submit again: it goes on with {budget}, the same examples a step.")
        self._engine.discard()
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
        squares = sum(length**2 for length in lengths)
        times.flops += training_flops(self.sizes, prepared_step.tokens, squares, predicted_tokens=predicted_tokens)
        times.update += updating
        self.record.step_done(step.number)

    def _note_failed_write(self, number: int) -> None:
        """A checkpoint that could not be written costs time after a kill, not the run."""
        reason = self.saver.take_failure() or "on another rank"
        self.record.line(checkpoint_failed=reason, step=number)
        print(f"{self.out}: a checkpoint could not be written ({reason}): going on", file=sys.stderr, flush=True)

    # --- epochs and the end

    def _score_dev_where_due(self, dev_score: Callable[[StageModel], DevScore]) -> None:
        """Dropout is drawn by the place in the data, so that scoring between two steps changes none of them."""
        if self.dev.is_due:
            ends_epoch = self.dev.epoch_is_unscored
            dev_result = self.dev.score(self._engine.model, dev_score)
            if ends_epoch:
                self._end_epoch(dev_result)

    def _end_epoch(self, dev_result: dict[str, Any]) -> None:
        epoch = self.order.step(self.progress.step - 1).epoch
        score = float(dev_result["score"])
        self.progress.scores.append(score)
        self.progress.at_chance.append(list(dev_result["at_chance"]))
        self.record.line(epoch=epoch, dev_score=score)
        if self.progress.best is None or score > self.progress.best["score"]:
            with phase("save"):
                self.saver.save_best(self.progress, epoch)
            self.progress.best = {"epoch": epoch, "score": score}
        self.record.pause()

    @phase("save")
    def hand_over(self) -> TrainedStage:
        """Put the best epoch's encoder and heads in their places, and say what happened."""
        best = self.progress.best
        assert best is not None, "no epoch has ended"
        if self.engine is not None:
            self.saver.save_end(self.progress)
        handed_over = self._write_hand_over(best["epoch"]) if self.world.first else None
        encoder = distributed.from_first(handed_over and handed_over.model.encoder_hash, self.world)
        return TrainedStage(self._facts(best["epoch"], encoder), handed_over)

    def _write_hand_over(self, epoch: int) -> HandOver:
        reader = files.opened(files.best_folder(self.out, epoch)).reader()
        table = self._whole_table(reader, epoch)
        return hand_over.write(self.out, reader, self.model, table, self.start.kinds, self.start.parent)

    def _whole_table(self, reader: FragmentReader, epoch: int) -> torch.Tensor | None:
        """All word embeddings after an epoch; None: as the fragments have them."""
        steps = range(self.order.steps_per_epoch * (epoch + 1))
        rates = (learning_rate(step, self.order.total, self.spec.settings) for step in steps)
        if self.ids is not None:
            rows = reader.tensor("parameters", hand_over.WORDS, (len(self.ids), self.sizes.width))
            return full_table(self.table, self.ids, rows, rates, self.spec.settings)
        if self.spec.settings.decay_unseen or self.start.needs_all_words:
            return None
        used = self.start.used_ids()
        rows = reader.tensor("parameters", hand_over.WORDS, tuple(self.table.shape))
        return full_table(self.table, used, rows[torch.from_numpy(used)], rates, self.spec.settings)

    def _facts(self, best_epoch: int, encoder: str) -> dict[str, Any]:
        progress, device = self.progress, self.world.device
        dropout = setup.attention_dropout(self.start.encoder)
        width = self.sizes.width // self.sizes.heads
        return {
            "steps": progress.step,
            "epochs": self.spec.settings.epochs,
            "dev_scores": progress.scores,
            "selected_epoch": best_epoch,
            "dev_score": progress.scores[best_epoch],
            "at_chance": progress.at_chance[best_epoch],
            "dev_points": progress.points,
            "parent_hash": self.start.parent.encoder_hash,
            "encoder_hash": encoder,
            "precision": "bf16" if self.model.bf16 else "fp32",
            "device": device.type,
            "world_size": self.world.size,
            "zero": self.shape.zero,
            "token_budget": progress.token_budget,
            "out_of_memory": progress.out_of_memory,
            "vocabulary_rows": None if self.ids is None else len(self.ids),
            "matmul": progress.matmul or None,
            "attention": attention.kernel_name(device, width, dropout, half=self.model.bf16),
            "seconds": round(progress.seconds, 3),
            "examples": progress.examples,
            "tokens": progress.tokens,
        }

    def close(self) -> None:
        if self.feed is not None:
            self.feed.close()
        self.saver.close()
        if self.engine is not None:
            self.engine.close()
        if self._matmul_before is not None:
            matmul_library.restore(self._matmul_before)
