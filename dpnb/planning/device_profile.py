"""What a device can do: arithmetic, memory, and the link from the host."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpnb.devices import Device, available_device, best_device
from dpnb.metering.machine_memory import MachineMemory
from dpnb.models.unet import UNet2DConditionModel
from dpnb.numbers import coerce_numbers
from dpnb.pipelines.shapes.architectures import ARCHITECTURES
from dpnb.planning.gpu_specs import GPU_SPECS, GpuSpecs
from dpnb.planning.operations import Operation
from dpnb.planning.valueless import ValuelessTensors
from dpnb.strategies.offload.simulated_link import SimulatedLink
from dpnb.units import format_bytes

HALF = (torch.float16, torch.bfloat16)

ACHIEVED_ARITHMETIC = 0.55
"""What matrix products and convolutions reach of a data sheet's rate, large and small mixed."""

ACHIEVED_BANDWIDTH = 0.8
"""What simple kernels reach of a data sheet's memory bandwidth."""

ACHIEVED_LINK = 0.8
"""What copies from pinned memory reach of the rate of PCIe."""

GPU_CALL = 9e-6
"""Seconds that the host takes to ask a GPU for one operation, a network's own code included."""

INSTANT = 1e15
"""Bytes in a second of a link whose copies take only what asking for them takes."""

ROUNDS = 5


@dataclass(frozen=True)
class Cost:
    """Seconds that operations take, by what they wait for.

    Attributes:
        arithmetic: of those that compute.
        memory: of those that wait for the device's memory.
        calls: the host's, to ask for all of them.
    """

    arithmetic: float = 0.0
    memory: float = 0.0
    calls: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.arithmetic + other.arithmetic,
            self.memory + other.memory,
            self.calls + other.calls,
        )


@dataclass(frozen=True)
class DeviceProfile:
    """What a device can do.

    Args:
        name: of the device.
        memory: bytes that programs can have.
        bandwidth: bytes in a second that it reads and writes.
        float32: floating-point operations in a second.
        float16: likewise in float16 and bfloat16.
        link: bytes in a second from pinned host memory; `None` where weights are in the device's
            memory already, as those of the CPU are.
        call: seconds that the host takes to ask for one operation.
        is_asynchronous: whether the host goes on while the device computes.
        source: where the numbers are from.
        torch_device: where a plan for it computes; as strategies' `device`.
        transfer: seconds of computing that each copy from the host costs, where the device that
            computes has to ask for it itself.
    """

    name: str
    memory: int
    bandwidth: float
    float32: float
    float16: float
    link: float | None
    call: float
    is_asynchronous: bool
    source: str
    torch_device: str | None = None
    transfer: float = 0.0

    def __post_init__(self) -> None:
        coerce_numbers(self)

    @classmethod
    def from_name(cls, name: str) -> DeviceProfile:
        """The profile of a GPU, from its maker's data.

        Raises:
            ValueError: no such card is known; the message names those that are nearest.
        """
        known = {_normalize(card): card for card in GPU_SPECS}
        card = known.get(_normalize(name)) or known.get("rtx" + _normalize(name))
        if card is None:
            names = {_normalize(each): each for each in GPU_SPECS}
            near = difflib.get_close_matches(_normalize(name), names, n=4, cutoff=0.4)
            near = near or list(names)
            raise ValueError(
                f"{name!r} is not a card that is known here; the nearest are "
                f"{', '.join(names[each] for each in near)}. For another one, pass a "
                "DeviceProfile, or DeviceProfile.measure() on it."
            )
        return _from_specs(card, GPU_SPECS[card])

    named = from_name
    """Its former name."""

    @classmethod
    def measure(cls, device: Device | None = None, *, link: float | None = None) -> DeviceProfile:
        """The profile of a device at hand, measured in a few seconds.

        Args:
            device: the accelerator, where there is one, by default.
            link: bytes in a second from the host, instead of measuring it; for a simulated link.

        Raises:
            ValueError: torch knows no such device.
            DeviceError: this machine does not have it.
        """
        place = best_device() if device is None else available_device(device)
        bench = _DeviceBenchmark(place)
        is_gpu = place.type != "cpu"
        return cls(
            name=bench.name,
            memory=bench.memory,
            bandwidth=bench.bandwidth(),
            float32=bench.arithmetic(torch.float32),
            float16=bench.arithmetic(torch.bfloat16),
            link=bench.link() if is_gpu and link is None else link,
            call=bench.call(),
            is_asynchronous=is_gpu,
            source="measured here",
            torch_device=str(place) if is_gpu else None,
            transfer=0.0 if is_gpu else bench.transfer(),
        )

    def rate(self, dtype: torch.dtype) -> float:
        """Floating-point operations in a second."""
        return self.float16 if dtype in HALF else self.float32

    def cost(self, operations: Mapping[Operation, int]) -> Cost:
        """What these operations take, each so many times."""
        arithmetic = memory = 0.0
        calls = 0
        for operation, count in operations.items():
            computing = operation.flops / self.rate(operation.dtype)
            moving = operation.nbytes / self.bandwidth
            if computing > moving:
                arithmetic += count * computing
            else:
                memory += count * moving
            calls += count
        return Cost(arithmetic, memory, calls * self.call)

    def seconds(self, cost: Cost) -> float:
        """How long that lasts."""
        busy = cost.arithmetic + cost.memory
        return max(busy, cost.calls) if self.is_asynchronous else busy + cost.calls

    def describe(self) -> str:
        """In a few words."""
        link = "" if self.link is None else f", link {self.link / 1e9:.3g} GB/s"
        return (
            f"{self.name} ({format_bytes(self.memory)}, {self.bandwidth / 1e9:.3g} GB/s, "
            f"{self.float16 / 1e12:.3g} TFLOP/s in 16 bits, {self.float32 / 1e12:.3g} in 32{link}; "
            f"{self.source})"
        )


def _normalize(name: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    return "".join(w for w in words if w not in ("nvidia", "geforce", "tesla"))


def _from_specs(name: str, card: GpuSpecs) -> DeviceProfile:
    return DeviceProfile(
        name=name,
        memory=card.memory,
        bandwidth=card.bandwidth * ACHIEVED_BANDWIDTH,
        float32=card.float32 * ACHIEVED_ARITHMETIC,
        float16=card.float16 * ACHIEVED_ARITHMETIC,
        link=card.link * ACHIEVED_LINK,
        call=GPU_CALL,
        is_asynchronous=True,
        source=card.source,
        torch_device="cuda",
    )


def _tiny_network(device: torch.device) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A denoising network so small that it computes in no time, and what it is given."""
    with device:
        network = UNet2DConditionModel(**ARCHITECTURES["tiny-sd"].unet)
        return network.eval(), (torch.zeros(1, 4, 2, 2), torch.tensor(1), torch.zeros(1, 4, 32))


class _DeviceBenchmark:
    """Measures one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.is_gpu = device.type != "cpu"

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

    def bandwidth(self) -> float:
        """Of a copy that no cache holds."""
        source = torch.zeros((1 << 28) if self.is_gpu else 1 << 24, device=self.device)
        target = torch.empty_like(source)
        return 2 * source.nbytes / self._median_seconds(lambda: target.copy_(source))

    def arithmetic(self, dtype: torch.dtype) -> float:
        """Of a matrix product and a convolution of the sizes that networks have."""
        width = 4096 if self.is_gpu else 640
        matrix = torch.ones(width, width, dtype=dtype, device=self.device)
        channels, side = (640, 64) if self.is_gpu else (128, 32)
        picture = torch.ones(1, channels, side, side, dtype=dtype, device=self.device)
        kernel = torch.ones(channels, channels, 3, 3, dtype=dtype, device=self.device)
        flops = 2 * width**3 + 2 * 9 * channels**2 * side**2
        product = self._median_seconds(lambda: matrix @ matrix)
        return flops / (
            product + self._median_seconds(lambda: F.conv2d(picture, kernel, padding=1))
        )

    def link(self) -> float:
        """From pinned host memory."""
        source = torch.zeros(1 << 28, dtype=torch.uint8).pin_memory()
        target = torch.empty_like(source, device=self.device)
        return source.nbytes / self._median_seconds(lambda: target.copy_(source, non_blocking=True))

    def transfer(self) -> float:
        """Of a small copy over a link that only takes the time of one, on a thread of its own."""
        link = SimulatedLink(INSTANT)
        source = torch.zeros(1 << 16, dtype=torch.uint8)
        target = torch.empty_like(source)

        def copy() -> None:
            for _ in range(10):
                link.copy(target, source, link.mark(), "a small copy").wait()

        try:
            return self._median_seconds(copy) / 10
        finally:
            link.close()

    def call(self) -> float:
        """Of an operation on next to nothing, with a network's own code around it."""
        network, inputs = _tiny_network(self.device)
        with torch.no_grad():
            with ValuelessTensors() as counting:
                network(*inputs)
            count: int = sum(counting.operations.values())
            return self._median_seconds(lambda: network(*inputs)) / count

    def _median_seconds(self, work: Callable[[], Any]) -> float:
        work()
        return median(self._time_once(work) for _ in range(ROUNDS))

    def _time_once(self, work: Callable[[], Any]) -> float:
        self._wait()
        started = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.is_gpu:
            torch.accelerator.synchronize(self.device)
