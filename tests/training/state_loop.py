"""A small model of awkward sizes in training under some ZeRO stage; also as a rank: `python -m … JSON`."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training import distributed
from training.checkpoints import files
from training.checkpoints.optimizer_state import ZeroState
from training.distributed import World
from training.shape import ZeroStage

IDENTITY = "0" * 64


def model() -> nn.Module:
    """Sizes that two ranks cannot share evenly; always the same weights."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 5), nn.LayerNorm(5), nn.Linear(5, 3))


class Loop:
    """`model` under `stage`; `steps` trains it, on data that depend on the step alone."""

    def __init__(self, stage: ZeroStage, world: World, offload: bool = False, source: Path | None = None) -> None:
        self.stage, self.world, self.model, self.step = stage, world, model(), 0
        reader = files.opened(source).reader() if source else None
        if reader:
            shapes = {name: tensor.shape for name, tensor in self.model.named_parameters()}
            self.model.load_state_dict(
                {name: reader.tensor("parameters", name, shape) for name, shape in shapes.items()}
            )
        named = list(self.model.named_parameters())
        groups = [
            {"params": [p for _, p in named if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0},
        ]
        adam = torch.optim.AdamW(groups, lr=0.01, fused=True)
        self.linear = functional.linear
        self.engine: Any = adam if stage == "none" else _deepspeed(self.model, adam, stage, world, offload)
        self.state = ZeroState(self.engine, self.model, stage, world)
        if reader and source:
            self.state.load(reader)
            self.step = int(files.opened(source).state["step"])
            self.state.set_updates(self.step)

    def steps(self, count: int) -> None:
        for _ in range(count):
            data = torch.randn(4, 7, generator=_generator(self.step, self.world.rank))
            if self.stage == "none":
                self.engine.zero_grad()
                self.model(data).square().mean().backward()
                self.engine.step()
            else:
                self.engine.backward(self.engine(data).square().mean())
                self.engine.step()
            self.step += 1

    def save(self, out: Path) -> Path:
        writer = files.Writer(out, self.world)
        writer.start(files.step_name(self.step), self.state.fragments(), IDENTITY, {"step": self.step})
        writer.wait()
        assert writer.failed is None
        distributed.wait_for_all(self.world)
        return files.step_folder(out, self.step)

    def full_parameters(self) -> dict[str, Tensor]:
        """All parameters in fp32 as DeepSpeed itself gathers them, on rank 0; nothing on the others. Collective."""
        from deepspeed.utils import safe_get_full_fp32_param

        kept: dict[str, Tensor] = {}
        for name, parameter in self.model.named_parameters():  # every rank takes part in every one
            whole: Any = parameter if self.stage in ("none", 0) else safe_get_full_fp32_param(parameter)
            if self.world.first:
                kept[name] = whole.detach().to("cpu", torch.float32, copy=True)
        return kept

    def close(self) -> None:
        if self.stage != "none":
            self.engine.destroy()
            functional.linear = self.linear


def _generator(step: int, rank: int) -> torch.Generator:
    return torch.Generator().manual_seed(100 * step + rank)


def _deepspeed(module: nn.Module, adam: torch.optim.Optimizer, stage: int, world: World, offload: bool) -> Any:
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    zero: dict[str, Any] = {"stage": stage, "reduce_bucket_size": 1000, "stage3_param_persistence_threshold": 6}
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "train_batch_size": world.size,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": zero | ({"offload_optimizer": {"device": "cpu"}} if offload else {}),
    }
    engine, *_ = deepspeed.initialize(model=module, optimizer=adam, config=config)
    return engine


def everything(folder: Path) -> dict[str, Tensor]:
    """All that a checkpoint holds, whole."""
    reader = files.opened(folder).reader()
    shapes = {name: tensor.shape for name, tensor in model().named_parameters()}
    return {
        f"{kind} {name}": reader.tensor(kind, name, shape)
        for kind in ("parameters", "exp_avg", "exp_avg_sq")
        for name, shape in shapes.items()
    }


def main(told: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    out = Path(told["out"])
    distributed.init("cpu", out.with_suffix(".rendezvous"))
    world = distributed.current()
    assert world is not None
    for run in told["runs"]:
        loop = Loop(run["stage"], world, run.get("offload", False), Path(run["source"]) if "source" in run else None)
        folder = Path(run["out"])
        loop.save(folder / "start")
        loop.steps(run["steps"])
        loop.save(folder / "end")
        full = loop.full_parameters()
        if world.first:
            torch.save(full, folder / "full.pt")
        loop.close()
    distributed.finish()
    distributed.leave(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
