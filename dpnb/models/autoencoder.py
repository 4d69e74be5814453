"""The autoencoder between pictures and latents, and the base of autoencoders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.loading.config import Config, Count, Side, Width
from dpnb.models.coders import Coder, DirectCoder
from dpnb.models.distribution import DiagonalGaussian
from dpnb.models.model import Model
from dpnb.models.supported_settings import check_supported
from dpnb.models.switches import AutoencoderSwitches
from dpnb.models.tiling.stores import StripStore
from dpnb.models.tiling.strip_coding import decode_in_strips, encode_in_strips
from dpnb.nn.alternation import make_in_turn
from dpnb.nn.attention import PictureAttention
from dpnb.nn.inplace import silu
from dpnb.nn.resampling import Downsample, Upsample
from dpnb.nn.resnet import ResnetBlock
from dpnb.output import Output
from dpnb.validation import Range

EPS = 1e-6

Scale: TypeAlias = Annotated[float, Range(1e-6, 1e6)]
"""The factor that scales latents, or their standard deviation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AutoencoderKLConfig(Config):
    """Settings of `AutoencoderKL`, by the names that `config.json` has."""

    in_channels: Width = 3
    out_channels: Width = 3
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[Width, ...] = (64,)
    layers_per_block: Count = 1
    act_fn: str = "silu"
    latent_channels: Width = 4
    norm_num_groups: Width = 32
    sample_size: Side | tuple[Side, ...] = 32
    scaling_factor: Scale = 0.18215
    shift_factor: float | None = None
    latents_mean: tuple[float, ...] | None = None
    latents_std: tuple[Scale, ...] | None = None
    force_upcast: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_supported("AutoencoderKL", self, {"act_fn": ("silu", "swish")})
        check_blocks("AutoencoderKL", self)
        for name in ("latents_mean", "latents_std"):
            if self[name] is not None and len(self[name]) != self.latent_channels:
                raise ValueError(
                    f"{name} has {len(self[name])} entries; it needs one for each of "
                    f"latent_channels, {self.latent_channels}."
                )


@dataclass(eq=False)
class AutoencoderKLOutput(Output):
    """What `AutoencoderKL.encode` returns."""

    latent_dist: DiagonalGaussian


@dataclass(eq=False)
class DecoderOutput(Output):
    """What `AutoencoderKL.decode` returns: pictures `[batch, out_channels, H, W]` in [-1, 1]."""

    sample: Tensor


class Autoencoder(AutoencoderSwitches, Model):
    """Pictures to latents and back, by an encoder and a decoder.

    Its slot `coder` decides how the encoder and the decoder are run: see `Coder`.
    """

    config: Any
    encoder: nn.Module
    decoder: nn.Module
    quant_conv: nn.Module
    post_quant_conv: nn.Module
    coder: Coder

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self.coder = DirectCoder()

    @property
    @override
    def scale(self) -> int:
        return 1 << (len(self.config.block_out_channels) - 1)

    def encode_in_strips(self, pictures: Tensor, rows: int, store: StripStore) -> Tensor:
        """What the encoder gives, computed over strips.

        Args:
            pictures: `[batch, in_channels, H, W]`.
            rows: of a strip.
            store: keeps feature maps between layers.
        """
        return encode_in_strips(self.encoder, pictures, rows, store)

    def decode_in_strips(self, latents: Tensor, rows: int, store: StripStore) -> Tensor:
        """What the decoder gives, computed over strips.

        Args:
            latents: `[batch, latent_channels, h, w]`.
            rows: of a strip.
            store: keeps feature maps between layers.
        """
        return decode_in_strips(self.decoder, latents, rows, store)


class AutoencoderKL(Autoencoder):
    """A variational autoencoder (Kingma and Welling 2014; Rombach et al. 2022, arXiv:2112.10752).

    Its slot `coder` decides how the encoder and the decoder are run: see `Coder`.
    """

    config_class: ClassVar[type[Config]] = AutoencoderKLConfig
    config: AutoencoderKLConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        config = self.config
        latents = config.latent_channels
        self.encoder = Encoder(config, 2 * latents)
        self.decoder = Decoder(config)
        if config.use_quant_conv:
            self.quant_conv = nn.Conv2d(2 * latents, 2 * latents, 1)
        if config.use_post_quant_conv:
            self.post_quant_conv = nn.Conv2d(latents, latents, 1)

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """Encode pictures to a distribution of latents.

        Args:
            x: `[batch, in_channels, H, W]` in [-1, 1]; H and W divisible by `scale`.
            return_dict: `False` returns a plain tuple.
        """
        output = AutoencoderKLOutput(DiagonalGaussian(self.coder.encode(self, x)))
        return output.as_asked(return_dict)

    def decode(
        self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> Any:
        """Decode latents to pictures.

        Args:
            z: `[batch, latent_channels, h, w]`, divided by `config.scaling_factor`.
            return_dict: `False` returns a plain tuple.
            generator: not used; decoding draws no noise.
        """
        output = DecoderOutput(self.coder.decode(self, z))
        return output.as_asked(return_dict)

    @override
    def forward(
        self,
        sample: Tensor,
        sample_posterior: bool = False,
        return_dict: bool = True,
        generator: torch.Generator | None = None,
    ) -> Any:
        """Encode and decode pictures `[batch, in_channels, H, W]`."""
        latents = self.encode(sample).latent_dist
        z = latents.sample(generator) if sample_posterior else latents.mode()
        return self.decode(z, return_dict=return_dict)


def check_blocks(class_name: str, config: Any) -> None:
    """Check that the block types are the ones that autoencoders have here.

    Raises:
        ValueError: one is of another type, or their number is not that of `block_out_channels`.
    """
    for kinds, kind in (
        (config.down_block_types, "DownEncoderBlock2D"),
        (config.up_block_types, "UpDecoderBlock2D"),
    ):
        if set(kinds) != {kind} or len(kinds) != len(config.block_out_channels):
            raise ValueError(
                f"{class_name} cannot build the blocks {kinds}; it needs one {kind} for each of "
                f"block_out_channels {config.block_out_channels}."
            )


class Encoder(nn.Module):
    """Pictures to feature maps of `channels`, from which `quant_conv` makes latents."""

    def __init__(self, config: Any, channels: int) -> None:
        super().__init__()
        widths, groups = config.block_out_channels, config.norm_num_groups
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            EncoderBlock(
                width_in,
                width_out,
                layers=config.layers_per_block,
                groups=groups,
                downsamples=level < len(widths) - 1,
            )
            for level, (width_in, width_out) in enumerate(
                zip((widths[0], *widths), widths, strict=False)
            )
        )
        self.mid_block = MiddleBlock(widths[-1], groups, attends=config.mid_block_add_attention)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], channels, 3, padding=1)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, in_channels, H, W]` → `[batch, channels, H / f, W / f]`."""
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        x = self.conv_norm_out(self.mid_block(x))
        return self.conv_out(silu(x))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Latents, after `post_quant_conv`, to pictures."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        widths, groups = config.block_out_channels[::-1], config.norm_num_groups
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.mid_block = MiddleBlock(widths[0], groups, attends=config.mid_block_add_attention)
        self.up_blocks = nn.ModuleList(
            DecoderBlock(
                width_in,
                width_out,
                layers=config.layers_per_block + 1,
                groups=groups,
                upsamples=level < len(widths) - 1,
            )
            for level, (width_in, width_out) in enumerate(
                zip((widths[0], *widths), widths, strict=False)
            )
        )
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], config.out_channels, 3, padding=1)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, latent_channels, h, w]` → `[batch, out_channels, f * h, f * w]`."""
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        x = self.conv_norm_out(x)
        return self.conv_out(silu(x))  # type: ignore[no-any-return]


class EncoderBlock(nn.Module):
    """Residual blocks, then downsampling, unless it is the last block."""

    def __init__(
        self, in_channels: int, out_channels: int, *, layers: int, groups: int, downsamples: bool
    ) -> None:
        super().__init__()
        self.resnets = _resnets(in_channels, out_channels, layers, groups)
        if downsamples:
            self.downsamplers = nn.ModuleList([Downsample(out_channels, padding=0)])
        self.downsamples = downsamples

    @override
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, in_channels, H, W]` → `[batch, out_channels, H / 2, W / 2]`, or `H, W`."""
        for resnet in self.resnets:
            x = resnet(x)
        return self.downsamplers[0](x) if self.downsamples else x


class DecoderBlock(nn.Module):
    """Residual blocks, then upsampling, unless it is the last block."""

    def __init__(
        self, in_channels: int, out_channels: int, *, layers: int, groups: int, upsamples: bool
    ) -> None:
        super().__init__()
        self.resnets = _resnets(in_channels, out_channels, layers, groups)
        if upsamples:
            self.upsamplers = nn.ModuleList([Upsample(out_channels)])
        self.upsamples = upsamples

    @override
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, in_channels, h, w]` → `[batch, out_channels, 2 * h, 2 * w]`, or `h, w`."""
        for resnet in self.resnets:
            x = resnet(x)
        return self.upsamplers[0](x) if self.upsamples else x


class MiddleBlock(nn.Module):
    """Two residual blocks, with attention over the whole picture between them."""

    def __init__(self, channels: int, groups: int, *, attends: bool) -> None:
        super().__init__()
        self.resnets, self.attentions = make_in_turn(
            _make_resnets(channels, channels, 2, groups),
            (PictureAttention(channels, groups=groups, eps=EPS) for _ in range(attends)),
        )

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Transform `[batch, channels, h, w]`."""
        first, second = self.resnets
        x = first(x)
        for attention in self.attentions:
            x = attention(x)
        return second(x)  # type: ignore[no-any-return]


def _resnets(in_channels: int, out_channels: int, count: int, groups: int) -> nn.ModuleList:
    return nn.ModuleList(_make_resnets(in_channels, out_channels, count, groups))


def _make_resnets(
    in_channels: int, out_channels: int, count: int, groups: int
) -> Iterator[ResnetBlock]:
    widths = (in_channels, *[out_channels] * count)
    return (
        ResnetBlock(width_in, width_out, groups=groups, eps=EPS)
        for width_in, width_out in pairwise(widths)
    )
