"""Perturbed-attention guidance, for any pipeline whose UNet attends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.compiled import plain_network
from dpnb.nn.perturbed_attention import find_self_attentions, perturb_attention
from dpnb.pipelines.denoise import match_deviation
from dpnb.pipelines.guidance import ClassifierFreeGuidance, Guidance, GuidedPipeline
from dpnb.schedulers.scheduler import Scheduler

if TYPE_CHECKING:
    from dpnb.nn.attention import Attention

MIDDLE = ("mid",)
"""The layers that its authors perturb: those of the middle block."""

TIMESTEPS = 1000
"""Above every timestep; where the adaptive scale takes nothing away."""


class UNetGuidedPipeline(GuidedPipeline, Protocol):
    """A pipeline with a UNet, as perturbed-attention guidance sees it."""

    @property
    def unet(self) -> nn.Module:
        """The network whose layers are perturbed."""
        ...


@dataclass(frozen=True)
class PerturbedAttentionGuidance(Guidance[Any]):
    """Away from what the network says while every position sees itself alone in some layers.

    See Ahn et al. (2024, arXiv:2403.17377), eq. 9, and with a prompt eq. 14. The network is called
    once more in every step.

    Args:
        scale: how strongly; 0 does nothing, its authors use 3.
        adaptive_scale: how much less of it with every timestep that is gone.
        layers: of the UNet, by what their names have in them; see `find_self_attentions`.
        inner: the guidance by the prompt.
    """

    scale: float = 3.0
    adaptive_scale: float = 0.0
    layers: tuple[str, ...] = MIDDLE
    inner: ClassifierFreeGuidance = field(default_factory=ClassifierFreeGuidance)

    @override
    def predict(self, pipe: Any, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        scale = self.scale_at(_read(pipe.scheduler, t)) if self.adaptive_scale else self.scale
        if scale == 0:
            return self.inner.predict(pipe, latents, t, tensors)
        noise_pred = self.inner.ask(pipe, latents, t, tensors)
        with perturb_attention(self.find_layers(pipe)):
            shown = pipe.scheduler.scale_model_input(latents, t)
            perturbed = pipe.predict_noise(shown, t, tensors)
        given = noise_pred[-len(latents) :]
        guided = self.inner.steer(pipe, noise_pred) + scale * (given - perturbed)
        is_guided = pipe.do_classifier_free_guidance
        return match_deviation(guided, given, pipe.guidance_rescale if is_guided else 0.0)

    def scale_at(self, timestep: float) -> float:
        """How strongly at a timestep, which falls from 1000 to 0."""
        if not self.adaptive_scale:
            return self.scale
        return max(self.scale - self.adaptive_scale * (TIMESTEPS - timestep), 0.0)

    def find_layers(self, pipe: UNetGuidedPipeline) -> list[Attention]:
        """The layers of the pipeline's UNet that are perturbed.

        Raises:
            ValueError: a name finds none.
        """
        return find_self_attentions(plain_network(pipe.unet), self.layers)


def _read(scheduler: Any, t: Tensor) -> float:
    """A timestep as a number, which dpnb's own schedulers know without waiting for its device."""
    return scheduler.number_of_timestep(t) if isinstance(scheduler, Scheduler) else float(t)
