"""The parts of a run of Stable Diffusion XL, for scripts that write its loop themselves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.unet import UNet2DConditionModel
from dpnb.pipelines.denoise import set_begin_index, steps_after
from dpnb.pipelines.loop_parts import LoopParts


class XLLoopParts(LoopParts):
    """What a loop of one's own calls of a pipeline of Stable Diffusion XL."""

    told = ("cross_attention_kwargs", "denoising_start", "denoising_end")

    watermark: Any = None
    """What marks pictures `[batch, 3, H, W]` in [-1, 1] by its `apply_watermark`, if anything."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL

    _default_sample_size: int | None = None

    @property
    def default_sample_size(self) -> int:
        """Latents along one side of a picture: as set, or as of the network; 128 without one."""
        if self._default_sample_size is not None:
            return self._default_sample_size
        network: UNet2DConditionModel | None = self.unet
        size = None if network is None else network.config.sample_size
        return 128 if size is None else size if isinstance(size, int) else size[0]

    @default_sample_size.setter
    def default_sample_size(self, size: int) -> None:
        self._default_sample_size = size

    @property
    def denoising_start(self) -> float | None:
        """Of the present or last run."""
        return self._told.get("denoising_start")

    @property
    def denoising_end(self) -> float | None:
        """Of the present or last run."""
        return self._told.get("denoising_end")

    def upcast_vae(self) -> None:
        """Store the autoencoder in float32; runs compute in it anyway where it must be."""
        self.vae.to(torch.float32)

    def _get_add_time_ids(
        self,
        original_size: tuple[int, int],
        crops_coords_top_left: tuple[int, int],
        target_size: tuple[int, int],
        dtype: torch.dtype,
        text_encoder_projection_dim: int,
    ) -> Tensor:
        """Size and crop as the network takes them, `[1, 6]`."""
        numbers = [*original_size, *crops_coords_top_left, *target_size]
        self._check_added(text_encoder_projection_dim, len(numbers))
        return torch.tensor([numbers], dtype=dtype)

    def _check_added(self, text_dim: int, count: int) -> None:
        config = self.unet.config
        taken = config.projection_class_embeddings_input_dim or 0
        made = (config.addition_time_embed_dim or 0) * count + text_dim
        if made != taken:
            raise ValueError(
                f"the UNet takes added conditions of {taken} channels, but {count} numbers and "
                f"pooled embeddings of {text_dim} make {made}; "
                + (
                    "a refiner's takes one number less: use StableDiffusionXLImg2ImgPipeline, with "
                    f"requires_aesthetics_score={made > taken}."
                    if abs(made - taken) == config.addition_time_embed_dim
                    else "use the text encoder that belongs to this UNet."
                )
            )


class XLPictureLoopParts(XLLoopParts):
    """What a loop of one's own calls of one that is given a picture."""

    _settings: dict[str, Any]

    @override
    def get_timesteps(
        self,
        num_inference_steps: int,
        strength: float,
        device: torch.device | str | None = None,
        denoising_start: float | None = None,
    ) -> tuple[Tensor, int]:
        """As in the base; with `denoising_start` what another model has left of the schedule."""
        if denoising_start is None:
            return super().get_timesteps(num_inference_steps, strength, device)
        timesteps = self.scheduler.timesteps
        left = steps_after(self.scheduler, timesteps, denoising_start)
        set_begin_index(self.scheduler, len(timesteps) - left)
        return timesteps[len(timesteps) - left :], left

    @override
    def _get_add_time_ids(  # type: ignore[override]
        self,
        original_size: tuple[int, int],
        crops_coords_top_left: tuple[int, int],
        target_size: tuple[int, int],
        aesthetic_score: float,
        negative_aesthetic_score: float,
        negative_original_size: tuple[int, int],
        negative_crops_coords_top_left: tuple[int, int],
        negative_target_size: tuple[int, int],
        dtype: torch.dtype,
        text_encoder_projection_dim: int,
    ) -> tuple[Tensor, Tensor]:
        """Size and crop with the target's size or, for a refiner, the score; and the negative ones.

        Returns:
            Two of `[1, 6]`, or with `requires_aesthetics_score` of `[1, 5]`.
        """
        crop, negative_crop = crops_coords_top_left, negative_crops_coords_top_left
        if self._settings["requires_aesthetics_score"]:
            given: tuple[float, ...] = (*original_size, *crop, aesthetic_score)
            negative: tuple[float, ...] = (
                *negative_original_size,
                *negative_crop,
                negative_aesthetic_score,
            )
        else:
            given = (*original_size, *crop, *target_size)
            negative = (*negative_original_size, *crop, *negative_target_size)
        self._check_added(text_encoder_projection_dim, len(given))
        return torch.tensor([given], dtype=dtype), torch.tensor([negative], dtype=dtype)
