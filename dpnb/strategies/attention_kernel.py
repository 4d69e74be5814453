"""Which kernel computes attention: one that is chosen by name, wherever it can."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.errors import MissingPackageError, StrategyError
from dpnb.models.autoencoder import Autoencoder
from dpnb.nn.attention import Attention
from dpnb.nn.attention_backends import APPROXIMATE, KERNELS
from dpnb.nn.attention_calls import AttentionCall
from dpnb.nn.attention_kernels import ChosenKernel
from dpnb.silence import silence_imports
from dpnb.stages import Stage
from dpnb.strategies.attention_mode import no_attention_obstacle, replace_attention
from dpnb.strategies.named_components import absent_components_obstacle, read_components
from dpnb.strategies.networks import Networks
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo

KernelName: TypeAlias = Literal[
    "flash", "efficient", "cudnn", "math", "flex", "xformers", "sage", "flash_2", "flash_3"
]

LIKELY_HEAD = 64
"""Channels of a head, where nobody says how many there are before it computes."""

Head = tuple[int, torch.dtype]
"""Its channels, and what it computes in."""


@dataclass(frozen=True, repr=False)
class KernelStrategy(Strategy):
    """Attention by one kernel, in every layer that it can serve; the others keep torch's choice."""

    slot: ClassVar = Slot.KERNEL
    relieves: ClassVar = frozenset({Stage.DENOISING})

    @property
    @abstractmethod
    def kernel(self) -> ChosenKernel:
        """The kernel."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The components whose attention is computed so; all of them where there are none."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What sentences call the strategy."""

    @override
    def obstacle(self, networks: Networks) -> str | None:
        absent = absent_components_obstacle(f"{self.title} names", self.names, networks)
        if absent is not None:
            return absent
        layers = self._heads(networks)
        if not layers:
            if (reason := no_attention_obstacle(self._who, networks, *self.names)) is not None:
                return reason
            return self.try_head(networks.device, *self._likely_head(networks))
        refusals = self.refusals(networks)
        reasons = [_first_reason(refusals, heads) for heads in layers.values()]
        return None if None in reasons else reasons[0]

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Fill the kernels that it can serve."""
        refusals = self.refusals(networks)
        for attention, heads in self._heads(networks).items():
            if _first_reason(refusals, heads) is None:
                undo.set(attention, "kernel", self.kernel)
        for _, network in networks.foreign_items(*self.names):
            replace_attention(network, _ByKernel(self).attend, undo)

    def refusals(self, networks: Networks) -> dict[Head, str | None]:
        """Every kind of head that an attention has → why it cannot be served, or `None`."""
        device = networks.device
        kinds = dict.fromkeys(head for heads in self._heads(networks).values() for head in heads)
        return {head: self.try_head(device, *head) for head in kinds}

    def _heads(self, networks: Networks) -> dict[Attention, list[Head]]:
        """What each attention may compute with: an autoencoder may do it in float32 as well."""
        vaes = [vae for vae in networks.modules_of(Autoencoder) if vae.config.force_upcast]
        widened = {layer for vae in vaes for layer in vae.modules()}
        return {
            attention: [
                (attention.head_dim, dtype)
                for dtype in (attention.dtype, torch.float32)
                if dtype == attention.dtype or attention in widened
            ]
            for attention in networks.modules_of(Attention, *self.names)
        }

    def _likely_head(self, networks: Networks) -> Head:
        """Heads as most networks have them, in what one without slots computes in."""
        _, network = next(networks.foreign_items(*self.names))
        dtypes = (p.dtype for p in network.parameters() if p.is_floating_point())
        return LIKELY_HEAD, next(dtypes, torch.float32)

    def try_head(self, device: torch.device, head_dim: int, dtype: torch.dtype) -> str | None:
        """Why such heads cannot be computed, as a sentence; tried with a small operation.

        Args:
            device: that would compute.
            head_dim: channels of a head.
            dtype: of queries, keys and values.
        """
        kernel = self.kernel
        if kernel.needs_cuda and device.type != "cuda":
            return (
                f"{self.title} needs a CUDA device; this pipeline is on {device.type}. Keep "
                'torch\'s fused attention, or move the pipeline with .to("cuda").'
            )
        try:
            sample = torch.zeros(1, 1, 8, head_dim, dtype=dtype, device=device)
            with silence_imports():
                kernel(sample, sample, sample)
        except ImportError:
            return (
                f"{self.title} needs the package {kernel.package}; {kernel.remedy}, or keep "
                "torch's fused attention."
            )
        except Exception as error:  # the code of other packages fails in whatever way
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
            return (
                f"{kernel.title} cannot compute heads of {head_dim} in {str(dtype)[6:]} on "
                f"{device} ({reason}); torch's fused attention serves there."
            )
        return None

    @property
    def _who(self) -> str:
        return self.kernel.title[0].upper() + self.kernel.title[1:]


@dataclass(frozen=True, repr=False)
class AttentionKernel(KernelStrategy):
    """Attention by the kernel that is named, wherever it can compute it.

    It is tried with a small operation for every head size and dtype; where it cannot run, that
    layer keeps torch's fused attention, which chooses by itself. No other pipeline, and nothing
    else in the process, computes by it. In networks that dpnb did not write it serves calls without
    a mask, and there `"math"` is not sliced.

    Args:
        name: torch's `"flash"`, `"efficient"`, `"cudnn"`, `"math"` or `"flex"`, or that of another
            package: `"xformers"`, `"sage"`, which rounds to 8 bits, `"flash_2"` or `"flash_3"`.
        components: the components whose attention is computed so; all of them by default.
    """

    name: KernelName = "flash"
    components: tuple[str, ...] = ()

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        read_components(self)
        if not isinstance(self.name, str) or self.name not in KERNELS:
            known = ", ".join(f'"{name}"' for name in get_args(KernelName))
            raise ValueError(f"name is {self.name!r}; a kernel is one of {known}.")

    @property
    @override
    def effect(self) -> Effect:
        return Effect.APPROXIMATE if self.name in APPROXIMATE else Effect.EXACT

    @property
    @override
    def kernel(self) -> ChosenKernel:
        return KERNELS[self.name]

    @property
    @override
    def names(self) -> tuple[str, ...]:
        return self.components

    @property
    @override
    def title(self) -> str:
        return f'AttentionKernel("{self.name}")'

    @override
    def refusal(self, reason: str) -> StrategyError:
        package = self.kernel.package
        is_missing = package is not None and find_spec(package) is None
        return MissingPackageError(reason) if is_missing else StrategyError(reason)


class _ByKernel:
    """Attention by a kernel, wherever that can compute it."""

    def __init__(self, strategy: KernelStrategy) -> None:
        self._strategy = strategy
        self._kernel = strategy.kernel
        self._refusals: dict[tuple[torch.device, Head], str | None] = {}

    def attend(self, call: AttentionCall) -> Tensor:
        """Attend; by torch where the kernel cannot serve."""
        if not _is_usual(call) or self._refusal(call.query) is not None:
            return call.compute()
        return self._kernel(call.query, call.key, call.value, call.scale)

    def _refusal(self, query: Tensor) -> str | None:
        head = query.shape[-1], query.dtype
        key = query.device, head
        if key not in self._refusals:
            self._refusals[key] = self._strategy.try_head(query.device, *head)
        return self._refusals[key]


def _is_usual(call: AttentionCall) -> bool:
    """Whether a call is such that every kernel computes it, if its head is one that it can."""
    parts = call.query, call.key, call.value
    widths = {(part.shape[-1], part.dtype) for part in parts}
    return call.is_plain and len(widths) == 1 and all(part.numel() for part in parts)


def _first_reason(refusals: Mapping[Head, str | None], heads: list[Head]) -> str | None:
    return next((reason for head in heads if (reason := refusals[head]) is not None), None)
