"""Adapters in files: low-rank changes of weights, by the names of several trainers.

`diffusers` and `peft` name a layer as the network does, `kohya` with underscores and, for SDXL, as
Stability's code does. All come out as a layer's name in the network and its change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from dpnb.errors import CheckpointError
from dpnb.loading.hub import HubOptions, fetch
from dpnb.loading.keymaps import match_clip
from dpnb.loading.layer_names import underscored
from dpnb.loading.paths import files_in, inside
from dpnb.loading.tensorfile import read_tensors
from dpnb.nn.lowrank import LowRank

Changes: TypeAlias = dict[str, LowRank]
"""The name of a layer in its network, and how its weights change."""

WEIGHT_NAME = "pytorch_lora_weights.safetensors"

SUFFIXES = (".safetensors", ".bin", ".pt", ".ckpt")

METADATA = "lora_adapter_metadata"

_PART = re.compile(
    r"(?P<layer>.+?)"
    r"(?:\.(?:lora_(?P<letter>[AB])(?:\.[^.]+)?|lora_(?P<word>down|up)"
    r"|lora\.(?P<old>down|up)|lora_linear_layer\.(?P<linear>down|up))\.weight"
    r"|\.(?P<alpha>alpha))"
)

_PROCESSOR = re.compile(r"(.+?)(?:\.processor)?\.(to_[qkv]|to_out)_lora\.(down|up)\.weight")
"""How diffusers named the parts until 0.22."""

_CLIP_LAYERS = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}

_OTHERS = {
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "lora_mid": "Tucker-decomposed LoRA",
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "oft_": "OFT",
}

KOHYA: Mapping[str, tuple[str, ...]] = {
    "lora_unet_": ("unet", "transformer"),
    "lora_transformer_": ("transformer",),
    "lora_te1_": ("text_encoder",),
    "lora_te2_": ("text_encoder_2",),
    "lora_te_": ("text_encoder",),
}
"""The beginnings of kohya's names, and the components that they mean: the first that is there."""


@dataclass
class _Parts:
    down: Tensor | None = None
    up: Tensor | None = None
    alpha: float | None = None
    names: list[str] = field(default_factory=list)


def read_adapter(
    source: str | Path | Mapping[str, Tensor],
    weight_name: str | None = None,
    options: HubOptions | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of an adapter on the CPU, and what its trainer noted of it.

    Args:
        source: a file, a folder, a repository of the hub, or the tensors themselves.
        weight_name: of the file in a folder or repository; by default the usual name, or the only
            file of weights there.
        options: how files come from the hub.

    Raises:
        CheckpointError: there is no such file, several could be meant, or it is damaged.
        HubError: the repository cannot be reached.
    """
    if isinstance(source, Mapping):
        return dict(source), {}
    file = _file(source, weight_name, options)
    tensors = dict(read_tensors(file, lambda _, stored: stored, torch.device("cpu")))
    return tensors, _notes(file)


def parse_adapter(
    tensors: Mapping[str, Tensor], notes: Mapping[str, Any], networks: Mapping[str, nn.Module]
) -> dict[str, Changes]:
    """The changes that an adapter makes, by component.

    Args:
        tensors: as `read_adapter` gives them.
        notes: likewise.
        networks: the components that it may change.

    Raises:
        CheckpointError: it is of another kind, or made for other networks.
    """
    found: dict[str, Changes] = {}
    layers = {name: dict(_layers(network)) for name, network in networks.items()}
    kohya = {name: underscored(known) for name, known in layers.items()}
    for key, parts in _parts(tensors).items():
        component, names = _locate(key, layers, kohya)
        if parts.down is None or parts.up is None:
            raise CheckpointError(
                f"The adapter has only a part of {key!r} ({', '.join(parts.names)}); use a "
                "complete file."
            )
        scale = _scale(component, names[0], parts, notes)
        change = LowRank(parts.down, parts.up, scale)
        weights = [layers[component][name] for name in names]
        split = change.rows([w.shape[0] for w in weights]) if len(names) > 1 else [change]
        for name, one, weight in zip(names, split, weights, strict=True):
            if not one.fits(weight.shape):
                raise CheckpointError(
                    f"The adapter changes {component}.{name} by {_size(one)}, and that has weights "
                    f"{list(weight.shape)}; it was made for another model."
                )
            found.setdefault(component, {})[name] = one
    return found


def _file(source: str | Path, weight_name: str | None, options: HubOptions | None) -> Path:
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.suffix in SUFFIXES:
        raise CheckpointError(f"There is no file {path}; check its name.")
    chosen: list[str] = []

    def select(files: Iterable[str]) -> list[str]:
        chosen.append(_choose(source, list(files), weight_name))
        return chosen

    folder = fetch(source, select, options)
    if not chosen:
        select(files_in(folder))
    return inside(folder / chosen[0], folder)


def _choose(source: str | Path, files: list[str], weight_name: str | None) -> str:
    if weight_name is not None:
        if weight_name in files:
            return weight_name
        raise CheckpointError(f"{source} has no file {weight_name}; it has {_listed(files)}.")
    weights = [name for name in files if Path(name).suffix in SUFFIXES]
    if WEIGHT_NAME in weights:
        return WEIGHT_NAME
    preferred = [name for name in weights if name.endswith(".safetensors")] or weights
    if len(preferred) == 1:
        return preferred[0]
    raise CheckpointError(
        f"{source} has {'several files' if preferred else 'no file'} of weights "
        f"({_listed(preferred or files)}); say which with weight_name."
    )


def _listed(files: list[str]) -> str:
    shown = ", ".join(sorted(files)[:8])
    return f"{shown}, …" if len(files) > 8 else shown or "nothing"


def _notes(file: Path) -> dict[str, Any]:
    if file.suffix != ".safetensors":
        return {}
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        text = (opened.metadata() or {}).get(METADATA)
    notes: dict[str, Any] = json.loads(text) if text else {}
    return notes


def _parts(tensors: Mapping[str, Tensor]) -> dict[str, _Parts]:
    """The tensors that belong to one layer, by its name in the file."""
    parts: dict[str, _Parts] = {}
    for name, tensor in tensors.items():
        for mark, kind in _OTHERS.items():
            if mark in name:
                raise CheckpointError(
                    f"The adapter holds {name!r}, which is {kind}; only plain LoRA can be loaded."
                )
        layer, part = _split(name)
        entry = parts.setdefault(layer, _Parts())
        entry.names.append(name)
        if part == "alpha":
            entry.alpha = float(tensor)
        elif part == "down":
            entry.down = tensor
        else:
            entry.up = tensor
    return parts


def _split(name: str) -> tuple[str, str]:
    """The layer that a tensor belongs to, and which part it is."""
    if (match := _PROCESSOR.fullmatch(name)) is not None:
        block, layer, part = match.groups()
        is_text = block.startswith("text_encoder")
        child = _CLIP_LAYERS[layer] if is_text else "to_out.0" if layer == "to_out" else layer
        return f"{block}.{child}", part
    match = _PART.fullmatch(name)
    if match is None:
        raise CheckpointError(
            f"The adapter holds {name!r}, which is no part of a LoRA; it may be a whole model, "
            "which from_pretrained loads."
        )
    layer = match["layer"].removeprefix("base_model.model.")
    if match["alpha"]:
        return layer, "alpha"
    letter = {"A": "down", "B": "up", None: None}[match["letter"]]
    return layer, letter or match["word"] or match["old"] or match["linear"]


def _layers(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The layers whose weights are matrices or kernels, by name."""
    for name, module in network.named_modules():
        weight = module._parameters.get("weight")
        if weight is not None and weight.ndim > 1:
            yield name, weight


def _locate(
    key: str,
    layers: Mapping[str, Mapping[str, Tensor]],
    kohya: Mapping[str, Mapping[str, tuple[str, ...]]],
) -> tuple[str, tuple[str, ...]]:
    """The component that a layer's name in a file means, and the layers there."""
    for prefix, meant in KOHYA.items():
        if key.startswith(prefix):
            rest = key.removeprefix(prefix)
            spelled = (rest, rest.removeprefix("text_model_"), f"text_model_{rest}")
            for component in meant:
                for name in spelled:
                    if name in kohya.get(component, {}):
                        return component, kohya[component][name]
            raise _unknown(key, layers)
    component, _, rest = key.partition(".")
    if component not in layers:
        component, rest = next(iter({"unet", "transformer"} & layers.keys()), ""), key
    known = layers.get(component, {})
    nested = next(iter(match_clip({rest: torch.empty(0)}, known)), rest)
    for name in (rest, nested):
        if name in known:
            return component, (name,)
    elsewhere = rest.removeprefix("diffusion_model.").replace(".", "_")
    if elsewhere in kohya.get(component, {}):
        return component, kohya[component][elsewhere]
    raise _unknown(key, layers)


def _unknown(key: str, layers: Mapping[str, Any]) -> CheckpointError:
    return CheckpointError(
        f"The adapter changes {key!r}, and no component here ({', '.join(layers)}) has such a "
        "layer; it was made for another model."
    )


def _scale(component: str, layer: str, parts: _Parts, notes: Mapping[str, Any]) -> float:
    """Alpha over the rank, where either the file or its notes give an alpha."""
    assert parts.down is not None
    rank = parts.down.shape[0]
    alpha = parts.alpha
    own = {
        name.removeprefix(f"{component}."): value
        for name, value in notes.items()
        if name.startswith(f"{component}.")
    }
    if own.get("use_dora"):
        raise CheckpointError("The adapter is DoRA; only plain LoRA can be loaded.")
    if alpha is None and own.get("lora_alpha") is not None:
        patterns: Mapping[str, float] = own.get("alpha_pattern") or {}
        named = (a for p, a in patterns.items() if re.fullmatch(rf"(.*\.)?{p}", layer))
        alpha = float(next(named, own["lora_alpha"]))
    if alpha is None:
        return 1.0
    return alpha / (rank**0.5 if own.get("use_rslora") else rank)


def _size(change: LowRank) -> str:
    return f"[{change.up.shape[0]}, {change.down[0].numel()}] of rank {change.down.shape[0]}"
