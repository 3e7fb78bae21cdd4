"""A causal language model over packed rows, with the face of `training.model.xlmr.Encoder`: transformers' own class.

transformers knows nothing of packed rows, so they are padded in a few buckets of similar length, at their ends: what
reads from the left alone sees nothing of that, whatever its positions are. Dropout is drawn from torch's generator.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from training.model.dropout import use_on_cpu
from training.model.packing import Layout
from training.pretrained.causal import CausalConfig

PREFIX = "language_model."  # begins the names of this module's parameters; the rest is as in a model folder
# What families call dropout; attention's weights have their own.
_DROPOUT = ("dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop")
_ATTENTION_DROPOUT = ("attention_dropout", "attn_pdrop")


class CausalModel(nn.Module):
    """ids [1, tokens] → hidden states [1, tokens, width] of the last layer; of every one, the embeddings first, where
    `every_layer` asks for them; of layer `depth`, where that is given. `positions` are the model's own business.

    `tensors`: all of its parameters, which it is built on. The dropouts replace the config's.
    """

    prefix = PREFIX

    def __init__(
        self,
        config: CausalConfig,
        tensors: Mapping[str, Tensor],
        dropout: float | None = None,
        attention_dropout: float | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        family_config = _family_config(config, dropout, attention_dropout)
        self.attention_dropout = float(_first(family_config, _ATTENTION_DROPOUT) or 0.0)
        self.language_model = _on(config, family_config, tensors)
        use_on_cpu(self.language_model)

    def forward(
        self, ids: Tensor, positions: Tensor, layout: Layout, depth: int | None = None, every_layer: bool = False
    ) -> tuple[Tensor, ...]:
        buckets, back = layout.buckets
        by_bucket = [self._states(ids[0][bucket.places], depth, every_layer) for bucket in buckets]
        return tuple(
            torch.cat([states.flatten(0, 1) for states in of_layer]).index_select(0, back)[None]
            for of_layer in zip(*by_bucket, strict=True)
        )

    def _states(self, ids: Tensor, depth: int | None, every_layer: bool) -> tuple[Tensor, ...]:
        """[rows, length] → [rows, length, width] of the layers asked for."""
        outputs = self.language_model.base_model(
            input_ids=ids, use_cache=False, output_hidden_states=every_layer or depth is not None
        )
        if every_layer:
            return tuple(outputs.hidden_states)
        return (outputs.last_hidden_state if depth is None else outputs.hidden_states[depth],)

    def next_words(self, hidden: Tensor) -> Tensor:
        """The scores of the whole vocabulary for the token behind each: [tokens, width] → [tokens, vocabulary]."""
        return self.language_model.get_output_embeddings()(hidden)  # type: ignore[no-any-return]

    @property
    def word_embeddings(self) -> nn.Embedding:
        return self.language_model.get_input_embeddings()  # type: ignore[no-any-return]


def parameter_shapes(config: CausalConfig) -> dict[str, torch.Size]:
    """The parameters of a model by their names in a model folder. Embeddings that are tied have one name, the first."""
    with torch.device("meta"):
        model = _class(config)(_family_config(config, None, None))
    model.tie_weights()
    return {name: parameter.shape for name, parameter in model.named_parameters()}


def base_prefix(config: CausalConfig) -> str:
    """What begins the names of most parameters, and is missing where a checkpoint was saved without its last layer."""
    return f"{_class(config).base_model_prefix}."


def _on(config: CausalConfig, family_config: Any, tensors: Mapping[str, Tensor]) -> Any:
    """transformers' model on these very tensors."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = _class(config).from_pretrained(None, config=family_config, state_dict=dict(tensors), dtype=torch.float32)
    assert {name for name, _ in model.named_parameters()} == tensors.keys(), family_config.model_type
    return model


def _class(config: CausalConfig) -> Any:
    import transformers

    return getattr(transformers, config.family.model)


def _family_config(config: CausalConfig, dropout: float | None, attention_dropout: float | None) -> Any:
    family_config = _class(config).config_class.from_dict(dict(config.values))
    of_attention = dropout if attention_dropout is None else attention_dropout
    for names, probability in ((_DROPOUT, dropout), (_ATTENTION_DROPOUT, of_attention)):
        for name in names:
            if probability is not None and hasattr(family_config, name):
                setattr(family_config, name, probability)
    if hasattr(family_config, "layerdrop"):
        family_config.layerdrop = 0.0  # a layer that is left out has no gradients, which ZeRO waits for
    return family_config


def _first(family_config: Any, names: tuple[str, ...]) -> float | None:
    return next((getattr(family_config, name) for name in names if hasattr(family_config, name)), None)
