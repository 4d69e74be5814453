"""Where the names live here that community pipelines import from diffusers."""

from __future__ import annotations

from collections.abc import Mapping

from dpnb.loading.components.registry import OURS, PIPELINE_PARTS

_STANDINS = "dpnb.pipelines.foreign.standins"
_DECLARED = "dpnb.pipelines.foreign.declared"

HOMES: Mapping[str, str] = {
    **OURS,
    **{class_name: module for (_, class_name), module in PIPELINE_PARTS.items()},
    "StableDiffusionPipelineOutput": "dpnb.pipelines.stable_diffusion",
    "StableDiffusionXLPipelineOutput": "dpnb.pipelines.stable_diffusion_xl",
    "FluxPipelineOutput": "dpnb.pipelines.flux",
    "ImagePipelineOutput": "dpnb.pipelines.pictures.images",
    "VaeImageProcessor": "dpnb.pipelines.foreign.image_processor",
    "ConfigMixin": f"{_DECLARED}:Declares",
    "ModelMixin": f"{_DECLARED}:DeclaredModel",
    "SchedulerMixin": f"{_DECLARED}:DeclaredScheduler",
    "register_to_config": _DECLARED,
    "SchedulerOutput": "dpnb.schedulers.scheduler",
    "Transformer2DModelOutput": "dpnb.models.flux:FluxTransformer2DOutput",
    "UNet2DConditionOutput": "dpnb.models.unet",
    "AutoencoderKLOutput": "dpnb.models.autoencoder",
    "DecoderOutput": "dpnb.models.autoencoder",
    "DiagonalGaussianDistribution": "dpnb.models.distribution:DiagonalGaussian",
    "FluxIPAdapterMixin": f"{_STANDINS}:ImagePrompts",
    "FluxLoraLoaderMixin": f"{_STANDINS}:Loras",
    "FromSingleFileMixin": f"{_STANDINS}:SingleFiles",
    "IPAdapterMixin": f"{_STANDINS}:ImagePrompts",
    "LoraLoaderMixin": f"{_STANDINS}:Loras",
    "StableDiffusionLoraLoaderMixin": f"{_STANDINS}:Loras",
    "StableDiffusionXLLoraLoaderMixin": f"{_STANDINS}:Loras",
    "TextualInversionLoaderMixin": f"{_STANDINS}:TextualInversions",
    "adjust_lora_scale_text_encoder": f"{_STANDINS}:refuse_scale",
    "scale_lora_layers": f"{_STANDINS}:refuse_scale",
    "unscale_lora_layers": f"{_STANDINS}:refuse_scale",
    "is_accelerate_available": f"{_STANDINS}:is_there",
    "is_accelerate_version": f"{_STANDINS}:is_there",
    "is_transformers_available": f"{_STANDINS}:is_there",
    "is_invisible_watermark_available": f"{_STANDINS}:is_absent",
    "is_torch_xla_available": f"{_STANDINS}:is_absent",
    **dict.fromkeys(
        (
            "BaseOutput",
            "FrozenDict",
            "KarrasDiffusionSchedulers",
            "PIL_INTERPOLATION",
            "StableDiffusionMixin",
            "USE_PEFT_BACKEND",
            "calculate_shift",
            "deprecate",
            "get_logger",
            "is_torch_version",
            "is_xformers_available",
            "logging",
            "randn_tensor",
            "replace_example_docstring",
            "rescale_noise_cfg",
            "retrieve_latents",
            "retrieve_timesteps",
        ),
        _STANDINS,
    ),
}
"""For each name the module that has it; `"module:name"` where ours differs."""
