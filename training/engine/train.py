"""Trains one stage: a parent's encoder on one step of a path, with fresh heads, on any number of ranks.

Below `out`: log.jsonl (see `training.record`), checkpoints/, and at the end encoder/ and heads/ of the best epoch.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import torch

from slurm.base import UserError
from training import distributed
from training.checkpoints import files, hand_over
from training.checkpoints.files import Checkpoint
from training.checkpoints.fragments import Reader
from training.checkpoints.progress import DevScore, Progress
from training.checkpoints.saver import Saver
from training.distributed import World
from training.engine import choices, setup
from training.engine import matmul as matmul_library
from training.engine.batches import Feed, Maker, Micro, Prepared
from training.engine.ddp import PlainEngine
from training.engine.log import Record, timed
from training.engine.optimizer import learning_rate
from training.engine.zero import ZeroEngine
from training.flops import sizes_of, training_flops
from training.model import attention, heads
from training.model.encoder import StageModel, encoder_hash, use_bf16
from training.model.packing import Packed
from training.model.vocabulary import full_table, ids_hash
from training.spec import Runtime, TrainSpec

_STATIC_TOKENS = 256  # with `compile`: the number of tokens of a forward pass is a multiple of it


class Stopped(Exception):
    """Training stopped between two steps because it was asked to; `folder` is the checkpoint to go on from."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"stopped; the checkpoint is {folder}")
        self.folder = folder


OnStep = Callable[[int, int, float], None]


def train(
    spec: TrainSpec,
    runtime: Runtime,
    parent: Path,
    out: Path,
    *,
    dev_score: Callable[[StageModel], DevScore],
    should_stop: Callable[[], bool],
    resume_from: Sequence[Path] = (),
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Train `spec` from the model folder `parent` and return the facts of the run (JSON).

    Every rank calls it alike, after `distributed.init` (a lone process may leave that out).
    `dev_score` is called by all ranks after each epoch, and rank 0's counts. The best epoch is handed on, of equal ones
    the earliest. `should_stop` is asked on every rank between steps: at one True all save a checkpoint and raise
    Stopped. `resume_from`: folders of earlier attempts; the furthest whole checkpoint in them or in `out` is gone on
    from. `on_step(steps done, steps in all, loss)`. UserError where data or model do not fit, memory does not suffice,
    or the loss diverges.
    """
    world = distributed.current() or distributed.init(runtime.device)
    stage = _Stage(spec, runtime, parent, out, world)
    try:
        stage.begin([*resume_from, out])
        stage.run(dev_score, should_stop, on_step)
        return stage.hand_over()
    finally:
        stage.close()


class _Stage:
    """A stage in training."""

    def __init__(self, spec: TrainSpec, runtime: Runtime, parent: Path, out: Path, world: World) -> None:
        self.spec, self.runtime, self.parent, self.out, self.world = spec, runtime, parent, out, world
        self.start = setup.read(spec, parent)
        self.order = self.start.order
        self.sizes = sizes_of(self.start.encoder.config.to_dict())
        self.progress = Progress()
        self.engine: ZeroEngine | PlainEngine | None = None
        self.feed: Feed | None = None
        self._matmul_before: str | None = None
        out.mkdir(parents=True, exist_ok=True)
        self.saver = Saver(out, world, self.start.identity, runtime.checkpoint_minutes)

    # --- the beginning: fresh, or from a checkpoint

    def begin(self, folders: Sequence[Path]) -> None:
        """Build the engine, on a checkpoint's weights and moments where there is one."""
        found = self._agree_on_checkpoint(folders)
        if found is not None:
            self.progress = Progress(**found.state)
        self.ids = self._vocabulary(resumed=found is not None)
        self.progress.vocabulary = None if self.ids is None else ids_hash(self.ids)
        self.model, self.table = self.start.model(self.ids, bf16=use_bf16(self.spec.settings, self.world.device))
        self.model.to(self.world.device)
        self.record = Record(self.out, first=self.world.first, world=self.world.size)
        self._choose(folders)
        if len(self.progress.scores) == self.spec.settings.epochs:
            return  # only the hand-over is still to be done
        if found is not None:
            self._load_parameters(found)
        self._start_engine()
        if found is not None:
            self._engine.state.load(found.reader())
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
        found = files.newest(folders, self.start.identity) if self.world.first else None
        if found is not None:
            files.link_best(found, self.out)
        said = distributed.from_first(found and str(found.folder), self.world)
        return files.opened(Path(said)) if said else None

    def _vocabulary(self, *, resumed: bool) -> Any:
        """The ids of the compact vocabulary; None: all words are trained. A resume keeps to what the run began with."""
        wanted = self.runtime.compact_vocabulary and not self.start.needs_all_words
        if resumed:
            wanted = self.progress.vocabulary is not None
        if not wanted:
            return None
        ids = self.start.used_ids()
        assert self.progress.vocabulary in (None, ids_hash(ids)), "equal data has equal ids"
        return ids

    def _choose(self, folders: Sequence[Path]) -> None:
        """How this run computes: its shape, and what rounds its numbers."""
        done = self.progress
        words = None if self.ids is None else len(self.ids)
        self.shape = choices.run_shape(self.start, self.model, words, self.runtime, self.world)
        matmul = choices.matmul(self.runtime, done.matmul, self.world)
        if matmul is not None:
            self._matmul_before = matmul_library.apply(matmul.name)
            self.record.line(matmul=matmul.name, why=matmul.why, relative_error=matmul.exact_error)
        self.record.peak = choices.peak(self.world, matmul, bf16=self.model.bf16)
        budget = choices.token_budget(self.runtime, done, self.shape, folders, self.world)
        changed = (
            done.matmul and matmul is not None and done.matmul != matmul.name,
            done.token_budget not in (0, budget),
        )
        if any(changed):
            self.record.line(not_bit_equal_from=done.step, token_budget=budget, matmul=matmul and matmul.name)
        done.token_budget, done.matmul = budget, matmul.name if matmul else ""

    def _load_parameters(self, found: Checkpoint) -> None:
        """Before DeepSpeed makes its own copies of the weights."""
        reader = found.reader()
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(reader.tensor("parameters", name, tuple(parameter.shape)))

    def _start_engine(self) -> None:
        if self.runtime.compile:
            setup.compile_layers(self.model.encoder)
        if self.shape.zero == "none":
            self.engine = PlainEngine(self.model, self.spec.settings, self.world)
        else:
            self.engine = ZeroEngine(self.model, self.spec.settings, self.shape, self.world)

    @property
    def _engine(self) -> ZeroEngine | PlainEngine:
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

    def run(
        self, dev_score: Callable[[StageModel], DevScore], should_stop: Callable[[], bool], on_step: OnStep | None
    ) -> None:
        """All steps that are still to be done."""
        self.model.train()
        if self._epoch_is_unscored():
            self._end_epoch(self.progress.step - 1, dev_score)
        self.record.pause()
        while self.progress.step < self.order.total:
            loss, stop, save = self._one_step(self.progress.step, should_stop)
            if on_step is not None:
                on_step(self.progress.step, self.order.total, loss)
            if stop:  # at once: scoring dev may take longer than is left
                self._stop()
            if self._epoch_is_unscored():
                self._end_epoch(self.progress.step - 1, dev_score)
            if save and self.progress.step < self.order.total:
                self.record.times.stall += self.saver.save(self.progress)

    def _epoch_is_unscored(self) -> bool:
        """Whether an epoch has just ended; a run that was stopped there goes on with its score."""
        return len(self.progress.scores) < self.progress.step // self.order.steps_per_epoch

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
        begun = time.monotonic()
        prepared, losses = self._gradients(number)
        rate = learning_rate(number, self.order.total, self.spec.settings)
        norm, updating = timed(lambda: self._engine.update(rate))
        # A place for each micro-batch and three flags: one sum over the ranks serves all, the losses' order is fixed.
        flags = [float(should_stop()), float(self.saver.is_due()), float(self.saver.failed)]
        news = torch.cat([losses, losses.new_tensor(flags)])
        *found, stop, save, failed = distributed.summed(news, self.world).tolist()
        if not all(map(math.isfinite, [*found, norm])):
            self._refuse_divergence(prepared, found)
        loss = sum(found) / prepared.terms
        self._note(prepared, loss, rate, norm, time.monotonic() - begun, updating)
        if failed:
            self._note_failed_write(number)
        return loss, stop > 0, save > 0

    def _gradients(self, number: int) -> tuple[Prepared, torch.Tensor]:
        """The gradients of a step, and the undivided losses of its micro-batches, this rank's in their places."""
        assert self.feed is not None
        while True:
            prepared, waited = timed(lambda: self.feed.take(number))  # type: ignore[union-attr]
            self.record.times.data_wait += waited
            try:
                return prepared, self._accumulate(prepared)
            except RuntimeError as error:
                if not choices.is_out_of_memory(error):
                    raise
            self._shrink(prepared)

    def _accumulate(self, prepared: Prepared) -> torch.Tensor:
        losses = torch.zeros(len(prepared.micros), dtype=torch.float64, device=self.world.device)
        for place, (micro, packed) in enumerate(prepared.own):
            last = place == len(prepared.own) - 1
            losses[micro.index] += self._backward(prepared, micro, packed, last=last).double()
        return losses

    def _backward(self, prepared: Prepared, micro: Micro, packed: Packed, *, last: bool) -> torch.Tensor:
        form, contrast = prepared.part.task.format, self.spec.settings.contrast_size
        batch = packed.to(self.world.device)
        # Dropout by place in the data, not by rank: a resume, or a rank more, needs no state of a generator.
        torch.manual_seed(setup.dropout_seed(self.spec.seed, prepared.step.number, micro.index))
        return self._engine.backward(
            batch,
            prepared.part.head.name,
            lambda logits: heads.loss(form, logits, batch.pieces, contrast) * micro.weight,
            prepared.terms,
            last=last,
        )

    def _shrink(self, prepared: Prepared) -> None:
        """Out of memory: half as many tokens at a time. UserError where it cannot be done in this process."""
        assert self.feed is not None
        budget = self.progress.token_budget // 2
        hint = f"step {prepared.step.number}: out of memory with token_budget {self.progress.token_budget}"
        if max(len(micro) for micro in prepared.micros) <= prepared.whole:
            raise UserError(f"{hint}, with one sequence at a time; ask for more memory or set a smaller max_length.")
        if self.world.size > 1 or self.shape.zero not in ("none", 0):
            # Other ranks, or DeepSpeed itself, are in the middle of something: the next attempt has smaller ones.
            choices.note(self.out, prepared.step.number, budget)
            raise UserError(f"{hint}; submit again: it goes on with {budget}, the same examples a step.")
        self._engine.discard()
        if self.world.device.type == "cuda":
            torch.cuda.empty_cache()
        self.progress.out_of_memory.append({"step": prepared.step.number, "token_budget": budget})
        self.progress.token_budget = self.feed.budget = budget
        self.record.line(out_of_memory=prepared.step.number, token_budget=budget)
        print(f"{hint}: going on with {budget}, the same examples a step", file=sys.stderr, flush=True)

    def _refuse_divergence(self, prepared: Prepared, losses: list[float]) -> NoReturn:
        bad = [micro for micro, loss in zip(prepared.micros, losses, strict=True) if not math.isfinite(loss)]
        what = "loss" if bad else "gradient"
        ids = list(dict.fromkeys(id_ for micro in bad or prepared.micros for id_ in prepared.ids(micro)))
        number, task = prepared.step.number, prepared.part.task.name
        self.record.line(not_finite=what, step=number, task=task, ids=ids)
        more = f" and {len(ids) - 8} more (log.jsonl has all)" if len(ids) > 8 else ""
        raise UserError(
            f"step {number} of task {task}: the {what} is not finite at examples {', '.join(ids[:8])}"
            f"{more}; look at them, lower learning_rate or set precision: fp32."
        )

    # --- what is noted

    def _note(self, prepared: Prepared, loss: float, rate: float, norm: float, seconds: float, updating: float) -> None:
        step, done, times = prepared.step, self.progress, self.record.times
        done.step, done.examples = done.step + 1, done.examples + len(step.examples)
        done.tokens, done.seconds = done.tokens + prepared.tokens, done.seconds + seconds
        self.record.line(
            step=step.number,
            epoch=step.epoch,
            task=prepared.part.task.name,
            loss=loss,
            learning_rate=rate,
            grad_norm=norm,
            examples=len(step.examples),
            tokens=prepared.tokens,
            seconds=round(seconds, 4),
        )
        lengths = [len(row) for piece in prepared.pieces for row in piece.rows]
        times.steps, times.examples = times.steps + 1, times.examples + len(step.examples)
        times.tokens, times.filler = times.tokens + prepared.tokens, times.filler + prepared.filler
        times.computed += sum(packed.layout.tokens for _, packed in prepared.own)
        predicted = prepared.terms if prepared.part.task.format == "mlm" else 0
        squares = sum(length**2 for length in lengths)
        times.flops += training_flops(self.sizes, prepared.tokens, squares, predicted=predicted)
        times.update += updating
        self.record.step_done(step.number)

    def _note_failed_write(self, number: int) -> None:
        """A checkpoint that could not be written costs time after a kill, not the run."""
        reason = self.saver.take_failure() or "on another rank"
        self.record.line(checkpoint_failed=reason, step=number)
        print(f"{self.out}: a checkpoint could not be written ({reason}): going on", file=sys.stderr, flush=True)

    # --- epochs and the end

    def _end_epoch(self, number: int, dev_score: Callable[[StageModel], DevScore]) -> None:
        self.record.interval(number)
        epoch = self.order.step(number).epoch
        found = distributed.from_first(asdict(dev_score(self._engine.model)), self.world)
        self.model.train()
        score = float(found["score"])
        self.progress.scores.append(score)
        self.progress.at_chance.append(list(found["at_chance"]))
        self.record.line(epoch=epoch, dev_score=score)
        if self.progress.best is None or score > self.progress.best["score"]:
            self.saver.save_best(self.progress, epoch)
            self.progress.best = {"epoch": epoch, "score": score}
        self.record.pause()

    def hand_over(self) -> dict[str, Any]:
        """Put the best epoch's encoder and heads in their places, and say what happened."""
        best = self.progress.best
        assert best is not None, "no epoch has ended"
        if self.engine is not None:
            self.saver.save_end(self.progress)
        encoder = self._write_hand_over(best["epoch"]) if self.world.first else ""
        encoder = distributed.from_first(encoder, self.world)
        return self._facts(best["epoch"], encoder)

    def _write_hand_over(self, epoch: int) -> str:
        """Returns the encoder's hash."""
        reader = files.opened(files.best_folder(self.out, epoch)).reader()
        table = self._whole_table(reader, epoch)
        made = hand_over.write(self.out, reader, self.model, table, self.start.kinds, self.parent)
        return encoder_hash(made)

    def _whole_table(self, reader: Reader, epoch: int) -> torch.Tensor | None:
        """All word embeddings after an epoch; None: as the fragments have them."""
        steps = range(self.order.steps_per_epoch * (epoch + 1))
        rates = (learning_rate(step, self.order.total, self.spec.settings) for step in steps)
        if self.ids is not None:
            rows = reader.tensor("parameters", hand_over.WORDS, (len(self.ids), self.sizes.width))
            return full_table(self.table, self.ids, rows, rates, self.spec.settings)
        if self.spec.settings.decay_unseen or self.start.needs_all_words:
            return None
        seen = self.start.used_ids()
        trained = reader.tensor("parameters", hand_over.WORDS, tuple(self.table.shape))
        return full_table(self.table, seen, trained[torch.from_numpy(seen)], rates, self.spec.settings)

    def _facts(self, selected: int, encoder: str) -> dict[str, Any]:
        done, device = self.progress, self.world.device
        dropout = setup.attention_dropout(self.start.encoder)
        width = self.sizes.width // self.sizes.heads
        return {
            "steps": done.step,
            "epochs": self.spec.settings.epochs,
            "dev_scores": done.scores,
            "selected_epoch": selected,
            "dev_score": done.scores[selected],
            "at_chance": done.at_chance[selected],
            "parent_hash": self.start.parent_hash,
            "encoder_hash": encoder,
            "precision": "bf16" if self.model.bf16 else "fp32",
            "device": device.type,
            "world_size": self.world.size,
            "zero": self.shape.zero,
            "token_budget": done.token_budget,
            "out_of_memory": done.out_of_memory,
            "vocabulary_rows": None if self.ids is None else len(self.ids),
            "matmul": done.matmul or None,
            "attention": attention.kernel_name(device, width, dropout, half=self.model.bf16),
            "seconds": round(done.seconds, 3),
            "examples": done.examples,
            "tokens": done.tokens,
        }

    def close(self) -> None:
        if self.feed is not None:
            self.feed.close()
        self.saver.close()
        if self.engine is not None:
            self.engine.close()
        if self._matmul_before is not None:
            matmul_library.restore(self._matmul_before)
