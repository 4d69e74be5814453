"""The class that a name in an index stands for, and the name by which an object goes into one.

Only names in these tables, and classes that transformers itself defines, become classes: nothing
is ever imported because a file says so.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from dpnb.errors import CheckpointError, ForeignCodeError
from dpnb.silence import silence_imports, silence_transformers

OUR_LIBRARIES = ("diffusers", "dpnb")
"""What an index calls us: files are written with the first, so that diffusers reads them."""

CUSTOM_PACKAGE = "_dpnb_custom_"
"""Code that came with a checkpoint is loaded into packages whose names begin with this."""

MODELS: Mapping[str, str] = {
    "AutoencoderKL": "dpnb.models.autoencoder",
    "AutoencoderTiny": "dpnb.models.tiny_autoencoder",
    "FluxTransformer2DModel": "dpnb.models.flux",
    "UNet2DConditionModel": "dpnb.models.unet",
    "UNet2DModel": "dpnb.models.unet_2d",
    "VQModel": "dpnb.models.vq",
}

SCHEDULERS: Mapping[str, str] = {
    "DDIMInverseScheduler": "dpnb.schedulers.ddim_inverse",
    "DDIMParallelScheduler": "dpnb.schedulers.ddim_parallel",
    "DDIMScheduler": "dpnb.schedulers.ddim",
    "DDPMParallelScheduler": "dpnb.schedulers.ddpm_parallel",
    "DDPMScheduler": "dpnb.schedulers.ddpm",
    "DEISMultistepScheduler": "dpnb.schedulers.deis",
    "DPMSolverMultistepInverseScheduler": "dpnb.schedulers.dpm_inverse",
    "DPMSolverMultistepScheduler": "dpnb.schedulers.dpm_solver",
    "DPMSolverSDEScheduler": "dpnb.schedulers.dpm_sde",
    "DPMSolverSinglestepScheduler": "dpnb.schedulers.dpm_singlestep",
    "EDMDPMSolverMultistepScheduler": "dpnb.schedulers.edm_dpm_solver",
    "EDMEulerScheduler": "dpnb.schedulers.edm_euler",
    "EulerAncestralDiscreteScheduler": "dpnb.schedulers.euler_ancestral",
    "EulerDiscreteScheduler": "dpnb.schedulers.euler",
    "FlowMatchEulerDiscreteScheduler": "dpnb.schedulers.flow_match",
    "FlowMatchHeunDiscreteScheduler": "dpnb.schedulers.flow_match_heun",
    "FlowMatchLCMScheduler": "dpnb.schedulers.flow_match_lcm",
    "HeunDiscreteScheduler": "dpnb.schedulers.heun",
    "KDPM2AncestralDiscreteScheduler": "dpnb.schedulers.k_dpm_2_ancestral",
    "KDPM2DiscreteScheduler": "dpnb.schedulers.k_dpm_2",
    "LCMScheduler": "dpnb.schedulers.lcm",
    "LMSDiscreteScheduler": "dpnb.schedulers.lms",
    "PNDMScheduler": "dpnb.schedulers.pndm",
    "TCDScheduler": "dpnb.schedulers.tcd",
    "IPNDMScheduler": "dpnb.schedulers.ipndm",
    "SASolverScheduler": "dpnb.schedulers.sa_solver",
    "UniPCMultistepScheduler": "dpnb.schedulers.unipc",
}

PIPELINES: Mapping[str, str] = {
    "DDIMPipeline": "dpnb.pipelines.unconditional",
    "DDPMPipeline": "dpnb.pipelines.unconditional",
    "DiffusionPipeline": "dpnb.pipelines.pipeline",
    "FluxControlPipeline": "dpnb.pipelines.flux_control",
    "FluxFillPipeline": "dpnb.pipelines.flux_fill",
    "FluxImg2ImgPipeline": "dpnb.pipelines.flux_edit",
    "FluxInpaintPipeline": "dpnb.pipelines.flux_edit",
    "FluxKontextPipeline": "dpnb.pipelines.flux_kontext",
    "FluxPipeline": "dpnb.pipelines.flux",
    "LDMPipeline": "dpnb.pipelines.unconditional",
    "LDMTextToImagePipeline": "dpnb.pipelines.latent_diffusion",
    "LatentConsistencyModelImg2ImgPipeline": "dpnb.pipelines.latent_consistency",
    "LatentConsistencyModelPipeline": "dpnb.pipelines.latent_consistency",
    "PNDMPipeline": "dpnb.pipelines.unconditional",
    "StableDiffusionDepth2ImgPipeline": "dpnb.pipelines.depth",
    "StableDiffusionImg2ImgPipeline": "dpnb.pipelines.stable_diffusion_edit",
    "StableDiffusionInpaintPipeline": "dpnb.pipelines.stable_diffusion_edit",
    "StableDiffusionInstructPix2PixPipeline": "dpnb.pipelines.instruct_pix2pix",
    "StableDiffusionLatentUpscalePipeline": "dpnb.pipelines.latent_upscale",
    "StableDiffusionPAGImg2ImgPipeline": "dpnb.pipelines.stable_diffusion_pag",
    "StableDiffusionPAGInpaintPipeline": "dpnb.pipelines.stable_diffusion_pag",
    "StableDiffusionPAGPipeline": "dpnb.pipelines.stable_diffusion_pag",
    "StableDiffusionPipeline": "dpnb.pipelines.stable_diffusion",
    "StableDiffusionSAGPipeline": "dpnb.pipelines.sag",
    "StableDiffusionUpscalePipeline": "dpnb.pipelines.upscale",
    "StableDiffusionXLImg2ImgPipeline": "dpnb.pipelines.stable_diffusion_xl_edit",
    "StableDiffusionXLInpaintPipeline": "dpnb.pipelines.stable_diffusion_xl_edit",
    "StableDiffusionXLInstructPix2PixPipeline": "dpnb.pipelines.instruct_pix2pix",
    "StableDiffusionXLPAGImg2ImgPipeline": "dpnb.pipelines.stable_diffusion_pag",
    "StableDiffusionXLPAGInpaintPipeline": "dpnb.pipelines.stable_diffusion_pag",
    "StableDiffusionXLPAGPipeline": "dpnb.pipelines.stable_diffusion_pag",
    "StableDiffusionXLPipeline": "dpnb.pipelines.stable_diffusion_xl",
}

OURS: Mapping[str, str] = {**MODELS, **SCHEDULERS, **PIPELINES}
"""Our classes and their modules."""

PIPELINE_PARTS: Mapping[tuple[str, str], str] = {
    ("latent_diffusion", "LDMBertModel"): "dpnb.models.ldm_bert",
    ("stable_diffusion", "StableDiffusionSafetyChecker"): "dpnb.pipelines.safety",
}
"""Classes that an index files under the folder of a pipeline, and our modules for them."""


def resolve(library: str, class_name: str) -> type[Any]:
    """The class that an index calls `class_name` of `library`.

    Raises:
        ForeignCodeError: `library` is neither us nor transformers, or the name stands for
            something in transformers that is not a loadable class of its own.
        CheckpointError: we have no such class.
    """
    if library in OUR_LIBRARIES:
        if class_name.startswith("Onnx"):
            raise CheckpointError(
                f"{class_name} runs ONNX files, and dpnb runs PyTorch weights alone; load the "
                "PyTorch form of this model."
            )
        if class_name not in OURS:
            raise CheckpointError(f"dpnb has no {class_name}; {_nearest(class_name, OURS)}")
        return _load(OURS[class_name], class_name)
    if (library, class_name) in PIPELINE_PARTS:
        return _load(PIPELINE_PARTS[library, class_name], class_name)
    if library == "transformers":
        return _resolve_in_transformers(class_name)
    raise ForeignCodeError(
        f"This checkpoint asks for {class_name} of {library!r}, which is neither dpnb's nor "
        "transformers'; no code is imported because a file names it. Build that component "
        "yourself and pass it by name."
    )


def find_in_transformers(name: str) -> Any:
    """What transformers calls `name`, or called so once; `None` if it never did."""
    with silence_transformers():
        import transformers

        return _attribute(transformers, _spellings(name))


def library_of(component: object) -> tuple[str, str]:
    """Library and class of `component` (or of the class it is), as an index names them.

    Classes of neither dpnb, diffusers nor transformers go by their full module, and those that
    came with a checkpoint by the name of their file.
    """
    component = _uncompiled(component)
    cls = component if isinstance(component, type) else type(component)
    package, *inner = cls.__module__.split(".")
    for (library, class_name), module in PIPELINE_PARTS.items():
        if cls.__name__ == class_name and (cls.__module__ == module or library in inner):
            return library, class_name
    if package in OUR_LIBRARIES:
        return OUR_LIBRARIES[0], cls.__name__
    if package == "transformers":
        return package, _portable(cls.__name__)
    if package.startswith(CUSTOM_PACKAGE):
        return ".".join(inner), cls.__name__
    return cls.__module__, cls.__name__


def _load(module: str, class_name: str) -> type[Any]:
    cls: type[Any] = getattr(importlib.import_module(module), class_name)
    return cls


def _resolve_in_transformers(class_name: str) -> type[Any]:
    found = find_in_transformers(class_name)
    if found is None:
        with silence_imports():
            import transformers
        raise CheckpointError(
            f"transformers {transformers.__version__} has no {class_name}; "
            f"{_nearest(class_name, dir(transformers))}"
        )
    if isinstance(found, type) and _is_loadable(found):
        return found
    raise ForeignCodeError(
        f"transformers.{class_name} is not a model, tokenizer or processor of transformers; "
        "pass that component by name."
    )


def _spellings(class_name: str) -> tuple[str, ...]:
    """`class_name`, and what transformers calls that class since."""
    return (
        class_name,
        class_name.replace("FeatureExtractor", "ImageProcessor"),
        class_name.removesuffix("Fast"),
    )


def _attribute(module: ModuleType, names: Iterable[str]) -> Any:
    for name in names:
        try:
            return getattr(module, name)
        except AttributeError:
            continue
    return None


def _is_loadable(cls: type[Any]) -> bool:
    is_its_own = cls.__module__.partition(".")[0] == "transformers"
    return is_its_own and any("from_pretrained" in vars(base) for base in cls.__mro__)


def _nearest(class_name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(class_name, list(known), n=3)
    names = f"the closest names are {', '.join(close)}" if close else "no name is close to it"
    return f"{names}. Build that component yourself and pass it by name."


def _uncompiled(component: object) -> object:
    if type(component).__name__ == "OptimizedModule":
        return vars(component)["_modules"]["_orig_mod"]
    return component


def _portable(class_name: str) -> str:
    """The name without the suffix that depends on whether torchvision is installed."""
    return class_name.removesuffix("Pil") if "ImageProcessor" in class_name else class_name
