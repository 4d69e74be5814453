"""The denoising transformer of FLUX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dpnb.loading.config import Config, Count, Width
from dpnb.models.flux_blocks import JointBlock, SingleBlock
from dpnb.models.model import Model
from dpnb.models.switches import TransformerSwitches
from dpnb.models.time_conditioning import TimeConditionedModel
from dpnb.nn.embeddings import TimestepEmbedding, sinusoids
from dpnb.nn.inplace import add, silu
from dpnb.nn.input_width import WidensInput
from dpnb.nn.modulation import Modulation, modulate
from dpnb.nn.rotary import rotary_table
from dpnb.output import Output
from dpnb.validation import Range

SINUSOIDS = 256
"""Number of sinusoidal features of a timestep, and of a guidance scale."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FluxTransformer2DConfig(Config):
    """Settings of `FluxTransformer2DModel`, by the names that `config.json` has.

    `axes_dims_rope` divides the channels of a head among the axes of positions.
    """

    patch_size: Annotated[int, Range(1, 64)] = 1
    in_channels: Width = 64
    out_channels: Width | None = None
    num_layers: Count = 19
    num_single_layers: Count = 38
    attention_head_dim: Width = 128
    num_attention_heads: Width = 24
    joint_attention_dim: Width = 4096
    pooled_projection_dim: Width = 768
    guidance_embeds: bool = False
    axes_dims_rope: tuple[Width, ...] = (16, 56, 56)

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        widths = self.axes_dims_rope
        if sum(widths) != self.attention_head_dim or any(width % 2 for width in widths):
            raise ValueError(
                f"axes_dims_rope is {widths}; it must be even numbers whose sum is "
                f"attention_head_dim, {self.attention_head_dim}."
            )

    @property
    def inner_dim(self) -> int:
        """Channels of the tokens inside."""
        return self.num_attention_heads * self.attention_head_dim


@dataclass(eq=False)
class FluxTransformer2DOutput(Output):
    """What `FluxTransformer2DModel` returns: `[batch, tokens, out_channels]`."""

    sample: Tensor


class FluxTransformer2DModel(TransformerSwitches, TimeConditionedModel, WidensInput, Model):
    """The denoiser of FLUX.1 (Black Forest Labs, 2024, https://github.com/black-forest-labs/flux).

    It is trained by flow matching as in Esser et al. (2024), arXiv:2403.03206.
    """

    config_class: ClassVar[type[Config]] = FluxTransformer2DConfig
    repeated_blocks: ClassVar[tuple[type[nn.Module], ...]] = (JointBlock, SingleBlock)
    input_layer: ClassVar[str] = "x_embedder"
    config: FluxTransformer2DConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        config = self.config
        dim, heads, head_dim = (
            config.inner_dim,
            config.num_attention_heads,
            config.attention_head_dim,
        )
        self.time_text_embed = TimeTextEmbedding(
            dim, config.pooled_projection_dim, embeds_guidance=config.guidance_embeds
        )
        self.context_embedder = nn.Linear(config.joint_attention_dim, dim)
        self.x_embedder = nn.Linear(config.in_channels, dim)
        self.transformer_blocks = nn.ModuleList(
            JointBlock(dim, heads, head_dim) for _ in range(config.num_layers)
        )
        self.single_transformer_blocks = nn.ModuleList(
            SingleBlock(dim, heads, head_dim) for _ in range(config.num_single_layers)
        )
        self.norm_out = Modulation(dim, 2)
        out_channels = config.out_channels or config.in_channels
        self.proj_out = nn.Linear(dim, config.patch_size**2 * out_channels)
        self.time_embedder = FluxTransformer2DModel.embed_time

    @override
    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        pooled_projections: Tensor,
        timestep: Tensor,
        img_ids: Tensor | None = None,
        txt_ids: Tensor | None = None,
        guidance: Tensor | None = None,
        joint_attention_kwargs: Mapping[str, Any] | None = None,
        controlnet_block_samples: Sequence[Tensor] | None = None,
        controlnet_single_block_samples: Sequence[Tensor] | None = None,
        return_dict: bool = True,
        controlnet_blocks_repeat: bool = False,
        *,
        rotary: Tensor | None = None,
    ) -> Any:
        """Predict noise less original sample, for noisy latents.

        Args:
            hidden_states: noisy latents, a token for each patch, `[batch, tokens, in_channels]`.
            encoder_hidden_states: the prompts' embeddings,
                `[batch, text tokens, joint_attention_dim]`.
            pooled_projections: `[batch, pooled_projection_dim]`.
            timestep: between 0 and 1, for all or for each entry of the batch.
            img_ids: the position of every patch, `[tokens, 3]`.
            txt_ids: the position of every text token, `[text tokens, 3]`.
            guidance: the guidance scale, for all or for each entry of the batch, for networks that
                were distilled with it.
            joint_attention_kwargs: `{"scale": 0.5}` is that of peft's layers in this call; the
                scale of what was loaded is that of `dpnb.LoRA`. Nothing else may be asked.
            controlnet_block_samples: a ControlNet's output, `[batch, tokens, dim]`, each added
                after as many of the first blocks.
            controlnet_single_block_samples: likewise, after the second blocks.
            return_dict: `False` returns a plain tuple.
            controlnet_blocks_repeat: add those of the first blocks in turn.
            rotary: in place of both ids, the `rotary_table` of the text's and then the patches'
                positions; callers with many steps compute it once.

        Returns:
            `FluxTransformer2DOutput`.

        Raises:
            ValueError: positions or guidance are missing, or more is asked for.
        """
        if rotary is None:
            rotary = self._rotary(txt_ids, img_ids)
        of_joint = _share_out(
            controlnet_block_samples, self.transformer_blocks, in_turn=controlnet_blocks_repeat
        )
        of_single = _share_out(controlnet_single_block_samples, self.single_transformer_blocks)
        with self.scaled_by("joint_attention_kwargs", joint_attention_kwargs):
            tokens = [self.x_embedder(hidden_states)]
            time = self.time_embedder(self, tokens[0], timestep, guidance, pooled_projections)
            tokens.append(self.context_embedder(encoder_hidden_states))
            prediction = self._predict(tokens, time, rotary, of_joint, of_single)
        return FluxTransformer2DOutput(prediction).as_asked(return_dict)

    def _predict(
        self,
        tokens: list[Tensor],
        time: Tensor,
        rotary: Tensor,
        of_joint: Sequence[Tensor | None],
        of_single: Sequence[Tensor | None],
    ) -> Tensor:
        """Through all blocks; after each, its residual is added where there is one.

        The sum is a new tensor, so that whoever hears blocks knows that something came between.

        `tokens`, those of the picture and of the prompt, are taken out of their list, so that they
        are freed as soon as they have been used.
        """
        context, x = tokens.pop(), tokens.pop()
        for block, residual in zip(self.transformer_blocks, of_joint, strict=True):
            x, context = block(x, context, time, rotary)
            x = x if residual is None else x + residual
        length = context.shape[1]
        x = torch.cat((context, x), dim=1)
        del context
        for block, residual in zip(self.single_transformer_blocks, of_single, strict=True):
            x = block(x, time, rotary)
            x = x if residual is None else x + F.pad(residual, (0, 0, length, 0))
        scale, shift = self.norm_out(time)
        return self.proj_out(modulate(x[:, length:], scale, shift))  # type: ignore[no-any-return]

    @override
    def embed_time(
        self, sample: Tensor, timestep: Tensor, guidance: Tensor | None, pooled: Tensor
    ) -> Tensor:
        """The activated embedding of timestep, guidance scale and pooled prompt.

        Args:
            sample: gives the dtype, the device and the size of the batch.
            timestep: see `forward`.
            guidance: see `forward`.
            pooled: `pooled_projections` of `forward`.

        Returns:
            `[batch, dim]`.
        """
        if self.config.guidance_embeds and guidance is None:
            raise ValueError(
                "this transformer was distilled with guidance; give guidance, for example "
                "torch.tensor([3.5])."
            )
        batch, dtype = sample.shape[0], sample.dtype
        numbers = [timestep, guidance] if self.config.guidance_embeds else [timestep]
        features = [
            sinusoids(number.to(sample.device, dtype).reshape(-1).expand(batch) * 1000, SINUSOIDS)
            for number in numbers
            if number is not None
        ]
        return self.time_text_embed(pooled.to(dtype), *(f.to(dtype) for f in features))  # type: ignore[no-any-return]

    @property
    @override
    def embedding_layers(self) -> list[nn.Module]:
        return [self.time_text_embed]

    @override
    def config_for(self, channels: int) -> FluxTransformer2DConfig:
        drawn = self.config.out_channels or self.config.in_channels
        return self.config.with_changes(in_channels=channels, out_channels=drawn)

    def _rotary(self, txt_ids: Tensor | None, img_ids: Tensor | None) -> Tensor:
        if txt_ids is None or img_ids is None:
            raise ValueError(
                "positions are missing; give img_ids and txt_ids, or the table as rotary."
            )
        ids = [ids[0] if ids.ndim == 3 else ids for ids in (txt_ids, img_ids)]
        return rotary_table(torch.cat(ids), self.config.axes_dims_rope)


def _share_out(
    samples: Sequence[Tensor] | None, blocks: nn.ModuleList, *, in_turn: bool = False
) -> list[Tensor | None]:
    """The residual of each block: several in a row have the same, or they have them in turn."""
    if not samples:
        return [None] * len(blocks)
    at_once = -(-len(blocks) // len(samples))
    return [samples[at % len(samples) if in_turn else at // at_once] for at in range(len(blocks))]


class TimeTextEmbedding(nn.Module):
    """Embeds timestep, guidance scale and pooled prompt as one vector.

    Args:
        dim: channels of the vector.
        pooled_dim: channels of the pooled prompt.
        embeds_guidance: whether a guidance scale is embedded, too.
    """

    def __init__(self, dim: int, pooled_dim: int, *, embeds_guidance: bool) -> None:
        super().__init__()
        self.timestep_embedder = TimestepEmbedding(SINUSOIDS, dim)
        if embeds_guidance:
            self.guidance_embedder = TimestepEmbedding(SINUSOIDS, dim)
        self.text_embedder = TimestepEmbedding(pooled_dim, dim)

    @override
    def forward(self, pooled: Tensor, time: Tensor, guidance: Tensor | None = None) -> Tensor:
        """The activated embedding `[batch, dim]`.

        Args:
            pooled: `[batch, pooled_dim]`.
            time: features of the timestep, `[batch, 256]`.
            guidance: features of the guidance scale, `[batch, 256]`.
        """
        embedding: Tensor = self.timestep_embedder(time)
        if guidance is not None:
            embedding = add(embedding, self.guidance_embedder(guidance))
        return silu(add(embedding, self.text_embedder(pooled)))
