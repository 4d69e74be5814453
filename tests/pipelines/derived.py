"""Pipelines of other classes over the parts of a random one, and how they are asked to draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

import dpnb
from tests.strategies.pipes import build

PICTURE = Image.linear_gradient("L").resize((32, 32)).convert("RGB")
MASK = Image.fromarray(np.repeat(np.array([[0, 255]], dtype=np.uint8), 16, axis=1).repeat(32, 0))

FLUX = (dpnb.FluxImg2ImgPipeline, dpnb.FluxInpaintPipeline)
CONSISTENCY = (dpnb.LatentConsistencyModelPipeline, dpnb.LatentConsistencyModelImg2ImgPipeline)
INSTRUCTION = (
    dpnb.StableDiffusionInstructPix2PixPipeline,
    dpnb.StableDiffusionXLInstructPix2PixPipeline,
)
CONDITIONED = (dpnb.FluxFillPipeline, dpnb.FluxControlPipeline, dpnb.FluxKontextPipeline)
SEEING = (
    dpnb.StableDiffusionDepth2ImgPipeline,
    dpnb.StableDiffusionUpscalePipeline,
    dpnb.StableDiffusionLatentUpscalePipeline,
)

ALL = (*FLUX, *CONSISTENCY, *INSTRUCTION, *CONDITIONED, *SEEING)

KONTEXT = {"max_area": 32 * 32, "_auto_resize": False}


def derive(kind: Any) -> Any:
    """A pipeline of this class, one of those above."""
    if kind in FLUX:
        pipe = kind.from_pipe(build("tiny-flux"))
    elif kind in CONDITIONED:
        base = build("tiny-flux")
        drawn = base.transformer.config.in_channels
        seen = {
            dpnb.FluxFillPipeline: 2 * drawn + 4 * base.vae_scale_factor**2,
            dpnb.FluxControlPipeline: 2 * drawn,
        }
        settings = {"in_channels": seen.get(kind, drawn), "out_channels": drawn}
        pipe = kind.from_pipe(base, transformer=like(base.transformer, **settings))
    elif kind in CONSISTENCY:
        base = build("tiny-sd")
        unet = like(base.unet, time_cond_proj_dim=8)
        pipe = kind.from_pipe(base, unet=unet, scheduler=dpnb.LCMScheduler())
    elif kind in SEEING:
        pipe = _derive_seeing(kind)
    else:
        base = build("tiny-sdxl" if "XL" in kind.__name__ else "tiny-sd")
        pipe = kind.from_pipe(base, unet=like(base.unet, in_channels=8))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _derive_seeing(kind: Any) -> Any:
    base = build("tiny-sd")
    if kind is dpnb.StableDiffusionDepth2ImgPipeline:
        from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

        config = DPTConfig(
            image_size=32,
            hidden_size=32,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=37,
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[8, 8, 16, 16],
            fusion_hidden_size=8,
        )
        return kind.from_pipe(
            base,
            unet=like(base.unet, in_channels=base.vae.config.latent_channels + 1),
            depth_estimator=DPTForDepthEstimation(config).eval(),
            feature_extractor=DPTImageProcessor(size={"height": 32, "width": 32}),
        )
    if kind is dpnb.StableDiffusionLatentUpscalePipeline:
        width, coarse = base.text_encoder.config.hidden_size, "KCrossAttn{}Block2D"
        torch.manual_seed(0)
        unet = dpnb.UNet2DConditionModel(
            in_channels=2 * base.vae.config.latent_channels,
            out_channels=base.vae.config.latent_channels + 1,
            block_out_channels=(32, 64),
            layers_per_block=2,
            attention_head_dim=8,
            cross_attention_dim=width,
            time_cond_proj_dim=128 + width,
            down_block_types=("KDownBlock2D", coarse.format("Down")),
            up_block_types=(coarse.format("Up"), "KUpBlock2D"),
            mid_block_type=None,
            norm_num_groups=None,
            act_fn="gelu",
            time_embedding_type="fourier",
            timestep_post_act="gelu",
        )
        scheduler = dpnb.EulerDiscreteScheduler(prediction_type="sample")
        return kind.from_pipe(base, unet=unet.eval(), scheduler=scheduler)
    channels = base.vae.config.latent_channels + 3
    unet = like(base.unet, in_channels=channels, num_class_embeds=400, only_cross_attention=True)
    return kind.from_pipe(base, unet=unet, low_res_scheduler=dpnb.DDPMScheduler())


def like(network: Any, **settings: Any) -> Any:
    """A network with random weights whose settings are those of another, but for some."""
    torch.manual_seed(0)
    return type(network).from_config({**network.config, **settings}).eval()


def draw(pipe: Any, **given: Any) -> Any:
    """The pictures of four steps, as tensors."""
    known = {"image": PICTURE, "mask_image": MASK, "control_image": PICTURE}
    pictures = {one.argument: known[one.argument] for one in pipe.picture_inputs}
    asked = {
        "height": 32,
        "width": 32,
        "num_inference_steps": 4,
        "output_type": "pt",
        "generator": torch.manual_seed(0),
    }
    own = KONTEXT if isinstance(pipe, dpnb.FluxKontextPipeline) else {}
    return pipe(prompt="a cat", **{**asked, **own, **pictures, **given}).images
