"""Stable Diffusion 1, 2 and XL with perturbed-attention guidance, by the names of other packages.

Any pipeline of these families may hold the guidance itself, or have it switched on; here it is one
of the arguments of a run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.models.attention_processor import AttentionProcessor
from dpnb.nn.attention_processors import PAGIdentitySelfAttnProcessor2_0, perturbing_processor
from dpnb.nn.compiled import plain_network
from dpnb.pipelines import checked_inputs
from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.guidance import Guidance
from dpnb.pipelines.perturbed_guidance import MIDDLE, PerturbedAttentionGuidance
from dpnb.pipelines.stable_diffusion import (
    StableDiffusionArguments,
    StableDiffusionPipeline,
    StableDiffusionPipelineOutput,
)
from dpnb.pipelines.stable_diffusion_edit import (
    StableDiffusionImg2ImgArguments,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintArguments,
    StableDiffusionInpaintPipeline,
)
from dpnb.pipelines.stable_diffusion_xl import (
    StableDiffusionXLArguments,
    StableDiffusionXLPipeline,
    StableDiffusionXLPipelineOutput,
)
from dpnb.pipelines.stable_diffusion_xl_edit import (
    StableDiffusionXLImg2ImgArguments,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintArguments,
    StableDiffusionXLInpaintPipeline,
)
from dpnb.pipelines.unet_pipeline import UNetPipeline
from dpnb.stages import Step


@dataclass(frozen=True, kw_only=True)
class PerturbedArguments(Arguments):
    """The arguments of perturbed-attention guidance, beside those of the family.

    Args:
        pag_scale: how strongly; 0 does nothing.
        pag_adaptive_scale: how much less of it with every timestep that is gone.
    """

    pag_scale: float = 3.0
    pag_adaptive_scale: float = 0.0

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        for name in ("pag_scale", "pag_adaptive_scale"):
            if (value := getattr(self, name)) < 0:
                raise ValueError(f"{name} is {value}; it is at least 0, which does nothing.")


@dataclass(frozen=True)
class AskedGuidance(Guidance["PerturbedPipeline"]):
    """Perturbed-attention guidance as the present run has asked for it."""

    @override
    def predict(
        self, pipe: PerturbedPipeline, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]
    ) -> Tensor:
        asked = PerturbedAttentionGuidance(
            pipe.pag_scale, pipe.pag_adaptive_scale, tuple(pipe.pag_applied_layers)
        )
        return asked.predict(pipe, latents, t, tensors)


LOOKED_AT = ("prompt_embeds", "add_text_embeds", "add_time_ids", "mask", "masked_image_latents")
"""The tensors of a run that have an entry for each look at a latent."""


class PerturbedPipeline(UNetPipeline[Any, Any]):
    """What pipelines with this guidance have beside those of their family."""

    guidance = AskedGuidance()

    _layers: tuple[str, ...] = MIDDLE
    _pag_scale: float = 0.0
    _pag_adaptive_scale: float = 0.0

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        cls.__init__ = _with_layers(cls.__init__)  # type: ignore[method-assign]
        super().__init_subclass__(**kwargs)

    @property
    def pag_applied_layers(self) -> list[str]:
        """What the names of perturbed layers have in them."""
        return [*self._layers]

    def set_pag_applied_layers(self, pag_applied_layers: str | list[str]) -> None:
        """Choose the layers that are perturbed.

        Args:
            pag_applied_layers: what their names have in them, one or more regular expressions, such
                as `"mid"` or `"down_blocks.1"`.

        Raises:
            ValueError: one of them finds no layer.
        """
        given = pag_applied_layers
        layers = (given,) if isinstance(given, str) else tuple(given)
        if self.unet is not None:
            PerturbedAttentionGuidance(layers=layers).find_layers(self)
        self._layers = layers

    @property
    def pag_attn_processors(self) -> dict[str, AttentionProcessor]:
        """What computes the layers that the present or last run perturbs, by name.

        Those that processors perturb, which somebody has set, are among them.
        """
        names = self._name_processors(self._layers if self.do_perturbed_attention_guidance else ())
        return {
            name: one
            for name, one in self.unet.attn_processors.items()
            if name in names or isinstance(one, PAGIdentitySelfAttnProcessor2_0)
        }

    def _name_processors(self, layers: Sequence[str]) -> set[str]:
        """Those of self-attentions, by what their names have in them."""
        found = PerturbedAttentionGuidance(layers=tuple(layers)).find_layers(self)
        modules = plain_network(self.unet).named_modules()
        return {f"{name}.processor" for name, module in modules if module in found}

    def _set_pag_attn_processor(
        self, pag_applied_layers: Sequence[str], do_classifier_free_guidance: bool
    ) -> None:
        """Perturb layers in the last entries of every batch, until they get other processors.

        Args:
            pag_applied_layers: see `set_pag_applied_layers`.
            do_classifier_free_guidance: whether batches also have entries without prompt, and
                their last third is perturbed, not their last half.

        Raises:
            ValueError: one of the layers is not found.
        """
        names = self._name_processors(pag_applied_layers)
        perturbing = perturbing_processor(without_prompt=do_classifier_free_guidance)
        self.unet.set_attn_processor(self.unet.attn_processors | dict.fromkeys(names, perturbing))

    @property
    def pag_scale(self) -> float:
        """Of the present or last run."""
        return self._pag_scale

    @property
    def pag_adaptive_scale(self) -> float:
        """Of the present or last run."""
        return self._pag_adaptive_scale

    @property
    def do_perturbed_attention_guidance(self) -> bool:
        """Whether the present or last run is steered by it."""
        return self._pag_scale > 0 and bool(self.pag_applied_layers)

    @property
    def do_pag_adaptive_scaling(self) -> bool:
        """Whether its scale falls in the course of the run."""
        return self._pag_adaptive_scale > 0 and self.do_perturbed_attention_guidance

    @override
    def call_back(self, arguments: Any, step: Step[Any], tensors: dict[str, Tensor]) -> Tensor:
        """They see what each look at a latent is given: without the prompt, with it, perturbed."""
        asked = {*arguments.callback_on_step_end_tensor_inputs}
        if arguments.callback_on_step_end is None or not self.do_perturbed_attention_guidance:
            return super().call_back(arguments, step, tensors)
        count = len(tensors["latents"])
        former = {name: tensors[name] for name in LOOKED_AT if name in asked & tensors.keys()}
        shown = {name: torch.cat((own, own[-count:])) for name, own in former.items()}
        tensors |= shown
        latents = super().call_back(arguments, step, tensors)
        for name, own in former.items():
            if len(tensors[name]) == len(shown[name]):
                tensors[name] = own if tensors[name] is shown[name] else tensors[name][:-count]
        return latents

    @override
    def _begin(self, arguments: Any) -> None:
        super()._begin(arguments)
        self._pag_scale = arguments.pag_scale
        self._pag_adaptive_scale = arguments.pag_adaptive_scale


def _with_layers(constructor: Callable[..., None]) -> Callable[..., None]:
    """A constructor that takes `pag_applied_layers` beside what `constructor` takes, at the end."""
    name, kind = "pag_applied_layers", inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = inspect.signature(constructor)
    layers = inspect.Parameter(name, kind, default=MIDDLE[0])
    full = own.replace(parameters=[*own.parameters.values(), layers])

    def construct(self: PerturbedPipeline, *args: Any, **kwargs: Any) -> None:
        given = full.bind(self, *args, **kwargs)
        chosen = given.arguments.pop(name, MIDDLE[0])
        constructor(*given.args, **given.kwargs)
        self.set_pag_applied_layers(chosen)

    constructor_of_both: Any = construct
    constructor_of_both.__signature__ = full
    return construct


@dataclass(frozen=True, kw_only=True)
class StableDiffusionPAGArguments(StableDiffusionArguments, PerturbedArguments):
    """The arguments of `StableDiffusionPAGPipeline`; see the bases."""


@dataclass(frozen=True, kw_only=True)
class StableDiffusionPAGImg2ImgArguments(StableDiffusionImg2ImgArguments, PerturbedArguments):
    """The arguments of `StableDiffusionPAGImg2ImgPipeline`; see the bases."""


@dataclass(frozen=True, kw_only=True)
class StableDiffusionPAGInpaintArguments(StableDiffusionInpaintArguments, PerturbedArguments):
    """The arguments of `StableDiffusionPAGInpaintPipeline`; see the bases."""

    strength: float = 0.9999


@dataclass(frozen=True, kw_only=True)
class StableDiffusionXLPAGArguments(StableDiffusionXLArguments, PerturbedArguments):
    """The arguments of `StableDiffusionXLPAGPipeline`; see the bases."""


@dataclass(frozen=True, kw_only=True)
class StableDiffusionXLPAGImg2ImgArguments(StableDiffusionXLImg2ImgArguments, PerturbedArguments):
    """The arguments of `StableDiffusionXLPAGImg2ImgPipeline`; see the bases."""


@dataclass(frozen=True, kw_only=True)
class StableDiffusionXLPAGInpaintArguments(StableDiffusionXLInpaintArguments, PerturbedArguments):
    """The arguments of `StableDiffusionXLPAGInpaintPipeline`; see the bases."""


class ShowsNegatives(UNetPipeline[Any, Any]):
    """What those of Stable Diffusion XL have besides: callbacks see negative prompts."""

    negatives: ClassVar[Mapping[str, str]] = {
        "negative_prompt_embeds": "prompt_embeds",
        "negative_pooled_prompt_embeds": "add_text_embeds",
    }
    """The tensor whose first entries each of them is."""

    negative_sizes: ClassVar[str]
    """What callbacks know the sizes and crops of negative prompts by."""

    @override
    def call_back(self, arguments: Any, step: Step[Any], tensors: dict[str, Tensor]) -> Tensor:
        """They see negative prompts too; what they make of these has no effect."""
        asked = {*arguments.callback_on_step_end_tensor_inputs}
        count = len(tensors["latents"])
        shown = {
            name: tensors[source][:count]
            for name, source in self.negatives.items()
            if name in asked and len(tensors[source]) > count
        }
        if self.negative_sizes in asked:
            shown[self.negative_sizes] = self.find_negative_sizes(tensors["add_time_ids"], count)
        tensors |= shown
        latents = super().call_back(arguments, step, tensors)
        for name in shown:
            del tensors[name]
        return latents

    def find_negative_sizes(self, time_ids: Tensor, count: int) -> Tensor:
        """Those of `count` latents in `time_ids`, which are the same where there are no others."""
        return time_ids[:count]


class StableDiffusionPAGPipeline(PerturbedPipeline, StableDiffusionPipeline):
    """`StableDiffusionPipeline` with perturbed-attention guidance."""

    __call__ = make_call(StableDiffusionPAGArguments, StableDiffusionPipelineOutput)
    stream = make_stream(StableDiffusionPAGArguments, StableDiffusionPipelineOutput)


class StableDiffusionPAGImg2ImgPipeline(PerturbedPipeline, StableDiffusionImg2ImgPipeline):
    """`StableDiffusionImg2ImgPipeline` with perturbed-attention guidance."""

    check_input_names = checked_inputs.PERTURBED_PICTURE

    __call__ = make_call(StableDiffusionPAGImg2ImgArguments, StableDiffusionPipelineOutput)
    stream = make_stream(StableDiffusionPAGImg2ImgArguments, StableDiffusionPipelineOutput)


class StableDiffusionPAGInpaintPipeline(PerturbedPipeline, StableDiffusionInpaintPipeline):
    """`StableDiffusionInpaintPipeline` with perturbed-attention guidance."""

    outdated_settings: ClassVar[Mapping[str, Any]] = StableDiffusionPipeline.outdated_settings

    __call__ = make_call(StableDiffusionPAGInpaintArguments, StableDiffusionPipelineOutput)
    stream = make_stream(StableDiffusionPAGInpaintArguments, StableDiffusionPipelineOutput)


class StableDiffusionXLPAGPipeline(ShowsNegatives, PerturbedPipeline, StableDiffusionXLPipeline):
    """`StableDiffusionXLPipeline` with perturbed-attention guidance."""

    __call__ = make_call(StableDiffusionXLPAGArguments, StableDiffusionXLPipelineOutput)
    stream = make_stream(StableDiffusionXLPAGArguments, StableDiffusionXLPipelineOutput)

    negative_sizes: ClassVar[str] = "negative_add_time_ids"
    _callback_tensor_inputs: ClassVar[list[str]] = [
        *StableDiffusionXLPipeline._callback_tensor_inputs,
        *ShowsNegatives.negatives,
        negative_sizes,
    ]

    @override
    def find_negative_sizes(self, time_ids: Tensor, count: int) -> Tensor:
        return time_ids[:: len(time_ids) // count]


class StableDiffusionXLPAGImg2ImgPipeline(
    ShowsNegatives, PerturbedPipeline, StableDiffusionXLImg2ImgPipeline
):
    """`StableDiffusionXLImg2ImgPipeline` with perturbed-attention guidance."""

    __call__ = make_call(StableDiffusionXLPAGImg2ImgArguments, StableDiffusionXLPipelineOutput)
    stream = make_stream(StableDiffusionXLPAGImg2ImgArguments, StableDiffusionXLPipelineOutput)

    negative_sizes: ClassVar[str] = "add_neg_time_ids"
    _callback_tensor_inputs: ClassVar[list[str]] = [
        *StableDiffusionXLImg2ImgPipeline._callback_tensor_inputs,
        *ShowsNegatives.negatives,
        negative_sizes,
    ]


class StableDiffusionXLPAGInpaintPipeline(
    ShowsNegatives, PerturbedPipeline, StableDiffusionXLInpaintPipeline
):
    """`StableDiffusionXLInpaintPipeline` with perturbed-attention guidance."""

    __call__ = make_call(StableDiffusionXLPAGInpaintArguments, StableDiffusionXLPipelineOutput)
    stream = make_stream(StableDiffusionXLPAGInpaintArguments, StableDiffusionXLPipelineOutput)

    negative_sizes: ClassVar[str] = "add_neg_time_ids"
    _callback_tensor_inputs: ClassVar[list[str]] = [
        *StableDiffusionXLInpaintPipeline._callback_tensor_inputs,
        *ShowsNegatives.negatives,
        negative_sizes,
    ]
