"""Strategies that name the components they act on: one more of them, or one less."""

from __future__ import annotations

from dataclasses import replace

from dpnb.errors import StrategyError
from dpnb.nn.attention import Attention
from dpnb.strategies.attention import XFormers
from dpnb.strategies.attention_kernel import AttentionKernel, KernelStrategy
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


def attend_by(stack: StrategyStack, component: str, wanted: AttentionKernel | XFormers) -> None:
    """Let a kernel compute the attention of one more component.

    Args:
        stack: what is switched on.
        component: its name.
        wanted: the strategy, for whichever components.

    Raises:
        StrategyError: another kernel computes that of other components.
    """
    served = _find_kernel(stack)
    names = () if served is None else served.names or _attending(stack)
    if served is not None and served.kernel != wanted.kernel and {*names} - {component}:
        raise StrategyError(
            f"{served} computes the attention of other components than {component}, and one "
            f"kernel serves all; call pipe.strategies.enable(dpnb.{replace(wanted, components=())})"
            ", or switch that one off first."
        )
    is_for_all = served is not None and not served.names and served.kernel == wanted.kernel
    every = () if is_for_all else tuple(dict.fromkeys((*names, component)))
    stack.enable(replace(wanted, components=every))


def store_small(stack: StrategyStack, component: str, dtype: str) -> None:
    """Store the weights of one more component in a smaller dtype.

    Args:
        stack: what is switched on.
        component: its name.
        dtype: see `LayerwiseCasting`.

    Raises:
        StrategyError: weights of other components are stored in another one.
    """
    served = stack.find(LayerwiseCasting)
    wanted = LayerwiseCasting(dtype)
    is_other = served is not None and served.storage_dtype != wanted.storage_dtype
    if served is not None and is_other and served.components != (component,):
        raise StrategyError(
            f"{served} stores the weights of other components than {component}, and one dtype "
            f"serves all; call pipe.strategies.enable(dpnb.{wanted}), or switch that one off first."
        )
    names = (component,) if served is None else (*served.components, component)
    is_for_all = served is not None and not served.components
    stack.enable(LayerwiseCasting(dtype, () if is_for_all else tuple(dict.fromkeys(names))))


def attend_by_torch(stack: StrategyStack, component: str) -> None:
    """Let torch choose for one component again what computes its attention."""
    served = _find_kernel(stack)
    if not isinstance(served, AttentionKernel | XFormers):
        return
    names = served.components or _attending(stack)
    left = tuple(name for name in names if name != component)
    if left:
        stack.enable(replace(served, components=left))
    else:
        stack.disable(type(served))


def _find_kernel(stack: StrategyStack) -> KernelStrategy | None:
    return next((one for one in stack.active if isinstance(one, KernelStrategy)), None)


def _attending(stack: StrategyStack) -> tuple[str, ...]:
    return tuple(
        name
        for name, network in stack.networks.items()
        if any(isinstance(module, Attention) for module in network.modules())
    )
