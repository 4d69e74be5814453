"""The safety checker that Stable Diffusion 1 came with."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.silence import silence_imports

with silence_imports():
    from transformers import CLIPConfig, CLIPVisionModel, PreTrainedModel

logger = logging.getLogger(__name__)

CONCEPTS = 17
SPECIAL_CONCEPTS = 3
ADJUSTMENT = 0.01
"""Added to every concept's score once a special concept is near."""


class StableDiffusionSafetyChecker(PreTrainedModel):
    """Compares pictures with concepts in CLIP's space and blackens those that come too near.

    The concepts are known by their embeddings and thresholds alone (Rando et al. 2022,
    arXiv:2210.04610, describe how it works).
    """

    config_class = CLIPConfig
    main_input_name = "clip_input"
    _no_split_modules = ["CLIPEncoderLayer"]  # noqa: RUF012

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__(config)
        vision: Any = config.vision_config
        width, dim = vision.hidden_size, config.projection_dim or 512
        self.vision_model = CLIPVisionModel(vision)
        self.visual_projection = nn.Linear(width, dim, bias=False)
        self.concept_embeds = _constant(CONCEPTS, dim)
        self.special_care_embeds = _constant(SPECIAL_CONCEPTS, dim)
        self.concept_embeds_weights = _constant(CONCEPTS)
        self.special_care_embeds_weights = _constant(SPECIAL_CONCEPTS)
        self.post_init()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    @override
    def forward(self, clip_input: Tensor, images: Any) -> tuple[Any, list[bool]]:
        """Blacken pictures that come too near a concept.

        Args:
            clip_input: the pictures as CLIP sees them, `[batch, 3, 224, 224]`.
            images: the pictures themselves, batch first, tensor or array.

        Returns:
            `images`, changed in place, and for each whether it was blackened.
        """
        embeds = self.visual_projection(self.vision_model(clip_input).pooler_output)
        special = self._excess(embeds, self.special_care_embeds, self.special_care_embeds_weights)
        concepts = self._excess(embeds, self.concept_embeds, self.concept_embeds_weights)
        near = (special > 0).any(dim=1, keepdim=True)
        flagged = ((concepts + ADJUSTMENT * near).mul(1000).round() > 0).any(dim=1).tolist()
        for index, blackened in enumerate(flagged):
            if blackened:
                images[index] = 0.0
        if any(flagged):
            logger.warning(
                "the safety checker blackened %d of %d pictures; try another prompt or seed.",
                sum(flagged),
                len(flagged),
            )
        return images, flagged

    @staticmethod
    def _excess(embeds: Tensor, concepts: Tensor, thresholds: Tensor) -> Tensor:
        """How far the cosine to each concept lies above its threshold, `[batch, concepts]`."""
        near = nn.functional.normalize(embeds) @ nn.functional.normalize(concepts).T
        return near.float() - thresholds.float()


def _constant(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.ones(shape), requires_grad=False)
