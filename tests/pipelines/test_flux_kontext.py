"""FLUX that takes up another picture."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.pipelines.flux_kontext import (
    REFERENCE_LATENTS,
    SIZES,
    FluxKontextArguments,
    bring_to_area,
)
from tests.pipelines.derived import PICTURE, derive, draw

KIND = dpnb.FluxKontextPipeline


@pytest.mark.parametrize(
    ("asked", "brought"),
    [
        ((1024, 1024), (1024, 1024)),
        ((512, 512), (1024, 1024)),
        ((768, 1344), (768, 1344)),
        ((1000, 500), (1440, 720)),
    ],
)
def test_a_size_is_brought_to_an_area(asked: tuple[int, int], brought: tuple[int, int]) -> None:
    assert bring_to_area(*asked, 1024**2, 16) == brought


def test_the_picture_is_brought_to_a_size_that_the_network_was_trained_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipe, sizes = derive(KIND), list[tuple[int, int]]()

    def note(pictures: Any, height: int, width: int) -> torch.Tensor:
        sizes.append((width, height))
        return torch.zeros(len(pictures), 3, 32, 32)

    monkeypatch.setattr(pipe, "preprocess", note)
    for shape in ((30, 30), (10, 40), (40, 30)):
        draw(pipe, image=PICTURE.resize(shape), _auto_resize=True, num_inference_steps=1)
    assert sizes == [(1024, 1024), (672, 1568), (1184, 880)]
    assert set(sizes) <= set(SIZES)


def test_the_network_sees_the_picture_after_what_is_drawn() -> None:
    pipe, seen = derive(KIND), list[dict[str, Any]]()
    pipe.transformer.register_forward_pre_hook(
        lambda _, args, given: seen.append(given), with_kwargs=True
    )
    draw(pipe, image=PICTURE.resize((64, 32)), num_inference_steps=1)
    draw(pipe, image=None, num_inference_steps=1)
    assert [given["hidden_states"].shape[1] for given in seen] == [64 + 128, 64]
    assert len(seen[0]["rotary"]) - len(seen[1]["rotary"]) == 128


def test_the_picture_lies_in_a_plane_of_its_own() -> None:
    pipe = derive(KIND)
    arguments = FluxKontextArguments(height=32, width=32)
    tensors = {
        "latents": torch.zeros(1, 4, 16, 16),
        "prompt_embeds": torch.zeros(1, 5, 8),
        REFERENCE_LATENTS: torch.zeros(1, 4, 4, 6),
    }
    places = pipe.find_positions(arguments, tensors)
    assert places[: 5 + 64, 0].eq(0).all()
    assert places[5 + 64 :].tolist() == [[1, row, column] for row in (0, 1) for column in (0, 1, 2)]


def test_what_it_cannot_do_is_refused() -> None:
    pipe = derive(KIND)
    with pytest.raises(ValueError, match="image is 3 x 2 pixels; give one of at least 4 x 4"):
        draw(pipe, image=PICTURE.resize((3, 2)))
    with pytest.raises(ValueError, match="max_area"):
        draw(pipe, max_area=1)
    with pytest.raises(ValueError, match="height is 0"):
        draw(pipe, height=0)
    with pytest.raises(ValueError, match="image holds 2 pictures for 1 that are drawn"):
        draw(pipe, image=[PICTURE, PICTURE])
