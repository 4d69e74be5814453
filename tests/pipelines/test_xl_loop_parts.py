"""What loops of one's own, and scripts, ask of pipelines of Stable Diffusion XL."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from tests.pipelines.derived import draw, like
from tests.strategies.pipes import build

SIZES: dict[str, Any] = {
    "original_size": (32, 48),
    "crops_coords_top_left": (1, 2),
    "target_size": (64, 80),
}
NEGATIVE = {
    "negative_original_size": (8, 9),
    "negative_crops_coords_top_left": (3, 4),
    "negative_target_size": (10, 11),
}
SCORES = {"aesthetic_score": 6.5, "negative_aesthetic_score": 2.5}


def dim(pipe: Any) -> int:
    size: int = pipe.text_encoder_2.config.projection_dim
    return size


def test_sizes_and_crops_are_one_row() -> None:
    pipe: Any = build("tiny-sdxl")
    row = pipe._get_add_time_ids(
        **SIZES, dtype=torch.float32, text_encoder_projection_dim=dim(pipe)
    )
    assert row.tolist() == [[32, 48, 1, 2, 64, 80]]
    assert pipe.default_sample_size == pipe.unet.config.sample_size
    assert pipe.default_sample_size * pipe.vae_scale_factor == pipe.default_size()[0]


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("name", ["Img2Img", "Inpaint"])
def test_with_a_picture_they_are_two(name: str, scored: bool) -> None:
    base: Any = build("tiny-sdxl")
    taken = base.unet.config.projection_class_embeddings_input_dim
    less = scored * base.unet.config.addition_time_embed_dim
    unet = like(base.unet, projection_class_embeddings_input_dim=taken - less)
    kind: Any = getattr(dpnb, f"StableDiffusionXL{name}Pipeline")
    pipe = kind.from_pipe(base, unet=unet, requires_aesthetics_score=scored)
    given = {**SIZES, **NEGATIVE, **SCORES, "dtype": torch.float32}
    rows = pipe._get_add_time_ids(**given, text_encoder_projection_dim=dim(pipe))
    ends = [[6.5], [3, 4, 2.5]] if scored else [[64, 80], [1, 2, 10, 11]]
    assert rows[0].tolist() == [[32, 48, 1, 2, *ends[0]]]
    assert rows[1].tolist() == [[8, 9, *ends[1]]]
    pipe.register_to_config(requires_aesthetics_score=not scored)
    with pytest.raises(ValueError, match=f"requires_aesthetics_score={scored}"):
        pipe._get_add_time_ids(**given, text_encoder_projection_dim=dim(pipe))


def test_without_a_first_text_encoder_the_second_reads_the_prompt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    base: Any = build("tiny-sdxl")
    width = base.text_encoder_2.config.hidden_size
    pipe: Any = dpnb.StableDiffusionXLPipeline.from_pipe(
        base,
        text_encoder=None,
        tokenizer=None,
        unet=like(base.unet, cross_attention_dim=width),
    )
    pipe.set_progress_bar_config(disable=True)
    plain = draw(pipe)
    assert not caplog.text
    assert torch.equal(draw(pipe, prompt_2="a dog"), plain)
    assert "the one of this pipeline reads prompt" in caplog.text


def test_pictures_are_marked_by_what_marks_them() -> None:
    class Black:
        def apply_watermark(self, images: Tensor) -> Tensor:
            assert images.ndim == 4
            return torch.full_like(images, -1.0)

    pipe: Any = build("tiny-sdxl")
    assert pipe.watermark is None
    pipe.watermark = Black()
    assert draw(pipe).abs().max() == 0
    pipe.watermark = None
    assert draw(pipe).abs().max() > 0


def test_a_loop_goes_on_where_another_model_has_stopped() -> None:
    pipe: Any = dpnb.StableDiffusionXLImg2ImgPipeline.from_pipe(build("tiny-sdxl"))
    pipe.scheduler.set_timesteps(10)
    every = pipe.scheduler.timesteps
    timesteps, left = pipe.get_timesteps(10, 0.3, denoising_start=0.55)
    done = every[: 10 - left]
    assert torch.equal(torch.cat((done, timesteps)), every)
    trained = pipe.scheduler.config.num_train_timesteps
    assert timesteps[0] < 0.45 * trained <= done[-1]
    assert pipe.get_timesteps(10, 0.3)[1] == 3
