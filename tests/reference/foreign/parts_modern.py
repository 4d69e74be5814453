"""Small text encoders, tokenizers and autoencoders that recent pipelines are built from."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import nn

from dpnb.pipelines.shapes.text_encoders import make_clip_tokenizer, make_t5_tokenizer
from tests.reference.foreign.case import ForeignCase

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import diffusers as diffusers

Parts = Mapping[str, Any]

PROMPTED: Parts = {"prompt": "a red fox", "num_inference_steps": 3, "output_type": "np"}
"""Arguments that nearly all calls take."""

SIZED: Parts = {**PROMPTED, "height": 32, "width": 32}

MARKS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|startoftext|>",
)
VOCABULARY = 320
"""Of encoders that read bytes: 256 of them, and room for marks."""

IMAGE_PAD, VIDEO_PAD = 261, 262

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ item['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

DECODER: Parts = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""The shape of a text model that decodes."""


def small_case(
    name: str, parts: Callable[[], Parts], *, seeded: bool = True, **arguments: Any
) -> ForeignCase:
    """A case whose class is the first word of `name`, called with `arguments`.

    Args:
        name: of the case.
        parts: makes the components.
        seeded: whether the call takes a generator.
        arguments: of the call, copied for each.
    """
    kind = name.partition(" ")[0]

    def call() -> dict[str, Any]:
        generator = {"generator": torch.Generator().manual_seed(0)} if seeded else {}
        return {**copy.deepcopy(arguments), **generator}

    return ForeignCase(name, lambda: assemble(kind, parts), call)


def assemble(kind: str, parts: Callable[[], Parts]) -> Any:
    """A pipeline of that class, the weights of its components drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = parts()
    for name, part in made.items():
        if isinstance(part, nn.Module):
            draw_weights(part.eval(), seed=sum(map(ord, name)))
    pipe = getattr(diffusers, kind)(**made)
    inner = [part for part in vars(pipe).values() if isinstance(part, diffusers.DiffusionPipeline)]
    for one in (pipe, *inner):
        one.set_progress_bar_config(disable=True)
    return pipe


def draw_weights(module: nn.Module, seed: int) -> None:
    """Give every parameter values that keep the size of what passes, none of them zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(values / math.sqrt(parameter[0].numel()))
            else:
                parameter.copy_(values * 0.1 + (0 if name.endswith("bias") else 1))


def picture(width: int = 32, height: int = 32, seed: int = 0) -> Image.Image:
    """A picture with colours of its own everywhere."""
    values = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height))


def mask(width: int = 32, height: int = 32) -> Image.Image:
    """White on its right half, where a picture is to change."""
    values = np.zeros((height, width), dtype=np.uint8)
    values[:, width // 2 :] = 255
    return Image.fromarray(values)


def flow_match(**settings: Any) -> Any:
    """The scheduler of flow matching."""
    return diffusers.FlowMatchEulerDiscreteScheduler(**settings)


def autoencoder(latent_channels: int = 16, levels: int = 2, **changes: Any) -> Any:
    """An autoencoder that halves the size `levels - 1` times."""
    settings: dict[str, Any] = {
        "block_out_channels": (8,) + (16,) * (levels - 1),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "norm_num_groups": 4,
        "latent_channels": latent_channels,
        "scaling_factor": 0.5,
        "shift_factor": 0.1,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    }
    return diffusers.AutoencoderKL(**{**settings, **changes})


def clip_tokenizer() -> Any:
    return make_clip_tokenizer(600)


def clip_encoder(*, projects: bool = False, **changes: Any) -> Any:
    """A text encoder of CLIP of 24 channels; one that projects has 20."""
    settings: dict[str, Any] = {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "projection_dim": 20,
        "vocab_size": 600,
        "bos_token_id": 598,
        "eos_token_id": 599,
        "pad_token_id": 599,
    }
    config = transformers.CLIPTextConfig(**{**settings, **changes})
    kind = transformers.CLIPTextModelWithProjection if projects else transformers.CLIPTextModel
    return kind(config)


def t5_tokenizer(length: int = 64) -> Any:
    return make_t5_tokenizer(100, length)


def t5_encoder(kind: str = "T5EncoderModel", **changes: Any) -> Any:
    """A T5 encoder of 32 channels."""
    settings: dict[str, Any] = {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 2,
        "num_heads": 4,
        "vocab_size": 100,
        "feed_forward_proj": "gated-gelu",
    }
    config: Any = transformers.UMT5Config if kind == "UMT5EncoderModel" else transformers.T5Config
    return getattr(transformers, kind)(config(**{**settings, **changes}))


def byte_tokenizer(*, starts: bool = False, **settings: Any) -> Any:
    """A tokenizer of bytes with the marks of a chat, and its template.

    Args:
        starts: whether every text begins with a mark, so that none is without tokens.
        settings: of the tokenizer's class.
    """
    from tokenizers.processors import TemplateProcessing
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = [*bytes_to_unicode().values(), *MARKS]
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    tokenizer: Any = transformers.Qwen2Tokenizer(
        vocab=vocabulary, merges=[], **{"additional_special_tokens": list(MARKS[1:]), **settings}
    )
    tokenizer.chat_template = CHAT
    if starts:
        start = (MARKS[-1], vocabulary[MARKS[-1]])
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{start[0]} $A", special_tokens=[start]
        )
    return tokenizer


def decoder(kind: str, config: str, **changes: Any) -> Any:
    """A language model of 32 channels, by the names of its class and its configuration's."""
    settings = getattr(transformers, config)(**{**DECODER, **changes})
    return getattr(transformers, kind)(settings)


def qwen3_encoder(kind: str = "Qwen3Model") -> Any:
    """A Qwen3 of 32 channels."""
    return decoder(kind, "Qwen3Config")


def qwen2_vision_encoder() -> Any:
    """A Qwen2.5 of 32 channels that also reads pictures."""
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            **{name: value for name, value in DECODER.items() if name != "head_dim"},
            "rope_scaling": {"rope_type": "default", "mrope_section": [2, 1, 1]},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 4,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
            "window_size": 16,
        },
        image_token_id=IMAGE_PAD,
        video_token_id=VIDEO_PAD,
        vision_start_token_id=259,
        vision_end_token_id=260,
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


class _WithoutFilms:
    """A processor lacks that of films, which would need torchvision."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        if argument_name == "video_processor":
            return None
        processor: Any = super()
        return processor.check_argument_for_proper_class(argument_name, argument)


class _PictureProcessor(_WithoutFilms, transformers.Qwen2VLProcessor):
    pass


class _PictureProcessor3(_WithoutFilms, transformers.Qwen3VLProcessor):
    pass


def vision_processor(version: int = 2, patch_size: int = 4) -> Any:
    """What prepares texts and pictures for a Qwen that sees: at most 8 x 8 patches of a picture."""
    size = {"shortest_edge": (2 * patch_size) ** 2, "longest_edge": (8 * patch_size) ** 2}
    pictures = transformers.Qwen2VLImageProcessorPil(patch_size=patch_size, merge_size=2, size=size)
    kind = _PictureProcessor if version == 2 else _PictureProcessor3
    tokenizer = byte_tokenizer()
    return kind(image_processor=pictures, tokenizer=tokenizer, chat_template=CHAT)


def qwen_autoencoder(kind: str = "AutoencoderKLQwenImage", **changes: Any) -> Any:
    """An autoencoder of films that takes a picture as a film of one frame, and halves it once."""
    settings: dict[str, Any] = {
        "base_dim": 8,
        "z_dim": 4,
        "dim_mult": [1, 2],
        "num_res_blocks": 1,
        "temperal_downsample": [False],
        "latents_mean": [0.1, -0.1, 0.2, 0.0],
        "latents_std": [1.0, 1.2, 0.9, 1.1],
    }
    return getattr(diffusers, kind)(**{**settings, **changes})


def flux2_autoencoder(**changes: Any) -> Any:
    """An autoencoder that halves the size once and knows the spread of its latents."""
    settings: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 4,
    }
    return diffusers.AutoencoderKLFlux2(**{**settings, **changes})


def qwen3_vision_encoder(
    kind: str = "Qwen3VLForConditionalGeneration",
    num_hidden_layers: int = 2,
    patch_size: int = 4,
) -> Any:
    """A Qwen3 of 32 channels that also reads pictures."""
    config = transformers.Qwen3VLConfig(
        text_config={
            **DECODER,
            "num_hidden_layers": num_hidden_layers,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 1, 1],
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": patch_size,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": (0, 1),
        },
        image_token_id=IMAGE_PAD,
        video_token_id=VIDEO_PAD,
        vision_start_token_id=259,
        vision_end_token_id=260,
    )
    return getattr(transformers, kind)(config)
