"""Networks in files of the layout that their authors wrote them in, all in one file: tables.

Stable Diffusion's is that of https://github.com/CompVis/stable-diffusion, XL's that of
https://github.com/Stability-AI/generative-models, and FLUX's that of Black Forest Labs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from dpnb.errors import CheckpointError
from dpnb.loading.adapters.layer_names import SWAPPED, map_black_forest_names, map_stability_names

DENOISERS = ("model.diffusion_model.", "")
CODERS = ("first_stage_model.", "vae.", "")
HUGGING_FACE_CLIP = {
    "text_encoder": (
        "cond_stage_model.transformer.",
        "conditioner.embedders.0.transformer.",
        "text_encoders.clip_l.transformer.",
    )
}
OPEN_CLIP = {
    "text_encoder": ("cond_stage_model.model.", "conditioner.embedders.0.model."),
    "text_encoder_2": ("conditioner.embedders.1.model.", "conditioner.embedders.0.model."),
}
"""How the names of each part begin, by the first of these that there is."""

CODER_NAMES = (
    (r"(en|de)coder\.(down|up)_blocks\.(\d+)\.resnets\.(\d+)", r"\1coder.\2.\3.block.\4"),
    (r"(en|de)coder\.(down|up)_blocks\.(\d+)\.(?:down|up)samplers\.0", r"\1coder.\2.\3.\2sample"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"attn_1\.group_norm", "attn_1.norm"),
    (r"attn_1\.to_([qkv])", r"attn_1.\1"),
    (r"attn_1\.to_out\.0", "attn_1.proj_out"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"conv_norm_out", "norm_out"),
)

OPEN_CLIP_NAMES = (
    (r"^text_model\.", ""),
    (r"^embeddings\.token_embedding", "token_embedding"),
    (r"^embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"^encoder\.layers\.", "transformer.resblocks."),
    (r"\.layer_norm(\d)", r".ln_\1"),
    (r"\.self_attn\.out_proj", ".attn.out_proj"),
    (r"\.mlp\.fc1", ".mlp.c_fc"),
    (r"\.mlp\.fc2", ".mlp.c_proj"),
    (r"^final_layer_norm", "ln_final"),
    (r"^text_projection\.weight", "text_projection"),
)
"""Patterns in our names of layers, and what stands there in theirs."""

_PROJECTION = re.compile(r"(.+)\.self_attn\.([qkv])_proj\.(weight|bias)")


def convert_part(
    component: str, class_name: str, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The weights of one network out of a file that holds several.

    Args:
        component: what a pipeline calls it.
        class_name: of the network.
        own: its tensors, by name; their values are not read.
        tensors: those of the file.

    Raises:
        CheckpointError: the file does not hold this network, or another than its settings say.
    """
    if own.keys() <= tensors.keys():
        return {name: tensors[name] for name in own}
    found = dict(_find(component, class_name, own, tensors))
    missing = sorted(own.keys() - found.keys())
    if missing:
        raise CheckpointError(
            f"The file holds no {missing[0]} of the {component} ({len(missing)} tensors of "
            f"{class_name} are not there); load that part by itself and pass it as {component}, or "
            "give the settings of this model as config."
        )
    return found


def _find(
    component: str, class_name: str, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    if class_name == "FluxTransformer2DModel":
        yield from _find_flux(own, tensors)
    elif class_name == "UNet2DConditionModel":
        prefix = _choose(DENOISERS, tensors)
        theirs = dict(map_stability_names(_layers(own)))
        yield from _take(own, tensors, lambda layer: prefix + theirs.get(layer, layer))
    elif class_name == "AutoencoderKL":
        prefix = _choose(CODERS, tensors)
        blocks = len({name.split(".")[2] for name in own if name.startswith("decoder.up_blocks.")})
        yield from _take(own, tensors, lambda layer: prefix + _coder_name(layer, blocks))
    else:
        yield from _find_clip(component, own, tensors)


def _layers(own: Mapping[str, Tensor]) -> list[str]:
    return list(dict.fromkeys(name.rpartition(".")[0] for name in own))


def _choose(prefixes: tuple[str, ...], tensors: Mapping[str, Tensor]) -> str:
    return next((p for p in prefixes if any(name.startswith(p) for name in tensors)), "")


def _take(
    own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], rename: Callable[[str], str]
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of layers; a matrix may be stored as a 1×1 convolution, and the reverse."""
    for name, like in own.items():
        layer, _, parameter = name.rpartition(".")
        tensor = tensors.get(f"{rename(layer)}.{parameter}")
        if tensor is not None:
            yield name, tensor.view(like.shape) if tensor.numel() == like.numel() else tensor


def _coder_name(layer: str, blocks: int) -> str:
    """What the authors' code calls a layer of an autoencoder."""
    for pattern, theirs in CODER_NAMES:
        layer = re.sub(pattern, theirs, layer)
    side, *rest = layer.split(".")
    if side == "decoder" and rest[0] == "up":
        rest[1] = str(blocks - 1 - int(rest[1]))
    return ".".join((side, *rest))


def _find_clip(
    component: str, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    for prefix in HUGGING_FACE_CLIP.get(component, ()):
        if any(name.startswith(prefix) for name in tensors):
            for name in own:
                nested = f"{prefix}text_model.{name.removeprefix('text_model.')}"
                tensor = tensors.get(prefix + name, tensors.get(nested))
                if tensor is not None:
                    yield name, tensor
            return
    prefix = _choose(OPEN_CLIP.get(component, ()), tensors)
    for name in own:
        tensor = _find_open_clip(prefix, name, tensors) if prefix else None
        if tensor is not None:
            yield name, tensor


def _find_open_clip(prefix: str, name: str, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """One tensor of OpenCLIP, whose queries, keys and values are one matrix there."""
    if (match := _PROJECTION.fullmatch(name)) is not None:
        layer, which, parameter = match.groups()
        joined = tensors.get(f"{prefix}{_open_clip_name(layer)}.attn.in_proj_{parameter}")
        return None if joined is None else joined.chunk(3)["qkv".index(which)]
    tensor = tensors.get(prefix + _open_clip_name(name))
    is_turned = tensor is not None and name.endswith("text_projection.weight")
    return tensor.t().contiguous() if tensor is not None and is_turned else tensor


def _open_clip_name(name: str) -> str:
    for pattern, theirs in OPEN_CLIP_NAMES:
        name = re.sub(pattern, theirs, name)
    return name


def _find_flux(
    own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    prefix = _choose(DENOISERS, tensors)
    for theirs, ours in map_black_forest_names(_layers(own)):
        for parameter in ("weight", "bias"):
            names = [f"{layer}.{parameter}" for layer in ours]
            stored = "scale" if "_norm" in theirs else parameter
            tensor = tensors.get(f"{prefix}{theirs}.{stored}")
            if tensor is None or names[0] not in own:
                continue
            if theirs in SWAPPED:
                tensor = torch.cat(tensor.chunk(2)[::-1])
            sizes = [own[name].shape[0] for name in names]
            if sum(sizes) == tensor.shape[0]:
                yield from zip(names, tensor.split(sizes), strict=True)
