"""Settings of the UNet with a prompt, and of each of its levels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypeVar

from typing_extensions import override

from dpnb.loading.config import Config, Count, Side, Width
from dpnb.models.k_unet_blocks import KLevel
from dpnb.models.supported_settings import check_supported
from dpnb.nn.activations import ACTIVATIONS, Activation
from dpnb.nn.class_embedding import KINDS
from dpnb.validation import Range

T = TypeVar("T")

Kernel: TypeAlias = Annotated[int, Range(1, 15)]

ATTENDS = {
    "DownBlock2D": False,
    "CrossAttnDownBlock2D": True,
    "UpBlock2D": False,
    "CrossAttnUpBlock2D": True,
}

K_ATTENDS = {
    "KDownBlock2D": False,
    "KCrossAttnDownBlock2D": True,
    "KUpBlock2D": False,
    "KCrossAttnUpBlock2D": True,
}
"""The blocks of `k_unet_blocks`, and whether they attend."""

SUPPORTED: dict[str, tuple[Any, ...]] = {
    "act_fn": tuple(ACTIVATIONS),
    "addition_embed_type": (None, "text_time"),
    "attention_type": ("default",),
    "class_embed_type": KINDS,
    "class_embeddings_concat": (False,),
    "cross_attention_norm": (None, "layer_norm", "group_norm"),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn", None),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "time_embedding_act_fn": (None, *ACTIVATIONS),
    "time_embedding_type": ("positional",),
    "timestep_post_act": (None, *ACTIVATIONS),
}
"""What others have no such blocks for: `cross_attention_norm`, and scales and skips of time within
residual blocks, are for blocks that are not built here, and change nothing in these."""


K_SUPPORTED: dict[str, tuple[Any, ...]] = {
    **SUPPORTED,
    "act_fn": ("gelu",),
    "addition_embed_type": (None,),
    "class_embed_type": (None,),
    "cross_attention_norm": (None,),
    "mid_block_scale_factor": (1,),
    "mid_block_type": (None,),
    "norm_num_groups": (None,),
    "num_class_embeds": (None,),
    "only_cross_attention": (False,),
    "resnet_out_scale_factor": (1,),
    "resnet_skip_time_act": (False,),
    "resnet_time_scale_shift": ("default", "scale_shift", "ada_group"),
    "time_embedding_act_fn": (None,),
    "time_embedding_type": ("fourier",),
    "timestep_post_act": ("gelu",),
}
"""The same where blocks are those of `k_unet_blocks`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UNetConfig(Config):
    """Settings of `UNet2DConditionModel`, by the names that `config.json` has.

    `attention_head_dim` is the number of heads: a misnomer of the first checkpoints that files
    still have, for which nothing reads `num_attention_heads`.
    """

    sample_size: Side | tuple[Side, Side] | None = None
    in_channels: Width = 4
    out_channels: Width = 4
    center_input_sample: bool = False
    flip_sin_to_cos: bool = True
    freq_shift: Annotated[float, Range(0, 1)] = 0
    down_block_types: tuple[str, ...] = (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D")
    mid_block_type: str | None = "UNetMidBlock2DCrossAttn"
    up_block_types: tuple[str, ...] = ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3)
    only_cross_attention: bool | tuple[bool, ...] = False
    block_out_channels: tuple[Width, ...] = (320, 640, 1280, 1280)
    layers_per_block: Count | tuple[Count, ...] = 2
    downsample_padding: Annotated[int, Range(0, 1)] = 1
    mid_block_scale_factor: float = 1
    dropout: float = 0.0
    act_fn: str = "silu"
    norm_num_groups: Width | None = 32
    norm_eps: Annotated[float, Range(0, 1)] = 1e-5
    cross_attention_dim: Width | tuple[Width, ...] = 1280
    transformer_layers_per_block: Count | tuple[Count | tuple[Count, ...], ...] = 1
    reverse_transformer_layers_per_block: tuple[Count | tuple[Count, ...], ...] | None = None
    encoder_hid_dim: int | None = None
    encoder_hid_dim_type: str | None = None
    attention_head_dim: Width | tuple[Width, ...] = 8
    num_attention_heads: Width | tuple[Width, ...] | None = None
    dual_cross_attention: bool = False
    use_linear_projection: bool = False
    class_embed_type: str | None = None
    addition_embed_type: str | None = None
    addition_time_embed_dim: Width | None = None
    num_class_embeds: Width | None = None
    upcast_attention: bool = False
    resnet_time_scale_shift: str = "default"
    resnet_skip_time_act: bool = False
    resnet_out_scale_factor: float = 1.0
    time_embedding_type: str = "positional"
    time_embedding_dim: Width | None = None
    time_embedding_act_fn: str | None = None
    timestep_post_act: str | None = None
    time_cond_proj_dim: Width | None = None
    conv_in_kernel: Kernel = 3
    conv_out_kernel: Kernel = 3
    projection_class_embeddings_input_dim: Width | None = None
    attention_type: str = "default"
    class_embeddings_concat: bool = False
    mid_block_only_cross_attention: bool | None = None
    cross_attention_norm: str | None = None
    addition_embed_type_num_heads: int = 64

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        supported = K_SUPPORTED if self.has_k_blocks else SUPPORTED
        check_supported("UNet2DConditionModel", self, supported)
        if not self.has_k_blocks and self.norm_num_groups is None:
            raise ValueError(
                "norm_num_groups is None, and UNet2DConditionModel normalises groups of channels; "
                "give their number, such as 32."
            )
        if self.num_attention_heads is not None:
            raise ValueError(
                f"num_attention_heads is {self.num_attention_heads}, which UNet2DConditionModel "
                "does not read in other packages; give the number of heads as attention_head_dim, "
                "as checkpoints have it."
            )
        levels = len(self.block_out_channels)
        known = K_ATTENDS if self.has_k_blocks else ATTENDS
        for name in ("down_block_types", "up_block_types"):
            kinds = getattr(self, name)
            if set(kinds) - known.keys() or len(kinds) != levels:
                raise ValueError(
                    f"UNet2DConditionModel cannot build {name}={kinds}; it needs {levels} of "
                    f"{', '.join(known)}, one for each of block_out_channels."
                )
        if self.has_k_blocks and not (
            K_ATTENDS[self.down_block_types[-1]] and K_ATTENDS[self.up_block_types[0]]
        ):
            raise ValueError(
                "UNet2DConditionModel cannot build K blocks whose coarsest level does not attend; "
                "let down_block_types end, and up_block_types begin, with one that does."
            )

    @property
    def has_k_blocks(self) -> bool:
        """Whether its blocks are those of `k_unet_blocks`."""
        return bool({*self.down_block_types} & K_ATTENDS.keys())

    @property
    def groups(self) -> int:
        """Of the norms."""
        return self.norm_num_groups or 32

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
        return (
            self.time_embedding_dim or (2 if self.has_k_blocks else 4) * self.block_out_channels[0]
        )

    def k_levels(self) -> tuple[KLevel, ...]:
        """The settings of each level of K blocks, from the finest to the coarsest."""
        return tuple(
            KLevel(
                level.channels,
                level.layers,
                level.heads,
                level.context_dim if K_ATTENDS[kind] else None,
                self.time_dim,
                self.norm_eps,
            )
            for level, kind in zip(self.levels(), self.down_block_types, strict=True)
        )

    def levels(self) -> tuple[Level, ...]:
        """The settings of each level, from the finest to the coarsest."""
        count = len(self.block_out_channels)
        depths: Any = self.transformer_layers_per_block
        return tuple(
            Level(*values)
            for values in zip(
                self.block_out_channels,
                broadcast(self.layers_per_block, count),
                broadcast(self.attention_head_dim, count),
                broadcast(self.cross_attention_dim, count),
                broadcast(depths, count),
                broadcast(self.only_cross_attention, count),
                strict=True,
            )
        )


@dataclass(frozen=True)
class Level:
    """The settings of one resolution of the network.

    Args:
        channels: of its feature maps.
        layers: residual blocks on the way down; the way up has one more.
        heads: of its attentions.
        context_dim: channels of the context that they attend to.
        depth: transformer blocks in each of its transformers, or one number for each transformer.
        sees_context_alone: whether positions attend to the context twice, and not to each other.
    """

    channels: int
    layers: int
    heads: int
    context_dim: int
    depth: int | tuple[int, ...]
    sees_context_alone: bool = False

    def depths(self, count: int) -> Iterator[int]:
        """The depth of each of `count` transformers.

        Raises:
            ValueError: it has another number of depths.
        """
        if isinstance(self.depth, tuple) and len(self.depth) != count:
            raise ValueError(
                f"transformer_layers_per_block gives a level of {count} transformers the depths "
                f"{self.depth}; give it one number, or one for each."
            )
        return iter(broadcast(self.depth, count))


def broadcast(value: T | tuple[T, ...], count: int) -> tuple[T, ...]:
    """`value` repeated `count` times; a tuple of `count` entries stays as it is."""
    if not isinstance(value, tuple):
        return (value,) * count
    if len(value) != count:
        raise ValueError(f"{value} has {len(value)} entries; it needs one for each of {count}.")
    return value
