"""Strategies that name the components they act on: one more of them, or one less."""

from __future__ import annotations

from dataclasses import replace

from dpnb.nn.attention import Attention
from dpnb.strategies.attention import XFormers
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.storage import LayerwiseCasting


def fuse_components(stack: StrategyStack, *, unet: bool = False, vae: bool = False) -> None:
    """Switch QKV fusion on for these components; what is fused already stays so."""
    fused = stack.find(QKVFusion) or QKVFusion(False, False)
    stack.enable(QKVFusion(unet or fused.unet, vae or fused.vae))


def unfuse_components(stack: StrategyStack, *, unet: bool = False, vae: bool = False) -> None:
    """Switch QKV fusion off for these components; what else is fused stays so."""
    fused = stack.find(QKVFusion) or QKVFusion(False, False)
    left = QKVFusion(fused.unet and not unet, fused.vae and not vae)
    if left.unet or left.vae:
        stack.enable(left)
    else:
        stack.disable(QKVFusion)


def attend_by_xformers(stack: StrategyStack, component: str, op: str | None) -> None:
    """Let xFormers compute the attention of one more component.

    Args:
        stack: what is switched on.
        component: its name.
        op: the name of an operator in `xformers.ops`, for all components that xFormers serves.
    """
    served = stack.find(XFormers)
    if served is None:
        stack.enable(XFormers(op, (component,)))
    elif served.components:
        names = tuple(dict.fromkeys((*served.components, component)))
        stack.enable(XFormers(op, names))
    else:
        stack.enable(XFormers(op))


def store_small(stack: StrategyStack, component: str, dtype: str) -> None:
    """Store the weights of one more component in a smaller dtype, which all such then have."""
    served = stack.find(LayerwiseCasting)
    names = (component,) if served is None else (*served.components, component)
    is_for_all = served is not None and not served.components
    stack.enable(LayerwiseCasting(dtype, () if is_for_all else tuple(dict.fromkeys(names))))


def attend_by_torch(stack: StrategyStack, component: str) -> None:
    """Let torch compute the attention of one component again."""
    served = stack.find(XFormers)
    if served is None:
        return
    names = served.components or _attending(stack)
    left = tuple(name for name in names if name != component)
    if left:
        stack.enable(replace(served, components=left))
    else:
        stack.disable(XFormers)


def _attending(stack: StrategyStack) -> tuple[str, ...]:
    return tuple(
        name
        for name, network in stack.networks.items()
        if any(isinstance(module, Attention) for module in network.modules())
    )
