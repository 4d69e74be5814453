"""The UNet of unconditional models, which have no prompt: self-attention only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.loading.config import Config, Count, Side, Width
from dpnb.models.model import Model
from dpnb.models.supported_settings import check_supported
from dpnb.models.unet_blocks import AttendingBlock, DownBlock, UpBlock, make_middle_resnets
from dpnb.models.unet_config import Level
from dpnb.models.unet_path import Follow, UNetPath, follow_path
from dpnb.nn.activations import ACTIVATIONS, Activation
from dpnb.nn.alternation import make_in_turn
from dpnb.nn.attention import Attention, PictureAttention
from dpnb.nn.class_embedding import embed_classes, make_class_embedding
from dpnb.nn.embeddings import TimestepEmbedding, Timesteps
from dpnb.nn.inplace import add, silu
from dpnb.output import Output
from dpnb.validation import Range

ATTENDS = {"DownBlock2D": False, "AttnDownBlock2D": True, "UpBlock2D": False, "AttnUpBlock2D": True}

SUPPORTED: dict[str, tuple[Any, ...]] = {
    "act_fn": tuple(ACTIVATIONS),
    "class_embed_type": (None, "timestep", "identity"),
    "downsample_type": ("conv",),
    "mid_block_type": ("UNetMidBlock2D", None),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "time_embedding_type": ("positional",),
    "upsample_type": ("conv",),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class UNet2DConfig(Config):
    """Settings of `UNet2DModel`, by the names that `config.json` has."""

    sample_size: Side | tuple[Side, Side] | None = None
    in_channels: Width = 3
    out_channels: Width = 3
    center_input_sample: bool = False
    time_embedding_type: str = "positional"
    time_embedding_dim: Width | None = None
    freq_shift: Annotated[float, Range(0, 1)] = 0
    flip_sin_to_cos: bool = True
    down_block_types: tuple[str, ...] = ("DownBlock2D", *("AttnDownBlock2D",) * 3)
    mid_block_type: str | None = "UNetMidBlock2D"
    up_block_types: tuple[str, ...] = (*("AttnUpBlock2D",) * 3, "UpBlock2D")
    block_out_channels: tuple[Width, ...] = (224, 448, 672, 896)
    layers_per_block: Count = 2
    mid_block_scale_factor: float = 1
    downsample_padding: Annotated[int, Range(0, 1)] = 1
    downsample_type: str = "conv"
    upsample_type: str = "conv"
    dropout: float = 0.0
    act_fn: str = "silu"
    attention_head_dim: Width | None = 8
    norm_num_groups: Width = 32
    attn_norm_num_groups: Width | None = None
    norm_eps: Annotated[float, Range(0, 1)] = 1e-5
    resnet_time_scale_shift: str = "default"
    add_attention: bool = True
    class_embed_type: str | None = None
    num_class_embeds: Width | None = None
    num_train_timesteps: int | None = None

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_supported("UNet2DModel", self, SUPPORTED)
        count = len(self.block_out_channels)
        for name in ("down_block_types", "up_block_types"):
            kinds = getattr(self, name)
            if set(kinds) - ATTENDS.keys() or len(kinds) != count:
                raise ValueError(
                    f"UNet2DModel cannot build {name}={kinds}; it needs {count} of "
                    f"{', '.join(ATTENDS)}, one for each of block_out_channels."
                )

    @property
    def groups(self) -> int:
        """Of the norms."""
        return self.norm_num_groups

    @property
    def activation(self) -> Activation:
        """Before convolutions, and of the time embedding."""
        return ACTIVATIONS[self.act_fn]

    @property
    def scales_by_time(self) -> bool:
        """Whether the time embedding scales and shifts feature maps."""
        return self.resnet_time_scale_shift == "scale_shift"

    @property
    def time_dim(self) -> int:
        """Channels of the time embedding."""
        return self.time_embedding_dim or 4 * self.block_out_channels[0]

    def levels(self) -> tuple[Level, ...]:
        """The settings of each level, from the finest to the coarsest."""
        return tuple(
            Level(width, self.layers_per_block, width // (self.attention_head_dim or width), 0, 0)
            for width in self.block_out_channels
        )


@dataclass(eq=False)
class UNet2DOutput(Output):
    """What `UNet2DModel` returns: its prediction, `[batch, out_channels, h, w]`."""

    sample: Tensor


class UNet2DModel(Model):
    """The denoiser of unconditional models (Ho et al. 2020, arXiv:2006.11239)."""

    config_class: ClassVar[type[Config]] = UNet2DConfig
    config: UNet2DConfig
    follow: Follow
    """A slot: the way through the blocks."""

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        config = self.config
        levels = config.levels()
        first = levels[0].channels
        self.conv_in = nn.Conv2d(config.in_channels, first, 3, padding=1)
        self.time_proj = Timesteps(first, config.flip_sin_to_cos, config.freq_shift)
        self.time_embedding = TimestepEmbedding(first, config.time_dim)
        self.class_embedding = make_class_embedding(config, first, config.time_dim)
        self.down_blocks = nn.ModuleList(
            PictureDownBlock(
                levels[max(i - 1, 0)].channels,
                level,
                config,
                attends=ATTENDS[config.down_block_types[i]],
                downsamples=i < len(levels) - 1,
            )
            for i, level in enumerate(levels)
        )
        has_middle = config.mid_block_type is not None
        self.mid_block = PictureMiddleBlock(levels[-1], config) if has_middle else None
        self.up_blocks = nn.ModuleList(self._up_blocks())
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, first, eps=config.norm_eps)
        self.conv_out = nn.Conv2d(first, config.out_channels, 3, padding=1)
        self.follow = follow_path

    def _up_blocks(self) -> Iterable[PictureUpBlock]:
        levels = self.config.levels()
        for i, kind in enumerate(self.config.up_block_types):
            at = len(levels) - 1 - i
            yield PictureUpBlock(
                levels[min(at + 1, len(levels) - 1)].channels,
                levels[max(at - 1, 0)].channels,
                levels[at],
                self.config,
                depth=1,
                attends=ATTENDS[kind],
                upsamples=at > 0,
            )

    @override
    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> UNet2DOutput | tuple[Tensor]:
        """Predict noise or original sample, whichever it was trained for.

        Args:
            sample: noisy pictures, `[batch, in_channels, h, w]`.
            timestep: a number, whose fraction is cut off, or one for each entry of the batch.
            class_labels: a number for each entry of the batch, for networks that embed classes.
            return_dict: `False` returns a plain tuple.
        """
        time = self.embed_time(sample, timestep, class_labels)
        maps = [self.conv_in(2 * sample - 1 if self.config.center_input_sample else sample)]
        across = partial(self._across, time=time)
        self.follow(UNetPath(self.down_blocks, across, self.up_blocks, time, time), maps)
        output = UNet2DOutput(self.conv_out(silu(self.conv_norm_out(maps.pop()))))
        return output.as_asked(return_dict)

    def _across(self, maps: list[Tensor], time: Tensor) -> list[Tensor]:
        x = maps[-1].clone() if self.mid_block is None else self.mid_block(maps[-1], time)
        return [*maps, x]

    def embed_time(
        self, sample: Tensor, timestep: Tensor | float, labels: Tensor | None = None
    ) -> Tensor:
        """The activated embedding of timestep and class, `[batch, time_dim]`."""
        if not isinstance(timestep, Tensor):
            timestep = torch.full((1,), int(timestep), device=sample.device)
        config, width = self.config, self.config.block_out_channels[0]
        features = self.time_proj(timestep.to(sample.device).reshape(-1).expand(sample.shape[0]))
        time = self.time_embedding(features.to(sample.dtype))
        of_class = embed_classes(self.class_embedding, config, width, labels, sample)
        return config.activation(time if of_class is None else add(time, of_class))


class MultiHeadPictureAttention(PictureAttention):
    """Self-attention of a feature map with several heads."""

    def __init__(self, level: Level, config: UNet2DConfig) -> None:
        head_dim = config.attention_head_dim or level.channels
        if head_dim > level.channels:
            raise ValueError(
                f"attention_head_dim is {head_dim}, and a level that attends has "
                f"{level.channels} channels; give at most as many to a head."
            )
        Attention.__init__(self, level.channels, level.heads, head_dim, bias=True)
        groups, eps = config.norm_num_groups, config.norm_eps
        self.group_norm = nn.GroupNorm(groups, level.channels, eps=eps)


class _WithPictureAttention(AttendingBlock):
    @override
    def _attentions(self, depths: Iterable[int], level: Level, config: Any) -> Iterator[nn.Module]:
        return (MultiHeadPictureAttention(level, config) for _ in depths)


class PictureDownBlock(_WithPictureAttention, DownBlock):
    """A `DownBlock` with self-attention in place of transformers."""


class PictureMiddleBlock(nn.Module):
    """A residual block, attention, a residual block."""

    def __init__(self, level: Level, config: UNet2DConfig) -> None:
        super().__init__()
        self.resnets, self.attentions = make_in_turn(
            make_middle_resnets(level, config),
            (MultiHeadPictureAttention(level, config) for _ in range(config.add_attention)),
        )
        for attention in self.attentions:
            _fit_to_middle(attention, level, config)

    @override
    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Transform `x` `[batch, channels, h, w]`."""
        first, second = self.resnets
        x = first(x, time)
        for attention in self.attentions:
            x = attention(x)
        return second(x, time)  # type: ignore[no-any-return]


def _fit_to_middle(attention: Any, level: Level, config: UNet2DConfig) -> None:
    """Give a layer of attention what is said of the middle block alone."""
    attention.divisor = config.mid_block_scale_factor
    if config.attn_norm_num_groups is not None:
        attention.group_norm = nn.GroupNorm(
            config.attn_norm_num_groups, level.channels, eps=config.norm_eps
        )
    elif config.scales_by_time:
        attention.group_norm = nn.Identity()


class PictureUpBlock(_WithPictureAttention, UpBlock):
    """An `UpBlock` with self-attention in place of transformers."""
