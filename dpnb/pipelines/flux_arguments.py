"""The arguments of FLUX."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self, override

from dpnb.pipelines.arguments import Arguments, Prompt
from dpnb.pipelines.call_order import FLUX_GIVEN
from dpnb.pipelines.foreign.unsupported import NO_IMAGE_PROMPT

logger = logging.getLogger(__name__)

MOST_TOKENS = 512


@dataclass(frozen=True, kw_only=True)
class FluxArguments(Arguments):
    """The arguments of FLUX, beside those of every pipeline.

    Args:
        prompt: for CLIP; what to draw.
        prompt_2: for T5; `prompt` by default.
        negative_prompt: what not to draw; it counts where `true_cfg_scale` is above 1.
        negative_prompt_2: for T5; `negative_prompt` by default.
        true_cfg_scale: how strongly to steer away from the negative prompt; above 1 the network
            sees every latent twice.
        guidance_scale: an input of networks that were distilled with it (dev); others (schnell)
            have none.
        sigmas: noise levels of one's own, descending, without the final 0.
        latents: the noise itself, packed as `[pictures, tokens, channels]`, or as feature maps.
        pooled_prompt_embeds: belongs to `prompt_embeds`, `[batch, channels]`.
        negative_pooled_prompt_embeds: belongs to `negative_prompt_embeds`.
        max_sequence_length: tokens that T5 reads, up to 512; schnell was made for 256.
        joint_attention_kwargs: `{"scale": 0.5}` runs with this scale of LoRA; see `dpnb.LoRA`.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "prompt_2",
        "negative_prompt",
        "negative_prompt_2",
        "true_cfg_scale",
        "height",
        "width",
        "num_inference_steps",
        "sigmas",
        "guidance_scale",
        *FLUX_GIVEN,
    )
    absent: ClassVar[frozenset[str]] = frozenset(
        {
            "timesteps",
            "eta",
            "guidance_rescale",
            "clip_skip",
            "cross_attention_kwargs",
            "callback",
            "callback_steps",
        }
    )
    refused: ClassVar[Mapping[str, str]] = {
        **Arguments.refused,
        "negative_ip_adapter_image": NO_IMAGE_PROMPT,
        "negative_ip_adapter_image_embeds": NO_IMAGE_PROMPT,
    }

    num_inference_steps: int = 28
    guidance_scale: float = 3.5
    prompt_2: Prompt = None
    negative_prompt_2: Prompt = None
    true_cfg_scale: float = 1.0
    pooled_prompt_embeds: Tensor | None = None
    negative_pooled_prompt_embeds: Tensor | None = None
    max_sequence_length: int = MOST_TOKENS
    joint_attention_kwargs: Mapping[str, Any] | None = None

    @property
    @override
    def lora_scale(self) -> float | None:
        asked = self.joint_attention_kwargs or {}
        return asked.get("scale")

    @property
    def is_truly_guided(self) -> bool:
        """Whether a negative prompt steers."""
        has_negative = self.negative_prompt is not None or self.negative_prompt_embeds is not None
        return self.true_cfg_scale > 1 and has_negative

    @property
    def needs_encoders(self) -> bool:
        """Whether there is text to encode."""
        is_encoded = not self.is_truly_guided or self.negative_prompt_embeds is not None
        return self.prompt_embeds is None or not is_encoded

    @override
    def prompt_pairs(self) -> tuple[tuple[str, Prompt, Tensor | None], ...]:
        return (
            *super().prompt_pairs(),
            ("prompt_2", self.prompt_2, self.prompt_embeds),
            ("negative_prompt_2", self.negative_prompt_2, self.negative_prompt_embeds),
        )

    @override
    def _check_negative(self) -> None:
        """The network sees negative prompts by themselves where they have another length."""

    @override
    def unit(self, scale: int) -> int:
        """A token's side."""
        return scale

    @override
    def fit_size(self, scale: int) -> Self:
        """A word is said where height or width becomes less: whole tokens are drawn."""
        height, width = (
            _fit(name, side, 2 * scale)
            for name, side in (("height", self.height), ("width", self.width))
        )
        return replace(self, height=height, width=width)

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        """A token is two latents high and wide."""
        super().check(callback_tensors, device, 2 * scale)
        for name, embeds, pooled in (
            ("prompt_embeds", self.prompt_embeds, self.pooled_prompt_embeds),
            (
                "negative_prompt_embeds",
                self.negative_prompt_embeds,
                self.negative_pooled_prompt_embeds,
            ),
        ):
            if embeds is not None and pooled is None:
                raise ValueError(
                    f"{name} is given without its pooled embeddings; give both, from the same text "
                    "encoders."
                )
        length = self.max_sequence_length
        if not 1 <= length <= MOST_TOKENS:
            raise ValueError(
                f"max_sequence_length is {length!r}; it is a number of tokens from 1 to "
                f"{MOST_TOKENS}."
            )
        if self.negative_prompt and not self.is_truly_guided:
            logger.warning(
                "negative_prompt has no effect while true_cfg_scale is %s; give one above 1, which "
                "takes twice the time.",
                self.true_cfg_scale,
            )


def _fit(name: str, side: int | None, unit: int) -> int | None:
    """The multiple of `unit` that is drawn of a side; where there is none it stays as it is."""
    fitting = (side or 0) // unit * unit
    if side is None or fitting <= 0 or fitting == side:
        return side
    logger.warning(
        "%s is %d, and FLUX draws multiples of %d pixels: %d are drawn.", name, side, unit, fitting
    )
    return fitting
