"""A change of a layer's weights that is the product of two small matrices.

E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FOLDED = (
    "low-rank weights are folded into the network, and their scale is that of the strategy "
    "dpnb.LoRA; leave it out"
)
"""What to say to whoever asks for a scale in a call."""


@dataclass(frozen=True, eq=False)
class LowRank:
    """`scale * up @ down`, for a matrix or, flattened, for the kernel of a convolution.

    Attributes:
        down: `[rank, in]`, or `[rank, in, height, width]`.
        up: `[out, rank]`, or `[out, rank, 1, 1]`.
        scale: of the product.
    """

    down: Tensor
    up: Tensor
    scale: float = 1.0

    def fits(self, shape: torch.Size) -> bool:
        """Whether the product has as many rows and columns as weights of this shape."""
        rows, columns = self.up.shape[0], self.down[0].numel()
        ranks = self.up[0].numel(), self.down.shape[0]
        return ranks[0] == ranks[1] and (rows, columns) == (shape[0], shape[1:].numel())

    def change(self, shape: torch.Size, device: torch.device) -> Tensor:
        """The product in float32, in this shape."""
        down = self.down.to(device, torch.float32).flatten(1)
        up = self.up.to(device, torch.float32).flatten(1)
        return (up @ down).mul_(self.scale).view(shape)

    def rows(self, sizes: list[int]) -> list[LowRank]:
        """The changes of layers whose outputs these rows are, one after the other."""
        return [LowRank(self.down, part, self.scale) for part in self.up.split(sizes)]
