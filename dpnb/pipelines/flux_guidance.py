"""How a negative prompt steers FLUX.1, whose guidance scale is an input of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.pipelines.denoise import guide, last_entries
from dpnb.pipelines.guidance import Guidance


@dataclass(frozen=True)
class NegativePromptGuidance(Guidance[Any]):
    """Away from what the network says with the negative prompt, where a run has one."""

    @override
    def predict(self, pipe: Any, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        negative, given = tensors.get("negative_prompt_embeds"), tensors["prompt_embeds"]
        if negative is None:
            return pipe.predict_noise(latents, t, tensors)  # type: ignore[no-any-return]
        if negative.shape == given.shape:
            pair, embeds = torch.cat((latents, latents)), torch.cat((negative, given))
            both = pipe.predict_noise(pair, t, {**tensors, "prompt_embeds": embeds})
            return guide(both, pipe.true_cfg_scale)
        pooled = tensors["pooled_prompt_embeds"].chunk(2)
        flows = [
            pipe.predict_noise(
                latents, t, {**tensors, "prompt_embeds": embeds, "pooled_prompt_embeds": half}
            )
            for embeds, half in zip((negative, given), pooled, strict=True)
        ]
        return guide(torch.cat(flows), pipe.true_cfg_scale)

    @override
    def predict_unguided(
        self, pipe: Any, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]
    ) -> Tensor:
        pooled = last_entries(tensors["pooled_prompt_embeds"], latents)
        tensors = {**tensors, "pooled_prompt_embeds": pooled}
        return pipe.predict_noise(latents, t, tensors)  # type: ignore[no-any-return]
