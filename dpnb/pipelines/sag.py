"""Self-attention guidance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import TypeVar, override

from dpnb.nn.attention_maps import record_attention
from dpnb.pipelines import checked_inputs
from dpnb.pipelines.call_order import GIVEN
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.denoise import last_entries
from dpnb.pipelines.guidance import ClassifierFreeGuidance, Guidance
from dpnb.pipelines.stable_diffusion import (
    StableDiffusionArguments,
    StableDiffusionPipeline,
    StableDiffusionPipelineOutput,
)
from dpnb.stages import Step

BLUR_SIZE, BLUR_SIGMA = 9, 1.0


@dataclass(frozen=True, kw_only=True)
class SelfAttentionArguments(StableDiffusionArguments):
    """The arguments of `StableDiffusionSAGPipeline`, beside those of Stable Diffusion.

    Args:
        sag_scale: how strongly the picture is led away from one that is blurred where the network
            looks; 0 does not lead, usual are values up to 1.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "height",
        "width",
        "num_inference_steps",
        "guidance_scale",
        "sag_scale",
        "negative_prompt",
        *GIVEN,
    )

    sag_scale: float = 0.75

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        least = (BLUR_SIZE // 2 + 1) * scale
        if self.sag_scale < 0:
            raise ValueError(
                f"sag_scale is {self.sag_scale}; it is at least 0, which does nothing."
            )
        if self.sag_scale > 0 and min(self.height or least, self.width or least) < least:
            raise ValueError(
                f"{self.width} x {self.height} pixels are too few for sag_scale, which blurs "
                f"latents; draw at least {least} x {least}."
            )


A = TypeVar("A", bound=SelfAttentionArguments, default=Any)


@dataclass(frozen=True)
class SelfAttentionGuidance(Guidance["StableDiffusionSAGPipeline"]):
    """Away from what the network says of a picture that is blurred where it looks.

    See Hong et al. (2022, arXiv:2210.00939), eq. 16, and with a prompt eq. 25.

    Args:
        inner: the guidance by the prompt.
    """

    inner: ClassifierFreeGuidance = field(default_factory=ClassifierFreeGuidance)

    @override
    def predict(
        self,
        pipe: StableDiffusionSAGPipeline,
        latents: Tensor,
        t: Tensor,
        tensors: dict[str, Tensor],
    ) -> Tensor:
        if pipe.sag_scale == 0:
            return self.inner.predict(pipe, latents, t, tensors)
        with record_attention(pipe.unet.middle_attention, len(latents)) as recording:
            noise_pred = self.inner.ask(pipe, latents, t, tensors)
        guided = self.inner.combine(pipe, noise_pred)
        if recording.received is None:
            return guided
        without, context = noise_pred[: len(latents)], tensors["prompt_embeds"]
        context = last_entries(context, noise_pred)[: len(latents)]
        blurred = pipe.blur_attended(latents, without, t, recording.received)
        again = pipe.predict_noise(blurred, t, {**tensors, "prompt_embeds": context})
        return guided + pipe.sag_scale * (without - again)


class StableDiffusionSAGPipeline(StableDiffusionPipeline[A]):
    """Text to pictures with self-attention guidance (Hong et al. 2022, arXiv:2210.00939).

    In every step the picture that the network foresees is blurred where its middle block attends
    most, the network sees that again, and the step leads away from what it then says.
    """

    guidance = SelfAttentionGuidance()
    check_input_names = checked_inputs.SELF_GUIDED
    outdated_settings: ClassVar[Mapping[str, Any]] = {}

    __call__ = make_call(SelfAttentionArguments, StableDiffusionPipelineOutput)
    stream = make_stream(SelfAttentionArguments, StableDiffusionPipelineOutput)

    _sag_scale: float = 0.0

    @override
    def start(self, arguments: A) -> Iterator[Step[StableDiffusionPipelineOutput | None]]:
        """Refuse schedulers whose guidance is not known.

        Raises:
            ValueError: the scheduler counts in noise levels.
        """
        if self.scheduler.timesteps.is_floating_point():
            raise ValueError(
                f"{type(self.scheduler).__name__} counts in noise levels, and self-attention "
                "guidance needs timesteps; use DDIMScheduler, PNDMScheduler, DDPMScheduler, "
                "DPMSolverMultistepScheduler or UniPCMultistepScheduler."
            )
        return super().start(arguments)

    @property
    def sag_scale(self) -> float:
        """Of the present or last run."""
        return self._sag_scale

    @override
    def _begin(self, arguments: A) -> None:
        super()._begin(arguments)
        self._sag_scale = arguments.sag_scale

    def blur_attended(
        self, latents: Tensor, noise_pred: Tensor, t: Tensor, received: Tensor
    ) -> Tensor:
        """`latents` `[batch, channels, h, w]`, blurred where the network attends most.

        Args:
            latents: of the present step.
            noise_pred: what the network says of them.
            t: the timestep.
            received: how much attention each place of the middle block has received,
                `[batch, places]`; 1 is the mean.
        """
        original, noise = self.scheduler.predict_original_and_noise(noise_pred, latents, t)
        height, width = self.unet.middle_size(*latents.shape[-2:])
        mask = (received > 1.0).to(latents.dtype).view(-1, 1, height, width)
        mask = F.interpolate(mask, latents.shape[-2:])
        original = blur(original) * mask + original * (1 - mask)
        return self.scheduler.add_noise(original, noise, t[None])  # type: ignore[no-any-return]


def blur(latents: Tensor) -> Tensor:
    """`[batch, channels, h, w]` under a Gaussian; the edges are mirrored."""
    half = BLUR_SIZE // 2
    places = torch.arange(-half, half + 1, device=latents.device, dtype=torch.float32)
    weights = (-0.5 * (places / BLUR_SIGMA) ** 2).exp()
    weights = (weights / weights.sum()).to(latents.dtype)
    channels = latents.shape[1]
    kernel = torch.outer(weights, weights).expand(channels, 1, -1, -1)
    padded = F.pad(latents, (half,) * 4, mode="reflect")
    return F.conv2d(padded, kernel, groups=channels)
