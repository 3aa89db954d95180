"""Training in several processes, started with `torchrun`, through torch's DistributedDataParallel."""

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
    """This process in the group of training processes.

    Attributes:
        rank: rank from 0; rank 0 validates, saves and reports.
        count: number of processes.
        local_rank: rank among the processes of this machine, which is the number of the GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Return whether this process validates, saves and reports."""
        return self.rank == 0

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return a network whose gradients are averaged over all processes."""
        if self.count == 1:
            return network
        return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)

    def sum(self, value: Tensor) -> Tensor:
        """Return a value summed over all processes."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def broadcast(self, value: float, device: torch.device) -> float:
        """Return the value of the first process, such as the time, which the learning rate of all depends on."""
        if self.count == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=device)
        dist.broadcast(tensor, 0)
        return float(tensor)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether the flag is set in any process, as all must stop and reduce micro-batches together."""
        if self.count == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=device)) > 0)


@contextmanager
def process_group(device: torch.device) -> Iterator[tuple[ProcessGroup, torch.device]]:
    """Join the processes started by `torchrun`, if any, and leave them at the end.

    Args:
        device: the chosen device; with CUDA each process of a machine uses a separate GPU.

    Yields:
        The group and the device of this process.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield ProcessGroup(), device
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size(), local_rank), device
    finally:
        dist.destroy_process_group()
