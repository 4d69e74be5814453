"""The public architectures, and pipelines that have their shape and random weights.

Sources: the configurations of stable-diffusion-v1-5, stable-diffusion-2-1,
stable-diffusion-xl-base-1.0, FLUX.1-schnell, FLUX.1-dev and ldm-text2im-large-256.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dpnb.devices import parse_dtype
from dpnb.generators import make_generator
from dpnb.loading.components.registry import resolve
from dpnb.loading.components.transformers_components import find_fp32_modules
from dpnb.pipelines.shapes.text_encoders import Complete, Settings, build_text_parts

if TYPE_CHECKING:
    from dpnb.pipelines.text_to_image import TextToImagePipeline

STABLE_DIFFUSION_BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}

VAE: Settings = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "sample_size": 512,
}

CLIP_L: Settings = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}

OPEN_CLIP_H: Settings = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "projection_dim": 512,
}

OPEN_CLIP_G: Settings = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}

TINY_CLIP: Settings = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "hidden_act": "quick_gelu",
    "projection_dim": 32,
    "vocab_size": 1000,
}

TINY_VAE: Settings = {
    "block_out_channels": (16, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "sample_size": 32,
}

TINY_UNET: Settings = {
    "sample_size": 16,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 32,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}

TINY_BERT: Settings = {
    "vocab_size": 300,
    "max_position_embeddings": 20,
    "encoder_layers": 2,
    "encoder_ffn_dim": 48,
    "encoder_attention_heads": 2,
    "head_dim": 8,
    "d_model": 32,
}

LDM_NAMES = {"vae": "vqvae", "text_encoder": "bert"}

LDM_SCHEDULER = (
    "DDIMScheduler",
    {**STABLE_DIFFUSION_BETAS, "steps_offset": 0, "clip_sample": False},
)

XL_BLOCKS: Settings = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
}


T5_XXL: Settings = {
    "vocab_size": 32128,
    "n_positions": 512,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}

TINY_T5: Settings = {
    "vocab_size": 100,
    "n_positions": 64,
    "d_model": 24,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 1,
    "num_heads": 2,
    "feed_forward_proj": "gated-gelu",
}

FLUX_VAE: Settings = {
    **VAE,
    "sample_size": 1024,
    "latent_channels": 16,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}

FLUX_SCHEDULER = "FlowMatchEulerDiscreteScheduler"

XL_SCHEDULER = (
    "EulerDiscreteScheduler",
    {**STABLE_DIFFUSION_BETAS, "timestep_spacing": "leading"},
)


@dataclass(frozen=True)
class Architecture:
    """The settings of every component of a model.

    Args:
        pipeline: the name of its pipeline class.
        text_encoders: class and settings of each text encoder.
        scheduler: the name of its scheduler class, and its settings.
        unet: of its UNet, if it has one.
        transformer: of its transformer, if it has one.
        names: of components that are called differently than usual, by their usual names.
    """

    pipeline: str
    vae: Settings
    text_encoders: tuple[tuple[str, Settings], ...]
    scheduler: tuple[str, Settings]
    unet: Settings = field(default_factory=dict)
    transformer: Settings = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def networks(self) -> dict[str, tuple[str, Settings]]:
        """Class and settings of every network of ours, by component."""
        known = {
            "unet": ("UNet2DConditionModel", self.unet),
            "transformer": ("FluxTransformer2DModel", self.transformer),
            "vae": ("AutoencoderKL", self.vae),
        }
        return {self.component_name(name): network for name, network in known.items() if network[1]}

    def component_name(self, component: str) -> str:
        """What a component is called here."""
        return self.names.get(component, component)


ARCHITECTURES: Mapping[str, Architecture] = {
    "sd15": Architecture(
        pipeline="StableDiffusionPipeline",
        unet={"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
        vae=VAE,
        text_encoders=(("CLIPTextModel", CLIP_L),),
        scheduler=(
            "PNDMScheduler",
            {**STABLE_DIFFUSION_BETAS, "skip_prk_steps": True, "set_alpha_to_one": False},
        ),
    ),
    "sd21": Architecture(
        pipeline="StableDiffusionPipeline",
        unet={
            "sample_size": 96,
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
            "upcast_attention": True,
        },
        vae={**VAE, "sample_size": 768},
        text_encoders=(("CLIPTextModel", OPEN_CLIP_H),),
        scheduler=(
            "DDIMScheduler",
            {
                **STABLE_DIFFUSION_BETAS,
                "prediction_type": "v_prediction",
                "clip_sample": False,
                "set_alpha_to_one": False,
            },
        ),
    ),
    "sdxl": Architecture(
        pipeline="StableDiffusionXLPipeline",
        unet={
            **XL_BLOCKS,
            "sample_size": 128,
            "block_out_channels": (320, 640, 1280),
            "cross_attention_dim": 2048,
            "attention_head_dim": (5, 10, 20),
            "transformer_layers_per_block": (1, 2, 10),
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        vae={**VAE, "sample_size": 1024, "scaling_factor": 0.13025},
        text_encoders=(("CLIPTextModel", CLIP_L), ("CLIPTextModelWithProjection", OPEN_CLIP_G)),
        scheduler=XL_SCHEDULER,
    ),
    "ldm": Architecture(
        pipeline="LDMTextToImagePipeline",
        unet={"sample_size": 32, "cross_attention_dim": 1280, "attention_head_dim": 8},
        vae={**VAE, "sample_size": 256},
        text_encoders=(("LDMBertModel", {}),),
        scheduler=LDM_SCHEDULER,
        names=LDM_NAMES,
    ),
    "flux-schnell": Architecture(
        pipeline="FluxPipeline",
        transformer={"guidance_embeds": False},
        vae=FLUX_VAE,
        text_encoders=(("CLIPTextModel", CLIP_L), ("T5EncoderModel", T5_XXL)),
        scheduler=(FLUX_SCHEDULER, {"shift": 1.0}),
    ),
    "flux-dev": Architecture(
        pipeline="FluxPipeline",
        transformer={"guidance_embeds": True},
        vae=FLUX_VAE,
        text_encoders=(("CLIPTextModel", CLIP_L), ("T5EncoderModel", T5_XXL)),
        scheduler=(FLUX_SCHEDULER, {"shift": 3.0, "use_dynamic_shifting": True}),
    ),
    "tiny-sd": Architecture(
        pipeline="StableDiffusionPipeline",
        unet=TINY_UNET,
        vae=TINY_VAE,
        text_encoders=(("CLIPTextModel", TINY_CLIP),),
        scheduler=("DDIMScheduler", {**STABLE_DIFFUSION_BETAS, "clip_sample": False}),
    ),
    "tiny-sdxl": Architecture(
        pipeline="StableDiffusionXLPipeline",
        unet={
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "sample_size": 16,
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 64,
            "attention_head_dim": (2, 4),
            "transformer_layers_per_block": (1, 2),
            "norm_num_groups": 8,
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 80,
        },
        vae={**TINY_VAE, "scaling_factor": 0.13025},
        text_encoders=(
            ("CLIPTextModel", TINY_CLIP),
            ("CLIPTextModelWithProjection", {**TINY_CLIP, "hidden_act": "gelu"}),
        ),
        scheduler=XL_SCHEDULER,
    ),
    "tiny-ldm": Architecture(
        pipeline="LDMTextToImagePipeline",
        unet=TINY_UNET,
        vae=TINY_VAE,
        text_encoders=(("LDMBertModel", TINY_BERT),),
        scheduler=LDM_SCHEDULER,
        names=LDM_NAMES,
    ),
    "tiny-flux": Architecture(
        pipeline="FluxPipeline",
        transformer={
            "in_channels": 16,
            "num_layers": 1,
            "num_single_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "joint_attention_dim": 24,
            "pooled_projection_dim": 32,
            "guidance_embeds": True,
            "axes_dims_rope": (4, 6, 6),
        },
        vae={**FLUX_VAE, **TINY_VAE, "latent_channels": 4},
        text_encoders=(("CLIPTextModel", TINY_CLIP), ("T5EncoderModel", TINY_T5)),
        scheduler=(FLUX_SCHEDULER, {"shift": 3.0, "use_dynamic_shifting": True}),
    ),
}


def random_pipeline(
    architecture: str, *, dtype: torch.dtype | str = torch.float32, seed: int = 0
) -> TextToImagePipeline:
    """A pipeline of a public shape with random weights: for measuring, without a download.

    Args:
        architecture: one of `ARCHITECTURES`.
        dtype: of the weights.
        seed: of the weights.

    Raises:
        ValueError: there is no such architecture.
    """
    kind = parse_dtype(dtype)
    generator = make_generator(seed)
    return assemble(architecture, lambda module: fill(module, kind, generator))


def assemble(architecture: str, complete: Complete) -> TextToImagePipeline:
    """A pipeline of a public shape.

    Args:
        architecture: one of `ARCHITECTURES`.
        complete: gives every parameter of a network, which is on the meta device, a value.

    Raises:
        ValueError: there is no such architecture.
    """
    shape = ARCHITECTURES.get(architecture)
    if shape is None:
        raise ValueError(
            f"{architecture!r} is not an architecture; use one of {', '.join(ARCHITECTURES)}."
        )
    parts: dict[str, Any] = {"scheduler": resolve("diffusers", shape.scheduler[0])}
    parts["scheduler"] = parts["scheduler"](**shape.scheduler[1])
    for name, (class_name, settings) in shape.networks().items():
        model: Any = resolve("diffusers", class_name)
        with torch.device("meta"):
            parts[name] = model(**settings)
        complete(parts[name])
    for index, (class_name, settings) in enumerate(shape.text_encoders):
        suffix = "" if index == 0 else f"_{index + 1}"
        tokenizer, encoder = build_text_parts(class_name, settings, complete)
        parts[f"tokenizer{suffix}"] = tokenizer
        parts[shape.component_name(f"text_encoder{suffix}")] = encoder
    pipeline: Any = resolve("diffusers", shape.pipeline)
    if shape.pipeline == "StableDiffusionPipeline":
        parts["requires_safety_checker"] = False
    return pipeline(**parts)  # type: ignore[no-any-return]


def fill(module: nn.Module, dtype: torch.dtype, generator: torch.Generator) -> None:
    """Give every parameter of `module` a random value, and leave it ready for inference.

    Matrices and kernels are uniform within ±1/√fan-in, norms are the identity, biases zero. Layers
    that loading keeps in float32 are so here.
    """
    wide = find_fp32_modules(module, dtype)
    for owner in module.modules():
        kind = torch.float32 if owner in wide else dtype
        for name, parameter in owner.named_parameters(recurse=False):
            value = torch.empty(parameter.shape, dtype=kind)
            if value.ndim > 1:
                bound = 1 / math.sqrt(value[0].numel())
                value.uniform_(-bound, bound, generator=generator)
            else:
                value.fill_(1.0 if name == "weight" else 0.0)
            setattr(owner, name, nn.Parameter(value, requires_grad=False))
    module.eval()
