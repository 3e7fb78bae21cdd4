"""Trains one stage: a parent's encoder on one step of a path, with fresh heads, on any number of ranks.

Below `out`: log.jsonl (see `training.engine.log`), checkpoints/, and at the end encoder/ and heads/ of the best epoch.
"""

import sys
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
from training.engine.batches import Feed, Maker
from training.engine.ddp import PlainEngine
from training.engine.dev import DevSchedule, DevScoring
from training.engine.log import TrainingLog
from training.engine.lone import LoneEngine
from training.engine.optimizer import learning_rate
from training.engine.setup import StageModelParts
from training.engine.steps import Engine, Steps
from training.engine.zero import ZeroEngine
from training.model import attention, products
from training.model.encoder import StageModel, use_bf16
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
        self.engine: Engine | None = None  # None: only the hand-over is still to be done
        self.feed: Feed | None = None
        self._products_before: str | None = None
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
            return
        if checkpoint is not None:
            self._load_parameters(checkpoint)
        self.engine = self._start_engine()
        if checkpoint is not None:
            self.engine.state.load(checkpoint.reader())
            self.engine.state.set_updates(self.progress.step)
        self.saver.begin(self.engine.state, self.ids)
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
        matmul = choices.matmul(self.runtime, self.sizes, progress.matmul, self.world)
        if matmul is not None:
            self._products_before = products.apply(matmul.name)
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

    def _start_engine(self) -> Engine:
        if self.runtime.compile:
            setup.compile_layers(self.model.encoder)
        if self.shape.zero == "none":
            return PlainEngine(self.model, self.spec.settings, self.world)
        if self.shape.zero == 0 and self.world.size == 1:
            return LoneEngine(self.model, self.spec.settings, self.world)
        return ZeroEngine(self.model, self.spec.settings, self.shape, self.world)

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
        if self.engine is None:
            return
        assert self.feed is not None
        steps = Steps(
            self.start, self.shape, self.engine, self.feed, self.progress, self.record, self.saver, self.out, self.world
        )
        self.model.train()
        self._score_dev_where_due(self.engine.model, dev_score)
        self.record.pause()
        while self.progress.step < self.order.total:
            step = steps.take(self.progress.step, should_stop)
            if on_step is not None:
                on_step(self.progress.step, self.order.total, step.loss)
            if step.stop:  # at once: scoring dev may take longer than is left
                self._stop()
            self._score_dev_where_due(self.engine.model, dev_score)
            if step.save and self.progress.step < self.order.total:
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

    # --- epochs and the end

    def _score_dev_where_due(self, model: StageModel, dev_score: Callable[[StageModel], DevScore]) -> None:
        """Dropout is drawn by the place in the data, so that scoring between two steps changes none of them."""
        if self.dev.is_due:
            ends_epoch = self.dev.epoch_is_unscored
            dev_result = self.dev.score(model, dev_score)
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

    def _facts(self, best_epoch: int, encoder_hash: str) -> dict[str, Any]:
        progress, device = self.progress, self.world.device
        encoder = self.start.encoder
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
            "encoder_hash": encoder_hash,
            "precision": "bf16" if self.model.bf16 else "fp32",
            "device": device.type,
            "world_size": self.world.size,
            "zero": self.shape.zero,
            "token_budget": progress.token_budget,
            "out_of_memory": progress.out_of_memory,
            "vocabulary_rows": None if self.ids is None else len(self.ids),
            "matmul": progress.matmul or None,
            "attention": (
                "transformers'"
                if self.start.parent.is_causal
                else attention.kernel_name(device, width, encoder.attention_dropout, half=self.model.bf16)
            ),
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
        if self._products_before is not None:
            products.restore(self._products_before)
