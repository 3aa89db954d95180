"""Several processes that train together, through torch's own DistributedDataParallel: start them with `torchrun`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together.

    Attributes:
        rank: from 0; rank 0 validates, saves and speaks.
        count: how many there are.
        local: rank among those of this machine, which is the number of its GPU.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network as it is trained: gradients are averaged over all processes."""
        if self.count == 1:
            return network
        return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)

    def total(self, value: Tensor) -> Tensor:
        """A value summed over all processes."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def of_first(self, value: float, device: torch.device) -> float:
        """Return a number of the first process, such as the time: all must take the same learning rate."""
        if self.count == 1:
            return value
        sent = torch.tensor(value, dtype=torch.float64, device=device)
        dist.broadcast(sent, 0)
        return float(sent)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether one of the processes says yes: they must stop, and shrink, together."""
        if self.count == 1:
            return flag
        return bool(self.total(torch.tensor(float(flag), device=device)) > 0)


@contextmanager
def process_group(device: torch.device) -> Iterator[tuple[ProcessGroup, torch.device]]:
    """Joins the processes that `torchrun` has started, if it has, and leaves them at the end.

    Args:
        device: what was chosen; with CUDA each process of a machine takes a GPU of its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield ProcessGroup(), device
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size(), local), device
    finally:
        dist.destroy_process_group()
