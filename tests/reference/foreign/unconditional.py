"""Small pipelines that make pictures out of nothing but noise."""

from __future__ import annotations

from typing import Any

from PIL import Image

from tests.reference.checkpoints import diffusers
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_video import Arguments, ask, make_case, noise, picture

BLOCKS: dict[str, Any] = {
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}


def _parts(scheduler: str, **changes: Any) -> Arguments:
    def make() -> dict[str, Any]:
        network = diffusers.UNet2DModel(**{"sample_size": 16, **BLOCKS, **changes})
        return {"unet": network, "scheduler": getattr(diffusers, scheduler)()}

    return make


def _latent() -> dict[str, Any]:
    vqvae = diffusers.VQModel(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3,
        norm_num_groups=8,
    )
    return {**_parts("DDIMScheduler")(), "vqvae": vqvae}


def _ask_to_repaint() -> dict[str, Any]:
    hidden = noise(32, 32).gt(0).byte().mul(255)
    mask = Image.fromarray(hidden.numpy())
    jumps = {"jump_length": 1, "jump_n_sample": 2, "num_inference_steps": 3}
    return ask(image=picture(), mask_image=mask, **jumps)


NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""

CASES: tuple[ForeignCase, ...] = (
    make_case("DDPMPipeline", _parts("DDPMScheduler"), ask),
    make_case("DDIMPipeline", _parts("DDIMScheduler"), lambda: ask(eta=0.5)),
    make_case("PNDMPipeline", _parts("PNDMScheduler"), lambda: ask(num_inference_steps=4)),
    make_case("LDMPipeline", _latent, ask),
    make_case("KarrasVePipeline", _parts("KarrasVeScheduler"), ask),
    make_case("ScoreSdeVePipeline", _parts("ScoreSdeVeScheduler"), ask),
    make_case("RePaintPipeline", _parts("RePaintScheduler", sample_size=32), _ask_to_repaint),
)
