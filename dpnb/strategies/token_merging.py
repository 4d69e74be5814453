"""Fewer tokens in the self-attention of UNets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from dpnb.models.unet import UNet2DConditionModel
from dpnb.nn.compiled import plain_network
from dpnb.nn.token_merging import Merging, match_tokens
from dpnb.numbers import parse_int, parse_number
from dpnb.strategies.networks import Networks, is_foreign
from dpnb.strategies.offload.calls import Method, replace_forward, replace_method
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo

MOST = 0.75
"""Every fourth token is a destination, and stays."""

SELF_ATTENTION = "attn1"
"""What transformer blocks call it, here and elsewhere."""

DOWN, UP = "down_blocks", "up_blocks"
"""Where a UNet's feature maps are halved, and doubled again.

The tokens of the block between them are few, and self-attention guidance looks at them.
"""

NO_UNET = "TokenMerging needs a UNet whose feature maps attend to themselves; there is none here."


@dataclass(frozen=True, repr=False)
class TokenMerging(Strategy):
    """Let tokens that resemble others attend as one: faster self-attention of large feature maps.

    Bolya and Hoffman (2023), Token Merging for Fast Stable Diffusion, arXiv:2303.17604. Tokens are
    merged into one of every square of two by two, always the same: no random number is drawn.
    On CUDA sums may differ in their last bit from run to run, unless
    `torch.use_deterministic_algorithms(True)` was called.

    Args:
        ratio: the share of tokens that is merged; 0 changes nothing.
        levels: of the sizes of feature maps that attend, so many from the largest on.
    """

    ratio: float = field(default=0.5, metadata=hints(low=0, high=MOST, step=0.05))
    levels: int = field(default=1, metadata=hints(low=1, high=4, step=1))
    slot: ClassVar = Slot.TOKENS

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        parse_number("ratio", self.ratio, least=0, most=MOST)
        parse_int("levels", self.levels, least=1)

    @property
    @override
    def effect(self) -> Effect:
        return Effect.APPROXIMATE if self.ratio else Effect.EXACT

    @override
    def obstacle(self, networks: Networks) -> str | None:
        is_there = any(next(_self_attentions(unet), None) for unet in _unets(networks))
        return None if is_there else NO_UNET

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Merge before every self-attention of a UNet that is large enough, and spread after it."""
        for unet in _unets(networks):
            call = _Call(self.ratio)
            replace_forward(unet, call.follow, undo)
            attentions = list(_self_attentions(unet))
            merged = sorted({level for _, level in attentions})[: self.levels]
            for attention, level in attentions:
                if level in merged:
                    replace_method(attention, "forward", call.attend_merged, undo)


class _Call:
    """The present call of a UNet: how large its latents are.

    Args:
        ratio: the share of tokens that is merged.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._size: tuple[int, int] | None = None

    def follow(self, method: Method) -> Method:
        """The method of a UNet, which notes the size of its latents."""

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            sample = args[0] if args else kwargs.get("sample")
            if isinstance(sample, Tensor) and sample.ndim == 4:
                self._size = sample.shape[2], sample.shape[3]
            try:
                return method(*args, **kwargs)
            finally:
                self._size = None

        return call

    def attend_merged(self, method: Method) -> Method:
        """The method of an attention layer, over fewer tokens."""

        @wraps(method)
        def attend(tokens: Tensor, *args: Any, **kwargs: Any) -> Any:
            merging = self._merging_of(tokens, *args, *kwargs.values())
            if merging is None:
                return method(tokens, *args, **kwargs)
            return merging.spread(method(merging.merge(tokens), *args, **kwargs))

        return attend

    def _merging_of(self, tokens: Tensor, *others: Any) -> Merging | None:
        """Which tokens are merged; `None` where none are, or a context or a mask is given."""
        count = tokens.shape[1]
        size = self._find_size(count)
        if size is None or any(isinstance(other, Tensor) for other in others):
            return None
        return match_tokens(tokens, size, self._ratio) if self._ratio * count >= 1 else None

    def _find_size(self, count: int) -> tuple[int, int] | None:
        """Height and width of a feature map of so many positions: the latents', halved."""
        size = self._size
        while size is not None and size[0] * size[1] > max(count, 1):
            size = -(-size[0] // 2), -(-size[1] // 2)
        return size if size is not None and size[0] * size[1] == count else None


def _unets(networks: Networks) -> Iterator[nn.Module]:
    """The UNets with transformers, whoever has written them."""
    for _, network in networks.items():
        named = {base.__name__ for base in type(plain_network(network)).__mro__}
        is_other = is_foreign(network) and UNet2DConditionModel.__name__ in named
        if is_other or isinstance(plain_network(network), UNet2DConditionModel):
            yield network


def _self_attentions(unet: nn.Module) -> Iterator[tuple[nn.Module, int]]:
    """Those of its blocks, and how often the feature maps are halved that they see."""
    plain = plain_network(unet)
    for kind, blocks in plain.named_children():
        if kind in (DOWN, UP) and isinstance(blocks, nn.ModuleList):
            levels = range(len(blocks)) if kind == DOWN else reversed(range(len(blocks)))
            for level, block in zip(levels, blocks, strict=True):
                for name, module in block.named_modules():
                    if name.endswith(f".{SELF_ATTENTION}"):
                        yield module, level
