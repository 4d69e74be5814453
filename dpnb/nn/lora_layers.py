"""Linear layers and convolutions that add a LoRA to their output, without changing their weights.

A half-precision weight has 8 or 11 significant bits: folding a change that is a thousandth of it
into the weight would lose about half of the change. Here it keeps its own precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dpnb.nn.weight_changes import LowRank

_DOWN, _UP = "lora_down", "lora_up"


class LoRALinear(nn.Linear):
    """`(weight + up @ down) @ x + bias`, where the sum of both products is rounded once.

    Added to the rounded larger product, the smaller one would be lost where it is below that one's
    last bit; so the larger product is accumulated onto the smaller.

    Attributes:
        lora_down: `[rank, in]`.
        lora_up: `[out, rank]`.
    """

    lora_down: Tensor
    lora_up: Tensor

    @override
    def forward(self, x: Tensor) -> Tensor:
        """`[..., in]` → `[..., out]`."""
        tokens = x.reshape(-1, self.in_features)
        reduced = F.linear(tokens, self.lora_down.to(x.dtype))
        beside = F.linear(reduced, self.lora_up.to(x.dtype), self.bias)
        whole = torch.addmm(beside, tokens, self.weight.t())
        return whole.view(*x.shape[:-1], self.out_features)


class LoRAConv2d(nn.Conv2d):
    """`convolve(x, weight) + convolve(convolve(x, down), up)`.

    Attributes:
        lora_down: `[rank, in, height, width]`.
        lora_up: `[out, rank, 1, 1]`.
    """

    lora_down: Tensor
    lora_up: Tensor

    @override
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, in, height, width]` → `[batch, out, height, width]`."""
        reduced = self._conv_forward(x, self.lora_down.to(x.dtype), None)
        return super().forward(x) + F.conv2d(reduced, self.lora_up.to(x.dtype))


_LORA_LAYERS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: LoRALinear,
    nn.Conv2d: LoRAConv2d,
}


def supports_lora(layer: nn.Module) -> bool:
    """Whether a layer is of a kind that `add_lora` serves."""
    return type(layer) in _LORA_LAYERS and (not isinstance(layer, nn.Conv2d) or layer.groups == 1)


@torch.no_grad()
def add_lora(layer: nn.Module, changes: Sequence[LowRank]) -> None:
    """Let a layer compute with these changes of its weight, until `remove_lora`."""
    weight = layer.get_parameter("weight")
    # Eight-bit weights are upcast for each call, to a dtype that cannot be known here.
    dtype = weight.dtype if weight.element_size() == 2 else torch.float32
    pairs = [_balance(change) for change in changes]
    down = torch.cat([down for down, _ in pairs]).view(-1, *weight.shape[1:])
    up = torch.cat([up for _, up in pairs], dim=1)
    up = up.view(*up.shape, *(1 for _ in weight.shape[2:]))
    layer.register_buffer(_DOWN, down.to(weight.device, dtype), persistent=False)
    layer.register_buffer(_UP, up.to(weight.device, dtype), persistent=False)
    layer.__class__ = _LORA_LAYERS[type(layer)]


def remove_lora(layer: nn.Module) -> None:
    """Let a layer compute with its weight alone again; a layer without LoRA stays as it is."""
    for plain, with_lora in _LORA_LAYERS.items():
        if type(layer) is with_lora:
            layer.__class__ = plain
    for name in (_DOWN, _UP):
        layer._buffers.pop(name, None)
        layer._non_persistent_buffers_set.discard(name)


def _balance(change: LowRank) -> tuple[Tensor, Tensor]:
    """Both matrices in float32, the scale divided between them so that their sizes are alike."""
    down, up = change.down.float().flatten(1), change.up.float().flatten(1) * change.scale
    sizes = down.abs().max().item(), up.abs().max().item()
    if 0.0 in sizes:
        return down, up
    ratio = (sizes[1] / sizes[0]) ** 0.5
    return down * ratio, up / ratio
