"""What FLUX.1 pipelines share whose network sees another picture beside the latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from typing_extensions import TypeVar, override

from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.flux import FluxTransformer2DModel
from dpnb.pipelines.flux import FluxPipeline
from dpnb.pipelines.flux_arguments import FluxArguments
from dpnb.pipelines.guidance import Span
from dpnb.schedulers.flow_match import FlowMatchEulerDiscreteScheduler

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer

NOT_STEERED = frozenset(
    {
        "negative_prompt",
        "negative_prompt_2",
        "negative_prompt_embeds",
        "negative_pooled_prompt_embeds",
        "true_cfg_scale",
    }
)
"""The arguments of FLUX that lead away from a negative prompt."""

NO_NEGATIVE: Mapping[str, str] = dict.fromkeys(
    sorted(NOT_STEERED),
    "the guidance scale is an input of the network, which sees no negative prompt.",
)

A = TypeVar("A", bound=FluxArguments, default=Any)


class ConditionedFlux(FluxPipeline[A], Generic[A]):
    """FLUX.1 without image prompts, whose network sees more channels than it draws."""

    _optional_components: ClassVar[list[str]] = []

    def __init__(
        self,
        scheduler: FlowMatchEulerDiscreteScheduler,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel | None,
        tokenizer: CLIPTokenizer | None,
        text_encoder_2: T5EncoderModel | None,
        tokenizer_2: T5Tokenizer | None,
        transformer: FluxTransformer2DModel,
    ) -> None:
        super().__init__(
            scheduler, vae, text_encoder, tokenizer, text_encoder_2, tokenizer_2, transformer
        )

    @override
    def guidance_within(self, span: Span) -> None:
        """No negative prompt steers it."""
