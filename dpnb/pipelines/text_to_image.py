"""What pipelines that draw from words share: the course of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from dpnb.generators import randn
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.unet import UNet2DConditionModel
from dpnb.nn.embeddings import guidance_embedding
from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.denoise import denoise, follow, set_timesteps, step_settings
from dpnb.pipelines.pipeline import DiffusionPipeline
from dpnb.pipelines.relief import advised
from dpnb.pipelines.steps import Stage, Step
from dpnb.pipelines.watching import Run, watched


class TextToImagePipeline(DiffusionPipeline, ABC):
    """Words to latents to pictures.

    A subclass says how prompts are encoded, what the network is given beside them, and how latents
    are decoded.
    """

    _callback_tensor_inputs: ClassVar[list[str]] = ["latents", "prompt_embeds"]

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    scheduler: Any

    def __init__(self) -> None:
        super().__init__()
        self._guidance_scale = 1.0
        self._guidance_rescale = 0.0
        self._clip_skip: int | None = None
        self._interrupt = False
        self._num_timesteps = 0

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent, along one side."""
        return self.vae.scale

    @property
    def size_unit(self) -> int:
        """Height and width of pictures are multiples of it, in pixels."""
        return max(self.vae_scale_factor, 8)

    @property
    def guidance_scale(self) -> float:
        """Of the present or last run."""
        return self._guidance_scale

    @property
    def guidance_rescale(self) -> float:
        """Of the present or last run."""
        return self._guidance_rescale

    @property
    def clip_skip(self) -> int | None:
        """Of the present or last run."""
        return self._clip_skip

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the network sees every latent twice, without and with the prompt."""
        return self._guidance_scale > 1 and self.unet.config.time_cond_proj_dim is None

    @property
    def num_timesteps(self) -> int:
        """Denoising steps of the present or last run."""
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """Set `pipe._interrupt = True` to go straight to decoding after the present step."""
        return self._interrupt

    @abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Draw, and return the output."""

    @abstractmethod
    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Step]:
        """Draw step by step: an iterator of `Step`, whose last one holds the output."""

    @abstractmethod
    def encode_conditions(self, arguments: Any, device: torch.device) -> dict[str, Tensor]:
        """What the prediction is conditioned on, for the whole batch, by name.

        `prompt_embeds` holds the negative prompts first where guidance is on.
        """

    @abstractmethod
    def predict_noise(self, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """The network's prediction for `latents` `[batch, channels, h, w]` at timestep `t`."""

    @abstractmethod
    def decode_latents(self, latents: Tensor, arguments: Any) -> Any:
        """The pipeline's output for final latents `[batch, channels, h, w]`."""

    def lay_out(self, arguments: Any, device: torch.device) -> tuple[Tensor, int]:
        """Prepare the scheduler for a run; its timesteps, and how many steps a person counts."""
        return set_timesteps(
            self.scheduler,
            arguments.num_inference_steps,
            device,
            arguments.timesteps,
            arguments.sigmas,
        )

    def further_conditions(self, arguments: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the prediction is conditioned on beside `tensors`: the prompt, the first latents."""
        if self.unet.config.time_cond_proj_dim is None:
            return {}
        return {"timestep_cond": self._guidance_condition(tensors["latents"])}

    def told(self, timesteps: Tensor, latents: Tensor) -> Tensor:
        """What the network is given for `timesteps`, whose shape is kept, beside `latents`."""
        return timesteps

    def before_step(self, index: int, total: int) -> None:
        """Denoising step `index` of `total` comes next."""
        self.strategies.before_step(index, total)

    def shorten(self, timesteps: Tensor, arguments: Any) -> Tensor:
        """The timesteps of this run, out of the whole schedule."""
        return timesteps

    def default_size(self) -> tuple[int, int]:
        """Height and width that the network was made for, in pixels."""
        size = self.unet.config.sample_size or 64
        height, width = size if isinstance(size, tuple) else (size, size)
        return height * self.vae_scale_factor, width * self.vae_scale_factor

    def prepare_latents(self, arguments: Arguments, device: torch.device, like: Tensor) -> Tensor:
        """The noise to begin with, `[pictures, channels, h, w]`, in the dtype of `like`."""
        scale = self.vae_scale_factor
        height, width = arguments.height or 0, arguments.width or 0
        shape = (
            arguments.picture_count,
            self.unet.config.in_channels,
            height // scale,
            width // scale,
        )
        given = arguments.latents
        if given is None:
            given = randn(shape, generator=arguments.generator, device=device, dtype=like.dtype)
        elif given.shape != shape:
            raise ValueError(
                f"latents has shape {tuple(given.shape)}; for {arguments.picture_count} pictures "
                f"of {width} x {height} it must be {shape}."
            )
        noise: Tensor = given.to(device) * self.scheduler.init_noise_sigma
        return noise

    def start(self, arguments: Arguments) -> Iterator[Step]:
        """Check `arguments` now; the iterator that is returned does the work."""
        arguments = arguments.sized(*self.default_size())
        arguments.check(self._callback_tensor_inputs, self._execution_device, self.vae_scale_factor)
        return watched(Run(self), self._run(arguments), self.listeners)

    def _run(self, arguments: Arguments) -> Generator[Step, None, None]:
        yield from advised(self, self._within(arguments), arguments.picture_count)

    @torch.no_grad()
    def _within(self, arguments: Arguments) -> Generator[Step, None, None]:
        with self.strategies.running():
            yield from self._steps(arguments, self._execution_device)

    def _steps(self, arguments: Arguments, device: torch.device) -> Iterator[Step]:
        self._begin(arguments)
        timesteps, count = self.lay_out(arguments, device)
        tensors = self.encode_conditions(arguments, device)
        yield Step(Stage.TEXT, 0, 1)
        tensors["latents"] = self.prepare_latents(arguments, device, tensors["prompt_embeds"])
        tensors |= self.further_conditions(arguments, tensors)
        first = max(len(timesteps) - count * self.scheduler.order, 0)
        timesteps = self.shorten(timesteps, arguments)
        self._num_timesteps = len(timesteps)
        self.strategies.scheduled(self.told(timesteps, tensors["latents"]))
        settings = step_settings(self.scheduler, arguments.generator, arguments.eta)
        with self.progress_bar(total=min(count, len(timesteps))) as bar:
            for step in denoise(self, tensors, timesteps, settings):
                latents = self._call_back(arguments, step, tensors)
                done = step.index + 1
                if done == step.total or (done > first and done % self.scheduler.order == 0):
                    bar.update()
                yield Step(step.stage, step.index, step.total, step.timestep, latents)
        follow(self._execution_device, tensors, self.scheduler)
        latents = tensors["latents"]
        tensors.clear()
        yield Step(Stage.DECODING, 0, 1, None, latents, self.decode_latents(latents, arguments))

    def _begin(self, arguments: Arguments) -> None:
        self._guidance_scale = arguments.guidance_scale
        self._guidance_rescale = arguments.guidance_rescale
        self._clip_skip = arguments.clip_skip
        self._interrupt = False

    def _call_back(self, arguments: Arguments, step: Step, tensors: dict[str, Tensor]) -> Tensor:
        """Let the caller's function see and replace tensors; the latents afterwards."""
        if arguments.callback_on_step_end is not None and step.timestep is not None:
            names = arguments.callback_on_step_end_tensor_inputs
            seen = {name: tensors[name] for name in names if name in tensors}
            changed = arguments.callback_on_step_end(self, step.index, step.timestep, seen)
            for name in self._callback_tensor_inputs:
                if changed and name in changed:
                    tensors[name] = changed[name]
        return tensors["latents"]

    def _guidance_condition(self, latents: Tensor) -> Tensor:
        scale = torch.full((latents.shape[0],), self.guidance_scale - 1)
        dim = self.unet.config.time_cond_proj_dim or 0
        return guidance_embedding(scale, dim).to(latents.device, latents.dtype)


def drain(steps: Iterator[Step]) -> Any:
    """Run to the end and return the output."""
    output = None
    for step in steps:
        output = step.output
    return output


def with_negative(negative: Tensor | None, given: Tensor) -> Tensor:
    """Both halves of a guided batch, the negative first; `given` alone without guidance."""
    return given if negative is None else torch.cat((negative, given))
