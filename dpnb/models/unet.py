"""The UNet that denoises latents, conditioned on a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dpnb.loading.config import Config
from dpnb.models.k_unet_blocks import make_down_blocks, make_up_blocks
from dpnb.models.model import Model
from dpnb.models.switches import UNetSwitches
from dpnb.models.time_conditioning import TimeConditionedModel
from dpnb.models.unet_blocks import DownBlock, MiddleBlock, UpBlock
from dpnb.models.unet_config import ATTENDS, UNetConfig
from dpnb.models.unet_path import Follow, UNetPath, follow_path
from dpnb.nn.activations import ACTIVATIONS
from dpnb.nn.attention import Attention
from dpnb.nn.class_embedding import embed_classes, make_class_embedding
from dpnb.nn.embeddings import FourierFeatures, TimestepEmbedding, Timesteps
from dpnb.nn.inplace import add
from dpnb.nn.transformer import TransformerBlock
from dpnb.output import Output


@dataclass(eq=False)
class UNet2DConditionOutput(Output):
    """What `UNet2DConditionModel` returns: its prediction, `[batch, out_channels, h, w]`."""

    sample: Tensor


class UNet2DConditionModel(UNetSwitches, TimeConditionedModel, Model):
    """The denoiser of Stable Diffusion 1, 2 and XL (Rombach et al. 2022, arXiv:2112.10752).

    XL's added conditions are those of Podell et al. (2023, arXiv:2307.01952).
    """

    config_class: ClassVar[type[Config]] = UNetConfig
    repeated_blocks: ClassVar[tuple[type[nn.Module], ...]] = (TransformerBlock,)
    config: UNetConfig
    mid_block: Any
    time_proj: nn.Module
    conv_norm_out: nn.Module | None
    follow: Follow
    """A slot: the way through the blocks."""

    encoder_hid_proj: ClassVar[None] = None
    """Scripts ask whether prompts are projected first; here they never are."""

    time_embed_act: ClassVar[None] = None
    """Likewise, whether there is one more activation of time."""

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        config = self.config
        first, time_dim = config.block_out_channels[0], config.time_dim
        self.conv_in = _conv(config.in_channels, first, config.conv_in_kernel)
        guidance_dim = config.time_cond_proj_dim
        if config.has_k_blocks:
            flip = config.flip_sin_to_cos
            self.time_proj = FourierFeatures(time_dim, flip_sin_to_cos=flip)
            self.time_embedding = TimestepEmbedding(time_dim, time_dim, guidance_dim, F.gelu)
        else:
            self.time_proj = self._sinusoids(first)
            finish = config.timestep_post_act
            self.time_embedding = TimestepEmbedding(
                first,
                time_dim,
                guidance_dim,
                config.activation,
                None if finish is None else ACTIVATIONS[finish],
            )
        self.class_embedding = make_class_embedding(
            config,
            first,
            time_dim,
            config.projection_class_embeddings_input_dim,
            config.activation,
        )
        if config.addition_embed_type == "text_time":
            if not config.projection_class_embeddings_input_dim:
                raise ValueError(
                    "addition_embed_type='text_time' needs projection_class_embeddings_input_dim, "
                    "the channels of the added conditions; give it beside."
                )
            self.add_time_proj = self._sinusoids(config.addition_time_embed_dim or 256)
            self.add_embedding = TimestepEmbedding(
                config.projection_class_embeddings_input_dim, time_dim
            )
        if config.has_k_blocks:
            self.down_blocks = make_down_blocks(config.k_levels(), first)
            self.mid_block = self.conv_norm_out = None
            self.up_blocks = make_up_blocks(config.k_levels()[::-1])
        else:
            self.down_blocks = nn.ModuleList(self._down_blocks())
            has_middle = config.mid_block_type is not None
            self.mid_block = MiddleBlock(config.levels()[-1], config) if has_middle else None
            self.up_blocks = nn.ModuleList(self._up_blocks())
            self.conv_norm_out = nn.GroupNorm(config.groups, first, eps=config.norm_eps)
        self.conv_out = _conv(first, config.out_channels, config.conv_out_kernel)
        self.time_embedder = UNet2DConditionModel.embed_time
        self.follow = follow_path

    def _down_blocks(self) -> Iterable[DownBlock]:
        config = self.config
        levels = config.levels()
        for i, level in enumerate(levels):
            yield DownBlock(
                levels[max(i - 1, 0)].channels,
                level,
                config,
                attends=ATTENDS[config.down_block_types[i]],
                downsamples=i < len(levels) - 1,
            )

    def _up_blocks(self) -> Iterable[UpBlock]:
        config = self.config
        levels = config.levels()
        depths = config.reverse_transformer_layers_per_block
        below = levels[-1].channels
        for i, kind in enumerate(config.up_block_types):
            at = len(levels) - 1 - i
            yield UpBlock(
                below,
                levels[max(at - 1, 0)].channels,
                levels[at],
                config,
                depth=levels[at].depth if depths is None else depths[i],
                attends=ATTENDS[kind],
                upsamples=at > 0,
            )
            below = levels[at].channels

    @override
    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        class_labels: Tensor | None = None,
        timestep_cond: Tensor | None = None,
        attention_mask: None = None,
        cross_attention_kwargs: Mapping[str, Any] | None = None,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
        down_block_additional_residuals: Sequence[Tensor] | None = None,
        mid_block_additional_residual: Tensor | None = None,
        down_intrablock_additional_residuals: None = None,
        encoder_attention_mask: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Predict noise, original sample or velocity, whichever it was trained for.

        Args:
            sample: noisy latents, `[batch, in_channels, h, w]`.
            timestep: a number, or one for each entry of the batch.
            encoder_hidden_states: the prompts' embeddings, `[batch, tokens, cross_attention_dim]`.
            class_labels: a number or a vector for each entry of the batch, for networks that embed
                classes, or how much noise a picture beside the latents has.
            timestep_cond: an embedded guidance scale, `[batch, time_cond_proj_dim]`.
            attention_mask: must be `None`: every position sees every other.
            cross_attention_kwargs: `{"scale": 0.5}` is that of peft's layers in this call; the
                scale of what was loaded is that of `dpnb.LoRA`. Nothing else may be asked.
            added_cond_kwargs: XL's `text_embeds` `[batch, channels]` and `time_ids` `[batch, 6]`.
            down_block_additional_residuals: added to the skip connections: a ControlNet's output.
            mid_block_additional_residual: added to the output of the middle block.
            down_intrablock_additional_residuals: must be `None`.
            encoder_attention_mask: which tokens of the prompts count, `[batch, tokens]`, the same
                for the whole batch.
            return_dict: `False` returns a plain tuple.

        Returns:
            `UNet2DConditionOutput`.

        Raises:
            ValueError: something is given that must be `None`, or masks differ within the batch.
        """
        _refuse(
            attention_mask=attention_mask,
            down_intrablock_additional_residuals=down_intrablock_additional_residuals,
        )
        if encoder_attention_mask is not None:
            encoder_hidden_states = _select(encoder_hidden_states, encoder_attention_mask)
        residuals = down_block_additional_residuals, mid_block_additional_residual
        with self.scaled_by("cross_attention_kwargs", cross_attention_kwargs):
            time = self.time_embedder(
                self, sample, timestep, timestep_cond, added_cond_kwargs, class_labels
            )
            predicted = self._predict(sample, time, encoder_hidden_states, *residuals)
        return UNet2DConditionOutput(predicted).as_asked(return_dict)

    def _predict(
        self,
        sample: Tensor,
        time: Tensor,
        words: Tensor,
        down: Sequence[Tensor] | None,
        middle: Tensor | None,
    ) -> Tensor:
        """Down, across and up again; `down` and `middle` are added on the way."""
        if self.config.center_input_sample:
            sample = 2 * sample - 1.0
        across = partial(self._across, time=time, words=words, down=down, middle=middle)
        path = UNetPath(self.down_blocks, across, self.up_blocks, time, words, down)
        maps = [self.conv_in(sample)]
        self.follow(path, maps)
        x = maps.pop()
        if self.conv_norm_out is not None:
            x = self.config.activation(self.conv_norm_out(x))
        return self.conv_out(x)  # type: ignore[no-any-return]

    def _across(
        self,
        maps: list[Tensor],
        time: Tensor,
        words: Tensor,
        down: Sequence[Tensor] | None,
        middle: Tensor | None,
    ) -> list[Tensor]:
        """The skip connections and, last, the output of the middle block."""
        if self.mid_block is None:
            _refuse(down_block_additional_residuals=down, mid_block_additional_residual=middle)
            return maps if self.config.has_k_blocks else [*maps, maps[-1].clone()]
        x = self.mid_block(maps[-1], time, words)
        if down is not None:
            maps = [a + b for a, b in zip(maps, down, strict=True)]
        if middle is not None:
            x = add(x, middle)
        return [*maps, x]

    @property
    def middle_attention(self) -> Attention:
        """The first self-attention of the middle block."""
        transformer: Any = self.mid_block.attentions[0]
        attention: Attention = transformer.transformer_blocks[0].attn1
        return attention

    def middle_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the middle block's feature maps, for latents of this size."""
        for _ in self.down_blocks[1:]:
            height, width = (
                (side + self.config.downsample_padding) // 2 for side in (height, width)
            )
        return height, width

    @override
    def embed_time(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        condition: Tensor | None,
        added: Mapping[str, Tensor] | None,
        labels: Tensor | None = None,
    ) -> Tensor:
        """The activated embedding of timestep, guidance scale, class and added conditions.

        Returns:
            `[batch, time_dim]`.
        """
        config, batch = self.config, sample.shape[0]
        if not isinstance(timestep, Tensor):
            timestep = torch.full((1,), float(timestep), device=sample.device)
        timestep = timestep.to(sample.device).reshape(-1).expand(batch)
        width = config.block_out_channels[0]
        features = self.time_proj(timestep)
        time = self.time_embedding(features.to(sample.dtype), condition)
        of_class = embed_classes(self.class_embedding, config, width, labels, sample)
        if of_class is not None:
            time = add(time, of_class)
        if config.has_k_blocks:
            return F.gelu(time)
        if config.addition_embed_type is None:
            return self._activate(time)
        if added is None or not {"text_embeds", "time_ids"} <= added.keys():
            raise ValueError(
                "this UNet needs added_cond_kwargs with text_embeds and time_ids, as Stable "
                f"Diffusion XL has them; it got {sorted(added or ())}."
            )
        text, ids = added["text_embeds"], added["time_ids"]
        sizes = self.add_time_proj(ids.flatten())
        both = torch.cat((text, sizes.view(batch, -1)), dim=-1).to(sample.dtype)
        return self._activate(add(time, self.add_embedding(both)))

    def _activate(self, time: Tensor) -> Tensor:
        """The embedding as blocks take it."""
        first = self.config.time_embedding_act_fn
        return self.config.activation(time if first is None else ACTIVATIONS[first](time))

    @property
    @override
    def embedding_layers(self) -> list[nn.Module]:
        names = (
            "time_proj",
            "time_embedding",
            "class_embedding",
            "add_time_proj",
            "add_embedding",
        )
        return [layer for name, layer in self.named_children() if name in names]

    def _sinusoids(self, dim: int) -> Timesteps:
        return Timesteps(dim, self.config.flip_sin_to_cos, self.config.freq_shift)


def _refuse(**given: object) -> None:
    """Refuse what some networks of other packages are given and this one cannot use."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} has no effect on this network; leave it out.")


def _select(tokens: Tensor, mask: Tensor) -> Tensor:
    """Those of `tokens` `[batch, tokens, channels]` that count.

    Raises:
        ValueError: they are others for each entry of the batch.
    """
    counts = mask.bool()
    if not bool((counts == counts[:1]).all()):
        raise ValueError(
            "encoder_attention_mask leaves out other tokens for each entry of the batch; call the "
            "network once for each, or pad the prompts alike."
        )
    return tokens[:, counts[0]]


def _conv(in_channels: int, out_channels: int, size: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, size, padding=(size - 1) // 2)
