"""Attention of networks that have no slot for its kernel, computed otherwise within their calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from dpnb.nn.attention import Attention
from dpnb.nn.attention_calls import AttentionCall
from dpnb.strategies.networks import Networks
from dpnb.strategies.offload.calls import run_calls_within
from dpnb.strategies.undo import Undo

Attend: TypeAlias = Callable[[AttentionCall], Tensor]

HEADS = ("heads", "num_heads", "n_heads", "num_attention_heads")
"""What attention layers call the number of their heads."""


class AttentionMode(TorchFunctionMode):
    """A mode in which `attend` answers torch's `scaled_dot_product_attention`.

    `attend` runs outside of the mode, so that it may call the same function.
    """

    def __init__(self, attend: Attend) -> None:
        super().__init__()
        self._attend = attend

    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return self._attend(AttentionCall(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))


def replace_attention(network: nn.Module, attend: Attend, undo: Undo) -> None:
    """Let `attend` compute the attention within every call of `network`, until this is undone.

    Args:
        network: any network; what it computes without torch's function stays as it is.
        attend: a call of torch's attention → its result, `[..., heads, tokens, value_dim]`.
        undo: takes the inverse.
    """
    run_calls_within(network, AttentionMode(attend), undo)


def count_heads(network: nn.Module) -> int:
    """The most heads that a layer of any network says it has; 0 where none says so."""
    said = (vars(module).get(name) for module in network.modules() for name in HEADS)
    return max((heads for heads in said if type(heads) is int), default=0)


def attention_mode_obstacle(name: str, network: nn.Module) -> str | None:
    """Why `replace_attention` would change nothing, where that can be known, as a sentence.

    Args:
        name: of the component.
        network: the network.
    """
    processors = {
        type(processor)
        for module in network.modules()
        if (processor := vars(module).get("processor")) is not None
    }
    if not processors or not all(map(_multiplies_by_itself, processors)):
        return None
    kind = min(processor.__name__ for processor in processors)
    return (
        f"The attention of {name} is computed by {kind}, which never calls torch's own attention; "
        f"give it another one, as {name}.set_attn_processor(AttnProcessor2_0()) does."
    )


def no_attention_obstacle(what: str, networks: Networks, *names: str) -> str | None:
    """Why no attention can be computed otherwise, as a sentence; `None` where some can.

    Args:
        what: who would compute it.
        networks: those at hand.
        names: only components of these names; all of them by default.
    """
    if next(networks.modules_of(Attention, *names), None) is not None:
        return None
    reasons = [attention_mode_obstacle(*pair) for pair in networks.foreign_items(*names)]
    if None in reasons:
        return None
    if reasons:
        return reasons[0]
    if names:
        return (
            f"{what} computes no attention of {', '.join(names)}: there is none, or transformers "
            "computes it; name others, such as the denoiser, or none for all."
        )
    return f"{what} needs a denoiser or an autoencoder with attention; there is none here."


def _multiplies_by_itself(kind: type) -> bool:
    """Whether an attention processor asks for the attention matrix, as those of old do."""
    call: Any = vars(kind).get("__call__")
    return call is not None and "get_attention_scores" in call.__code__.co_names
