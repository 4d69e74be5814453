"""The parts of a run of FLUX, for scripts that write its loop themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators, randn
from dpnb.pipelines.flux_patches import pack, positions, unpack
from dpnb.pipelines.image_to_image import begun_steps
from dpnb.pipelines.loop_parts import LoopParts


class FluxLoopParts(LoopParts):
    """What a loop of one's own calls of a FLUX pipeline."""

    told = ("joint_attention_kwargs",)

    default_sample_size: ClassVar[int] = 128
    """Latents along one side of a picture, where no network says what it was made for."""

    tokenizer: Any

    @property
    def tokenizer_max_length(self) -> int:
        """Tokens that CLIP reads; 77 without a tokenizer."""
        return 77 if self.tokenizer is None else int(self.tokenizer.model_max_length)

    @property
    def joint_attention_kwargs(self) -> Mapping[str, Any] | None:
        """Of the present or last run."""
        return self._told.get("joint_attention_kwargs")

    @override
    def _count_steps(self, count: int, strength: float) -> int:
        return begun_steps(count, strength)

    @staticmethod
    def _pack_latents(
        latents: Tensor, batch_size: int, num_channels_latents: int, height: int, width: int
    ) -> Tensor:
        """Feature maps as tokens; see `flux_patches.pack`."""
        return pack(latents.view(batch_size, num_channels_latents, height, width))

    @staticmethod
    def _unpack_latents(latents: Tensor, height: int, width: int, vae_scale_factor: int) -> Tensor:
        """Tokens as feature maps; `height` and `width` are those of pictures, in pixels."""
        sides = (2 * (int(side) // (2 * vae_scale_factor)) for side in (height, width))
        return unpack(latents, *sides)

    @staticmethod
    def _prepare_latent_image_ids(
        batch_size: int, height: int, width: int, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        """Where every patch is, `[height * width, 3]`; both are numbers of patches."""
        return positions(0, 2 * height, 2 * width, device).to(dtype)

    @override
    def prepare_latents(  # type: ignore[override]
        self,
        batch_size: int,
        num_channels_latents: int,
        height: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators,
        latents: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Noise as tokens, and where each of them is; see `LoopParts.prepare_latents`."""
        place, scale = torch.device(device), 2 * self.vae_scale_factor
        rows, columns = int(height) // scale, int(width) // scale
        ids = self._prepare_latent_image_ids(batch_size, rows, columns, place, dtype)
        if latents is not None:
            return latents.to(place, dtype), ids
        shape = (batch_size, num_channels_latents, 2 * rows, 2 * columns)
        return pack(randn(shape, generator=generator, device=place, dtype=dtype)), ids
