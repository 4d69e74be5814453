"""Small checkpoints of every family, written by diffusers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dpnb.pipelines.shapes.text_encoders import make_clip_tokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import diffusers as diffusers
    import transformers as transformers

VOCABULARY = 600

UNETS: Mapping[str, Mapping[str, Any]] = {
    "sd1": {
        "block_out_channels": (16, 32, 32),
        "layers_per_block": (1, 2, 1),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 24,
        "attention_head_dim": 4,
    },
    "sd2": {
        "block_out_channels": (16, 32),
        "layers_per_block": 2,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 24,
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "upcast_attention": True,
    },
    "sdxl": {
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 48,
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "transformer_layers_per_block": (1, 2),
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 8 * 6 + 20,
    },
}

VAE: Mapping[str, Any] = {
    "block_out_channels": (16, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "sample_size": 32,
}

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def unet(family: str, **changes: Any) -> Any:
    """A random UNet of a family."""
    settings = {"sample_size": 16, "norm_num_groups": 8, **UNETS[family], **changes}
    network: Any = diffusers.UNet2DConditionModel(**settings)
    return network.eval()


def vae(**changes: Any) -> Any:
    """A random autoencoder."""
    return diffusers.AutoencoderKL(**{**VAE, **changes}).eval()


def text_encoder(*, projects: bool = False, act: str = "quick_gelu") -> Any:
    """A random text encoder of 24 channels."""
    config = transformers.CLIPTextConfig(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=20,
        hidden_act=act,
        vocab_size=VOCABULARY,
        bos_token_id=VOCABULARY - 2,
        eos_token_id=VOCABULARY - 1,
        pad_token_id=VOCABULARY - 1,
    )
    kind = transformers.CLIPTextModelWithProjection if projects else transformers.CLIPTextModel
    encoder: Any = kind(config)
    return encoder.eval()


def safety_checker() -> tuple[Any, Any]:
    """A random safety checker and the processor that prepares its pictures."""
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker

    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    config = transformers.CLIPConfig(vision_config=vision, projection_dim=8)
    checker = StableDiffusionSafetyChecker(config).eval()
    torch.nn.init.normal_(checker.concept_embeds)
    torch.nn.init.normal_(checker.special_care_embeds)
    torch.nn.init.constant_(checker.concept_embeds_weights, 0.75)
    torch.nn.init.constant_(checker.special_care_embeds_weights, 0.75)
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    return checker, processor


def pipeline(family: str, *, seed: int = 0, **changes: Any) -> Any:
    """A pipeline of diffusers with random weights; `changes` replace components."""
    torch.manual_seed(seed)
    tokenizer = make_clip_tokenizer(VOCABULARY)
    parts = {"unet": unet(family), "vae": vae(), "text_encoder": text_encoder()}
    parts["tokenizer"] = tokenizer
    scheduler = diffusers.DDIMScheduler(
        **BETAS,
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=False,
        prediction_type="v_prediction" if family == "sd2" else "epsilon",
    )
    parts["scheduler"] = scheduler
    if family == "sdxl":
        parts |= {"text_encoder_2": text_encoder(projects=True, act="gelu")}
        parts |= {"tokenizer_2": tokenizer}
        kind = diffusers.StableDiffusionXLPipeline
    else:
        parts |= {"safety_checker": None, "feature_extractor": None}
        parts |= {"requires_safety_checker": False}
        kind = diffusers.StableDiffusionPipeline
    pipe = kind(**{**parts, **changes})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def write(folder: Path, family: str, **how: Any) -> Any:
    """Save a random pipeline into `folder` with diffusers, and load it again with diffusers."""
    made = pipeline(family)
    made.save_pretrained(folder, **how)
    pipe = type(made).from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe
