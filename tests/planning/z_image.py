"""Folders like that of Z-Image: true settings and headers, and holes in the place of weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import transformers
from accelerate import init_empty_weights
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor, nn


@dataclass(frozen=True)
class ZImageShape:
    """How large the networks are.

    Args:
        transformer: settings of it.
        text_encoder: likewise.
        vae: likewise.
    """

    transformer: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    vae: Mapping[str, Any]


PUBLISHED = ZImageShape(
    transformer={},
    text_encoder={
        "hidden_size": 2560,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 9728,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    vae={"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
)
"""6.15 billion weights of the transformer and 4.0 of the text encoder: 12.3 + 8.0 GB."""

SMALL = ZImageShape(
    transformer={
        "dim": 32,
        "n_layers": 2,
        "n_refiner_layers": 1,
        "n_heads": 2,
        "n_kv_heads": 2,
        "cap_feat_dim": 32,
        "axes_dims": [4, 6, 6],
        "axes_lens": [1024, 64, 64],
    },
    text_encoder={
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "intermediate_size": 48,
        "vocab_size": 64,
        "tie_word_embeddings": True,
    },
    vae={
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "sample_size": 16,
    },
)


def write_z_image(folder: Path, shape: ZImageShape) -> None:
    """Write settings, a tokenizer, and weight files whose headers alone are true."""
    blocks = len(shape.vae["block_out_channels"])
    with init_empty_weights(include_buffers=False):
        transformer = diffusers.ZImageTransformer2DModel(**shape.transformer)
        vae = diffusers.AutoencoderKL(
            **shape.vae,
            down_block_types=("DownEncoderBlock2D",) * blocks,
            up_block_types=("UpDecoderBlock2D",) * blocks,
            latent_channels=16,
            use_quant_conv=False,
            use_post_quant_conv=False,
            scaling_factor=0.3611,
            shift_factor=0.1159,
        )
        encoder = transformers.Qwen3Model(transformers.Qwen3Config(**shape.text_encoder))
    transformer.save_config(folder / "transformer")
    vae.save_config(folder / "vae")
    encoder.config.save_pretrained(folder / "text_encoder")
    name = "diffusion_pytorch_model.safetensors"
    write_holes(folder / "transformer" / name, transformer)
    write_holes(folder / "vae" / name, vae)
    # The published file is that of the causal model, whose weights have a prefix.
    write_holes(folder / "text_encoder" / "model.safetensors", encoder, "model.")
    diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    make_tokenizer().save_pretrained(folder / "tokenizer")
    index = {
        "_class_name": "ZImagePipeline",
        "_diffusers_version": "0.36.0",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen3Model"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "transformer": ["diffusers", "ZImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))


def write_holes(file: Path, model: nn.Module, prefix: str = "") -> None:
    """Write a weight file whose header is that of a model in bfloat16, and that holds no bytes."""
    header, end = {}, 0
    for name, tensor in model.state_dict().items():
        header[prefix + name] = _entry(tensor, end)
        end += 2 * tensor.numel()
    text = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + end)


def _entry(tensor: Tensor, start: int) -> dict[str, Any]:
    span = [start, start + 2 * tensor.numel()]
    return {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": span}


def make_tokenizer() -> Any:
    """A tokenizer of a few words, with a template for chats."""
    words = ["<unk>", "<pad>", "<user>", "red", "apple"]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        chat_template="{% for message in messages %}<user> {{ message.content }}{% endfor %}",
    )
