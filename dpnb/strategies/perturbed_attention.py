"""Perturbed-attention guidance, switched on at any pipeline of dpnb's with a UNet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from typing_extensions import override

from dpnb.models.unet import UNet2DConditionModel
from dpnb.nn.perturbed_attention import find_self_attentions
from dpnb.numbers import parse_number
from dpnb.strategies.networks import Networks, Owner
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo
from dpnb.validation import parse_names


@runtime_checkable
class GuidedOwner(Owner, Protocol):
    """An owner whose runs are steered by a value that it holds."""

    guidance: Any

    def perturbed_guidance(
        self, scale: float, adaptive_scale: float, layers: tuple[str, ...]
    ) -> Any | None:
        """Its guidance with a perturbation beside it; `None` where it cannot be so steered."""
        ...


@dataclass(frozen=True, repr=False)
class PerturbedAttention(Strategy):
    """Lead away from what the network draws while each position sees itself alone: firmer forms.

    Ahn et al. (2024), Self-Rectifying Diffusion Sampling with Perturbed-Attention Guidance,
    arXiv:2403.17377. The network is called once more in every step, with or without a prompt.

    Args:
        scale: how strongly; its authors use 3.
        adaptive_scale: how much less of it with every timestep that is gone.
        layers: of the UNet, by what their names have in them, such as `"mid"` or `"down_blocks.1"`.
    """

    scale: float = field(default=3.0, metadata=hints(low=0, high=10, step=0.25))
    adaptive_scale: float = field(default=0.0, metadata=hints(low=0, high=0.01, step=0.0005))
    layers: tuple[str, ...] = ("mid",)
    slot: ClassVar = Slot.GUIDANCE
    label: ClassVar = "Perturbed attention (PAG)"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("scale", "adaptive_scale"):
            parse_number(name, getattr(self, name), least=0)
        names = parse_names("layers", self.layers, 'what names of layers have in them, as "mid"')
        object.__setattr__(self, "layers", names)

    @property
    @override
    def effect(self) -> Effect:
        return Effect.STYLISTIC

    @override
    def obstacle(self, networks: Networks) -> str | None:
        if next(self._guidances(networks), None) is None:
            return (
                "PerturbedAttention needs a pipeline of dpnb's with a UNet that nothing but "
                "classifier-free guidance steers; there is none here."
            )
        try:
            for unet in networks.modules_of(UNet2DConditionModel):
                find_self_attentions(unet, self.layers)
        except ValueError as error:
            return str(error)
        return None

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Let every pipeline hold the guidance beside the one that it has."""
        for owner, guidance in self._guidances(networks):
            undo.set_own(owner, "guidance", guidance)

    def _guidances(self, networks: Networks) -> Iterator[tuple[GuidedOwner, Any]]:
        for owner in networks.owners:
            if isinstance(owner, GuidedOwner):
                asked = self.scale, self.adaptive_scale, self.layers
                guidance = owner.perturbed_guidance(*asked)
                if guidance is not None:
                    yield owner, guidance
