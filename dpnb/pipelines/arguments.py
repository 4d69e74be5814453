"""The arguments of a run: declared once, and checked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor
from typing_extensions import Self

from dpnb.generators import Generators, check_count, check_device
from dpnb.numbers import coerce_numbers, parse_int, parse_number
from dpnb.pipelines.argument_checks import check_batches, check_tensors, check_text
from dpnb.pipelines.call_order import KEYWORDS
from dpnb.pipelines.cutoffs import tensors_seen_by
from dpnb.pipelines.foreign.unsupported import NO_IMAGE_PROMPT
from dpnb.pipelines.pictures.images import check_output_type

Prompt: TypeAlias = "str | list[str] | None"
FormerCallback: TypeAlias = "Callable[[int, Tensor, Tensor], object]"
StepCallback: TypeAlias = "Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor]]"


@dataclass(frozen=True)
class Arguments:
    """The arguments of every text-to-image pipeline.

    Numbers may be numpy's and torch's, and sequences their arrays.

    Args:
        prompt: what to draw; a list draws a batch.
        height: of the pictures, in pixels; the model's own size by default.
        width: of the pictures, in pixels.
        num_inference_steps: denoising steps; more are slower and usually better. `None` takes as
            many as `timesteps` or `sigmas` has.
        timesteps: a schedule of one's own, descending, instead of `num_inference_steps`.
        sigmas: likewise, as noise levels.
        guidance_scale: how strongly the prompt steers; up to 1 it is not applied.
        negative_prompt: what not to draw; one text, or one for each prompt.
        num_images_per_prompt: pictures of each prompt.
        eta: η of DDIM (Song et al. 2020, arXiv:2010.02502); other schedulers ignore it.
        generator: of the noise; a list has one for each picture.
        latents: the noise itself, `[pictures, channels, height / 8, width / 8]`.
        prompt_embeds: the prompt already encoded, `[batch, tokens, channels]`.
        negative_prompt_embeds: likewise.
        output_type: `"pil"`, `"np"`, `"pt"` or `"latent"`.
        return_dict: `False` returns a plain tuple.
        guidance_rescale: φ of Lin et al. (2023, arXiv:2305.08891), against overexposure.
        clip_skip: layers of the text encoder to leave out at its end.
        callback_on_step_end: called as `f(pipe, index, timestep, tensors)` after each step; what it
            returns replaces the tensors of these names.
        callback_on_step_end_tensor_inputs: the names of the tensors it is given.
        cross_attention_kwargs: `{"scale": 0.5}` runs with this scale of LoRA; see `dpnb.LoRA`.
        callback: called as `f(index, timestep, latents)`, as functions of former years are.
        callback_steps: after every so many steps.
    """

    positional: ClassVar[tuple[str, ...]] = ("prompt",)
    """Fields that may be given by position, in order."""

    keywords: ClassVar[tuple[str, ...]] = KEYWORDS
    """The order of the others."""

    absent: ClassVar[frozenset[str]] = frozenset()
    """Fields that this kind of pipeline does not take."""

    refused: ClassVar[Mapping[str, str]] = {
        "ip_adapter_image": NO_IMAGE_PROMPT,
        "ip_adapter_image_embeds": NO_IMAGE_PROMPT,
    }
    """What calls of others take and these do not, and another way; `None` is no request."""

    prompt: Prompt = None
    _: KW_ONLY
    height: int | None = None
    width: int | None = None
    num_inference_steps: int = 50
    timesteps: Sequence[float] | None = None
    sigmas: Sequence[float] | None = None
    guidance_scale: float = 7.5
    negative_prompt: Prompt = None
    num_images_per_prompt: int = 1
    eta: float = 0.0
    generator: Generators = None
    latents: Tensor | None = None
    prompt_embeds: Tensor | None = None
    negative_prompt_embeds: Tensor | None = None
    output_type: str = "pil"
    return_dict: bool = True
    guidance_rescale: float = 0.0
    clip_skip: int | None = None
    callback_on_step_end: StepCallback | None = None
    callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",)
    cross_attention_kwargs: Mapping[str, Any] | None = None
    callback: FormerCallback | None = None
    callback_steps: int = 1

    def __post_init__(self) -> None:
        custom = self.sigmas if self.timesteps is None else self.timesteps
        if vars(self)["num_inference_steps"] is None and custom is not None:
            object.__setattr__(self, "num_inference_steps", len(custom))
        if self.output_type == "numpy":
            object.__setattr__(self, "output_type", "np")
        coerce_numbers(self)
        if (seen := tensors_seen_by(self.callback_on_step_end)) is not None:
            object.__setattr__(self, "callback_on_step_end_tensor_inputs", seen)

    @property
    def lora_scale(self) -> float | None:
        """Of low-rank weights in this run alone; `None` leaves the pipeline's."""
        asked = self.cross_attention_kwargs or {}
        return asked.get("scale")

    @property
    def batch_size(self) -> int:
        """How many prompts there are."""
        if isinstance(self.prompt, list):
            return len(self.prompt)
        return 1 if self.prompt_embeds is None else self.prompt_embeds.shape[0]

    @property
    def picture_count(self) -> int:
        """How many pictures are drawn."""
        return self.batch_size * self.num_images_per_prompt

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, once they are resolved; 0 before."""
        return self.height or 0, self.width or 0

    def with_default_size(self, height: int, width: int) -> Self:
        """The same, with this height and width where none were asked for."""
        return replace(
            self,
            height=height if self.height is None else self.height,
            width=width if self.width is None else self.width,
        )

    def fit_size(self, scale: int) -> Self:
        """The same with a size that can be drawn, where one that cannot is not refused.

        Args:
            scale: pixels per latent, along one side.
        """
        return self

    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        """Refuse what cannot be drawn.

        Args:
            callback_tensors: the tensors that a callback may see.
            device: where the pipeline runs.
            scale: pixels per latent, along one side.

        Raises:
            ValueError: an argument's value is impossible, or contradicts another's.
            TypeError: a prompt is not text.
        """
        self._check_prompts()
        self._check_numbers(self.unit(scale))
        if self.timesteps is not None and self.sigmas is not None:
            raise ValueError("timesteps and sigmas both set the schedule; give one of them.")
        if unknown := {*(self.cross_attention_kwargs or {})} - {"scale"}:
            raise ValueError(
                f"cross_attention_kwargs asks for {', '.join(sorted(unknown))}; dpnb knows "
                '"scale", that of LoRA. Leave the others out.'
            )
        check_output_type(self.output_type)
        check_device(self.generator, device)
        if isinstance(self.generator, list):
            check_count(self.generator, self.picture_count)
        unknown = set(self.callback_on_step_end_tensor_inputs) - set(callback_tensors)
        if unknown:
            raise ValueError(
                f"callback_on_step_end_tensor_inputs names {', '.join(sorted(unknown))}; this "
                f"pipeline has {', '.join(callback_tensors)}."
            )

    def _check_prompts(self) -> None:
        for name, texts, embeds in self.prompt_pairs():
            if texts is not None and embeds is not None:
                raise ValueError(f"{name} and its embeddings are both given; give one of them.")
            check_text(name, texts)
        if self.prompt is None and self.prompt_embeds is None:
            raise ValueError("there is nothing to draw; give a prompt, or prompt_embeds.")
        if isinstance(self.prompt, list) and not self.prompt:
            raise ValueError("prompt is an empty list; give at least one text.")
        check_tensors(vars(self))
        check_batches(vars(self), self.batch_size)
        self._check_negative()

    def _check_negative(self) -> None:
        """Refuse embeddings that cannot stand beside one another in a batch."""
        given, negative = self.prompt_embeds, self.negative_prompt_embeds
        if given is not None and negative is not None and given.shape != negative.shape:
            raise ValueError(
                f"prompt_embeds has shape {tuple(given.shape)} and negative_prompt_embeds "
                f"{tuple(negative.shape)}; they must be the same."
            )

    def unit(self, scale: int) -> int:
        """What height and width are multiples of, in pixels.

        Args:
            scale: pixels per latent, along one side.
        """
        return max(scale, 8)

    def prompt_pairs(self) -> tuple[tuple[str, Prompt, Tensor | None], ...]:
        """Each text argument's name and value, beside the embeddings that stand for it."""
        return (
            ("prompt", self.prompt, self.prompt_embeds),
            ("negative_prompt", self.negative_prompt, self.negative_prompt_embeds),
        )

    def _check_numbers(self, multiple: int) -> None:
        for name, size in (("height", self.height), ("width", self.width)):
            if size is not None and (size <= 0 or size % multiple):
                raise ValueError(
                    f"{name} is {size}; it must be a positive multiple of {multiple}"
                    + (f", such as {max(round(size / multiple), 1) * multiple}." if size else ".")
                )
        for name, count in (
            ("num_inference_steps", self.num_inference_steps),
            ("num_images_per_prompt", self.num_images_per_prompt),
        ):
            parse_int(name, count, least=1)
        if self.clip_skip is not None:
            parse_int("clip_skip", self.clip_skip, least=0)
        parse_int("callback_steps", self.callback_steps, least=1)
        if self.lora_scale is not None:
            parse_number("scale", self.lora_scale)


NO_SCHEDULE = "give num_inference_steps; a schedule of one's own is set at pipe.scheduler."


@dataclass(frozen=True, kw_only=True)
class CountedStepsArguments(Arguments):
    """The arguments of pipelines that take a number of steps, and no schedule of one's own."""

    absent: ClassVar[frozenset[str]] = frozenset({"timesteps", "sigmas"})
    refused: ClassVar[Mapping[str, str]] = {
        **Arguments.refused,
        "timesteps": NO_SCHEDULE,
        "sigmas": NO_SCHEDULE,
    }
