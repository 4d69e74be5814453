"""Small pipelines of Kandinsky 2.1, 2.2 and 3."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tests.reference.checkpoints import diffusers, transformers
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_classic import (
    Arguments,
    ask,
    ask_for_words,
    clip_processor,
    clip_text,
    clip_vision,
    make_case,
    mask,
    noise,
    picture,
    t5_text,
    tokenizer,
)

NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""

WIDTH = 24
"""Channels of a picture's embedding."""

ADDED: dict[str, Any] = {
    "block_out_channels": (16, 32),
    "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 8,
    "resnet_time_scale_shift": "scale_shift",
    "cross_attention_dim": WIDTH,
}
"""A UNet whose attention takes the words as further keys of itself."""


def _unet(kind: str, channels: int = 4) -> Any:
    return diffusers.UNet2DConditionModel(
        **ADDED,
        in_channels=channels,
        out_channels=8,
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="text_image_proj" if kind == "text_image" else "image_proj",
        addition_embed_type=kind,
    )


def movq() -> Any:
    """A random autoencoder with a book of codes, whose norms look at the latents."""
    return diffusers.VQModel(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        vq_embed_dim=4,
        num_vq_embeddings=12,
        norm_num_groups=32,
        norm_type="spatial",
    )


def unclip_prior(**changes: Any) -> Any:
    """A random network from a text's embedding to a picture's."""
    settings = {"num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 2}
    return diffusers.PriorTransformer(**{**settings, "embedding_dim": WIDTH, **changes})


def _prior() -> dict[str, Any]:
    scheduler = diffusers.UnCLIPScheduler(
        variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=5.0
    )
    return {
        "prior": unclip_prior(),
        "image_encoder": clip_vision(WIDTH),
        "text_encoder": clip_text(projection=WIDTH),
        "tokenizer": tokenizer(),
        "scheduler": scheduler,
        "image_processor": clip_processor(),
    }


def _ddpm() -> Any:
    return diffusers.DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, clip_sample=False, variance_type="learned_range"
    )


def _ddim() -> Any:
    return diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, clip_sample=False, set_alpha_to_one=False
    )


def multilingual_tokenizer() -> Any:
    """XLM-RoBERTa's tokenizer without words: every visible letter of ASCII is one of 100 tokens."""
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = [*((mark, 0.0) for mark in marks), ("▁", -2.0)]
    vocabulary += [*((letter, -3.0) for letter in letters), ("<mask>", 0.0)]
    return transformers.XLMRobertaTokenizer(vocab=vocabulary, model_max_length=77)


def _multilingual() -> dict[str, Any]:
    from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP

    config = MCLIPConfig(
        transformerDimSize=WIDTH,
        imageDimSize=WIDTH,
        vocab_size=120,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=96,
        pad_token_id=1,
    )
    return {"text_encoder": MultilingualCLIP(config), "tokenizer": multilingual_tokenizer()}


def _first(channels: int = 4) -> dict[str, Any]:
    network = _unet("text_image", channels)
    return {**_multilingual(), "unet": network, "movq": movq(), "scheduler": _ddim()}


def _second(kind: str = "image", channels: int = 4) -> dict[str, Any]:
    return {"unet": _unet(kind, channels), "movq": movq(), "scheduler": _ddpm()}


def _third() -> dict[str, Any]:
    network = diffusers.Kandinsky3UNet(
        time_embedding_dim=32,
        groups=4,
        attention_head_dim=4,
        layers_per_block=2,
        block_out_channels=(8, 8, 16, 16),
        cross_attention_dim=WIDTH,
        encoder_hid_dim=WIDTH,
    )
    scheduler = diffusers.DDPMScheduler(
        beta_start=0.00085, beta_end=0.02, beta_schedule="squaredcos_cap_v2", clip_sample=False
    )
    return {"unet": network, "movq": movq(), "scheduler": scheduler, **t5_text(WIDTH, 128)}


def _combined(parts: Arguments) -> dict[str, Any]:
    return {**parts(), **{f"prior_{name}": part for name, part in _prior().items()}}


def _embeds() -> dict[str, Any]:
    return {
        "image_embeds": noise(1, WIDTH, seed=4),
        "negative_image_embeds": noise(1, WIDTH, seed=5),
        "height": 32,
        "width": 32,
    }


def _mask() -> Any:
    return np.asarray(mask(), dtype=np.float32) / 255


def _ask_twice(**more: Any) -> dict[str, Any]:
    return ask_for_words(prior_num_inference_steps=2, height=32, width=32, **more)


PRIORS: tuple[ForeignCase, ...] = (
    make_case("KandinskyPriorPipeline", _prior, ask_for_words),
    make_case("KandinskyV22PriorPipeline", _prior, ask_for_words),
    make_case(
        "KandinskyV22PriorEmb2EmbPipeline",
        _prior,
        lambda: ask_for_words(image=picture(), num_inference_steps=3, strength=0.7),
    ),
)

CASES: tuple[ForeignCase, ...] = (
    *PRIORS,
    make_case("KandinskyPipeline", _first, lambda: ask_for_words(**_embeds())),
    make_case(
        "KandinskyImg2ImgPipeline",
        _first,
        lambda: ask_for_words(**_embeds(), image=picture(), strength=0.7, num_inference_steps=3),
    ),
    make_case(
        "KandinskyInpaintPipeline",
        partial(_first, 9),
        lambda: ask_for_words(**_embeds(), image=picture(), mask_image=_mask()),
    ),
    make_case("KandinskyCombinedPipeline", partial(_combined, _first), _ask_twice),
    make_case(
        "KandinskyImg2ImgCombinedPipeline",
        partial(_combined, _first),
        lambda: _ask_twice(image=picture(), strength=0.7, num_inference_steps=3),
    ),
    make_case(
        "KandinskyInpaintCombinedPipeline",
        partial(_combined, partial(_first, 9)),
        lambda: _ask_twice(image=picture(), mask_image=_mask()),
    ),
    make_case("KandinskyV22Pipeline", _second, lambda: ask(**_embeds())),
    make_case(
        "KandinskyV22Img2ImgPipeline",
        _second,
        lambda: ask(**_embeds(), image=picture(), strength=0.7, num_inference_steps=3),
    ),
    make_case(
        "KandinskyV22InpaintPipeline",
        partial(_second, channels=9),
        lambda: ask(**_embeds(), image=picture(), mask_image=_mask()),
    ),
    make_case(
        "KandinskyV22ControlnetPipeline",
        partial(_second, "image_hint", 8),
        lambda: ask(**_embeds(), hint=noise(1, 3, 128, 128)),
    ),
    make_case(
        "KandinskyV22ControlnetImg2ImgPipeline",
        partial(_second, "image_hint", 8),
        lambda: ask(
            **_embeds(),
            image=picture(),
            hint=noise(1, 3, 128, 128),
            strength=0.7,
            num_inference_steps=3,
        ),
    ),
    make_case("KandinskyV22CombinedPipeline", partial(_combined, _second), _ask_twice),
    make_case(
        "KandinskyV22Img2ImgCombinedPipeline",
        partial(_combined, _second),
        lambda: _ask_twice(image=picture(), strength=0.7, num_inference_steps=3),
    ),
    make_case(
        "KandinskyV22InpaintCombinedPipeline",
        partial(_combined, partial(_second, channels=9)),
        lambda: _ask_twice(image=picture(), mask_image=_mask()),
    ),
    make_case("Kandinsky3Pipeline", _third, partial(ask_for_words, height=32, width=32)),
    make_case(
        "Kandinsky3Img2ImgPipeline",
        _third,
        lambda: ask_for_words(image=picture(), strength=0.7, num_inference_steps=3),
    ),
)
