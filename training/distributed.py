"""The ranks of a stage meet and agree: torch.distributed from Slurm's environment, without ssh or a launcher."""

import atexit
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import HashStore, Store, TCPStore  # type: ignore[attr-defined]

from slurm.base import UserError, look
from slurm.base.files import to_json, write_atomic
from training.spec import Device

_PATIENCE = timedelta(minutes=5)  # until every rank has come; a slow start of Python on a busy node is normal
_SILENCE = timedelta(minutes=30)  # the longest that one rank waits for another in the middle
_LOOPBACK = "127.0.0.1"
_CONTEXT = 600_000_000  # bytes of a GPU that a process takes beside what torch allocates: CUDA's kernels and libraries


@dataclass(frozen=True)
class World:
    """Where this process stands among the ranks of its stage, and the device it computes on."""

    rank: int
    size: int
    local_rank: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0


_world: World | None = None


def current() -> World | None:
    """What `init` made; None before and after."""
    return _world


def init(device: Device, rendezvous: Path | None = None) -> World:
    """Join the ranks of this job, once per process: gloo on the CPU, nccl on a GPU. Called by every rank.

    Rank and size come from RANK, WORLD_SIZE, LOCAL_RANK where they are set, else from Slurm; else the process is alone.
    `rendezvous`: a file on the shared file system, unique to the job and its restart, through which rank 0 tells its
    address; it is gone once all ranks have come. Not needed for one process. UserError where ranks stay away.
    """
    global _world
    # DeepSpeed keeps the first group it sees for good: a second one in the same process would fail inside it.
    assert not dist.is_initialized() and _world is None, "this process has joined already"
    rank, size, local_rank = ranks_of(os.environ)
    torch_device = _device(device, local_rank)
    _prepare_environment(torch_device)
    store = _store(rank, size, rendezvous)
    backend = "nccl" if torch_device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_SILENCE)
    atexit.register(finish)
    _world = World(rank, size, local_rank, torch_device)
    if rendezvous is not None and size > 1:
        dist.barrier()  # else it would be gone before the last rank has read it
        if _world.first:
            rendezvous.unlink(missing_ok=True)
    return _world


def share_gpu(world: World, count: int) -> None:
    """Keep this process to its part of a GPU that `count` processes share: what it plans with, and what it can take, so
    that none runs out of memory for its neighbours' sake."""
    if count > 1 and world.device.type == "cuda":
        total = torch.cuda.get_device_properties(world.device).total_memory
        part = (total - count * _CONTEXT) / count
        torch.cuda.set_per_process_memory_fraction(max(0.0, part / total), world.device)


def device_memory(device: torch.device) -> int:
    """Bytes of a GPU that this process may take."""
    total = torch.cuda.get_device_properties(device).total_memory
    return int(total * torch.cuda.get_per_process_memory_fraction(device))


def ranks_of(environment: Mapping[str, str]) -> tuple[int, int, int]:
    """(rank, world size, local rank) by the environment."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    elif "SLURM_PROCID" in environment and "SLURM_NTASKS" in environment:
        # The step's own number of tasks: the job's may be larger than what srun was told to start.
        size = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
        names = ("SLURM_PROCID", size, "SLURM_LOCALID")
    else:
        return 0, 1, 0
    rank, count, local_rank = (int(environment.get(name, "0")) for name in names)
    assert 0 <= rank < count, (names, rank, count)
    return rank, count, local_rank


def _device(device: Device, local_rank: int) -> torch.device:
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    visible = torch.cuda.device_count()
    if visible == 0:
        raise UserError(
            "device: cuda was asked for, but this node shows no GPU; ask for gpus-per-node or set device: cpu."
        )
    # Slurm may show each task its own GPU only; then that is number 0 for all of them.
    index = 0 if visible == 1 else local_rank
    if index >= visible:
        raise UserError(
            f"task {local_rank} of this node finds only {visible} GPUs; ask for as many GPUs as tasks per node."
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _prepare_environment(device: torch.device) -> None:
    """What DeepSpeed reads at import and at start."""
    os.environ["DS_ACCELERATOR"] = device.type
    os.environ["LOCAL_RANK"] = str(device.index or 0)
    if _on_one_node(os.environ):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def _on_one_node(environment: Mapping[str, str]) -> bool:
    _, size, _ = ranks_of(environment)
    nodes = environment.get("SLURM_STEP_NUM_NODES", environment.get("SLURM_JOB_NUM_NODES", ""))
    return size == 1 or environment.get("LOCAL_WORLD_SIZE") == str(size) or ("RANK" not in environment and nodes == "1")


def _store(rank: int, size: int, rendezvous: Path | None) -> Store:
    if size == 1:
        return HashStore()
    assert rendezvous is not None, "several ranks need a file to meet at"
    if rank == 0:
        return _open_store(size, rendezvous)
    host, port = _await_address(rendezvous)
    try:
        return TCPStore(host, port, size, is_master=False, timeout=_PATIENCE)
    except (dist.DistError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"rank {rank} on {socket.gethostname()} cannot reach rank 0 at {host}:{port} ({reason});"
            " are connections between the nodes allowed?"
        ) from error


def _open_store(size: int, rendezvous: Path) -> Store:
    alone = _on_one_node(os.environ)
    host = _LOOPBACK if alone else socket.gethostname()
    # A socket of our own: the system picks a free port, and it listens no wider than the ranks are spread.
    listener = socket.create_server((_LOOPBACK if alone else "", 0))
    port = listener.getsockname()[1]
    store = TCPStore(
        host,
        port,
        size,
        is_master=True,
        timeout=_PATIENCE,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )
    write_atomic(rendezvous, to_json({"host": host, "port": port}))
    return store


def _await_address(rendezvous: Path) -> tuple[str, int]:
    limit = time.monotonic() + _PATIENCE.total_seconds()
    while time.monotonic() < limit:
        try:
            address = json.loads(look.read_bytes(rendezvous))
            return str(address["host"]), int(address["port"])
        except FileNotFoundError:
            time.sleep(0.1)
    raise UserError(
        f"{rendezvous}: rank 0 did not come within {_PATIENCE.total_seconds():.0f} s; look at its log,"
        " and whether this file system is shared by the nodes."
    )


def finish() -> None:
    """Leave the ranks for good; there is no second `init`. Afterwards end the process with `leave`."""
    global _world
    if _world is not None:
        dist.destroy_process_group()
        _world = None


def leave(code: int) -> NoReturn:
    """End the process at once: gloo's threads abort now and then (SIGABRT) in an ordinary exit."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def summed(values: Tensor, world: World) -> Tensor:
    """The sum over all ranks, element by element."""
    if world.size > 1:
        dist.all_reduce(values)
    return values


def least(value: int, world: World) -> int:
    """The smallest of all ranks' values."""
    if world.size == 1:
        return value
    values = torch.tensor(value, device=world.device)
    dist.all_reduce(values, op=dist.ReduceOp.MIN)
    return int(values)


def from_all(values: tuple[int, ...], world: World) -> list[tuple[int, ...]]:
    """Every rank's whole numbers, as many of each, in the ranks' order."""
    if world.size == 1:
        return [values]
    rows = [torch.zeros(len(values), dtype=torch.int64, device=world.device) for _ in range(world.size)]
    dist.all_gather(rows, torch.tensor(values, dtype=torch.int64, device=world.device))
    return [tuple(row.tolist()) for row in rows]


def from_first(value: Any, world: World) -> Any:
    """Rank 0's JSON value, on every rank (the others' is not looked at). As bytes: torch's own object calls pickle."""
    if world.size == 1:
        return value
    content = to_json(value) if world.first else b""
    length = torch.tensor([len(content)], device=world.device)
    dist.broadcast(length, src=0)
    buffer = torch.zeros(int(length.item()), dtype=torch.uint8, device=world.device)
    if world.first:
        buffer.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    dist.broadcast(buffer, src=0)
    return json.loads(buffer.cpu().numpy().tobytes())


def wait_for_all(world: World) -> None:
    """Return when every rank has come here."""
    if world.size > 1:
        dist.barrier()
