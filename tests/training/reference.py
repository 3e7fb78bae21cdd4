"""The padded reference path: transformers' own models for every format, with the weights of a StageModel put in.

Attention is transformers' plain one ("eager"), there is no dropout, and the losses are transformers' where it has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.formats.base import IGNORED, Piece
from training.model import heads
from training.model.encoder import StageModel, head_module

PAD = 1
# Ours -> theirs, of a head's parameters.
_NAMES = {
    "sequence": {"dense.": "classifier.dense.", "out.": "classifier.out_proj."},
    "choice": {"dense.": "roberta.pooler.dense.", "out.": "classifier."},
    "span": {"out.": "qa_outputs."},
    "tagging": {"out.": "classifier."},
    "mlm": {"dense.": "lm_head.dense.", "layer_norm.": "lm_head.layer_norm.", "bias": "lm_head.bias"},
    "dual_encoder": {"dense.": "head.dense.", "scale": "head.scale"},
}


@dataclass(frozen=True)
class Padded:
    """ids and mask: [rows, longest]."""

    ids: Tensor
    mask: Tensor

    @property
    def lengths(self) -> list[int]:
        return [int(length) for length in self.mask.sum(1)]


def pad(pieces: Sequence[Piece], device: torch.device) -> Padded:
    rows = [torch.tensor(row) for piece in pieces for row in piece.rows]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD).to(device)
    return Padded(ids, (ids != PAD).long())


class _Dual(nn.Module):
    """transformers has no dual encoder."""

    def __init__(self, config: Any) -> None:
        from transformers import XLMRobertaModel

        super().__init__()
        self.roberta = XLMRobertaModel(config, add_pooling_layer=False)
        self.head = heads.build("dual_encoder", 0, config.hidden_size, 0.0)


class Reference:
    """A padded model of one format with the weights of `model`, and of its head for task `task`."""

    def __init__(self, model: StageModel, form: str, task: str) -> None:
        self.form, self.task = form, task
        self.model = _built(model, form, task).to(model.device)
        ours = dict(model.named_parameters())
        with torch.no_grad():
            for name in self.names(model):
                self.model.get_parameter(self.names(model)[name]).copy_(ours[name])

    def names(self, model: StageModel) -> dict[str, str]:
        """Our parameters' names and theirs, of all that the format uses."""
        found = {}
        head = f"heads.{head_module(self.task)}."
        for name, _ in model.named_parameters():
            if name.startswith("encoder."):
                found[name] = "roberta." + name.removeprefix("encoder.")
            elif name.startswith(head):
                own = name.removeprefix(head)
                start = next(start for start in _NAMES[self.form] if own.startswith(start))
                found[name] = _NAMES[self.form][start] + own.removeprefix(start)
        return found

    def run(self, pieces: Sequence[Piece], model: StageModel, contrast_size: int = 2) -> tuple[Tensor, Tensor]:
        """The logits, in the order and shape of ours, and the sum of the loss terms."""
        padded = pad(pieces, model.device)
        with torch.autocast(model.device.type, torch.bfloat16, enabled=model.bf16):
            return getattr(self, f"_{self.form}")(padded, pieces, contrast_size)  # type: ignore[no-any-return]

    def _sequence(self, padded: Padded, pieces: Sequence[Piece], _: int) -> tuple[Tensor, Tensor]:
        labels = torch.tensor([piece.target[0] for piece in pieces], device=padded.ids.device)
        output = self.model(padded.ids, attention_mask=padded.mask, labels=labels)
        return output.logits, output.loss * len(pieces)

    def _choice(self, padded: Padded, pieces: Sequence[Piece], _: int) -> tuple[Tensor, Tensor]:
        labels = torch.tensor([piece.target[0] for piece in pieces], device=padded.ids.device)
        shape = (len(pieces), len(pieces[0].rows), -1)
        output = self.model(padded.ids.view(shape), attention_mask=padded.mask.view(shape), labels=labels)
        return output.logits.reshape(-1, 1), output.loss * len(pieces)

    def _span(self, padded: Padded, pieces: Sequence[Piece], _: int) -> tuple[Tensor, Tensor]:
        output = self.model(padded.ids, attention_mask=padded.mask)
        logits = torch.stack((output.start_logits, output.end_logits), -1).float()
        targets = torch.tensor([piece.target for piece in pieces], device=padded.ids.device)
        # transformers' own loss would let padding be an answer.
        masked = logits.masked_fill(padded.mask[:, :, None] == 0, torch.finfo(torch.float32).min)
        loss = functional.cross_entropy(masked.transpose(1, 2).flatten(0, 1), targets.flatten(), reduction="sum")
        return logits[padded.mask.bool()], loss

    def _tagging(self, padded: Padded, pieces: Sequence[Piece], _: int) -> tuple[Tensor, Tensor]:
        labels = _labels(padded, pieces)
        output = self.model(padded.ids, attention_mask=padded.mask, labels=labels)
        places = [(row, word) for row, piece in enumerate(pieces) for word in piece.way_back]
        rows, words = zip(*places, strict=True)
        return output.logits[list(rows), list(words)], output.loss * (labels != IGNORED).sum()

    def _mlm(self, padded: Padded, pieces: Sequence[Piece], _: int) -> tuple[Tensor, Tensor]:
        labels = _labels(padded, pieces)
        output = self.model(padded.ids, attention_mask=padded.mask, labels=labels)
        return output.logits[labels != IGNORED], output.loss * (labels != IGNORED).sum()

    def _dual_encoder(self, padded: Padded, pieces: Sequence[Piece], contrast_size: int) -> tuple[Tensor, Tensor]:
        hidden = self.model.roberta(padded.ids, attention_mask=padded.mask).last_hidden_state  # type: ignore[operator]
        vectors = self.model.head(hidden[:, 0])  # type: ignore[operator]
        return vectors, heads.loss("dual_encoder", vectors, pieces, contrast_size)

    def every_layer(self, pieces: Sequence[Piece], device: torch.device) -> list[Tensor]:
        """The hidden states [tokens, width] of all layers, without those of padding."""
        padded = pad(pieces, device)
        output = self.model.roberta(  # type: ignore[operator]
            padded.ids, attention_mask=padded.mask, output_hidden_states=True
        )
        return [states[padded.mask.bool()] for states in output.hidden_states]


def _labels(padded: Padded, pieces: Sequence[Piece]) -> Tensor:
    rows = [torch.tensor(piece.target) for piece in pieces]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORED).to(padded.ids.device)


def _built(model: StageModel, form: str, task: str) -> nn.Module:
    import transformers

    config = transformers.XLMRobertaConfig(**vars(model.encoder.config))
    config.update({"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0})
    config._attn_implementation = "eager"
    config.tie_word_embeddings = True
    kinds = {
        "sequence": "XLMRobertaForSequenceClassification",
        "choice": "XLMRobertaForMultipleChoice",
        "span": "XLMRobertaForQuestionAnswering",
        "tagging": "XLMRobertaForTokenClassification",
        "mlm": "XLMRobertaForMaskedLM",
    }
    if form in ("sequence", "tagging"):
        config.num_labels = model.heads[head_module(task)].out.out_features  # type: ignore[union-attr]
    made = getattr(transformers, kinds[form])(config) if form in kinds else _Dual(config)
    if form == "mlm":
        made.lm_head.layer_norm.eps = 1e-5  # XLM-R's own; the small models' config says 1e-12
    return made.eval()  # type: ignore[no-any-return]
