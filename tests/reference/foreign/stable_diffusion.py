"""Small pipelines of Stable Diffusion 1 and 2 that draw, change, enlarge and fill pictures."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from tests.reference.checkpoints import BETAS, diffusers, safety_checker, transformers, unet, vae
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_classic import (
    ask,
    ask_for_words,
    clip_processor,
    clip_text,
    clip_vision,
    ddim,
    make_case,
    mask,
    noise,
    picture,
    stable_diffusion,
)

NOT_BUILT = {
    "StableDiffusionOnnxPipeline": "needs onnxruntime",
    "OnnxStableDiffusionPipeline": "needs onnxruntime",
    "OnnxStableDiffusionImg2ImgPipeline": "needs onnxruntime",
    "OnnxStableDiffusionInpaintPipeline": "needs onnxruntime",
    "OnnxStableDiffusionUpscalePipeline": "needs onnxruntime",
    "OnnxStableDiffusionInpaintPipelineLegacy": "needs onnxruntime",
}
"""Why a class of this family has no case."""


def _with_checker() -> dict[str, Any]:
    checker, processor = safety_checker()
    nn.init.constant_(checker.concept_embeds_weights, 2)
    checks = {"safety_checker": checker, "feature_extractor": processor}
    return stable_diffusion(**checks, requires_safety_checker=True)


def _second_version() -> dict[str, Any]:
    return stable_diffusion(unet=unet("sd2"), scheduler=ddim(prediction_type="v_prediction"))


def _with_scheduler(kind: str, **settings: Any) -> dict[str, Any]:
    return stable_diffusion(scheduler=getattr(diffusers, kind)(**BETAS, **settings))


def _with_channels(channels: int, **changes: Any) -> dict[str, Any]:
    return stable_diffusion(unet=unet("sd1", in_channels=channels, **changes))


def _upscaler() -> dict[str, Any]:
    parts = _with_channels(7, num_class_embeds=1000)
    del parts["requires_safety_checker"]
    return {**parts, "low_res_scheduler": diffusers.DDPMScheduler(), "max_noise_level": 350}


def _latent_upscaler() -> dict[str, Any]:
    return {
        "vae": vae(),
        "unet": unet("sd1", in_channels=8, out_channels=5, time_cond_proj_dim=128 + 24),
        "text_encoder": clip_text(),
        "tokenizer": stable_diffusion()["tokenizer"],
        "scheduler": diffusers.EulerDiscreteScheduler(**BETAS),
    }


def _with_depth() -> dict[str, Any]:
    config = transformers.DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    processor = transformers.DPTImageProcessor(size={"height": 32, "width": 32})
    parts = _with_channels(5) | {"feature_extractor": processor}
    parts |= {"depth_estimator": transformers.DPTForDepthEstimation(config)}
    del parts["safety_checker"], parts["requires_safety_checker"]
    return parts


def _with_eyes_alone() -> dict[str, Any]:
    seeing = {"image_encoder": clip_vision(), "feature_extractor": clip_processor()}
    parts = stable_diffusion(**seeing)
    del parts["text_encoder"], parts["tokenizer"]
    return parts


def _with_image_encoder() -> dict[str, Any]:
    seeing = {"image_encoder": clip_vision(16), "feature_extractor": clip_processor()}
    return stable_diffusion(**seeing)


def load_ip_adapter(pipe: Any, embedding: int = 16) -> None:
    """Let pictures be a prompt, by random weights for every cross-attention of the UNet."""
    width = pipe.unet.config.cross_attention_dim
    projection = {
        "proj.weight": noise(4 * width, embedding) * 0.2,
        "proj.bias": noise(4 * width) * 0.2,
        "norm.weight": 1 + noise(width) * 0.1,
        "norm.bias": noise(width) * 0.1,
    }
    attentions: dict[str, Tensor] = {}
    for index, rows in enumerate(_list_cross_widths(pipe.unet)):
        for which in ("to_k_ip", "to_v_ip"):
            attentions[f"{2 * index + 1}.{which}.weight"] = noise(rows, width, seed=index) * 0.2
    weights = {"image_proj": projection, "ip_adapter": attentions}
    pipe.load_ip_adapter(weights, subfolder="", weight_name="")


def _list_cross_widths(network: Any) -> list[int]:
    names = [name.removesuffix(".processor") for name in network.attn_processors]
    crossing = [name for name in names if name.endswith("attn2") and "motion" not in name]
    return [network.get_submodule(name).to_k.out_features for name in crossing]


def _consistent() -> dict[str, Any]:
    network = unet("sd1", time_cond_proj_dim=32)
    return stable_diffusion(unet=network, scheduler=diffusers.LCMScheduler(**BETAS))


_draw = partial(make_case, "StableDiffusionPipeline")

CASES: tuple[ForeignCase, ...] = (
    _draw(stable_diffusion, ask_for_words),
    _draw(_with_checker, ask_for_words, "safety checker"),
    _draw(_second_version, partial(ask_for_words, guidance_rescale=0.7), "v, linear projections"),
    _draw(partial(_with_scheduler, "PNDMScheduler", skip_prk_steps=True), ask_for_words, "PNDM"),
    _draw(partial(_with_scheduler, "HeunDiscreteScheduler"), ask_for_words, "Heun"),
    _draw(partial(_with_scheduler, "EulerAncestralDiscreteScheduler"), ask_for_words, "ancestral"),
    _draw(
        stable_diffusion,
        partial(ask_for_words, prompt=["a fox", "a crow"], num_images_per_prompt=2),
        "four pictures",
    ),
    _draw(
        _with_image_encoder,
        lambda: ask_for_words(ip_adapter_image=picture()),
        "IP-Adapter",
        load_ip_adapter,
    ),
    make_case(
        "StableDiffusionImg2ImgPipeline",
        stable_diffusion,
        lambda: ask_for_words(image=picture(), num_inference_steps=3),
    ),
    make_case(
        "StableDiffusionInpaintPipeline",
        stable_diffusion,
        lambda: ask_for_words(image=picture(), mask_image=mask(), height=32, width=32),
    ),
    make_case(
        "StableDiffusionInpaintPipeline",
        partial(_with_channels, 9),
        lambda: ask_for_words(image=picture(), mask_image=mask(), height=32, width=32),
        "9 channels",
    ),
    make_case(
        "StableDiffusionInpaintPipelineLegacy",
        stable_diffusion,
        lambda: ask_for_words(image=picture(), mask_image=mask(), num_inference_steps=3),
    ),
    make_case(
        "StableDiffusionInstructPix2PixPipeline",
        partial(_with_channels, 8),
        lambda: ask_for_words(image=picture()),
    ),
    make_case(
        "StableDiffusionUpscalePipeline", _upscaler, lambda: ask_for_words(image=picture(16))
    ),
    make_case(
        "StableDiffusionLatentUpscalePipeline",
        _latent_upscaler,
        lambda: ask_for_words(image=picture(16)),
    ),
    make_case(
        "StableDiffusionDepth2ImgPipeline",
        _with_depth,
        lambda: ask_for_words(image=picture(), num_inference_steps=3),
    ),
    make_case(
        "StableDiffusionImageVariationPipeline",
        _with_eyes_alone,
        lambda: ask(image=picture(), height=32, width=32),
    ),
    make_case("LatentConsistencyModelPipeline", _consistent, ask_for_words),
    make_case(
        "LatentConsistencyModelImg2ImgPipeline",
        _consistent,
        lambda: ask_for_words(image=picture()),
    ),
)
