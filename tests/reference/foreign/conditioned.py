"""Small pipelines of Stable Diffusion that a drawing steers: ControlNets and T2I-Adapters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.reference.checkpoints import UNETS, diffusers, unet
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_classic import (
    ask_for_words,
    make_case,
    mask,
    picture,
    stable_diffusion,
    stable_diffusion_xl,
)

NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""

EYES = (8, 16)
"""Channels of a ControlNet's view of the drawing, which halves it as the autoencoder does."""


def _control(family: str) -> Any:
    network = unet(family, layers_per_block=1)
    kind = diffusers.ControlNetModel
    return kind.from_unet(network, conditioning_embedding_out_channels=EYES)


def with_controlnet(number: int = 1) -> dict[str, Any]:
    """The components of a Stable Diffusion 1 with `number` ControlNets."""
    nets = [_control("sd1") for _ in range(number)]
    net = nets[0] if number == 1 else nets
    return stable_diffusion(controlnet=net, unet=unet("sd1", layers_per_block=1))


def with_controlnet_xl() -> dict[str, Any]:
    """The components of a Stable Diffusion XL with a ControlNet."""
    return stable_diffusion_xl(controlnet=_control("sdxl"))


def _union_xl() -> dict[str, Any]:
    shape = {name: value for name, value in UNETS["sdxl"].items() if name != "up_block_types"}
    net = diffusers.ControlNetUnionModel(
        **shape,
        norm_num_groups=8,
        conditioning_embedding_out_channels=EYES,
        num_proj_channel=16,
        num_trans_channel=16,
        num_trans_head=2,
    )
    return stable_diffusion_xl(controlnet=net)


SHALLOW: dict[str, Any] = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (16, 32),
    "layers_per_block": 2,
    "norm_num_groups": 8,
    "use_linear_projection": True,
}
"""The UNet that a ControlNet-XS can run along with."""


def _with_xs(parts: Callable[..., dict[str, Any]], family: str) -> dict[str, Any]:
    network = unet(family, **SHALLOW)
    kind = diffusers.ControlNetXSAdapter
    net = kind.from_unet(network, size_ratio=0.5, conditioning_embedding_out_channels=EYES)
    return parts(unet=network, controlnet=net)


def _adapter(kind: str = "full_adapter", downscale: int = 2, **changes: Any) -> Any:
    channels = changes.pop("channels", [16, 32, 32])
    return diffusers.T2IAdapter(
        channels=channels, num_res_blocks=1, downscale_factor=downscale, adapter_type=kind
    )


def _with_adapter(number: int = 1) -> dict[str, Any]:
    adapters = [_adapter() for _ in range(number)]
    return stable_diffusion(adapter=adapters[0] if number == 1 else adapters)


def _with_adapter_xl() -> dict[str, Any]:
    return stable_diffusion_xl(adapter=_adapter("full_adapter_xl", 4, channels=[16, 32]))


def _ask(**more: Any) -> dict[str, Any]:
    return ask_for_words(image=picture(seed=2), **more)


def _ask_on(**more: Any) -> dict[str, Any]:
    return ask_for_words(image=picture(), control_image=picture(seed=2), **more)


def _ask_to_fill(**more: Any) -> dict[str, Any]:
    return _ask_on(mask_image=mask(), height=32, width=32, num_inference_steps=3, **more)


CASES: tuple[ForeignCase, ...] = (
    make_case("StableDiffusionControlNetPipeline", with_controlnet, _ask),
    make_case(
        "StableDiffusionControlNetPipeline",
        partial(with_controlnet, 2),
        lambda: ask_for_words(
            image=[picture(seed=2), picture(seed=3)], controlnet_conditioning_scale=[0.5, 1.0]
        ),
        "two nets",
    ),
    make_case(
        "StableDiffusionControlNetPipeline",
        with_controlnet,
        partial(_ask, guess_mode=True, control_guidance_end=0.5, num_inference_steps=3),
        "guesses, ends early",
    ),
    make_case(
        "StableDiffusionControlNetImg2ImgPipeline",
        with_controlnet,
        partial(_ask_on, num_inference_steps=3),
    ),
    make_case("StableDiffusionControlNetInpaintPipeline", with_controlnet, _ask_to_fill),
    make_case("StableDiffusionXLControlNetPipeline", with_controlnet_xl, _ask),
    make_case(
        "StableDiffusionXLControlNetImg2ImgPipeline",
        with_controlnet_xl,
        partial(_ask_on, num_inference_steps=3),
    ),
    make_case("StableDiffusionXLControlNetInpaintPipeline", with_controlnet_xl, _ask_to_fill),
    make_case(
        "StableDiffusionXLControlNetUnionPipeline",
        _union_xl,
        lambda: ask_for_words(control_image=[picture(seed=2)], control_mode=[3]),
    ),
    make_case(
        "StableDiffusionXLControlNetUnionImg2ImgPipeline",
        _union_xl,
        lambda: ask_for_words(
            image=picture(),
            control_image=[picture(seed=2)],
            control_mode=[3],
            num_inference_steps=3,
        ),
    ),
    make_case(
        "StableDiffusionXLControlNetUnionInpaintPipeline",
        _union_xl,
        lambda: ask_for_words(
            image=picture(),
            mask_image=mask(),
            control_image=[picture(seed=2)],
            control_mode=[3],
            num_inference_steps=3,
            height=32,
            width=32,
        ),
    ),
    make_case(
        "StableDiffusionControlNetXSPipeline", partial(_with_xs, stable_diffusion, "sd1"), _ask
    ),
    make_case(
        "StableDiffusionXLControlNetXSPipeline",
        partial(_with_xs, stable_diffusion_xl, "sdxl"),
        _ask,
    ),
    make_case("StableDiffusionAdapterPipeline", _with_adapter, _ask),
    make_case(
        "StableDiffusionAdapterPipeline",
        partial(_with_adapter, 2),
        lambda: ask_for_words(
            image=[picture(seed=2), picture(seed=3)], adapter_conditioning_scale=[0.5, 1.0]
        ),
        "two adapters",
    ),
    make_case("StableDiffusionXLAdapterPipeline", _with_adapter_xl, _ask),
)
