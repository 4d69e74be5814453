"""Previews of a picture that is being drawn: a colour for each of its latents."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dpnb.atomic import write_text
from dpnb.errors import CheckpointError
from dpnb.files import read_json
from dpnb.loading.checkpoint_paths import check_inside
from dpnb.loading.hub import local_folder
from dpnb.pipelines.pictures.images import numpy_to_pil, postprocess

if TYPE_CHECKING:
    from PIL.Image import Image

FILE = "latent_preview.json"
"""In a checkpoint's folder: the fit for its autoencoder."""

RIDGE = 1e-3


@dataclass(frozen=True)
class LatentColours:
    """Red, green and blue as an affine function of a latent's channels.

    Args:
        matrix: for each channel, and last for a constant, its share in the three colours; colours
            are in [-1, 1].
    """

    matrix: tuple[tuple[float, float, float], ...]

    @classmethod
    def fit(cls, latents: Tensor, pictures: Tensor) -> LatentColours:
        """The least-squares fit.

        Args:
            latents: `[batch, channels, h, w]`.
            pictures: what they decode to, `[batch, 3, height, width]` in [-1, 1].
        """
        small = F.adaptive_avg_pool2d(pictures.float(), (latents.shape[-2], latents.shape[-1]))
        inputs = _with_constant(latents.float()).double()
        wanted = small.movedim(1, -1).reshape(-1, 3).double()
        square = inputs.T @ inputs + RIDGE * torch.eye(inputs.shape[1], dtype=torch.float64)
        solved = torch.linalg.solve(square, inputs.T @ wanted)
        return cls(tuple((float(r), float(g), float(b)) for r, g, b in solved))

    def paint(self, latents: Tensor) -> Tensor:
        """Colours for latents `[batch, channels, h, w]`: `[batch, 3, h, w]` in [-1, 1].

        Raises:
            ValueError: the latents have another number of channels than the fit.
        """
        batch, channels, height, width = latents.shape
        if channels + 1 != len(self.matrix):
            raise ValueError(
                f"the latents have {channels} channels, and the fit is for "
                f"{len(self.matrix) - 1}; fit it to this autoencoder's latents."
            )
        colours = _with_constant(latents.float().cpu()) @ torch.tensor(self.matrix)
        return colours.reshape(batch, height, width, 3).movedim(-1, 1).clamp(-1, 1)

    def images(self, latents: Tensor, scale: int = 1) -> list[Image]:
        """Small pictures of latents.

        Args:
            latents: `[batch, channels, h, w]`.
            scale: pixels per latent, along one side.
        """
        from PIL.Image import Resampling

        colours = postprocess(self.paint(latents), "np")
        size = (latents.shape[-1] * scale, latents.shape[-2] * scale)
        return [one.resize(size, Resampling.BICUBIC) for one in numpy_to_pil(colours)]

    def save(self, folder: Path) -> None:
        """Write the fit into a checkpoint's folder."""
        rows = [[round(value, 5) for value in row] for row in self.matrix]
        write_text(folder / FILE, json.dumps({"latents_to_rgb": rows}, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> LatentColours | None:
        """The fit in a checkpoint's folder; `None` without one.

        Raises:
            CheckpointError: the file holds something else.
        """
        file = check_inside(folder / FILE)
        if not file.is_file():
            return None
        try:
            rows = read_json(file)["latents_to_rgb"]
            return cls(tuple((float(r), float(g), float(b)) for r, g, b in rows))
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{file} holds no fit of colours to latents ({error!r}); remove it."
            ) from error


def colours_of(name_or_path: str | None) -> LatentColours | None:
    """The fit that came with a checkpoint, where one did."""
    if name_or_path is None or Path(name_or_path).is_file():
        return None
    folder = local_folder(name_or_path)
    return LatentColours.load(folder) if folder is not None else None


def decode_preview(pipe: Any, latents: Tensor) -> list[Image]:
    """Pictures of latents `[batch, channels, h, w]`, as they are, by the autoencoder."""
    with torch.no_grad():
        images: list[Image] = postprocess(pipe.decode_pictures(latents).nan_to_num(), "pil")
    return images


def _with_constant(latents: Tensor) -> Tensor:
    """One row for each latent, `[batch * h * w, channels + 1]`; the last column is one."""
    rows = latents.movedim(1, -1).reshape(-1, latents.shape[1])
    return torch.cat((rows, torch.ones(len(rows), 1, dtype=rows.dtype, device=rows.device)), dim=1)
