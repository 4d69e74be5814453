"""Joined projections of components that dpnb did not write: whether they may be, and how."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import nn

from dpnb.nn.quantized import quantization_of
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.fused_attributes import CallChoice, FusedAttributes, find_processor
from dpnb.strategies.fusion_trial import NAME, FusionTrial, describe_layer, try_fusion
from dpnb.strategies.reversible_calls import call_reversibly
from dpnb.strategies.undo import Undo

FUSE = "fuse_qkv_projections"
"""The method of a component that joins its projections."""

LOW_RANK = "lora_A"
"""What peft calls the child that holds a layer's low-rank weights."""


def list_fusible_layers(network: nn.Module) -> list[nn.Module]:
    """The attention layers that can join their projections, and have not."""
    return [
        module
        for module in network.modules()
        if "fuse_projections" in dir(type(module))
        and _declared(type(module), "_supports_qkv_fusion") is not False
        and "to_k" in module._modules
        and not {"to_qkv", "to_kv"} & module._modules.keys()
    ]


def fusion_obstacle(name: str, network: nn.Module) -> str | None:
    """Why the component called `name` must not join its projections, as a sentence."""
    if any(LOW_RANK in module._modules for module in network.modules()):
        return (
            f"The {name} has LoRA layers, which fused projections would pass by; fuse or unload "
            "them first."
        )
    for layer in list_fusible_layers(network):
        if not all(map(_have_one_width, _groups(layer))):
            return (
                f"Queries and keys of the {name} are projected from different widths, which it "
                "cannot join; leave ComponentFusion out."
            )
        if (stored := next(filter(None, map(quantization_of, layer.modules())), None)) is not None:
            return (
                f"ComponentFusion joins full weights, and those of the {name} are {stored}; load "
                "without quantization_config, or leave ComponentFusion out."
            )
    trial = _try_once(network)
    return None if trial is None or trial.fault is None else trial.fault.replace(NAME, name)


def join_projections(network: nn.Module, undo: Undo) -> None:
    """Let a network join its projections; calls that these cannot serve, it computes as before.

    Args:
        network: has no `fusion_obstacle`.
        undo: takes the inverse.
    """
    trial = _try_once(network)
    ways = {} if trial is None else trial.ways
    layers = [
        (describe_layer(layer), FusedAttributes(layer)) for layer in _attention_layers(network)
    ]
    call_reversibly(network, partial(_fuse, network), undo)
    for kind, attributes in layers:
        if kind in ways:
            attributes.note_changes()
            choice = CallChoice(attributes, ways[kind])
            undo.before(attributes.layer, choice, with_kwargs=True)


def _fuse(network: nn.Module) -> None:
    kind: Any = type(network)
    kind.fuse_qkv_projections(network)


def _try_once(network: nn.Module) -> FusionTrial | None:
    """What a trial found; `None` where weights have no shape at present, as placements do it."""
    layers = _attention_layers(network)
    attachment, known = attachment_of(network), attachment_of(network).fusion_trial
    if known is not None and known.kinds == set(map(describe_layer, layers)):
        return known
    if any(parameter.numel() == 0 for layer in layers for parameter in layer.parameters()):
        return None
    attachment.fusion_trial = try_fusion(network, layers, _fuse)
    return attachment.fusion_trial


def _attention_layers(network: nn.Module) -> list[nn.Module]:
    """The layers whose attention something computes that can be exchanged."""
    return [module for module in network.modules() if find_processor(module) is not None]


def _declared(kind: type, name: str) -> object:
    """What a class declares by this name; `None` where it does not."""
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


def _groups(layer: nn.Module) -> Iterator[list[nn.Module]]:
    """The projections that an attention layer joins, each group by one matrix."""
    crosses = vars(layer).get("is_cross_attention", False)
    own = ("to_k", "to_v") if crosses else ("to_q", "to_k", "to_v")
    for names in (own, ("add_q_proj", "add_k_proj", "add_v_proj")):
        children = [layer._modules.get(name) for name in names]
        yield [child for child in children if child is not None]


def _have_one_width(projections: list[nn.Module]) -> bool:
    """Whether all are projected from as many channels."""
    return len({vars(one).get("in_features") for one in projections}) <= 1
