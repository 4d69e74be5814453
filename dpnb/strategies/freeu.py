"""FreeU: another balance of backbone and skips, at no cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from typing_extensions import Self, override

from dpnb.models.unet import UNet2DConditionModel
from dpnb.models.unet_blocks import UpBlock
from dpnb.nn.skip_connections import FreeUMerge
from dpnb.numbers import to_builtin
from dpnb.strategies.networks import Networks, absence_obstacle
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo


@dataclass(frozen=True, repr=False)
class FreeUFactors(Strategy):
    """The factors of FreeU, and those that its authors published."""

    s1: float = field(default=0.9, metadata=hints(low=0, high=1.5, step=0.05))
    s2: float = field(default=0.2, metadata=hints(low=0, high=1.5, step=0.05))
    b1: float = field(default=1.5, metadata=hints(low=0.8, high=2, step=0.05))
    b2: float = field(default=1.6, metadata=hints(low=0.8, high=2, step=0.05))
    slot: ClassVar = Slot.MERGE_SKIP
    effect: ClassVar = Effect.STYLISTIC
    presets: ClassVar = {
        "sd15": "Stable Diffusion 1.5",
        "sd21": "Stable Diffusion 2.1",
        "sdxl": "Stable Diffusion XL",
    }

    @classmethod
    def sd15(cls) -> Self:
        """For Stable Diffusion 1.5."""
        return cls(s1=0.9, s2=0.2, b1=1.5, b2=1.6)

    @classmethod
    def sd21(cls) -> Self:
        """For Stable Diffusion 2.1."""
        return cls(s1=0.9, s2=0.2, b1=1.4, b2=1.6)

    @classmethod
    def sdxl(cls) -> Self:
        """For Stable Diffusion XL."""
        return cls(s1=0.9, s2=0.2, b1=1.3, b2=1.4)

    @override
    def __post_init__(self) -> None:
        for name in ("s1", "s2", "b1", "b2"):
            value = to_builtin(getattr(self, name))
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} is {value!r}; FreeU's factors are numbers such as 1.2.")
        super().__post_init__()


@dataclass(frozen=True, repr=False)
class FreeU(FreeUFactors):
    """Strengthen the backbone and weaken the coarse part of the skips in the first two up-blocks.

    Si et al. (2023), FreeU, arXiv:2309.11497. The presets are those that its authors published
    beside their code, https://github.com/ChenyangSi/FreeU.

    Args:
        s1: factor of the skips' lowest frequencies in the first up-block.
        s2: likewise in the second.
        b1: factor of the backbone's first half of channels in the first up-block.
        b2: likewise in the second.
    """

    label: ClassVar = "FreeU"

    @property
    @override
    def needs(self) -> tuple[type[object], ...]:
        return (UNet2DConditionModel,)

    @override
    def obstacle(self, networks: Networks) -> str | None:
        is_there = any(
            isinstance(block, UpBlock)
            for unet in networks.modules_of(UNet2DConditionModel)
            for block in unet.up_blocks
        )
        if is_there or networks.can_exchange(*self.needs):
            return None
        if networks.has_foreign:
            return absence_obstacle("FreeU", "a UNet", networks, "there is none here")
        return "FreeU needs a UNet with up-blocks; there is none here."

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Fill the slots of the first two up-blocks of every UNet; all say the factors."""
        for unet in networks.modules_of(UNet2DConditionModel):
            for block in unet.up_blocks:
                for name in ("s1", "s2", "b1", "b2"):
                    undo.set_own(block, name, getattr(self, name))
            factors = ((self.s1, self.b1), (self.s2, self.b2))
            for block, (skip_scale, backbone_scale) in zip(unet.up_blocks, factors, strict=False):
                assert isinstance(block, UpBlock)
                undo.set(
                    block, "merge_skip", FreeUMerge(skip_scale, backbone_scale, block.merge_skip)
                )
