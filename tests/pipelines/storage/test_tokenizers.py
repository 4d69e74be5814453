"""Tokenizers, text encoders and networks that belong together, and those that do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb

pytestmark = pytest.mark.exhaustive


@pytest.fixture(scope="module", params=["tiny-sd", "tiny-sdxl"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return dpnb.random_pipeline(request.param)


@pytest.fixture(scope="module")
def folder(pipe: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    pipe.save_pretrained(place)
    return place


def test_a_tokenizer_has_no_more_length_than_its_encoder_has_positions(folder: Path) -> None:
    settings = folder / "tokenizer" / "tokenizer_config.json"
    before = settings.read_text()
    settings.unlink()
    try:
        loaded: Any = dpnb.DiffusionPipeline.from_pretrained(folder)
    finally:
        settings.write_text(before)
    assert loaded.tokenizer.model_max_length == 77


def test_the_callers_own_tokenizer_stays_as_it_is(pipe: Any, folder: Path) -> None:
    own = dpnb.random_pipeline("tiny-sd").components["tokenizer"]
    own.model_max_length = 1000
    dpnb.DiffusionPipeline.from_pretrained(folder, tokenizer=own)
    assert own.model_max_length == 1000


def test_embeddings_of_another_width_are_refused_in_a_sentence(pipe: Any) -> None:
    embeds = torch.zeros(1, 77, 7)
    given = {"prompt_embeds": embeds, "negative_prompt_embeds": embeds}
    if "text_encoder_2" in pipe.components:
        given |= {f"{kind}pooled_prompt_embeds": torch.zeros(1, 32) for kind in ("", "negative_")}
    with pytest.raises(ValueError, match="prompt_embeds has 7 channels, and the UNet takes"):
        pipe(num_inference_steps=1, height=16, width=16, **given)


def test_more_extra_tokens_than_any_tokenizer_has_are_refused(tmp_path: Path) -> None:
    dpnb.random_pipeline("tiny-flux").save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_2" / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "extra_ids": 10**9}))
    with pytest.raises(dpnb.CheckpointError, match="extra_ids of 1000000000; 10000 at most"):
        dpnb.DiffusionPipeline.from_pretrained(tmp_path)
