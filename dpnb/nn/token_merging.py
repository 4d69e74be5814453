"""Tokens of a feature map, of which those that resemble others are merged into these.

Bolya and Hoffman (2023), Token Merging for Fast Stable Diffusion, arXiv:2303.17604.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

CELL = 2
"""Every square of so many positions on a side has one token into which others may be merged."""

ROWS_AT_ONCE = 128
"""Tokens that are compared with all destinations at a time."""


@dataclass(frozen=True, eq=False)
class Merging:
    """Which tokens are merged into which.

    Args:
        kept: the positions of tokens that stay as they are, `[batch, kept]`.
        merged: likewise of those that are merged, `[batch, merged]`.
        into: the number of the destination of each of these, `[batch, merged]`.
        destinations: the positions of the tokens into which others are merged, `[destinations]`.
    """

    kept: Tensor
    merged: Tensor
    into: Tensor
    destinations: Tensor

    def merge(self, tokens: Tensor) -> Tensor:
        """Fewer tokens: those that are kept, and the mean of every destination and its own.

        Args:
            tokens: `[batch, tokens, dim]`.

        Returns:
            `[batch, kept + destinations, dim]`.
        """
        sums = tokens[:, self.destinations]
        counts = torch.ones_like(sums[..., :1])
        counts.scatter_add_(
            1, self.into[..., None], torch.ones_like(self.into, dtype=sums.dtype)[..., None]
        )
        sums.scatter_add_(1, _wide(self.into, tokens), _pick(tokens, self.merged))
        return torch.cat((_pick(tokens, self.kept), sums / counts), dim=1)

    def spread(self, tokens: Tensor) -> Tensor:
        """As many tokens as before: what was merged has its destination's.

        Args:
            tokens: in the order of `merge`, `[batch, kept + destinations, dim]`.

        Returns:
            A new tensor `[batch, tokens, dim]`.
        """
        batch, kept = self.kept.shape
        count = kept + self.merged.shape[1] + len(self.destinations)
        source = torch.empty(batch, count, dtype=torch.long, device=tokens.device)
        order = torch.arange(tokens.shape[1], device=tokens.device).expand(batch, -1)
        source.scatter_(1, self.kept, order[:, :kept])
        source.scatter_(1, self.merged, self.into + kept)
        source[:, self.destinations] = order[:, kept:]
        return _pick(tokens, source)


def match_tokens(tokens: Tensor, size: tuple[int, int], ratio: float) -> Merging:
    """Find the tokens that most resemble a destination, without a random number.

    Args:
        tokens: `[batch, height * width, dim]`.
        size: height and width.
        ratio: the share of all tokens that is merged, as far as there are others than destinations.
    """
    places = torch.ones(size, dtype=torch.uint8, device=tokens.device)
    places[::CELL, ::CELL] = 0
    order = places.flatten().argsort(stable=True)
    few = -(-size[0] // CELL) * -(-size[1] // CELL)
    destinations, others = order[:few], order[few:]
    count = min(int(ratio * tokens.shape[1]), len(others))
    likeness, into = _find_most_alike(tokens, others, destinations)
    ranked = likeness.argsort(dim=1, descending=True, stable=True)
    merged, kept = ranked[:, :count], ranked[:, count:]
    return Merging(others[kept], others[merged], into.gather(1, merged), destinations)


def _find_most_alike(tokens: Tensor, others: Tensor, destinations: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine of each token with the destination most like it, and the number of that."""
    directions = F.normalize(tokens.detach(), dim=-1)
    towards = directions[:, destinations].transpose(1, 2)
    found = [(directions[:, rows] @ towards).max(dim=-1) for rows in others.split(ROWS_AT_ONCE)]
    return torch.cat([one[0] for one in found], dim=1), torch.cat([one[1] for one in found], dim=1)


def _pick(tokens: Tensor, places: Tensor) -> Tensor:
    """The tokens at `places` `[batch, count]`, `[batch, count, dim]`."""
    return tokens.gather(1, _wide(places, tokens))


def _wide(places: Tensor, tokens: Tensor) -> Tensor:
    return places[..., None].expand(-1, -1, tokens.shape[-1])
