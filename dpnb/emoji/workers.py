"""Processes that train together: they draw different samples and add up their gradients."""

import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Concatenate, ParamSpec

import torch
import torch.distributed as dist
from torch import Tensor

P = ParamSpec("P")


@dataclass(frozen=True)
class Workers:
    """One process among its equals.

    Attributes:
        rank: its number, from zero.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, in place, by its sum over the workers."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def average_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace each gradient, in place, by its mean over the workers."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self.add_up(gradients)
        for gradient in gradients:
            gradient.div_(self.count)

    def agree(self, value: float) -> float:
        """The first worker's `value`."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64)
        dist.broadcast(shared, src=0)
        return float(shared)


def launch(
    work: Callable[Concatenate[Workers, P], None], count: int, *args: P.args, **kwargs: P.kwargs
) -> None:
    """Run `work(workers, *args)` in `count` single-threaded processes, or here when it is one."""
    if count == 1:
        work(Workers(), *args, **kwargs)
        return
    port = _free_port()
    context = torch.multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_work, args=(work, rank, count, port, args, kwargs))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("A training process ended early; its own message stands above.")


def _work(
    work: Callable[..., None],
    rank: int,
    count: int,
    port: int,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> None:
    os.nice(5)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=count
    )
    try:
        work(Workers(rank, count), *args, **kwargs)
    finally:
        dist.destroy_process_group()


def _end_with_parent() -> None:
    """End this process when the one that started it ends, however it does."""
    parent = torch.multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
