"""Small pipelines of the first transformers that drew: DiT, PixArt, Hunyuan-DiT and aMUSEd."""

from __future__ import annotations

from functools import partial
from typing import Any

from dpnb.pipelines.shapes.text_encoders import make_bert_tokenizer
from tests.reference.checkpoints import diffusers, transformers, vae
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_classic import (
    UNCHECKED,
    ask,
    ask_for_words,
    clip_text,
    deep_vae,
    make_case,
    mask,
    picture,
    t5_text,
    tokenizer,
)

NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""

WIDTH = 24


def _dit() -> dict[str, Any]:
    network = diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        out_channels=8,
        num_layers=2,
        sample_size=16,
    )
    return {"transformer": network, "vae": vae(), "scheduler": diffusers.DDIMScheduler()}


def _pixart(**changes: Any) -> dict[str, Any]:
    network = diffusers.PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=2,
        sample_size=16,
        caption_channels=WIDTH,
        cross_attention_dim=WIDTH,
        use_additional_conditions=False,
    )
    scheduler = diffusers.DPMSolverMultistepScheduler()
    return {"transformer": network, "vae": vae(), "scheduler": scheduler, **t5_text(), **changes}


HUNYUAN: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "hidden_size": WIDTH,
    "sample_size": 8,
    "in_channels": 4,
    "patch_size": 2,
    "cross_attention_dim": WIDTH,
    "cross_attention_dim_t5": WIDTH,
    "pooled_projection_dim": 4,
    "text_len": 77,
    "text_len_t5": 256,
}


def _bert() -> Any:
    config = transformers.BertConfig(
        vocab_size=200,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
    )
    return transformers.BertModel(config)


def _hunyuan(**changes: Any) -> dict[str, Any]:
    second = {f"{name}_2": part for name, part in t5_text(WIDTH, 256).items()}
    return {
        "transformer": diffusers.HunyuanDiT2DModel(**HUNYUAN, num_layers=4),
        "vae": deep_vae(),
        "text_encoder": _bert(),
        "tokenizer": make_bert_tokenizer(77),
        "scheduler": diffusers.DDPMScheduler(prediction_type="v_prediction"),
        **second,
        **UNCHECKED,
        **changes,
    }


def _hunyuan_with_controlnet() -> dict[str, Any]:
    net = diffusers.HunyuanDiT2DControlNetModel(**HUNYUAN, transformer_num_layers=4)
    return _hunyuan(controlnet=net)


CODES = 32


def _book(**changes: Any) -> Any:
    settings: dict[str, Any] = {
        "block_out_channels": (16, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "latent_channels": 8,
        "num_vq_embeddings": CODES,
        "norm_num_groups": 8,
        "mid_block_add_attention": False,
        "lookup_from_codebook": True,
    }
    return diffusers.VQModel(**{**settings, **changes})


def _amused() -> dict[str, Any]:
    network = diffusers.UVit2DModel(
        hidden_size=16,
        cond_embed_dim=WIDTH,
        micro_cond_encode_dim=2,
        micro_cond_embed_dim=10,
        encoder_hidden_size=WIDTH,
        vocab_size=CODES + 8,
        codebook_size=CODES,
        in_channels=16,
        block_out_channels=16,
        num_res_blocks=1,
        block_num_heads=2,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        sample_size=16,
        downsample=True,
        upsample=True,
    )
    return {
        "vqvae": _book(),
        "tokenizer": tokenizer(),
        "text_encoder": clip_text(projection=WIDTH),
        "transformer": network,
        "scheduler": diffusers.AmusedScheduler(mask_token_id=CODES + 7),
    }


def _vq_diffusion() -> dict[str, Any]:
    from diffusers.pipelines.deprecated.vq_diffusion import (
        LearnedClassifierFreeSamplingEmbeddings,
    )

    network = diffusers.Transformer2DModel(
        attention_bias=True,
        cross_attention_dim=WIDTH,
        attention_head_dim=12,
        num_attention_heads=2,
        num_vector_embeds=CODES + 1,
        num_embeds_ada_norm=100,
        norm_num_groups=8,
        sample_size=8,
        activation_fn="geglu-approximate",
    )
    book = _book(latent_channels=8, vq_embed_dim=8, lookup_from_codebook=False)
    return {
        "vqvae": book,
        "text_encoder": clip_text(),
        "tokenizer": tokenizer(),
        "transformer": network,
        "scheduler": diffusers.VQDiffusionScheduler(num_vec_classes=CODES + 1),
        "learned_classifier_free_sampling_embeddings": LearnedClassifierFreeSamplingEmbeddings(
            learnable=True, hidden_size=WIDTH, length=77
        ),
    }


def _ask_small(**more: Any) -> dict[str, Any]:
    return ask_for_words(**{"height": 32, "width": 32, **more})


_ask_plainly = partial(_ask_small, use_resolution_binning=False, clean_caption=False)
_ask_unbinned = partial(ask_for_words, height=64, width=64, use_resolution_binning=False)


CASES: tuple[ForeignCase, ...] = (
    make_case("DiTPipeline", _dit, partial(ask, class_labels=[3])),
    make_case("PixArtAlphaPipeline", _pixart, _ask_plainly),
    make_case("PixArtSigmaPipeline", _pixart, _ask_plainly),
    make_case(
        "PixArtSigmaPAGPipeline",
        partial(_pixart, pag_applied_layers=["blocks.1"]),
        partial(_ask_plainly, pag_scale=3.0),
    ),
    make_case("HunyuanDiTPipeline", _hunyuan, _ask_unbinned),
    make_case(
        "HunyuanDiTPAGPipeline",
        partial(_hunyuan, pag_applied_layers=["blocks.1"]),
        partial(_ask_unbinned, pag_scale=3.0),
    ),
    make_case(
        "HunyuanDiTControlNetPipeline",
        _hunyuan_with_controlnet,
        lambda: _ask_unbinned(control_image=picture(64, seed=2)),
    ),
    make_case("AmusedPipeline", _amused, _ask_small),
    make_case(
        "AmusedImg2ImgPipeline",
        _amused,
        lambda: ask_for_words(image=picture(), num_inference_steps=3, strength=0.7),
    ),
    make_case(
        "AmusedInpaintPipeline",
        _amused,
        lambda: ask_for_words(image=picture(), mask_image=mask()),
    ),
    make_case("VQDiffusionPipeline", _vq_diffusion, ask_for_words),
)
