"""How fast a device is: short trials of what networks do, of which the best counts.

Whatever else a machine does at the moment makes trials slower and never faster. Trials of one kind
are spread over the whole time, so that a busy moment does not meet all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpnb.metering.machine_memory import MachineMemory
from dpnb.models.unet import UNet2DConditionModel
from dpnb.pipelines.shapes.architectures import ARCHITECTURES
from dpnb.planning.valueless import ValuelessTensors
from dpnb.strategies.offload.simulated_link import SimulatedLink

INSTANT = 1e15
"""Bytes in a second of a link whose copies take only what asking for them takes."""

ROUNDS = 12

SECONDS = 0.03
"""Of a round, for each kind of work; one that takes longer is done once in it."""

COPIES = 10
"""Small copies in a trial."""


@dataclass(frozen=True)
class Rates:
    """What a device was seen to do.

    Attributes:
        bandwidth: bytes in a second that it reads and writes.
        float32: floating-point operations in a second.
        float16: likewise in bfloat16.
        link: bytes in a second from pinned host memory, if that was measured.
        call: seconds to ask for one operation.
        transfer: seconds of computing that a copy over a simulated link costs.
        trials: how often the work that was done least often was done.
        spread: by how much of its best time the median trial of arithmetic took longer.
    """

    bandwidth: float
    float32: float
    float16: float
    link: float | None
    call: float
    transfer: float
    trials: int
    spread: float


@dataclass(frozen=True)
class Work:
    """Something to be timed.

    Attributes:
        do: does it.
        amount: how many bytes, operations or calls that are.
    """

    do: Callable[[], object]
    amount: float


class DeviceBenchmark:
    """Measures one device; what it needs for that is let go at the end of a block.

    Args:
        device: that is at hand.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.is_gpu = device.type != "cpu"
        self._open = ExitStack()

    def __enter__(self) -> DeviceBenchmark:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    @property
    def name(self) -> str:
        """What the device calls itself."""
        return torch.cuda.get_device_name(self.device) if self.is_gpu else "this CPU"

    @property
    def memory(self) -> int:
        """Bytes of the device, or of this machine."""
        if self.is_gpu:
            return int(torch.cuda.get_device_properties(self.device).total_memory)
        return MachineMemory().limit

    def measure(self, *, with_link: bool) -> Rates:
        """Do everything in turn, for some seconds.

        Args:
            with_link: whether the link from the host is measured as well.
        """
        work = {
            "bandwidth": self._copy(),
            **{f"product {d}": self._product(d) for d in (torch.float32, torch.bfloat16)},
            **{f"convolution {d}": self._convolution(d) for d in (torch.float32, torch.bfloat16)},
            "call": self._call(),
        }
        if with_link:
            work["link"] = self._link()
        if not self.is_gpu:
            work["transfer"] = self._transfer()
        took = self._time(work)
        best = {name: min(seconds) for name, seconds in took.items()}

        def rate(*names: str) -> float:
            return sum(work[n].amount for n in names) / sum(best[n] for n in names)

        arithmetic = [f"{kind} {torch.float32}" for kind in ("product", "convolution")]
        half = [f"{kind} {torch.bfloat16}" for kind in ("product", "convolution")]
        return Rates(
            bandwidth=rate("bandwidth"),
            float32=rate(*arithmetic),
            float16=rate(*half),
            link=rate("link") if with_link else None,
            call=1 / rate("call"),
            transfer=0.0 if self.is_gpu else 1 / rate("transfer"),
            trials=min(map(len, took.values())),
            spread=sum(median(took[n]) for n in arithmetic) / sum(best[n] for n in arithmetic) - 1,
        )

    def _time(self, work: Mapping[str, Work]) -> dict[str, list[float]]:
        """The seconds of every trial of every kind."""
        took: dict[str, list[float]] = {name: [] for name in work}
        for one in work.values():
            one.do()
        for _ in range(ROUNDS):
            for name, one in work.items():
                took[name] += self._trials(one)
        return took

    def _trials(self, work: Work) -> list[float]:
        found = [self._time_once(work.do)]
        while sum(found) < SECONDS:
            found.append(self._time_once(work.do))
        return found

    def _time_once(self, do: Callable[[], object]) -> float:
        self._wait()
        started = time.perf_counter()
        do()
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.is_gpu:
            torch.accelerator.synchronize(self.device)

    def _copy(self) -> Work:
        """A copy that no cache holds."""
        source = torch.zeros((1 << 28) if self.is_gpu else 1 << 24, device=self.device)
        target = torch.empty_like(source)
        return Work(lambda: target.copy_(source), 2 * source.nbytes)

    def _product(self, dtype: torch.dtype) -> Work:
        """A matrix product of the size that networks have."""
        width = 4096 if self.is_gpu else 640
        matrix = torch.ones(width, width, dtype=dtype, device=self.device)
        return Work(lambda: matrix @ matrix, 2 * width**3)

    def _convolution(self, dtype: torch.dtype) -> Work:
        channels, side = (640, 64) if self.is_gpu else (128, 32)
        picture = torch.ones(1, channels, side, side, dtype=dtype, device=self.device)
        kernel = torch.ones(channels, channels, 3, 3, dtype=dtype, device=self.device)
        flops = 2 * 9 * channels**2 * side**2
        return Work(lambda: F.conv2d(picture, kernel, padding=1), flops)

    def _link(self) -> Work:
        """A copy from pinned host memory."""
        source = torch.zeros(1 << 28, dtype=torch.uint8).pin_memory()
        target = torch.empty_like(source, device=self.device)
        return Work(lambda: target.copy_(source, non_blocking=True), source.nbytes)

    def _transfer(self) -> Work:
        """Small copies over a link that only takes the time of one, on a thread of its own."""
        link = SimulatedLink(INSTANT)
        self._open.callback(link.close)
        source = torch.zeros(1 << 16, dtype=torch.uint8)
        target = torch.empty_like(source)

        def copy() -> None:
            for _ in range(COPIES):
                link.copy(target, source, link.mark(), "a small copy").wait()

        return Work(copy, COPIES)

    def _call(self) -> Work:
        """Operations on next to nothing, with a network's own code around them."""
        network, inputs = _tiny_network(self.device)

        def call() -> Any:
            with torch.no_grad():
                return network(*inputs)

        with ValuelessTensors() as counting:
            call()
        return Work(call, sum(counting.operations.values()))


def _tiny_network(device: torch.device) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A denoising network so small that it computes in no time, and what it is given."""
    with device:
        network = UNet2DConditionModel(**ARCHITECTURES["tiny-sd"].unet)
        return network.eval(), (torch.zeros(1, 4, 2, 2), torch.tensor(1), torch.zeros(1, 4, 32))
