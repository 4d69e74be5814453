"""The base of text-to-image pipelines: a run from its prompt to its pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from typing import Any, ClassVar, Concatenate, ParamSpec

import torch
from torch import Tensor

from dpnb.generators import randn
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.pipelines.arguments import Arguments, takes
from dpnb.pipelines.denoise import denoise, guide, move_run_to, step_settings
from dpnb.pipelines.explored import Explored, drain
from dpnb.pipelines.finite import Finiteness
from dpnb.pipelines.latents import decode_latents
from dpnb.pipelines.listeners import Run, notify_listeners
from dpnb.pipelines.pictures.inputs import PictureInput
from dpnb.pipelines.pipeline import DiffusionPipeline
from dpnb.stages import Stage, Step, stage_after
from dpnb.strategies.out_of_memory import explain_out_of_memory

P = ParamSpec("P")


class TextToImagePipeline(Explored, DiffusionPipeline, ABC):
    """Words to latents to pictures.

    A subclass says how prompts are encoded, what the network is given beside them, and how latents
    are decoded.
    """

    _callback_tensor_inputs: ClassVar[list[str]] = ["latents", "prompt_embeds"]

    may_upcast_vae: ClassVar[bool] = False
    """Whether an autoencoder whose settings say `force_upcast` computes in float32."""

    picture_inputs: ClassVar[tuple[PictureInput, ...]] = ()
    """The pictures that a run begins with, beside the words."""

    computes_values: bool = True
    """Whether networks have weights, so that what a run makes has values to look at."""

    vae: AutoencoderKL
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
    def is_vae_upcast(self) -> bool:
        """Whether the autoencoder computes in float32, whatever it is stored in."""
        return self.may_upcast_vae and self.vae.config.force_upcast

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
        return False

    @property
    def num_timesteps(self) -> int:
        """Denoising steps of the present or last run."""
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """Whether the present run goes straight to decoding after the present step."""
        return self._interrupt

    @abstractmethod
    def encode_conditions(self, arguments: Any, device: torch.device) -> dict[str, Tensor]:
        """What the prediction is conditioned on, for the whole batch, by name.

        `prompt_embeds` holds the negative prompts first where guidance is on.
        """

    @abstractmethod
    def default_size(self) -> tuple[int, int]:
        """Height and width that the pipeline draws where none are asked for, in pixels."""

    @abstractmethod
    def check_widths(self, arguments: Any) -> None:
        """Refuse embeddings that were not made for this network.

        Raises:
            ValueError: it takes others.
        """

    @abstractmethod
    def prepare_timesteps(self, arguments: Any, device: torch.device) -> tuple[Tensor, int]:
        """Set the scheduler's timesteps; they, and the number of steps as a person counts."""

    @abstractmethod
    def prepare_latents(self, arguments: Any, device: torch.device, like: Tensor) -> Tensor:
        """The noise to begin with, `[pictures, channels, h, w]`, in the dtype of `like`."""

    @abstractmethod
    def prepare_conditions(self, arguments: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the prediction is conditioned on beside the prompt and the latents in `tensors`."""

    @abstractmethod
    def predict_noise(self, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """The network's prediction for `latents` `[batch, channels, h, w]` at timestep `t`."""

    @abstractmethod
    def decode_latents(self, latents: Tensor, arguments: Any) -> Any:
        """The pipeline's output for final latents `[batch, channels, h, w]`."""

    def apply_guidance(
        self, noise_pred: Tensor, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]
    ) -> Tensor:
        """Guidance over `noise_pred`, the network's prediction at `t`: what the scheduler is given.

        With guidance that has twice as many entries as `latents`: without and with the prompt.
        """
        if not self.do_classifier_free_guidance:
            return noise_pred
        return guide(noise_pred, self.guidance_scale, self.guidance_rescale)

    def after_step(self, latents: Tensor, following: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """The latents to go on with after a step.

        Args:
            latents: what the scheduler has made, `[batch, channels, h, w]`.
            following: the next timestep, `[1]`; `[0]` after the last step.
            tensors: of the run.
        """
        return latents

    def prepare_network_input(self, latents: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """The network's input: `latents` `[batch, channels, h, w]` and the channels beside them."""
        return latents

    def apply_overlay(self, images: Any, arguments: Any) -> Any:
        """Decoded pictures laid over the originals, where a run has drawn a part of them alone.

        Args:
            images: in the form that `output_type` asked for.
            arguments: of the run.
        """
        return images

    def decode_pictures(self, latents: Tensor) -> Tensor:
        """Pictures in [-1, 1] of latents `[batch, channels, h, w]`."""
        upcast = self.is_vae_upcast and self.vae.dtype == torch.float16
        return decode_latents(self.vae, latents, upcast=upcast)

    def decode_finite_pictures(self, latents: Tensor) -> Tensor:
        """Pictures in [-1, 1] of latents, as of `decode_pictures`, checked.

        Raises:
            NonFiniteError: they hold NaN or infinity.
        """
        pictures = self.decode_pictures(latents)
        finiteness = Finiteness(self, len(latents))
        finiteness.note(Step(Stage.DECODING, 0, 1), pictures)
        finiteness.settle()
        return pictures

    def scale_timesteps(self, timesteps: Tensor, latents: Tensor) -> Tensor:
        """`timesteps` in the unit that the network takes, which keep their shape.

        Args:
            timesteps: of the scheduler.
            latents: any, in the dtype and on the device of the run.
        """
        return timesteps

    def before_step(self, index: int, total: int) -> None:
        """Called before denoising step `index` of `total`."""
        self.strategies.before_step(index, total)

    def select_timesteps(self, timesteps: Tensor, count: int, arguments: Any) -> slice:
        """The slice of the schedule's timesteps that a run goes through.

        Args:
            timesteps: the schedule.
            count: its steps, as a person counts them.
            arguments: of the run.
        """
        return slice(0, len(timesteps))

    def sample_noise(
        self, arguments: Arguments, channels: int, device: torch.device, like: Tensor
    ) -> Tensor:
        """Noise of variance one, `[pictures, channels, h, w]`, in the dtype of `like`."""
        scale = self.vae_scale_factor
        height, width = arguments.height or 0, arguments.width or 0
        shape = (
            arguments.picture_count,
            channels,
            height // scale,
            width // scale,
        )
        given = arguments.latents
        if given is None:
            return randn(shape, generator=arguments.generator, device=device, dtype=like.dtype)
        if given.shape != shape:
            raise ValueError(
                f"latents has shape {tuple(given.shape)}; for {arguments.picture_count} pictures "
                f"of {width} x {height} it must be {shape}."
            )
        return given.to(device)

    def begin_latents(
        self,
        arguments: Any,
        timesteps: Tensor,
        device: torch.device,
        tensors: dict[str, Tensor],
    ) -> None:
        """Put the latents that a run begins with, and what belongs to them, among `tensors`.

        Args:
            arguments: of the run.
            timesteps: that it goes through, `[steps]`.
            device: where it computes.
            tensors: hold what the prediction is conditioned on.
        """
        tensors["latents"] = self.prepare_latents(arguments, device, tensors["prompt_embeds"])

    def resolve_size(self, arguments: Any) -> Any:
        """`arguments` with a size, where none was asked for."""
        return arguments.with_default_size(*self.default_size())

    def start(self, arguments: Arguments) -> Iterator[Step]:
        """Check `arguments` now; the iterator that is returned does the work."""
        arguments = self.resolve_size(arguments)
        arguments.check(self._callback_tensor_inputs, self._execution_device, self.vae_scale_factor)
        self.check_widths(arguments)
        run = Run(self)
        return notify_listeners(run, self._run(run, arguments), self.listeners)

    def _run(self, run: Run, arguments: Arguments) -> Generator[Step, None, None]:
        steps = self._within(run, arguments)
        pictures = arguments.picture_count
        steps = explain_out_of_memory(steps, self._stage_after, self.strategies, pictures)
        yield from self.strategies.one_at_a_time(self.scheduler, steps)

    def _stage_after(self, step: Step) -> str | None:
        """The name of the stage that a run turns to after `step`; `None` where that was its end."""
        stage = stage_after(step, self.interrupt, bool(self.picture_inputs))
        return None if stage is None else stage.value

    @torch.no_grad()
    def _within(self, run: Run, arguments: Arguments) -> Generator[Step, None, None]:
        with self.strategies.begin_run(run):
            yield from self._steps(arguments, self._execution_device)

    def _steps(self, arguments: Arguments, device: torch.device) -> Iterator[Step]:
        self._begin(arguments)
        timesteps, count = self.prepare_timesteps(arguments, device)
        tensors = self.encode_conditions(arguments, device)
        finiteness = Finiteness(self, arguments.picture_count)
        finiteness.note(text := Step(Stage.TEXT, 0, 1), *tensors.values())
        yield text
        selected = self.select_timesteps(timesteps, count, arguments)
        self.scheduler.set_begin_index(selected.start)
        first = max(len(timesteps) - count * self.scheduler.order, 0)
        timesteps = timesteps[selected]
        self.begin_latents(arguments, timesteps, device, tensors)
        if self.picture_inputs:
            encoded = Step(Stage.ENCODING, 0, 1, None, tensors["latents"])
            finiteness.note(encoded, *tensors.values())
            yield encoded
        tensors |= self.prepare_conditions(arguments, tensors)
        self._num_timesteps = len(timesteps)
        self.strategies.set_timesteps(self.scale_timesteps(timesteps, tensors["latents"]))
        settings = step_settings(self.scheduler, arguments.generator, arguments.eta)
        total = -(-(len(timesteps) - first) // self.scheduler.order)
        with self.progress_bar(total=total) as bar:
            for step in denoise(self, tensors, timesteps, settings, finiteness.note):
                latents = self._call_back(arguments, step, tensors)
                finiteness.note(step, latents)
                done = step.index + 1
                if done == step.total or (done > first and done % self.scheduler.order == 0):
                    bar.update()
                yield Step(step.stage, step.index, step.total, step.timestep, latents)
        finiteness.settle()
        move_run_to(self._execution_device, tensors, self.scheduler)
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
            with self.strategies.between_steps():
                changed = arguments.callback_on_step_end(self, step.index, step.timestep, seen)
            for name in self._callback_tensor_inputs:
                if changed and name in changed:
                    tensors[name] = changed[name]
        return tensors["latents"]


def make_call(arguments: Callable[P, Arguments]) -> Callable[Concatenate[Any, P], Any]:
    """A pipeline's `__call__` that takes the fields of the class `arguments`."""

    def call(self: TextToImagePipeline, given: Any) -> Any:
        """Draw; the arguments are described at their class."""
        return drain(self.start(given))

    return takes(arguments)(call)


def make_stream(arguments: Callable[P, Arguments]) -> Callable[Concatenate[Any, P], Iterator[Step]]:
    """A pipeline's `stream` that takes the fields of the class `arguments`."""

    def stream(self: TextToImagePipeline, given: Any) -> Iterator[Step]:
        """Draw step by step: an iterator of `Step`, whose last one holds the output."""
        return self.start(given)

    return takes(arguments)(stream)
