"""The parts of a run, for scripts that write its loop themselves.

Our own runs go another way; these are the names and arguments by which other packages' pipelines
are taken apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators, randn
from dpnb.nn.embeddings import embed_guidance
from dpnb.numbers import parse_number
from dpnb.pipelines import checked_inputs
from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.denoise import set_begin_index, step_settings
from dpnb.pipelines.image_to_image import steps_left
from dpnb.pipelines.pictures.inputs import repeat_batch


class LoopParts:
    """What a loop of one's own calls of a pipeline."""

    arguments_class: ClassVar[Callable[..., Arguments]] = Arguments
    """The arguments of a run."""

    check_input_names: ClassVar[tuple[str, ...]] = checked_inputs.WORDS
    """What `check_inputs` takes, in order."""

    checked_in_runs: ClassVar[frozenset[str]] = frozenset(
        {"image", "mask_image", "padding_mask_crop", "ip_adapter_image", "ip_adapter_image_embeds"}
    )
    """What `check_inputs` takes and a run alone looks at."""

    _callback_tensor_inputs: ClassVar[list[str]]
    told: ClassVar[tuple[str, ...]] = ("cross_attention_kwargs",)
    """Arguments of the present or last run that properties tell."""

    _told: Mapping[str, Any] = MappingProxyType({})
    scheduler: Any

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent, along one side."""
        raise NotImplementedError

    @property
    def cross_attention_kwargs(self) -> Mapping[str, Any] | None:
        """Of the present or last run."""
        return self._told.get("cross_attention_kwargs")

    @property
    def lora_scale(self) -> float:
        """Of low-rank weights in the present or last run, where it asked for one; else 1."""
        asked = next((one for name, one in self._told.items() if name.endswith("_kwargs")), None)
        return float((asked or {}).get("scale", 1.0))

    def remember(self, arguments: Arguments) -> None:
        """Keep what properties tell of a run, and nothing large."""
        self._told = {name: getattr(arguments, name, None) for name in self.told}

    def prepare_latents(
        self,
        batch_size: int,
        num_channels_latents: int,
        height: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators,
        latents: Tensor | None = None,
    ) -> Tensor:
        """Noise of the variance that the scheduler begins with.

        Args:
            batch_size: how many pictures.
            num_channels_latents: channels of their latents.
            height: of the pictures, in pixels.
            width: likewise.
            dtype: of the noise.
            device: where it is to be.
            generator: of the numbers; a list has one for each picture.
            latents: noise of variance one that is taken instead.

        Returns:
            `[batch_size, num_channels_latents, h, w]`.
        """
        scale = self.vae_scale_factor
        shape = (batch_size, num_channels_latents, height // scale, width // scale)
        noise = latents
        if noise is None:
            noise = randn(shape, generator=generator, device=torch.device(device), dtype=dtype)
        scaled: Tensor = noise.to(device) * self.scheduler.init_noise_sigma
        return scaled

    def check_inputs(self, *values: Any, **named: Any) -> None:
        """Refuse what cannot be drawn; see the arguments of a call.

        Args:
            values: by position, in the order of `check_input_names`.
            named: by name.

        Raises:
            ValueError: an argument's value is impossible.
            TypeError: a prompt is not text, or there is no such argument.
        """
        names = self.check_input_names
        if len(values) > len(names) or not named.keys() <= {*names[len(values) :]}:
            raise TypeError(
                f"check_inputs of {type(self).__name__} takes {', '.join(names)}, each once; leave "
                "out what goes beyond that."
            )
        given = {**dict(zip(names, values, strict=False)), **named}
        if (strength := given.pop("strength", None)) is not None:
            parse_number("strength", strength, least=0, most=1)
        asked = {
            name: value
            for name, value in given.items()
            if value is not None and name not in self.checked_in_runs
        }
        scale = self.vae_scale_factor
        arguments = type(self).arguments_class(**asked).fit_size(scale)
        arguments.check(self._callback_tensor_inputs, torch.device("cpu"), scale)

    def prepare_extra_step_kwargs(self, generator: Generators, eta: float) -> dict[str, Any]:
        """Those of `generator` and `eta` that the scheduler's `step` takes."""
        return step_settings(self.scheduler, generator, eta)

    def get_timesteps(
        self,
        num_inference_steps: int,
        strength: float,
        device: torch.device | str | None = None,
    ) -> tuple[Tensor, int]:
        """The part of the scheduler's timesteps that a run with a picture goes through.

        Args:
            num_inference_steps: of the whole schedule.
            strength: the share of it that is gone through.
            device: has no effect: they are where the scheduler has them.

        Returns:
            The timesteps, and how many steps they are.
        """
        left = self._count_steps(num_inference_steps, strength)
        begin = (num_inference_steps - left) * self.scheduler.order
        set_begin_index(self.scheduler, begin)
        return self.scheduler.timesteps[begin:], left

    def _count_steps(self, count: int, strength: float) -> int:
        """How many of `count` steps are gone through at this strength."""
        return steps_left(count, strength)

    def get_guidance_scale_embedding(
        self, w: Tensor, embedding_dim: int = 512, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Guidance scales as a distilled network takes them.

        Args:
            w: the scales, `[batch]`.
            embedding_dim: channels.
            dtype: of the result.

        Returns:
            `[batch, embedding_dim]`.
        """
        return embed_guidance(w, embedding_dim).to(dtype)


class PictureLoopParts(LoopParts):
    """What a loop of one's own calls of a pipeline that begins with a picture."""

    @override
    def prepare_latents(  # type: ignore[override]
        self,
        image: Tensor,
        timestep: Tensor,
        batch_size: int,
        num_images_per_prompt: int,
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators = None,
        add_noise: bool = True,
    ) -> Tensor:
        """The latents of a picture with the noise of a timestep.

        Args:
            image: `[pictures, 3, H, W]` in [-1, 1].
            timestep: `[1]`, or one for each picture that is drawn.
            batch_size: how many prompts.
            num_images_per_prompt: pictures of each.
            dtype: of the latents.
            device: where they are to be.
            generator: of the numbers; a list has one for each picture.
            add_noise: `False` leaves the noise out.

        Returns:
            `[batch_size * num_images_per_prompt, channels, h, w]`.
        """
        pipe: Any = self
        count = batch_size * num_images_per_prompt
        copies = count // len(image) if isinstance(generator, list) else 1
        with torch.no_grad():
            latents = pipe.encode_pictures(image.to(device, dtype), generator, copies).to(dtype)
        latents = repeat_batch(latents, count)
        if not add_noise:
            return latents
        noise = randn(latents.shape, generator=generator, device=latents.device, dtype=dtype)
        mixed: Tensor = self.scheduler.add_noise(latents, noise, timestep)
        return mixed
