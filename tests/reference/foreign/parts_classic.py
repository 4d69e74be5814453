"""Parts that small pipelines around a UNet, CLIP and T5 share, and how a case is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from PIL import Image
from torch import Tensor, nn

from dpnb.pipelines.shapes.text_encoders import make_clip_tokenizer, make_t5_tokenizer
from tests.reference.checkpoints import (
    BETAS,
    VOCABULARY,
    diffusers,
    text_encoder,
    transformers,
    unet,
    vae,
)
from tests.reference.foreign.case import ForeignCase

Arguments: TypeAlias = Callable[[], dict[str, Any]]
Finish: TypeAlias = Callable[[Any], object]

UNCHECKED: Mapping[str, Any] = {
    "safety_checker": None,
    "feature_extractor": None,
    "requires_safety_checker": False,
}
"""Of pipelines that can look at their pictures."""

VISION: Mapping[str, Any] = {"image_size": 32, "patch_size": 8, "num_hidden_layers": 2}


def make_case(
    kind: str, parts: Arguments, arguments: Arguments, note: str = "", finish: Finish | None = None
) -> ForeignCase:
    """A case of a class of diffusers.

    Args:
        kind: the class's name in `diffusers`.
        parts: makes what its constructor takes.
        arguments: makes those of a call.
        note: what tells this case from others of the class.
        finish: done to the pipeline once it is built.
    """

    def build() -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            pipe = getattr(diffusers, kind)(**parts())
            pipe.set_progress_bar_config(disable=True)
            fill_zeros(pipe)
            if finish:
                finish(pipe)
        return pipe

    return ForeignCase(f"{kind} ({note})" if note else kind, build, arguments)


def fill_zeros(pipe: Any) -> None:
    """Give every weight that is all zeros small random values, and let every network infer."""
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            part.eval()
            for weight in part.parameters():
                if not weight.any():
                    nn.init.normal_(weight, std=0.05)


def ask(**more: Any) -> dict[str, Any]:
    """The arguments of two steps without words."""
    generator = torch.Generator().manual_seed(0)
    return {"num_inference_steps": 2, "output_type": "np", "generator": generator, **more}


def ask_for_words(**more: Any) -> dict[str, Any]:
    """The arguments of two steps for a prompt."""
    return ask(**{"prompt": "a red fox", **more})


def noise(*shape: int, seed: int = 1) -> Tensor:
    """Random numbers, always the same."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def picture(size: int = 32, seed: int = 1, mode: str = "RGB") -> Image.Image:
    """A random square picture."""
    bytes_ = noise(size, size, 3, seed=seed).mul(60).add(128).clamp(0, 255).to(torch.uint8)
    return Image.fromarray(bytes_.numpy()).convert(mode)


def mask(size: int = 32) -> Image.Image:
    """White on the right half, black on the left."""
    drawn = Image.new("L", (size, size))
    drawn.paste(255, (size // 2, 0, size, size))
    return drawn


def deep_vae() -> Any:
    """A random autoencoder that makes pictures eight times smaller, as large ones do."""
    sizes = {"block_out_channels": (8, 8, 16, 16), "norm_num_groups": 4}
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4}
    return vae(**sizes, **kinds, up_block_types=("UpDecoderBlock2D",) * 4)


def ddim(**changes: Any) -> Any:
    """The scheduler of most cases."""
    settings = {"steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False}
    return diffusers.DDIMScheduler(**{**BETAS, **settings, **changes})


def clip_text(**changes: Any) -> Any:
    """A random text encoder of CLIP, with a projection to `projection` channels if given."""
    projection = changes.pop("projection", 0)
    kind = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    settings: dict[str, Any] = {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": VOCABULARY,
        "bos_token_id": VOCABULARY - 2,
        "eos_token_id": VOCABULARY - 1,
        "pad_token_id": VOCABULARY - 1,
        "projection_dim": projection or 24,
    }
    return kind(transformers.CLIPTextConfig(**{**settings, **changes}))


def clip_vision(projection: int = 24, hidden: int = 24) -> Any:
    """A random encoder of pictures of 32 pixels to `projection` channels."""
    config = transformers.CLIPVisionConfig(
        **VISION,
        hidden_size=hidden,
        intermediate_size=48,
        num_attention_heads=4,
        projection_dim=projection,
    )
    return transformers.CLIPVisionModelWithProjection(config)


def clip_processor() -> Any:
    """Prepares pictures for `clip_vision`."""
    crop = {"height": 32, "width": 32}
    return transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=crop)


def tokenizer() -> Any:
    """That of `clip_text`."""
    return make_clip_tokenizer(VOCABULARY)


def t5_text(channels: int = 24, length: int = 64) -> dict[str, Any]:
    """A random T5 encoder and its tokenizer, as components."""
    config = transformers.T5Config(
        vocab_size=120, d_model=channels, d_kv=8, d_ff=48, num_layers=2, num_heads=3
    )
    encoder = transformers.T5EncoderModel(config)
    return {"text_encoder": encoder, "tokenizer": make_t5_tokenizer(120, length)}


def stable_diffusion(**changes: Any) -> dict[str, Any]:
    """The components of a Stable Diffusion 1, without a safety checker."""
    parts = {"unet": unet("sd1"), "vae": vae(), "text_encoder": text_encoder()}
    parts |= {"tokenizer": tokenizer(), "scheduler": ddim()}
    return {**parts, **UNCHECKED, **changes}


def stable_diffusion_xl(**changes: Any) -> dict[str, Any]:
    """The components of a Stable Diffusion XL, without a watermark."""
    parts = {"unet": unet("sdxl"), "vae": vae(), "text_encoder": text_encoder()}
    parts |= {"text_encoder_2": text_encoder(projects=True, act="gelu")}
    parts |= {"tokenizer": tokenizer(), "tokenizer_2": tokenizer(), "scheduler": ddim()}
    return {**parts, **changes}
