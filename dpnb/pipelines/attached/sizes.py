"""The sizes that a pipeline draws, from what it and its networks say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from dpnb.pipelines.attached.roles import Role, find_roles
from dpnb.pipelines.call_arguments import CallSignature

UNKNOWN_UNIT = 8
"""Pixels; what most autoencoders make of a latent."""

PROCESSORS = ("image_processor", "video_processor")


def find_size_unit(pipe: Any, parts: Mapping[str, Any]) -> int:
    """Height and width are multiples of it, in pixels.

    Latents are packed, or cut into patches, by some pipelines: their picture processors or the
    networks' `patch_size` say so.
    """
    own = vars(pipe)
    scale = _number(own.get("vae_scale_factor")) or _number(own.get("vae_scale_factor_spatial"))
    units = [
        _number(_settings(own[name]).get("vae_scale_factor")) for name in PROCESSORS if name in own
    ]
    patches = [_number(_settings(part).get("patch_size")) for part in _networks(parts)]
    return max([UNKNOWN_UNIT, *units, *((scale or 0) * patch for patch in patches)])


def find_default_size(
    pipe: Any, signature: CallSignature, parts: Mapping[str, Any]
) -> tuple[int, int] | None:
    """Height and width that are drawn where none are given, in pixels, where that is known."""
    height, width = signature.default("height"), signature.default("width")
    if isinstance(height, int) and isinstance(width, int):
        return height, width
    own = vars(pipe)
    scale = _number(own.get("vae_scale_factor")) or 1
    side = _number(own.get("default_sample_size"))
    roles = find_roles(parts)
    denoisers = [part for name, part in parts.items() if roles.get(name) is Role.DENOISER]
    sides = [side, *(_number(_settings(part).get("sample_size")) for part in denoisers)]
    return next(((one * scale, one * scale) for one in sides if one), None)


def _networks(parts: Mapping[str, Any]) -> list[nn.Module]:
    return [part for part in parts.values() if isinstance(part, nn.Module)]


def _settings(part: Any) -> Mapping[str, Any]:
    """The settings of a component of diffusers; none of any other."""
    found = vars(part).get("_internal_dict") if "__dict__" in dir(part) else None
    return found if isinstance(found, Mapping) else {}


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
