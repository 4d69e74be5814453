"""Small pipelines that draw pixels without latents, or before latents were usual."""

from __future__ import annotations

from functools import partial
from typing import Any

from dpnb.pipelines.shapes.text_encoders import make_bert_tokenizer
from tests.reference.checkpoints import BETAS, diffusers, unet, vae
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.kandinsky import ADDED
from tests.reference.foreign.parts_classic import (
    UNCHECKED,
    ask,
    ask_for_words,
    ddim,
    make_case,
    mask,
    picture,
    t5_text,
)

NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""

WIDTH = 24


def _floyd(channels: int = 3, **changes: Any) -> dict[str, Any]:
    network = diffusers.UNet2DConditionModel(
        **{**ADDED, "cross_attention_dim": 32},
        sample_size=16,
        in_channels=channels,
        out_channels=6,
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        cross_attention_norm="group_norm",
        act_fn="gelu",
        **changes,
    )
    return {"unet": network, "scheduler": _learned(), **t5_text(WIDTH, 77), **UNCHECKED, **WATER}


WATER = {"watermarker": None}


def _learned() -> Any:
    return diffusers.DDPMScheduler(variance_type="learned_range", thresholding=True)


def _floyd_enlarger() -> dict[str, Any]:
    noising = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    parts = _floyd(6, class_embed_type="timestep")
    return {**parts, "image_noising_scheduler": noising}


def _consistent() -> dict[str, Any]:
    network = diffusers.UNet2DModel(
        sample_size=16,
        layers_per_block=1,
        block_out_channels=(16, 32),
        norm_num_groups=8,
        num_class_embeds=10,
        attention_head_dim=8,
        resnet_time_scale_shift="scale_shift",
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
    )
    scheduler = diffusers.CMStochasticIterativeScheduler(
        num_train_timesteps=40, sigma_min=0.002, sigma_max=80.0
    )
    return {"unet": network, "scheduler": scheduler}


def _latent() -> dict[str, Any]:
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
        LDMBertConfig,
        LDMBertModel,
    )

    config = LDMBertConfig(
        vocab_size=200,
        max_position_embeddings=77,
        encoder_layers=2,
        encoder_ffn_dim=48,
        encoder_attention_heads=2,
        head_dim=12,
        d_model=WIDTH,
    )
    return {
        "vqvae": vae(),
        "bert": LDMBertModel(config),
        "tokenizer": make_bert_tokenizer(77),
        "unet": unet("sd1"),
        "scheduler": ddim(),
    }


def _latent_enlarger() -> dict[str, Any]:
    network = diffusers.UNet2DModel(
        sample_size=16,
        in_channels=6,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(16, 32),
        norm_num_groups=8,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    coder = diffusers.VQModel(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        num_vq_embeddings=32,
        norm_num_groups=8,
    )
    return {"vqvae": coder, "unet": network, "scheduler": diffusers.DDIMScheduler(**BETAS)}


_ask_plainly = partial(ask_for_words, clean_caption=False)


CASES: tuple[ForeignCase, ...] = (
    make_case("IFPipeline", _floyd, _ask_plainly),
    make_case(
        "IFImg2ImgPipeline",
        _floyd,
        lambda: _ask_plainly(image=picture(16), num_inference_steps=3),
    ),
    make_case(
        "IFInpaintingPipeline",
        _floyd,
        lambda: _ask_plainly(image=picture(16), mask_image=mask(16), num_inference_steps=3),
    ),
    make_case("IFSuperResolutionPipeline", _floyd_enlarger, lambda: _ask_plainly(image=picture(8))),
    make_case(
        "IFImg2ImgSuperResolutionPipeline",
        _floyd_enlarger,
        lambda: _ask_plainly(image=picture(8), original_image=picture(16), num_inference_steps=3),
    ),
    make_case(
        "IFInpaintingSuperResolutionPipeline",
        _floyd_enlarger,
        lambda: _ask_plainly(
            image=picture(8),
            original_image=picture(16),
            mask_image=mask(16),
            num_inference_steps=3,
        ),
    ),
    make_case(
        "ConsistencyModelPipeline",
        _consistent,
        partial(ask, num_inference_steps=None, timesteps=[22, 0], class_labels=3),
    ),
    make_case(
        "ConsistencyModelPipeline",
        _consistent,
        partial(ask, num_inference_steps=1, class_labels=3),
        "one step",
    ),
    make_case(
        "LDMTextToImagePipeline",
        _latent,
        partial(ask_for_words, guidance_scale=3.0, height=128, width=128),
    ),
    make_case("LDMSuperResolutionPipeline", _latent_enlarger, lambda: ask(image=picture())),
)
