"""Where the names live here that community pipelines import from diffusers."""

from __future__ import annotations

from collections.abc import Mapping

from dpnb.loading.components.registry import OURS, PIPELINE_PARTS

_STANDINS = "dpnb.pipelines.foreign.standins"
_LORA_NAMES = "dpnb.pipelines.foreign.lora_names"
_VERSIONS = "dpnb.pipelines.foreign.versions"
_WITHOUT_FIELDS_OF_THEIR_OWN = (
    "DDIMParallel",
    "DDIM",
    "DDPMParallel",
    "DDPM",
    "EDMEuler",
    "EulerAncestralDiscrete",
    "EulerDiscrete",
    "FlowMatchEulerDiscrete",
    "FlowMatchHeunDiscrete",
    "FlowMatchLCM",
    "HeunDiscrete",
    "KDPM2AncestralDiscrete",
    "KDPM2Discrete",
    "LMSDiscrete",
)
"""Schedulers whose outputs are of the one class that serves all of them."""

_DECLARED = "dpnb.pipelines.foreign.declared"

HOMES: Mapping[str, str] = {
    **OURS,
    **{class_name: module for (_, class_name), module in PIPELINE_PARTS.items()},
    "StableDiffusionPipelineOutput": "dpnb.pipelines.stable_diffusion",
    "StableDiffusionXLPipelineOutput": "dpnb.pipelines.stable_diffusion_xl",
    "FluxPipelineOutput": "dpnb.pipelines.flux",
    "ImagePipelineOutput": "dpnb.pipelines.pictures.images",
    "VaeImageProcessor": "dpnb.pipelines.foreign.image_processor",
    "InpaintProcessor": "dpnb.pipelines.foreign.inpaint_processor",
    "AutoModel": "dpnb.models.auto",
    **dict.fromkeys(
        ("AutoPipelineForImage2Image", "AutoPipelineForInpainting", "AutoPipelineForText2Image"),
        "dpnb.pipelines.auto",
    ),
    **dict.fromkeys(
        (
            "MultiPipelineCallbacks",
            "PipelineCallback",
            "SDCFGCutoffCallback",
            "SDXLCFGCutoffCallback",
        ),
        "dpnb.pipelines.cutoffs",
    ),
    **dict.fromkeys(
        ("export_to_gif", "export_to_video", "load_image", "make_image_grid"),
        "dpnb.pipelines.pictures.files",
    ),
    **dict.fromkeys(("numpy_to_pil", "pt_to_pil"), "dpnb.pipelines.pictures.images"),
    **dict.fromkeys(
        ("load_or_create_model_card", "populate_model_card"), "dpnb.loading.training_card"
    ),
    "betas_for_alpha_bar": "dpnb.schedulers.noise",
    "ConfigMixin": f"{_DECLARED}:Declares",
    "ModelMixin": f"{_DECLARED}:DeclaredModel",
    "SchedulerMixin": f"{_DECLARED}:DeclaredScheduler",
    "register_to_config": _DECLARED,
    "BaseOutput": "dpnb.output:Output",
    "SchedulerOutput": "dpnb.schedulers.scheduler",
    **{
        f"{name}SchedulerOutput": "dpnb.schedulers.scheduler:SchedulerOutput"
        for name in _WITHOUT_FIELDS_OF_THEIR_OWN
    },
    "LCMSchedulerOutput": "dpnb.schedulers.lcm",
    "TCDSchedulerOutput": "dpnb.schedulers.tcd",
    "Transformer2DModelOutput": "dpnb.models.flux:FluxTransformer2DOutput",
    "UNet2DConditionOutput": "dpnb.models.unet",
    "UNet2DOutput": "dpnb.models.unet_2d",
    "AutoencoderTinyOutput": "dpnb.models.tiny_autoencoder",
    "VQEncoderOutput": "dpnb.models.vq",
    **dict.fromkeys(
        ("TimestepEmbedding", "Timesteps", "get_timestep_embedding"), "dpnb.nn.embeddings"
    ),
    **dict.fromkeys(("check_min_version", "is_compiled_module", "is_peft_available"), _VERSIONS),
    **dict.fromkeys(
        ("disable_full_determinism", "enable_full_determinism"),
        "dpnb.pipelines.foreign.determinism",
    ),
    **dict.fromkeys(
        ("convert_state_dict_to_diffusers", "convert_unet_state_dict_to_peft"), _LORA_NAMES
    ),
    "AutoencoderKLOutput": "dpnb.models.autoencoder",
    "DecoderOutput": "dpnb.models.autoencoder",
    "DiagonalGaussianDistribution": "dpnb.models.distribution:DiagonalGaussian",
    "FluxAttnProcessor": "dpnb.nn.attention_processors:AttnProcessor2_0",
    "FluxAttnProcessor2_0": "dpnb.nn.attention_processors:AttnProcessor2_0",
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
            "CONFIG_NAME",
            "FrozenDict",
            "ImageProjection",
            "KarrasDiffusionSchedulers",
            "PIL_INTERPOLATION",
            "PipelineImageInput",
            "SAFETENSORS_WEIGHTS_NAME",
            "StableDiffusionMixin",
            "USE_PEFT_BACKEND",
            "WEIGHTS_NAME",
            "calculate_shift",
            "deprecate",
            "empty_device_cache",
            "get_logger",
            "get_module_execution_device",
            "get_torch_cuda_device_capability",
            "is_torch_version",
            "is_xformers_available",
            "load_state_dict",
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
