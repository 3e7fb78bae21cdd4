"""The optimizer's state under any ZeRO stage, by name: the fragments that a rank owns, and setting them.

Stage "none" (torch's DDP) and 0: every rank holds all; they share the writing. 1 and 2: a rank owns a part of the flat
masters, which cuts through parameters anywhere. 3: a rank owns a part of each parameter.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from training.checkpoints.fragments import KINDS, MOMENTS, Fragment, FragmentReader, StateKind
from training.distributed import World
from training.shape import ZeroStage


class ZeroState:
    """State of `model` (not wrapped) under `engine`: DeepSpeed's, or the plain Adam for stage "none"."""

    def __init__(self, engine: Any, model: nn.Module, stage: ZeroStage, world: World) -> None:
        """Makes Adam's state as after no update, so that all of it can be read and set by name from the start."""
        self._stage, self._world = stage, world
        # A parameter has one name, the first, however many modules share it.
        self._named: list[tuple[str, Any]] = list(model.named_parameters())
        assert all(parameter.requires_grad for _, parameter in self._named), "a frozen parameter has no state"
        self._zero: Any = engine if stage == "none" else engine.optimizer
        self._adam: Any = getattr(self._zero, "optimizer", self._zero)
        self._make_adam_state()

    def _make_adam_state(self) -> None:
        for tensor in self._flat_tensors():
            moments: dict[str, Tensor] = {key: torch.zeros_like(tensor, requires_grad=False) for key in MOMENTS}
            step = torch.zeros((), dtype=torch.float32, device=tensor.device)
            self._adam.state[tensor] = {"step": step, **moments}
        if self._stage in (1, 2):
            # By itself DeepSpeed links the state to the parameters of the first group only, at the first update.
            self._zero._lazy_init_hp_params_optimizer_state()

    def _flat_tensors(self) -> Iterator[Tensor]:
        """What Adam updates: parameters, or this rank's part of all of a group's, end to end."""
        if self._stage in ("none", 0):
            yield from (tensor for group in self._adam.param_groups for tensor in group["params"])
        elif self._stage == 3:
            yield from self._zero.fp32_partitioned_groups_flat
        else:
            yield from self._zero.single_partition_of_fp32_groups

    def set_updates(self, count: int) -> None:
        """Tell Adam how many updates there have been (its bias correction)."""
        for state in self._adam.state.values():
            state["step"].fill_(float(count))

    # --- this rank's own

    def fragments(self, *kinds: StateKind) -> Iterator[Fragment]:
        """What this rank writes; of all kinds where none is named. All ranks' together cover every element.

        Views, valid until the next update (under ZeRO-3 with offload on a GPU: copies, one parameter at a time).
        """
        for kind in kinds or KINDS:
            for name, start, values in self._own(kind):
                yield Fragment(kind, name, start, values)

    def _own(self, kind: StateKind) -> Iterator[tuple[str, int, Tensor]]:
        if self._stage in ("none", 0):
            return self._own_share(kind)
        return self._own_partitions(kind) if self._stage == 3 else self._own_masters(kind)

    def _own_share(self, kind: StateKind) -> Iterator[tuple[str, int, Tensor]]:
        """An equal share of the elements, which every rank holds."""
        total = sum(parameter.numel() for _, parameter in self._named)
        first, last = (total * rank // self._world.size for rank in (self._world.rank, self._world.rank + 1))
        at = 0
        for name, parameter in self._named:
            start, end = max(first - at, 0), min(last - at, parameter.numel())
            if start < end:
                yield name, start, self._whole(kind, parameter).reshape(-1)[start:end]
            at += parameter.numel()

    def _whole(self, kind: StateKind, parameter: nn.Parameter) -> Tensor:
        tensor = parameter if kind == "parameters" else self._adam.state[parameter][kind]
        return tensor.detach()

    def _own_masters(self, kind: StateKind) -> Iterator[tuple[str, int, Tensor]]:
        for name, parameter in self._named:
            mapping = parameter._hp_mapping
            if mapping is not None:
                values = mapping.get_hp_fragment(None if kind == "parameters" else kind)
                yield name, mapping.lp_fragment_address.start, values.detach()

    def _own_partitions(self, kind: StateKind) -> Iterator[tuple[str, int, Tensor]]:
        for name, parameter in self._named:
            start, length = self._partition(parameter)
            if length > 0:
                yield name, start, _get_local(kind, parameter).detach()[:length]

    def _partition(self, parameter: Any) -> tuple[int, int]:
        """(start, length) of this rank's part under ZeRO-3; what is behind a parameter's end is padding."""
        size = parameter.ds_tensor.ds_numel
        start = min(size * self._world.rank, parameter.ds_numel)
        return start, min(size, parameter.ds_numel - start)

    # --- setting it

    def load(self, reader: FragmentReader) -> None:
        """Set the moments, and the fp32 masters where DeepSpeed has its own, from a checkpoint of any world size.

        The model's own parameters are not touched: load them from the same reader before DeepSpeed takes the model.
        """
        self.set_masters(lambda name, start, length: reader.read("parameters", name, start, length))
        for kind in MOMENTS:
            self._set(kind, lambda name, start, length, kind=kind: reader.read(kind, name, start, length))  # type: ignore[misc]

    def set_masters(self, read: Callable[[str, int, int], Tensor]) -> None:
        """Set the fp32 masters by `read(name, start, length)`; nothing where Adam updates the parameters themselves.

        DeepSpeed makes them from the model's parameters, which were rounded before where those are bf16.
        """
        if self._stage not in ("none", 0):
            self._set("parameters", read)

    def _set(self, kind: StateKind, read: Callable[[str, int, int], Tensor]) -> None:
        if self._stage in ("none", 0):
            for name, parameter in self._named:
                self._whole(kind, parameter).copy_(read(name, 0, parameter.numel()).reshape(parameter.shape))
        elif self._stage == 3:
            for name, parameter in self._named:
                start, length = self._partition(parameter)
                padded_values = torch.zeros(parameter.ds_tensor.ds_numel)
                padded_values[:length] = read(name, start, length)
                _set_local(kind, parameter, padded_values)
        else:
            for name, start, values in self._own_masters(kind):
                values.copy_(read(name, start, values.numel()))


def _get_local(kind: StateKind, parameter: nn.Parameter) -> Tensor:
    from deepspeed.utils import safe_get_local_fp32_param, safe_get_local_optimizer_state

    if kind == "parameters":
        return safe_get_local_fp32_param(parameter)  # type: ignore[no-any-return]
    return safe_get_local_optimizer_state(parameter, kind)  # type: ignore[no-any-return]


def _set_local(kind: StateKind, parameter: nn.Parameter, values: Tensor) -> None:
    from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

    if kind == "parameters":
        safe_set_local_fp32_param(parameter, values)
    else:
        safe_set_local_optimizer_state(parameter, values, kind)
