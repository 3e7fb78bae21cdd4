"""Our side of the GPU benchmark: the engine's own parts, on a random model and made-up data.

Order, packing, feeding, steps, optimizer and evaluation are the engine's; left out is what happens between intervals
and needs a stage's folder: the log, looks at the signal, checkpoints, dev evaluations. The peer's are switched off too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from eval.prediction.forward import by_length, token_budget
from tests.benchmarks.windows import Measured, Windows, timed
from training import shape
from training.data.parts import Part
from training.data.sampling import mix_of
from training.distributed import World
from training.engine import setup
from training.engine.batches import Feed, Maker, Order, PreparedStep
from training.engine.ddp import PlainEngine
from training.engine.lone import LoneEngine
from training.engine.steps import Engine
from training.engine.zero import ZeroEngine
from training.formats.base import Piece
from training.model import heads
from training.model.dropout import use_on_cpu
from training.model.encoder import StageModel, head_dropout
from training.model.vocabulary import CompactEmbedding, used_ids
from training.model.xlmr import Encoder, SelfAttention
from training.pretrained.config import EncoderConfig
from training.spec import Runtime, Settings, Zero

WAITING = "wait for the next step"  # as the profiler is told


@dataclass(frozen=True)
class Variant:
    """A way to run our engine. `attention_dropout` 0 lets torch's varlen kernel in, which has no dropout."""

    name: str
    zero: Zero = "auto"
    compact: bool = True
    compile: bool = False
    attention_dropout: float = 0.1


VARIANTS = (
    Variant("ours"),
    Variant("ours, attention dropout 0", attention_dropout=0.0),
    Variant("ours, attention dropout 0, compiled", attention_dropout=0.0, compile=True),
    Variant("ours, all words trained", compact=False),
    Variant("ours, ZeRO-2", zero=2),
    Variant("ours, no DeepSpeed", zero="none"),
)


class Ours:
    """A model in training."""

    def __init__(self, variant: Variant, config: Any, part: Part, batch: int, world: World, *, bf16: bool) -> None:
        self._part, self._world = part, world
        self._settings = Settings(epochs=1000, global_batch_size=batch)
        self._model = _model(variant, config, part, world.device, bf16=bf16)
        runtime = Runtime(zero=variant.zero, compile=variant.compile)
        on_gpu = world.device.type == "cuda"
        memory = torch.cuda.get_device_properties(world.device).total_memory if on_gpu else None
        self.shape = shape.choose(
            self._model.encoder.config.sizes,
            world.size,
            memory,
            runtime,
            bf16=bf16,
            gpu=on_gpu,
            parameters=setup.parameter_count(self._model),
        )
        if variant.compile:
            setup.compile_layers(self._model.encoder)
        self._engine = self._start_engine()
        self._multiple = 256 if variant.compile else 1
        self.lengths: list[int] = []  # of the rows of all steps so far

    def _start_engine(self) -> Engine:
        """As the engine chooses it (`training.engine.train`)."""
        if self.shape.zero == "none":
            return PlainEngine(self._model, self._settings, self._world)
        if self.shape.zero == 0 and self._world.size == 1:
            return LoneEngine(self._model, self._settings, self._world)
        return ZeroEngine(self._model, self._settings, self.shape, self._world)

    def train(self, windows: Windows) -> None:
        """Steps as the engine's, for as long as `windows` asks for more."""
        settings, form = self._settings, self._part.task.format
        order = Order(
            [len(self._part.ids)], batch=settings.global_batch_size, epochs=1000, mix=mix_of(settings), seed=1
        )
        maker = Maker([self._part], 1, None, settings, 0, 1, self._multiple)
        feed = Feed(lambda step, budget: maker.prepare(order.step(step), budget), order.total, self.shape.token_budget)
        self._model.train()
        number, going_on = 0, windows.begin()
        try:
            while going_on:
                with torch.profiler.record_function(WAITING):
                    prepared = feed.take(number)
                self._step(prepared, form)
                self.lengths += [len(row) for piece in prepared.pieces for row in piece.rows]
                number += 1
                going_on = windows.step_done(prepared.tokens, len(prepared.step.examples))
        finally:
            feed.close()

    def _step(self, prepared: PreparedStep, form: str) -> None:
        losses = torch.zeros(len(prepared.micros), dtype=torch.float64, device=self._world.device)
        for place, (micro, packed) in enumerate(prepared.batches):
            batch = packed.to(self._world.device)
            torch.manual_seed(setup.dropout_seed(1, prepared.step.number, micro.index))
            losses[micro.index] += self._engine.backward(
                batch,
                prepared.part.head.name,
                lambda logits, batch=batch: heads.loss(form, logits, batch.pieces, 4),  # type: ignore[misc]
                prepared.terms,
                last=place == len(prepared.batches) - 1,
            )
        self._engine.update(1e-5)
        losses.tolist()  # the engine looks at them after every step

    def evaluate(self, pieces: Sequence[Piece]) -> Measured:
        """The head's outputs as arrays, by the code that evaluates stages."""
        form, head, model = self._part.task.format, self._part.head.name, self._model
        budget = token_budget(model, Runtime())
        # Evaluation knows all words.
        encoder: Any = model.encoder
        words, width = encoder.config.vocab_size, encoder.config.hidden_size
        encoder.embeddings.word_embeddings = nn.Embedding(words, width, device=self._world.device)

        def work() -> object:
            return by_length(
                model,
                form,
                pieces,
                budget,
                lambda packed: model(packed, head),
                lambda logits, batch: heads.unbatch(form, logits, batch),
            )

        work()  # the first one allocates
        tokens = sum(len(row) for piece in pieces for row in piece.rows)
        return timed(work, tokens, len(pieces))

    def close(self) -> None:
        self._engine.close()


def _model(variant: Variant, config: Any, part: Part, device: torch.device, *, bf16: bool) -> StageModel:
    """Random weights, made on the device."""
    with torch.device(device):
        encoder = Encoder(EncoderConfig(**{name: getattr(config, name) for name in EncoderConfig.__dataclass_fields__}))
    for module in encoder.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, SelfAttention):
            module.dropout.p = variant.attention_dropout
    use_on_cpu(encoder)
    if variant.compact:
        ids = used_ids(part.token_values(), (0, 1, 2, 3), config.vocab_size)
        compact = CompactEmbedding(encoder.embeddings.word_embeddings.cpu(), ids)
        encoder.embeddings.word_embeddings = compact  # type: ignore[assignment]
    head, dropout = part.head, head_dropout(encoder, None)
    fresh = heads.fresh(head.format, len(head.labels), config.hidden_size, dropout, 1, head.name)
    return StageModel(encoder, {head.name: fresh}, bf16=bf16).to(device)
