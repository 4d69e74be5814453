"""Files in their authors' layout, of small checkpoints that diffusers has written.

The names are those of our tables; that diffusers reads the same shows that they are right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dpnb.loading.adapters.layer_names import map_stability_names
from dpnb.loading.original_layout import _coder_name, _open_clip_name


def write_original(checkpoint: Path, path: Path) -> None:
    """Write the networks of the folder `checkpoint` into one file."""
    tensors = {f"model.diffusion_model.{k}": v for k, v in _of_unet(_read(checkpoint / "unet"))}
    tensors |= {f"first_stage_model.{k}": v for k, v in _of_vae(_read(checkpoint / "vae"))}
    first = _nest(_read(checkpoint / "text_encoder"))
    if (checkpoint / "text_encoder_2").is_dir():
        tensors |= {f"conditioner.embedders.0.transformer.{k}": v for k, v in first.items()}
        second = _of_open_clip(_read(checkpoint / "text_encoder_2"))
        tensors |= {f"conditioner.embedders.1.model.{k}": v for k, v in second}
    else:
        tensors |= {f"cond_stage_model.transformer.{k}": v for k, v in first.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def _read(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = load_file(next(folder.glob("*.safetensors")))
    return tensors


def _nest(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"text_model.{k.removeprefix('text_model.')}": v for k, v in state.items()}


def _of_unet(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    layers = dict.fromkeys(name.rpartition(".")[0] for name in state)
    theirs = dict(map_stability_names(list(layers)))
    for name, tensor in state.items():
        layer, _, parameter = name.rpartition(".")
        yield f"{theirs[layer]}.{parameter}", tensor


def _of_vae(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    blocks = len({name.split(".")[2] for name in state if name.startswith("decoder.up_blocks.")})
    for name, tensor in state.items():
        layer, _, parameter = name.rpartition(".")
        is_matrix = ".attentions." in name and tensor.ndim == 2
        own = tensor[..., None, None] if is_matrix else tensor
        yield f"{_coder_name(layer, blocks)}.{parameter}", own


def _of_open_clip(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    joined: dict[str, list[Tensor]] = {}
    for name, tensor in state.items():
        if "_proj." in name and "self_attn" in name and "out_proj" not in name:
            layer, _, rest = name.partition(".self_attn.")
            key = f"{_open_clip_name(layer)}.attn.in_proj_{rest.rpartition('.')[2]}"
            place = "qkv".index(rest[0])
            joined.setdefault(key, [tensor] * 3)[place] = tensor
        elif name.endswith("text_projection.weight"):
            yield "text_projection", tensor.t()
        else:
            yield _open_clip_name(name), tensor
    for key, parts in joined.items():
        yield key, torch.cat(parts)
