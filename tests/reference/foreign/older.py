"""Small pipelines of older models that see, read several languages, or measure a picture."""

from __future__ import annotations

from typing import Any

from tests.reference.checkpoints import VOCABULARY, unet, vae
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.kandinsky import multilingual_tokenizer
from tests.reference.foreign.parts_classic import (
    ask,
    ask_for_words,
    clip_processor,
    clip_text,
    clip_vision,
    ddim,
    make_case,
    picture,
    stable_diffusion,
    tokenizer,
)

NOT_BUILT = {
    "VersatileDiffusionPipeline": "has no call of its own, but those of the other three",
    "VersatileDiffusionDualGuidedPipeline": (
        "gives its two-headed attention an argument `encoder_attention_mask` that it does not take"
    ),
}
"""Why a class of this family has no case."""

WIDTH = 24


def _marigold(channels: int = 8, out: int = 4, **changes: Any) -> dict[str, Any]:
    return {
        "unet": unet("sd1", in_channels=channels, out_channels=out),
        "vae": vae(),
        "scheduler": ddim(),
        "text_encoder": clip_text(),
        "tokenizer": tokenizer(),
        "default_processing_resolution": 32,
        **changes,
    }


def _marigold_intrinsics() -> dict[str, Any]:
    targets = {"target_names": ["albedo", "material"], "albedo": {"prediction_space": "srgb"}}
    return _marigold(
        12, 8, target_properties={**targets, "material": {"prediction_space": "stack"}}
    )


def _alt() -> dict[str, Any]:
    from diffusers.pipelines.deprecated.alt_diffusion.modeling_roberta_series import (
        RobertaSeriesConfig,
        RobertaSeriesModelWithTransformation,
    )

    config = RobertaSeriesConfig(
        project_dim=WIDTH,
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=96,
    )
    return stable_diffusion(
        text_encoder=RobertaSeriesModelWithTransformation(config),
        tokenizer=multilingual_tokenizer(),
        image_encoder=None,
    )


def _versatile_text_unet() -> Any:
    from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import (
        UNetFlatConditionModel,
    )

    return UNetFlatConditionModel(
        sample_size=16,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlockFlat", "DownBlockFlat"),
        up_block_types=("UpBlockFlat", "CrossAttnUpBlockFlat"),
        norm_num_groups=8,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
    )


def _versatile_image_unet(**changes: Any) -> Any:
    return unet(
        "sd1",
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        **changes,
    )


def _versatile_words() -> dict[str, Any]:
    return {
        "tokenizer": tokenizer(),
        "text_encoder": clip_text(projection=WIDTH),
        "image_unet": _versatile_image_unet(),
        "text_unet": _versatile_text_unet(),
        "vae": vae(),
        "scheduler": ddim(),
    }


def _versatile_pictures() -> dict[str, Any]:
    return {
        "image_feature_extractor": clip_processor(),
        "image_encoder": clip_vision(WIDTH),
        "image_unet": _versatile_image_unet(),
        "vae": vae(),
        "scheduler": ddim(),
    }


CASES: tuple[ForeignCase, ...] = (
    make_case("MarigoldDepthPipeline", _marigold, lambda: ask(image=picture())),
    make_case(
        "MarigoldDepthPipeline",
        _marigold,
        lambda: ask(image=picture(), ensemble_size=3, output_uncertainty=True),
        "ensemble",
    ),
    make_case("MarigoldNormalsPipeline", _marigold, lambda: ask(image=picture())),
    make_case("MarigoldIntrinsicsPipeline", _marigold_intrinsics, lambda: ask(image=picture())),
    make_case("AltDiffusionPipeline", _alt, ask_for_words),
    make_case(
        "AltDiffusionImg2ImgPipeline",
        _alt,
        lambda: ask_for_words(image=picture(), num_inference_steps=3),
    ),
    make_case("VersatileDiffusionTextToImagePipeline", _versatile_words, ask_for_words),
    make_case(
        "VersatileDiffusionImageVariationPipeline",
        _versatile_pictures,
        lambda: ask(image=picture()),
    ),
)
