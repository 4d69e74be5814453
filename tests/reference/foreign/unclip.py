"""Small pipelines that draw from the embedding of a picture, or of a thing in space."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.reference.checkpoints import diffusers, transformers, unet, vae
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.kandinsky import ADDED, unclip_prior
from tests.reference.foreign.parts_classic import (
    VISION,
    ask,
    ask_for_words,
    clip_processor,
    clip_text,
    clip_vision,
    ddim,
    make_case,
    picture,
    tokenizer,
)

NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""

UNDRAWN = "undrawn"
"""Of a thing in space: drawing it takes 20 views of 192 samples a ray, a quarter of a minute."""

WIDTH = 24


def _unclip_scheduler(**changes: Any) -> Any:
    return diffusers.UnCLIPScheduler(**{"variance_type": "learned_range", **changes})


def _noised() -> dict[str, Any]:
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import (
        StableUnCLIPImageNormalizer,
    )

    return {
        "image_normalizer": StableUnCLIPImageNormalizer(embedding_dim=WIDTH),
        "image_noising_scheduler": diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        "unet": unet(
            "sd2",
            class_embed_type="projection",
            projection_class_embeddings_input_dim=2 * WIDTH,
        ),
        "vae": vae(),
        "text_encoder": clip_text(),
        "tokenizer": tokenizer(),
        "scheduler": ddim(prediction_type="v_prediction"),
    }


def _from_words() -> dict[str, Any]:
    scheduler = _unclip_scheduler(variance_type="fixed_small_log", prediction_type="sample")
    return {
        **_noised(),
        "prior": unclip_prior(),
        "prior_text_encoder": clip_text(projection=WIDTH),
        "prior_tokenizer": tokenizer(),
        "prior_scheduler": scheduler,
    }


def _from_pictures() -> dict[str, Any]:
    seeing = {"image_encoder": clip_vision(WIDTH), "feature_extractor": clip_processor()}
    return {**_noised(), **seeing}


def _enlarger() -> Any:
    return diffusers.UNet2DModel(
        sample_size=32,
        in_channels=6,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D"),
        up_block_types=("ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"),
        add_attention=False,
    )


def _unclip_decoder() -> dict[str, Any]:
    from diffusers.pipelines.deprecated.unclip import UnCLIPTextProjModel

    network = diffusers.UNet2DConditionModel(
        **ADDED, sample_size=16, in_channels=3, out_channels=6, class_embed_type="identity"
    )
    return {
        "decoder": network,
        "text_encoder": clip_text(projection=WIDTH),
        "tokenizer": tokenizer(),
        "text_proj": UnCLIPTextProjModel(
            clip_embeddings_dim=WIDTH, time_embed_dim=64, cross_attention_dim=WIDTH
        ),
        "super_res_first": _enlarger(),
        "super_res_last": _enlarger(),
        "decoder_scheduler": _unclip_scheduler(),
        "super_res_scheduler": _unclip_scheduler(variance_type="fixed_small_log"),
    }


def _unclip() -> dict[str, Any]:
    scheduler = _unclip_scheduler(variance_type="fixed_small_log", prediction_type="sample")
    return {**_unclip_decoder(), "prior": unclip_prior(), "prior_scheduler": scheduler}


def _unclip_variation() -> dict[str, Any]:
    seeing = {"image_encoder": clip_vision(WIDTH), "feature_extractor": clip_processor()}
    return {**_unclip_decoder(), **seeing}


LATENTS = 32
"""Of a thing in space; each is a row of the weights that draw it."""


def _renderer() -> Any:
    from diffusers.pipelines.shap_e import ShapERenderer

    rows = LATENTS // 4
    return ShapERenderer(
        param_shapes=((rows, 93), (rows, rows), (rows, rows), (rows, rows)),
        d_latent=16,
        d_hidden=rows,
        n_output=12,
        background=(255.0, 255.0, 255.0),
    )


def _shape_prior(**changes: Any) -> Any:
    return unclip_prior(
        **changes,
        embedding_dim=16,
        num_embeddings=LATENTS,
        embedding_proj_dim=WIDTH,
        time_embed_dim=64,
        additional_embeddings=0,
        clip_embed_dim=32,
        time_embed_act_fn="gelu",
        norm_in_type="layer",
        encoder_hid_proj_type=None,
        added_emb_type=None,
    )


def _shape_scheduler() -> Any:
    return diffusers.HeunDiscreteScheduler(
        beta_schedule="exp",
        num_train_timesteps=1024,
        prediction_type="sample",
        use_karras_sigmas=True,
        clip_sample=True,
        clip_sample_range=1.0,
    )


def _shape() -> dict[str, Any]:
    return {
        "prior": _shape_prior(),
        "text_encoder": clip_text(projection=WIDTH),
        "tokenizer": tokenizer(),
        "scheduler": _shape_scheduler(),
        "shap_e_renderer": _renderer(),
    }


def _shape_of_picture() -> dict[str, Any]:
    config = transformers.CLIPVisionConfig(
        **VISION, hidden_size=WIDTH, intermediate_size=48, num_attention_heads=4
    )
    return {
        "prior": _shape_prior(embedding_proj_norm_type="layer"),
        "image_encoder": transformers.CLIPVisionModel(config),
        "image_processor": clip_processor(),
        "scheduler": _shape_scheduler(),
        "shap_e_renderer": _renderer(),
    }


def _ask_thrice(**more: Any) -> dict[str, Any]:
    arguments = ask_for_words(
        **{"decoder_num_inference_steps": 2, "super_res_num_inference_steps": 2, **more}
    )
    del arguments["num_inference_steps"]
    return arguments


def _vary() -> dict[str, Any]:
    arguments = _ask_thrice(image=picture())
    del arguments["prompt"]
    return arguments


CASES: tuple[ForeignCase, ...] = (
    make_case(
        "StableUnCLIPPipeline",
        _from_words,
        lambda: ask_for_words(prior_num_inference_steps=2, noise_level=10),
    ),
    make_case(
        "StableUnCLIPImg2ImgPipeline",
        _from_pictures,
        lambda: ask_for_words(image=picture(), noise_level=10),
    ),
    make_case("UnCLIPPipeline", _unclip, lambda: _ask_thrice(prior_num_inference_steps=2)),
    make_case("UnCLIPImageVariationPipeline", _unclip_variation, _vary),
    make_case("ShapEPipeline", _shape, partial(ask_for_words, output_type="latent"), UNDRAWN),
    make_case(
        "ShapEImg2ImgPipeline",
        _shape_of_picture,
        lambda: ask(image=picture(), output_type="latent"),
        UNDRAWN,
    ),
)
