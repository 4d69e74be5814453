"""Small text encoders, autoencoders and pictures that pipelines of video and sound share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

from dpnb.pipelines.shapes.text_encoders import make_clip_tokenizer, make_t5_tokenizer
from tests.reference.checkpoints import VOCABULARY, diffusers, text_encoder, transformers
from tests.reference.foreign.case import ForeignCase

Arguments: TypeAlias = Callable[[], dict[str, Any]]
Finish: TypeAlias = Callable[[Any], object]

WIDTH = 32
"""Channels of the text encoders."""


def make_case(
    name: str, parts: Arguments, arguments: Arguments, finish: Finish | None = None
) -> ForeignCase:
    """A case of the class of diffusers that is the first word of `name`.

    Args:
        parts: makes what the class's constructor takes.
        arguments: makes those of a call.
        finish: done to the pipeline once it is built.
    """

    def build() -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            pipe = getattr(diffusers, name.partition(" ")[0])(**parts())
            pipe.set_progress_bar_config(disable=True)
            fill_zeros(pipe)
            if finish:
                finish(pipe)
        return pipe

    return ForeignCase(name, build, arguments)


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


def ask_for_film(**more: Any) -> dict[str, Any]:
    """The arguments of two steps to five frames of 32 pixels for a prompt."""
    size = {"height": 32, "width": 32, "num_frames": 5}
    return ask(**{"prompt": "a red fox", **size, **more})


def noise(*shape: int, seed: int = 1) -> Tensor:
    """Random numbers, always the same."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def picture(size: int = 32, seed: int = 1, mode: str = "RGB") -> Image.Image:
    """A random square picture."""
    pixels = noise(size, size, 3, seed=seed).mul(60).add(128).clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.numpy()).convert(mode)


def film(frames: int = 5, size: int = 32) -> list[Image.Image]:
    """Random square pictures, each another."""
    return [picture(size, seed=1 + index) for index in range(frames)]


def euler(**settings: Any) -> Any:
    """The scheduler of models of flow."""
    return diffusers.FlowMatchEulerDiscreteScheduler(**settings)


def t5(*, umt5: bool = False, width: int = WIDTH, length: int = 512) -> dict[str, Any]:
    """A random text encoder of T5's family, and its tokenizer."""
    settings: dict[str, Any] = {
        "vocab_size": 128,
        "d_model": width,
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 2,
        "num_heads": 4,
        "dropout_rate": 0.0,
        "feed_forward_proj": "gated-gelu",
    }
    encoder: Any
    if umt5:
        encoder = transformers.UMT5EncoderModel(transformers.UMT5Config(**settings))
    else:
        encoder = transformers.T5EncoderModel(transformers.T5Config(**settings))
    return {"text_encoder": encoder, "tokenizer": make_t5_tokenizer(128, length)}


def eyes(*, projection: int = 0, size: int = 32) -> dict[str, Any]:
    """A random encoder of pictures of `size` pixels, and what prepares them for it.

    Args:
        projection: the channels that it projects to, if it does.
        size: height and width.
    """
    config = transformers.CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=48,
        projection_dim=projection or WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=size,
        patch_size=8,
    )
    kind = (
        transformers.CLIPVisionModelWithProjection if projection else transformers.CLIPVisionModel
    )
    prepare = transformers.CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )
    return {"image_encoder": kind(config), "image_processor": prepare}


def wan_vae(**changes: Any) -> Any:
    """A random autoencoder of Wan: 16 channels, 8 pixels and 4 frames to one."""
    settings = {
        "base_dim": 4,
        "z_dim": 16,
        "dim_mult": [1, 1, 1, 1],
        "num_res_blocks": 1,
        "temperal_downsample": [False, True, True],
    }
    return diffusers.AutoencoderKLWan(**{**settings, **changes})


def bytes_tokenizer(*marks: str) -> Any:
    """A tokenizer whose tokens are bytes.

    Args:
        marks: more tokens, from number 260 on.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {mark: index for index, mark in enumerate(("<pad>", "<s>", "</s>", "<unk>"))}
    vocabulary |= {letter: 4 + index for index, letter in enumerate(letters)}
    vocabulary |= {mark: 260 + index for index, mark in enumerate(marks)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **special,
        additional_special_tokens=list(marks),
        model_max_length=2048,
    )


def clip(*, act: str = "quick_gelu") -> Any:
    """A random text encoder of CLIP, and the tokenizer of it."""
    return text_encoder(act=act), make_clip_tokenizer(VOCABULARY)


def siglip(size: int = 16) -> dict[str, Any]:
    """A random SigLIP of pictures of `size` pixels, and what prepares them for it."""
    config = transformers.SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=size,
        patch_size=8,
    )
    prepare = transformers.SiglipImageProcessor(size={"height": size, "width": size})
    return {"image_encoder": transformers.SiglipVisionModel(config), "feature_extractor": prepare}


DECODER: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "max_position_embeddings": 2048,
}
"""The shape of language models."""

CHAT = (
    "{% for message in messages %}{{ message['role'] }}: {% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for part in message['content'] %}{{ part['text'] }}"
    "{% endfor %}{% endif %}\n{% endfor %}"
)
"""What is said to whom, without pictures."""

ROPE: dict[str, Any] = {
    "rope_type": "default",
    "mrope_section": [1, 1, 2],
    "rope_theta": 10000.0,
}


def chat_tokenizer(*marks: str) -> Any:
    """A tokenizer of bytes that knows how a conversation is written down."""
    tokenizer = bytes_tokenizer(*marks)
    tokenizer.chat_template = CHAT
    return tokenizer


def qwen_seeing(kind: str = "Qwen2_5_VL") -> dict[str, Any]:
    """A random language model of Qwen that reads pictures too, and its tokenizer."""
    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "embed_dim": 16,
        "intermediate_size": 24,
        "num_heads": 2,
        "patch_size": 4,
        "out_hidden_size": WIDTH,
    }
    config = getattr(transformers, f"{kind}Config")(
        text_config={**DECODER, "rope_parameters": ROPE},
        vision_config=vision,
        vision_start_token_id=260,
        vision_end_token_id=261,
        image_token_id=262,
        video_token_id=263,
    )
    encoder = getattr(transformers, f"{kind}ForConditionalGeneration")(config)
    return {"text_encoder": encoder, "tokenizer": chat_tokenizer(*marks)}


def tensor_film(frames: int = 5, size: int = 32) -> Tensor:
    """A random film of values from 0 to 1, `[1, 3, frames, size, size]`."""
    return noise(1, 3, frames, size, size).sigmoid()


def picture_vae(**changes: Any) -> Any:
    """A random autoencoder of pictures: 4 channels, 8 pixels to one."""
    return diffusers.AutoencoderKL(
        **{
            "block_out_channels": (8, 8, 16, 16),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "sample_size": 32,
            **changes,
        }
    )
