"""Names that layers have in other people's code, for every layer of a network: tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

STABILITY: tuple[tuple[str, str], ...] = (
    (r"resnets\.\d+\.norm1", "in_layers.0"),
    (r"resnets\.\d+\.conv1", "in_layers.2"),
    (r"resnets\.\d+\.time_emb_proj", "emb_layers.1"),
    (r"resnets\.\d+\.norm2", "out_layers.0"),
    (r"resnets\.\d+\.conv2", "out_layers.3"),
    (r"resnets\.\d+\.conv_shortcut", "skip_connection"),
)
"""The parts of a residual block as Stability's code calls them."""

OUTER: Mapping[str, str] = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}

_ATTENTION = tuple(f"transformer_blocks.{{}}.attn.to_{x}" for x in "qkv")
_ADDED = tuple(f"transformer_blocks.{{}}.attn.add_{x}_proj" for x in "qkv")
_SINGLE = tuple(f"single_transformer_blocks.{{}}.attn.to_{x}" for x in "qkv")

BLACK_FOREST: Mapping[str, tuple[str, ...]] = {
    "double_blocks.{}.img_attn.qkv": _ATTENTION,
    "double_blocks.{}.img_attn.proj": ("transformer_blocks.{}.attn.to_out.0",),
    "double_blocks.{}.img_mlp.0": ("transformer_blocks.{}.ff.net.0.proj",),
    "double_blocks.{}.img_mlp.2": ("transformer_blocks.{}.ff.net.2",),
    "double_blocks.{}.img_mod.lin": ("transformer_blocks.{}.norm1.linear",),
    "double_blocks.{}.txt_attn.qkv": _ADDED,
    "double_blocks.{}.txt_attn.proj": ("transformer_blocks.{}.attn.to_add_out",),
    "double_blocks.{}.txt_mlp.0": ("transformer_blocks.{}.ff_context.net.0.proj",),
    "double_blocks.{}.txt_mlp.2": ("transformer_blocks.{}.ff_context.net.2",),
    "double_blocks.{}.txt_mod.lin": ("transformer_blocks.{}.norm1_context.linear",),
    "single_blocks.{}.linear1": (*_SINGLE, "single_transformer_blocks.{}.proj_mlp"),
    "single_blocks.{}.linear2": ("single_transformer_blocks.{}.proj_out",),
    "single_blocks.{}.modulation.lin": ("single_transformer_blocks.{}.norm.linear",),
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in.in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "time_in.out_layer": ("time_text_embed.timestep_embedder.linear_2",),
    "vector_in.in_layer": ("time_text_embed.text_embedder.linear_1",),
    "vector_in.out_layer": ("time_text_embed.text_embedder.linear_2",),
    "guidance_in.in_layer": ("time_text_embed.guidance_embedder.linear_1",),
    "guidance_in.out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
    "double_blocks.{}.img_attn.norm.query_norm": ("transformer_blocks.{}.attn.norm_q",),
    "double_blocks.{}.img_attn.norm.key_norm": ("transformer_blocks.{}.attn.norm_k",),
    "double_blocks.{}.txt_attn.norm.query_norm": ("transformer_blocks.{}.attn.norm_added_q",),
    "double_blocks.{}.txt_attn.norm.key_norm": ("transformer_blocks.{}.attn.norm_added_k",),
    "single_blocks.{}.norm.query_norm": ("single_transformer_blocks.{}.attn.norm_q",),
    "single_blocks.{}.norm.key_norm": ("single_transformer_blocks.{}.attn.norm_k",),
    "double_blocks.{}.processor.qkv_lora1": _ATTENTION,
    "double_blocks.{}.processor.qkv_lora2": _ADDED,
    "double_blocks.{}.processor.proj_lora1": ("transformer_blocks.{}.attn.to_out.0",),
    "double_blocks.{}.processor.proj_lora2": ("transformer_blocks.{}.attn.to_add_out",),
    "single_blocks.{}.processor.qkv_lora": _SINGLE,
    "single_blocks.{}.processor.proj_lora": ("single_transformer_blocks.{}.proj_out",),
}
"""What Black Forest Labs' code calls the layers of their transformer, and XLabs' adapters those
that they change; some of these layers are several here, whose rows follow one another."""

SWAPPED = frozenset({"final_layer.adaLN_modulation.1"})
"""Layers whose halves, a scale and a shift, stand here in the other order."""

_NUMBERED = re.compile(r"\w*transformer_blocks\.(\d+)\.")

_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)(?:\.(.+))?")
_SAMPLER = re.compile(r"(down|up)_blocks\.(\d+)\.(?:down|up)samplers\.0\.conv")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)(?:\.(.+))?")


@dataclass(frozen=True)
class Layers:
    """The layers that one layer of other people's code is here.

    Attributes:
        names: those whose rows, one after the other, are its rows.
        is_swapped: whether the halves of its rows change places.
    """

    names: tuple[str, ...]
    is_swapped: bool = False


def map_kohya_names(names: Iterable[str]) -> dict[str, Layers]:
    """What kohya's scripts call the layers `names` of a network, and which layers these are."""
    own = list(names)
    found = {name.replace(".", "_"): Layers((name,)) for name in own}
    for name, theirs in map_stability_names(own):
        found.setdefault(theirs.replace(".", "_"), Layers((name,)))
    for theirs, ours in map_black_forest_names(own):
        found.setdefault(theirs.replace(".", "_"), Layers(ours, theirs in SWAPPED))
    return found


def map_black_forest_names(names: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What Black Forest Labs' code calls layers, and which layers these are."""
    known = set(names)
    numbers = {match[1] for name in names if (match := _NUMBERED.match(name))}
    if not numbers:
        return
    for theirs, ours in BLACK_FOREST.items():
        for number in sorted(numbers) if "{}" in theirs else ("",):
            layers = tuple(name.format(number) for name in ours)
            if known.issuperset(layers):
                yield theirs.format(number), layers


def map_stability_names(names: list[str]) -> Iterator[tuple[str, str]]:
    """The layers of a UNet, and what Stability's code calls them."""
    blocks = [match for name in names if (match := _BLOCK.match(name)) and match[3] == "resnets"]
    if not blocks:
        return
    per_block = {
        side: 1 + max((int(m[4]) for m in blocks if m[1] == side), default=0)
        for side in ("down", "up")
    }
    attending = {(m[1], m[2]) for n in names if (m := _BLOCK.match(n)) and m[3] == "attentions"}
    for name in names:
        if (theirs := _stability_name(name, per_block, attending)) is not None:
            yield name, theirs


def _stability_name(
    name: str, per_block: Mapping[str, int], attending: set[tuple[str, str]]
) -> str | None:
    if name in OUTER:
        return OUTER[name]
    if (match := _BLOCK.fullmatch(name)) is not None:
        side, block, kind, index, _ = match.groups()
        if side == "down":
            place = 1 + int(block) * (per_block["down"] + 1) + int(index)
        else:
            place = int(block) * per_block["up"] + int(index)
        outer = "input_blocks" if side == "down" else "output_blocks"
        return f"{outer}.{place}.{int(kind == 'attentions')}{_inner_name(name, match[5])}"
    if (match := _SAMPLER.fullmatch(name)) is not None:
        side, block = match.groups()
        if side == "down":
            return f"input_blocks.{(int(block) + 1) * (per_block['down'] + 1)}.0.op"
        place = (int(block) + 1) * per_block["up"] - 1
        return f"output_blocks.{place}.{1 + ((side, block) in attending)}.conv"
    if (match := _MIDDLE.fullmatch(name)) is not None:
        place = 1 if match[1] == "attentions" else 2 * int(match[2])
        return f"middle_block.{place}{_inner_name(name, match[3])}"
    return None


def _inner_name(name: str, rest: str | None) -> str:
    for pattern, theirs in STABILITY:
        if re.search(rf"{pattern}$", name):
            return f".{theirs}"
    return f".{rest}" if rest else ""
