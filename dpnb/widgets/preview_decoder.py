"""Small pictures of latents, by a tiny autoencoder."""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.pictures.images import postprocess
from dpnb.strategies.tiny_decoder import has_tiny_beside, load_tiny_beside
from dpnb.widgets.latent_previews import arrange_latents

MOST = 64
"""Entries on a side of the latents that are decoded; larger ones are averaged before."""


def is_tiny_decoder(part: object) -> TypeGuard[nn.Module]:
    """Whether it is an `AutoencoderTiny`, whoever has written it."""
    named = {base.__name__ for base in type(part).__mro__}
    return isinstance(part, nn.Module) and "AutoencoderTiny" in named


def has_tiny_decoder(pipe: ExplorablePipeline) -> bool:
    """Whether one is among a pipeline's components, or stands beside the model."""
    is_part = any(map(is_tiny_decoder, pipe.parts().values()))
    return is_part or has_tiny_beside(pipe.name_or_path)


def find_tiny_decoder(pipe: ExplorablePipeline, given: nn.Module | None) -> nn.Module | None:
    """What can decode previews in the middle of a run: no weights of it come and go.

    Args:
        pipe: whose latents are shown.
        given: what somebody wants to be used; else an `AutoencoderTiny` of the pipeline is, or the
            one that stands beside the model.
    """
    own = list(pipe.parts().values())
    found = next(filter(is_tiny_decoder, own), None) if given is None else given
    if found is None:
        return load_tiny_beside(pipe.name_or_path)
    is_streamed = pipe.strategies.placement_device is not None
    return None if is_streamed and any(part is found for part in own) else found


@torch.no_grad()
def decode_small(
    decoder: nn.Module, latents: Tensor, shape: tuple[int, int]
) -> list[Image.Image] | None:
    """Small pictures of latents, decoded one after the other.

    Args:
        decoder: an `AutoencoderTiny`.
        latents: of a step, as a network is trained on them; see `arrange_latents`.
        shape: height and width of the pictures that they become, in any unit.

    Returns:
        `None` where they are latents of another autoencoder.
    """
    config: Any = decoder.config
    maps, channels = arrange_latents(latents, shape), config["latent_channels"]
    if maps is not None and maps.shape[1] == 4 * channels:
        maps = F.pixel_shuffle(maps, 2)  # packed, two by two
    if maps is None or maps.shape[1] != channels:
        return None
    height, width = maps.shape[-2:]
    share = min(MOST / max(height, width), 1)
    size = max(round(height * share), 1), max(round(width * share), 1)
    small = F.interpolate(maps.float(), size, mode="area") if share < 1 else maps
    ready = (small / config["scaling_factor"] + config["shift_factor"]).to(_weight_of(decoder))
    return [_decode(decoder, one) for one in ready.split(1)]


def _decode(decoder: Any, latents: Tensor) -> Image.Image:
    levels: Tensor = decoder.decode(latents, return_dict=False)[0]
    pictures: list[Image.Image] = postprocess(levels.nan_to_num(), "pil")
    return pictures[0]


def _weight_of(decoder: nn.Module) -> Tensor:
    """A weight in the dtype and on the device that it computes in."""
    weights = list(decoder.parameters())
    return next((weight for weight in weights if weight.element_size() > 1), weights[0])
