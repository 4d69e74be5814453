"""Previews by a colour for each latent, whatever shape a pipeline's latents have."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from dpnb.pipelines.pictures.previews import LatentColours, colours_of

NEAR = 1.1
"""By which factor a map's shape may differ from a picture's."""


def arrange_latents(latents: Tensor, shape: tuple[int, int]) -> Tensor | None:
    """Latents as maps `[batch, channels, h, w]`; `None` where that cannot be told.

    Args:
        latents: maps as they are; `[batch, channels, frames, h, w]` of videos, of which the middle
            frame is taken; or packed, `[batch, tokens, channels]`, row by row.
        shape: height and width of the pictures that they become, in any unit.
    """
    if latents.ndim == 4:
        return latents
    if latents.ndim == 5:
        return latents[:, :, latents.shape[2] // 2]
    if latents.ndim != 3:
        return None
    tokens, wanted = latents.shape[1], shape[0] / shape[1]
    rows = round(math.sqrt(tokens * wanted))
    if rows == 0 or tokens % rows or not 1 / NEAR < rows * rows / tokens / wanted < NEAR:
        return None
    maps: Tensor = latents.unflatten(1, (rows, tokens // rows)).movedim(-1, 1)
    return maps


class LatentPreviews:
    """Paints latents by a fit that came with the pipeline, or that its first run has taught.

    Args:
        name_or_path: what the pipeline was loaded from, where that is known.
    """

    def __init__(self, name_or_path: str | None) -> None:
        self._colours = colours_of(name_or_path)

    @property
    def are_known(self) -> bool:
        """Whether there is a fit."""
        return self._colours is not None

    def learn(self, latents: Tensor, pictures: Sequence[Image.Image]) -> None:
        """Fit the colours, where no fit is known.

        Args:
            latents: of the last step.
            pictures: what they became, one for each entry of the batch.
        """
        if self._colours is not None or len(pictures) != len(latents):
            return
        width, height = pictures[0].size
        maps = arrange_latents(latents.cpu(), (height, width))
        if maps is None or any(picture.size != (width, height) for picture in pictures):
            return
        arrays = [
            torch.tensor(list(p.convert("RGB").tobytes()), dtype=torch.uint8) for p in pictures
        ]
        levels = torch.stack(arrays).view(-1, height, width, 3).movedim(-1, 1)
        self._colours = LatentColours.fit(maps, levels.float() / 127.5 - 1)

    def paint(self, latents: Tensor, shape: tuple[int, int]) -> list[Image.Image] | None:
        """Small pictures of latents; `None` where no fit is known for them.

        Args:
            latents: of a step, or what it predicts.
            shape: height and width of the pictures that they become.
        """
        maps = None if self._colours is None else arrange_latents(latents, shape)
        if maps is None or self._colours is None:
            return None
        is_known = len(self._colours.matrix) == maps.shape[1] + 1
        return self._colours.images(maps) if is_known else None
