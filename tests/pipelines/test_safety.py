from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import CLIPConfig

from dpnb.pipelines.safety import StableDiffusionSafetyChecker


@pytest.fixture
def checker() -> Any:
    vision = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 8,
        "patch_size": 4,
    }
    torch.manual_seed(0)
    checker: Any = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8))
    return checker.eval()


def test_what_is_near_to_nothing_stays(checker: Any) -> None:
    checker.concept_embeds_weights.fill_(2)
    checker.special_care_embeds_weights.fill_(2)
    images, flagged = checker(torch.randn(2, 3, 8, 8), torch.ones(2, 3, 8, 8))
    assert flagged == [False, False]
    assert bool((images == 1).all())


def test_what_is_near_to_a_concept_is_blackened(
    checker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    checker.concept_embeds_weights.fill_(-2)
    images, flagged = checker(torch.randn(2, 3, 8, 8), torch.ones(2, 3, 8, 8))
    assert flagged == [True, True]
    assert not images.any()
    assert "blackened 2 of 2 pictures" in caplog.text
