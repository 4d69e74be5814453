"""The base of text-to-image pipelines: a run from its prompt to its pictures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeAlias, overload

import torch
from torch import Tensor
from typing_extensions import Self, TypeVar, override

from dpnb.errors import ComponentError
from dpnb.generators import randn
from dpnb.output import Output
from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.beginnings import Beginning, FromNoise
from dpnb.pipelines.callbacks import call_back
from dpnb.pipelines.denoise import denoise, move_run_to, set_begin_index
from dpnb.pipelines.explored import Explored
from dpnb.pipelines.finite import Finiteness
from dpnb.pipelines.guidance import ClassifierFreeGuidance, Guidance, GuidanceWithin, Span
from dpnb.pipelines.latents import LatentCoding
from dpnb.pipelines.listeners import Run, notify_listeners
from dpnb.pipelines.loop_parts import LoopParts
from dpnb.pipelines.own_parts import CHECK, LATENTS, check_by_own, is_replaced, refuse_uncalled
from dpnb.pipelines.picture_processing import PictureProcessing
from dpnb.pipelines.pictures.inputs import PictureInput
from dpnb.pipelines.pipeline import DiffusionPipeline
from dpnb.stages import Stage, Step, stage_after
from dpnb.strategies.out_of_memory import explain_out_of_memory

A = TypeVar("A", bound=Arguments, default=Any)
Out = TypeVar("Out", bound=Output, default=Any)

Keys: TypeAlias = dict[str, tuple[str, ...]]
"""Names of weights that were `missing`, `unexpected` and `mismatched`."""


class TextToImagePipeline(
    Explored[Out], LatentCoding, LoopParts, PictureProcessing, DiffusionPipeline, Generic[A, Out]
):
    """Words to latents to pictures.

    A subclass says how prompts are encoded, what the network is given beside them, and how latents
    are decoded. What its runs begin with, and how prompts steer them, are two values that it holds.
    The type parameters are the arguments of a run and what it returns.
    """

    _callback_tensor_inputs: ClassVar[list[str]] = ["latents", "prompt_embeds"]

    beginning: Beginning[A] = FromNoise()
    """What runs begin with."""

    guidance: Guidance[Any] = ClassifierFreeGuidance()
    """How prompts steer runs."""

    denoisers: ClassVar[tuple[str, ...]] = ("unet",)
    """The networks without which there is no run."""

    computes_values: bool = True
    """Whether networks have weights, so that what a run makes has values to look at."""

    scheduler: Any

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        output_loading_info: Literal[True],
        **kwargs: Any,
    ) -> tuple[Self, dict[str, Keys]]: ...

    @overload
    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self: ...

    @classmethod
    @override
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Load a pipeline of this class; see `DiffusionPipeline.from_pretrained`."""
        return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    def __init__(self) -> None:
        super().__init__()
        self._guidance_scale = 1.0
        self._guidance_rescale = 0.0
        self._clip_skip: int | None = None
        self._interrupt = False
        self._num_timesteps = 0

    @property
    def size_unit(self) -> int:
        """Height and width of pictures are multiples of it, in pixels."""
        return max(self._pixels_per_entry, 8)

    @property
    @override
    def _pixels_per_entry(self) -> int:
        return self.vae_scale_factor

    @property
    def picture_inputs(self) -> tuple[PictureInput, ...]:
        """The pictures that a run begins with, beside the words."""
        return self.beginning.picture_inputs

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
    def encode_conditions(self, arguments: A, device: torch.device) -> dict[str, Tensor]:
        """What the prediction is conditioned on, for the whole batch, by name.

        `prompt_embeds` holds the negative prompts first where guidance is on.
        """

    @property
    @abstractmethod
    def network_channels(self) -> int:
        """Channels that the denoising network takes, for each latent."""

    @abstractmethod
    def default_size(self) -> tuple[int, int]:
        """Height and width that the pipeline draws where none are asked for, in pixels."""

    def check_parts(self, arguments: A) -> None:
        """Refuse to run without a part that the run needs.

        Raises:
            ComponentError: one is missing.
        """
        parts = self.components
        for name in self.denoisers:
            if parts.get(name) is None:
                raise ComponentError(
                    f"there is no {name} to draw with; give one, or use encode_prompt alone."
                )
        if self._autoencoder is None and (arguments.output_type != "latent" or self.picture_inputs):
            raise ComponentError(
                'there is no vae to make pictures with; give one, or output_type="latent".'
            )

    @abstractmethod
    def check_widths(self, arguments: A) -> None:
        """Refuse embeddings that were not made for this network.

        Raises:
            ValueError: it takes others.
        """

    @abstractmethod
    def prepare_timesteps(self, arguments: A, device: torch.device) -> tuple[Tensor, int]:
        """Set the scheduler's timesteps; they, and the number of steps as a person counts."""

    @abstractmethod
    def begin_latents(self, arguments: A, device: torch.device, like: Tensor) -> Tensor:
        """The noise to begin with, `[pictures, channels, h, w]`, in the dtype of `like`."""

    @abstractmethod
    def prepare_conditions(self, arguments: A, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the prediction is conditioned on beside the prompt and the latents in `tensors`."""

    @abstractmethod
    def predict_noise(self, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """The network's prediction for `latents` `[batch, channels, h, w]` at timestep `t`."""

    @abstractmethod
    def make_output(self, latents: Tensor, arguments: A) -> Out:
        """The pipeline's output for final latents `[batch, channels, h, w]`."""

    def predict_guided(self, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """What the scheduler is given for `latents` `[batch, channels, h, w]` at timestep `t`."""
        return self.guidance.predict(self, latents, t, tensors)

    def guidance_within(self, span: Span) -> Guidance[Any] | None:
        """Its guidance, while `span` is open; `None` where the network always sees latents once."""
        return GuidanceWithin(self.guidance, span)

    def after_step(self, latents: Tensor, following: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """The latents to go on with after a step; see `Beginning.after_step`."""
        return self.beginning.after_step(self, latents, following, tensors)

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

    def select_timesteps(self, timesteps: Tensor, count: int, arguments: A) -> slice:
        """The slice of the schedule's timesteps that a run goes through.

        Args:
            timesteps: the schedule.
            count: its steps, as a person counts them.
            arguments: of the run.
        """
        start = self.beginning.find_start_index(self, timesteps, count, arguments)
        return slice(start, self.find_stop_index(timesteps, arguments))

    def find_stop_index(self, timesteps: Tensor, arguments: A) -> int:
        """The index in the schedule before which a run ends."""
        return len(timesteps)

    def sample_noise(
        self, arguments: Arguments, channels: int, device: torch.device, like: Tensor
    ) -> Tensor:
        """Noise of variance one, `[pictures, channels, h, w]`, in the dtype of `like`."""
        scale = self.vae_scale_factor
        height, width = arguments.size
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

    def resolve_size(self, arguments: A) -> A:
        """`arguments` with a size, where none was asked for; see `Beginning.resolve`."""
        return self.beginning.resolve(self, arguments)

    def start(self, arguments: A) -> Iterator[Step[Out | None]]:
        """Check `arguments` now; the iterator that is returned does the work."""
        refuse_uncalled(self, *(() if self.beginning.calls_prepare_latents else (LATENTS,)))
        self.check_parts(arguments)
        arguments = self.resolve_size(arguments)
        self._check(arguments)
        self.check_widths(arguments)
        return notify_listeners(self, self._run, arguments, self.listeners)

    def _check(self, arguments: A) -> None:
        if is_replaced(self, CHECK):
            check_by_own(self, arguments)
            return
        arguments.check(self._callback_tensor_inputs, self._execution_device, self.vae_scale_factor)

    def _run(self, run: Run, arguments: A) -> Generator[Step[Out | None], None, None]:
        steps = self._within(run, arguments)
        pictures = arguments.picture_count
        steps = explain_out_of_memory(steps, self._stage_after, self.strategies, pictures)
        yield from self.strategies.one_at_a_time(self.scheduler, steps)

    def _stage_after(self, step: Step) -> Stage | None:
        """The stage that a run turns to after `step`; `None` where that was its end."""
        return stage_after(step, self.interrupt, bool(self.picture_inputs))

    @torch.no_grad()
    def _within(self, run: Run, arguments: A) -> Generator[Step[Out | None], None, None]:
        with self.scale_lora(arguments.lora_scale), self.strategies.begin_run(run):
            yield from self._steps(run, arguments, self._execution_device)

    def _steps(self, run: Run, arguments: A, device: torch.device) -> Iterator[Step[Out | None]]:
        self._begin(arguments)
        timesteps, count = self.prepare_timesteps(arguments, device)
        tensors = self.encode_conditions(arguments, device)
        finiteness = Finiteness(self, arguments.picture_count)
        if tensors:
            finiteness.note(text := Step(Stage.TEXT, 0, 1), *tensors.values())
            yield text
        selected = self.select_timesteps(timesteps, count, arguments)
        set_begin_index(self.scheduler, selected.start)
        first = max(len(timesteps) - count * self.scheduler.order, 0)
        timesteps = timesteps[selected]
        like = tensors.get("prompt_embeds", torch.empty(0, dtype=self.dtype))
        tensors |= self.beginning.make_tensors(self, arguments, timesteps, device, like)
        del like
        if self.picture_inputs:
            encoded = Step(Stage.ENCODING, 0, 1, None, tensors["latents"])
            finiteness.note(encoded, *tensors.values())
            yield encoded
        tensors |= self.prepare_conditions(arguments, tensors)
        self._num_timesteps = len(timesteps)
        self.strategies.set_timesteps(self.scale_timesteps(timesteps, tensors["latents"]))
        settings = self.prepare_extra_step_kwargs(arguments.generator, arguments.eta)
        total = -(-(len(timesteps) - first) // self.scheduler.order)
        with self.progress_bar(total=total) as bar:
            heard = finiteness.note, run.on_prediction
            for step in denoise(self, tensors, timesteps, settings, *heard):
                latents = self.call_back(arguments, step, tensors)
                finiteness.note(step, latents)
                done = step.index + 1
                if done == step.total or (done > first and done % self.scheduler.order == 0):
                    bar.update()
                yield Step(step.stage, step.index, step.total, step.timestep, latents)
        self.strategies.after_steps()
        finiteness.settle()
        move_run_to(self._execution_device, tensors, self.scheduler)
        latents = tensors["latents"]
        tensors.clear()
        yield Step(Stage.DECODING, 0, 1, None, latents, self._draw(latents, arguments))

    def _draw(self, latents: Tensor, arguments: A) -> Out:
        """The output; with `return_dict=False` a plain tuple, which has no type of its own."""
        drawn: Out = self.make_output(latents, arguments).as_asked(arguments.return_dict)
        return drawn

    def _begin(self, arguments: A) -> None:
        self._guidance_scale = arguments.guidance_scale
        self._guidance_rescale = arguments.guidance_rescale
        self._clip_skip = arguments.clip_skip
        self.remember(arguments)
        self._interrupt = False

    def call_back(self, arguments: A, step: Step[Any], tensors: dict[str, Tensor]) -> Tensor:
        """Let the caller's functions see and replace tensors; the latents afterwards."""
        return call_back(self, arguments, step, tensors)
