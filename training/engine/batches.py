"""Which examples a step trains on, how they are cut into micro-batches, and the next step made ready ahead of its time.

All are functions of (seed, step): the same on any number of ranks, after any resume, whichever thread computes them.
Begin with `Order`; `Maker` makes one of its steps ready, `Feed` does so in a thread while the step before is computed.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from training.data.parts import Part
from training.data.sampling import LanguageGroups, Mix, by_language, draw_parts, shuffled
from training.formats.base import Piece
from training.model.heads import reads
from training.model.packing import Packed, cut, pack, tokens
from training.seeds import sub_seed
from training.spec import Settings


@dataclass(frozen=True)
class Step:
    """One optimizer step: some examples of one part of the stage. Steps and epochs count from 0."""

    number: int
    epoch: int  # of the stage; dev is scored at its end
    part: int
    examples: tuple[int, ...]  # indices into the part


class Order:
    """The steps of a stage over parts of the given sizes (numbers of examples).

    Every step is of one part. Each part goes through its own seeded epochs; the last step of an epoch may be smaller.
    Parts under one head are sources of one task: a step's task is drawn by `mix`, its source by size. `languages`: of
    the parts whose examples are drawn by language, the indices of each one's (see `by_language`).
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        batch: int,
        epochs: int,
        mix: Mix,
        seed: int,
        heads: Sequence[str] = (),
        languages: Mapping[int, LanguageGroups] = MappingProxyType({}),
    ) -> None:
        assert sizes and min(sizes) > 0 and batch > 0 and epochs > 0, (sizes, batch, epochs)
        self.sizes = tuple(sizes)
        self.batch = batch
        self.seed = seed
        self.steps_per_epoch = sum(_batches(size, batch) for size in sizes)
        self.total = epochs * self.steps_per_epoch
        self._languages = languages
        self._parts = draw_parts(sizes, heads or [str(part) for part in range(len(sizes))], mix, seed, self.total)
        self._turns = _turns(self._parts, len(sizes))

    def step(self, number: int) -> Step:
        """The step of this number, 0 ≤ number < total."""
        part = self._parts[number]
        turns = _batches(self.sizes[part], self.batch)
        pass_, place = divmod(self._turns[number], turns)
        if part in self._languages:
            order = by_language(self.seed, part, pass_, self._languages[part])
        else:
            order = shuffled(self.seed, part, pass_, self.sizes[part])
        examples = order[place * self.batch : (place + 1) * self.batch]
        return Step(number, number // self.steps_per_epoch, part, examples)

    def ends_epoch(self, number: int) -> bool:
        """Whether step `number` is an epoch's last."""
        return (number + 1) % self.steps_per_epoch == 0


def _batches(size: int, batch: int) -> int:
    return -(-size // batch)


def _turns(parts: Sequence[int], count: int) -> list[int]:
    """For each step: how many earlier steps were of its part."""
    steps_of_part = [0] * count
    turns = []
    for part in parts:
        turns.append(steps_of_part[part])
        steps_of_part[part] += 1
    return turns


@dataclass(frozen=True)
class Micro:
    """One forward pass of a step. `weight` 0: only there so that every rank makes equally many."""

    index: int  # within the step, the same on every rank
    pieces: range  # of the step's
    weight: float


def share(micros: Sequence[range], rank: int, world: int) -> list[Micro]:
    """Rank's micro-batches: every world-th; where these do not go round, the step's last one at weight 0 besides."""
    micros_of_rank = [Micro(index, micros[index], 1.0) for index in range(rank, len(micros), world)]
    filler = Micro(len(micros) - 1, micros[-1], 0.0)
    return micros_of_rank + [filler] * (_batches(len(micros), world) - len(micros_of_rank))


def units(sizes: Sequence[int], unit: int) -> list[int]:
    """The tokens of consecutive units of `unit` pieces (the last may be smaller), from those of the pieces."""
    return [sum(sizes[start : start + unit]) for start in range(0, len(sizes), unit)]


def cut_pieces(pieces: Sequence[Piece], unit: int, budget: int, world: int) -> list[range]:
    """A step's pieces in micro-batches of at most `budget` tokens; `unit`: how many must stay together."""
    parts = cut(units([tokens([piece]) for piece in pieces], unit), budget, world)
    return [range(part.start * unit, min(part.stop * unit, len(pieces))) for part in parts]


@dataclass(frozen=True)
class PreparedStep:
    """A step made ready for one rank, on the CPU."""

    step: Step
    part: Part
    pieces: tuple[Piece, ...]  # of the whole step
    owners: tuple[int, ...]  # for each piece the index of its example, in the part
    terms: int  # loss terms of the whole step
    unit: int  # pieces that no micro-batch parts
    micros: tuple[range, ...]  # of the whole step
    batches: tuple[tuple[Micro, Packed], ...]  # of this rank
    tokens: int  # of the whole step, without filler
    filler: int  # tokens of this rank's forward passes that are padding

    def ids(self, micro: range) -> list[str]:
        """The ids of a micro-batch's examples."""
        return list(dict.fromkeys(self.part.ids[self.owners[piece]] for piece in micro))


@dataclass(frozen=True)
class Maker:
    """Makes steps ready: reads, hides, cuts and packs their pieces; a function of (seed, step) and of the ranks."""

    parts: Sequence[Part]
    seed: int
    tokenizer: Any
    settings: Settings
    rank: int
    world: int
    multiple: int = 1  # of which the number of tokens of a forward pass is made one

    def prepare(self, step: Step, budget: int) -> PreparedStep:
        part = self.parts[step.part]
        pieces_by_example = part.of(
            step.examples, sub_seed(self.seed, "pieces", step.number), self.tokenizer, self.settings
        )
        owners = tuple(
            example for example, of_example in zip(step.examples, pieces_by_example, strict=True) for _ in of_example
        )
        pieces = tuple(piece for of_example in pieces_by_example for piece in of_example)
        form = part.task.format
        unit = part.form.examples_together(self.settings)
        micros = cut_pieces(pieces, unit, budget, self.world)
        batches = []
        for micro in share(micros, self.rank, self.world):
            micro_pieces = pieces[micro.pieces.start : micro.pieces.stop]
            batches.append((micro, pack(micro_pieces, reads(form, micro_pieces), self.multiple)))
        filler = sum(packed_batch.filler for _, packed_batch in batches)
        return PreparedStep(
            step,
            part,
            pieces,
            owners,
            part.terms(pieces_by_example),
            unit,
            tuple(micros),
            tuple(batches),
            tokens(pieces),
            filler,
        )


class Feed:
    """Steps in their order. `prepare(number, budget)` is a function of its arguments, whenever it is called."""

    def __init__(self, prepare: Callable[[int, int], PreparedStep], total: int, budget: int) -> None:
        self._prepare, self._total = prepare, total
        self.budget = budget  # tokens per forward pass
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._next: tuple[int, int, Future[PreparedStep]] | None = None

    def take(self, number: int) -> PreparedStep:
        """The step of this number; the one behind it is begun."""
        request = number, self.budget
        if self._next is not None and self._next[:2] == request:
            prepared_step = self._next[2].result()
        else:
            prepared_step = self._prepare(*request)
        following = number + 1, self.budget
        if following[0] < self._total:
            self._next = *following, self._pool.submit(self._prepare, *following)
        return prepared_step

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
