"""What a device can do: arithmetic, memory, and the link from the host."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch

from dpnb.devices import Device, available_device, best_device
from dpnb.numbers import coerce_numbers
from dpnb.planning.card_slices import DIVIDED, PARTS, CardSlice, split_slice
from dpnb.planning.device_benchmark import DeviceBenchmark
from dpnb.planning.gpu_specs import GPU_SPECS, GpuSpecs
from dpnb.planning.operations import Operation
from dpnb.planning.workspaces import AMPERE, CardLibraries
from dpnb.strategies.torch_settings import convolves_in_tf32, matmul_precision
from dpnb.units import format_bytes

HALF = (torch.float16, torch.bfloat16)

CONVOLUTIONS = ("aten::convolution",)

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")

ACHIEVED_ARITHMETIC = 0.55
"""What matrix units reach of a data sheet's rate, in products and convolutions of all sizes."""

ACHIEVED_BY_CORES = 0.75
"""Likewise, what cores reach without them."""

ACHIEVED_BANDWIDTH = 0.8
"""What simple kernels reach of a data sheet's memory bandwidth."""

ACHIEVED_LINK = 0.8
"""What copies from pinned memory reach of the rate of PCIe."""

GPU_CALL = 9e-6
"""Seconds that the host takes to ask a GPU for one operation, a network's own code included."""


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
        sheet: its maker's figures, where those above are made of them.
        capability: of a card's architecture; that of an A100 where it is not known.
        others: bytes that other programs hold of it now.
        process: bytes that this process holds of it now beside tensors, where it is the CPU.
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
    sheet: GpuSpecs | None = None
    capability: tuple[int, int] | None = None
    others: int = field(default=0, compare=False)
    process: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        coerce_numbers(self)

    @classmethod
    def from_name(cls, name: str) -> DeviceProfile:
        """The profile of a GPU, or of a slice of one, from its maker's data.

        Args:
            name: such as `"RTX 3060"`, or `"H100 PCIe 1g.10gb"` for a slice (MIG).

        Raises:
            ValueError: no such card is known; the message names those that are nearest.
        """
        card_name, part = split_slice(name)
        if part is not None:
            return _slice_of(cls.from_name(card_name), part)
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
        is_gpu = place.type != "cpu"
        with DeviceBenchmark(place) as bench:
            found = bench.measure(with_link=is_gpu and link is None)
        return cls(
            name=bench.name,
            memory=bench.memory,
            bandwidth=found.bandwidth,
            float32=found.float32,
            float16=found.float16,
            link=found.link if link is None else link,
            call=found.call,
            is_asynchronous=is_gpu,
            source=(
                f"measured now, best of {found.trials} trials; half took {found.spread:.0%} longer"
            ),
            torch_device=str(place) if is_gpu else None,
            transfer=found.transfer,
            capability=torch.cuda.get_device_capability(place) if place.type == "cuda" else None,
        )

    def rate(self, operation: Operation) -> float:
        """Floating-point operations in a second.

        Matrix units from Ampere on multiply float32 as TF32, half as fast as 16 bits, where torch
        lets them: in convolutions, if nobody forbids it, and in products of matrices, if somebody
        asks for it (PyTorch, "CUDA semantics").
        """
        if operation.dtype in HALF:
            return self.float16
        is_rounded = (
            operation.dtype == torch.float32
            and self.sheet is not None
            and (self.capability or AMPERE) >= AMPERE
            and (
                convolves_in_tf32()
                if operation.kind in CONVOLUTIONS
                else operation.kind in PRODUCTS and matmul_precision() != "highest"
            )
        )
        return self.float16 / 2 if is_rounded else self.float32

    def cost(self, operations: Mapping[Operation, int]) -> Cost:
        """What these operations take, each so many times."""
        arithmetic = memory = 0.0
        calls = 0
        for operation, count in operations.items():
            computing = operation.flops / self.rate(operation)
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

    @property
    def libraries(self) -> CardLibraries | None:
        """What a card's libraries take beside tensors; `None` for the CPU."""
        return CardLibraries(self.capability or AMPERE) if self.is_asynchronous else None

    @property
    def reserved(self) -> int:
        """Bytes that a card's context and libraries need beside tensors, at the most."""
        libraries = self.libraries
        return 0 if libraries is None else libraries.context[1] + sum(libraries.workspaces())

    @property
    def available(self) -> int:
        """Bytes that nobody else holds: all that a run may take."""
        return max(self.memory - self.others - self.process, 0)

    def describe_holders(self) -> Iterator[str]:
        """Who holds some of its memory now, as sentences."""
        if self.process:
            yield (
                f"Beside tensors this process holds {format_bytes(self.process)}, which no budget "
                "counts."
            )
        if self.others:
            yield f"Other programs hold {format_bytes(self.others)} of its memory now."

    def describe(self) -> str:
        """In a few words: a card by its maker's figures, and what of them is reckoned with."""
        memory = format_bytes(self.memory)
        if self.sheet is None:
            return f"{self.name} ({memory}, {_rates(self)}; {self.source})"
        return (
            f"{self.name} ({memory}, by the sheet {_rates(self.sheet)}: {self.source}; reckoned "
            f"with {self.bandwidth / self.sheet.bandwidth:.2g} of the memory's rate, "
            f"{self.float16 / self.sheet.float16:.2g} of the arithmetic in 16 bits, "
            f"{self.float32 / self.sheet.float32:.2g} in 32"
            + ("" if self.link is None else f", {self.link / self.sheet.link:.2g} of the link")
            + ")"
        )


def _rates(figures: DeviceProfile | GpuSpecs) -> str:
    """Memory, arithmetic and link, by the second."""
    link = "" if figures.link is None else f", link {figures.link / 1e9:.3g} GB/s"
    return (
        f"{figures.bandwidth / 1e9:.3g} GB/s, {figures.float16 / 1e12:.3g} TFLOP/s in 16 bits, "
        f"{figures.float32 / 1e12:.3g} in 32{link}"
    )


def _slice_of(card: DeviceProfile, part: CardSlice) -> DeviceProfile:
    """What a slice of a card can do: its share of the arithmetic, and of the memory and its rate.

    Raises:
        ValueError: the card cannot be divided, or has not so much memory.
    """
    if card.name not in DIVIDED:
        raise ValueError(
            f"{card.name} cannot be divided into slices; of the cards that are known here "
            f"{', '.join(DIVIDED)} can."
        )
    if part.memory > card.memory:
        raise ValueError(
            f"{card.name} has {format_bytes(card.memory)}, and no slice {part.name}; give one that "
            "its maker lists."
        )
    share, of_memory = part.parts / PARTS, part.memory / card.memory
    return replace(
        card,
        name=f"{card.name} {part.name}",
        memory=part.memory,
        bandwidth=card.bandwidth * of_memory,
        float32=card.float32 * share,
        float16=card.float16 * share,
    )


def _normalize(name: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    return "".join(w for w in words if w not in ("nvidia", "geforce", "tesla"))


def _from_specs(name: str, card: GpuSpecs) -> DeviceProfile:
    has_units = card.float16 > card.float32
    return DeviceProfile(
        name=name,
        memory=card.memory,
        bandwidth=card.bandwidth * ACHIEVED_BANDWIDTH,
        float32=card.float32 * ACHIEVED_BY_CORES,
        float16=card.float16 * (ACHIEVED_ARITHMETIC if has_units else ACHIEVED_BY_CORES),
        link=card.link * ACHIEVED_LINK,
        call=GPU_CALL,
        is_asynchronous=True,
        source=card.source,
        torch_device="cuda",
        sheet=card,
        capability=card.capability,
    )
