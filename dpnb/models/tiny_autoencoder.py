"""The tiny autoencoder, for previews and for decoding in a hurry.

Bohan (2023), TAESD, https://github.com/madebyollin/taesd.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.loading.config import Config, Count, Width
from dpnb.loading.hub import local_folder
from dpnb.loading.weights.meta_init import init_on_meta
from dpnb.models.autoencoder import Autoencoder, DecoderOutput
from dpnb.models.supported_settings import check_supported
from dpnb.models.tiling.sequence_strips import run_local, run_sequence
from dpnb.models.tiling.stores import StripStore
from dpnb.models.tiling.strips import Strips
from dpnb.nn.checkpointing import Checkpointed
from dpnb.output import Output
from dpnb.validation import Range

LEVELS = 255
"""Steps of a latent where latents are stored as a picture."""

TRAINED = 512
"""Pixels on a side of the pictures that it was trained for."""

ACTIVATIONS = {"gelu": nn.GELU, "mish": nn.Mish, "relu": nn.ReLU, "silu": nn.SiLU, "swish": nn.SiLU}


CONFIG = "config.json"

BESIDE = "tiny_vae"
"""The folder in which one stands beside a model that it was made for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AutoencoderTinyConfig(Config):
    """Settings of `AutoencoderTiny`, by the names that `config.json` has."""

    in_channels: Width = 3
    out_channels: Width = 3
    encoder_block_out_channels: tuple[Width, ...] = (64, 64, 64, 64)
    decoder_block_out_channels: tuple[Width, ...] = (64, 64, 64, 64)
    act_fn: str = "relu"
    upsample_fn: str = "nearest"
    latent_channels: Width = 4
    upsampling_scaling_factor: Annotated[int, Range(1, 16)] = 2
    num_encoder_blocks: tuple[Count, ...] = (1, 3, 3, 3)
    num_decoder_blocks: tuple[Count, ...] = (3, 3, 3, 1)
    latent_magnitude: float = 3
    latent_shift: float = 0.5
    force_upcast: bool = False
    scaling_factor: float = 1.0
    shift_factor: float = 0.0
    block_out_channels: tuple[Width, ...] = ()
    latents_mean: ClassVar[None] = None
    latents_std: ClassVar[None] = None
    sample_size: ClassVar[int] = TRAINED
    use_quant_conv: ClassVar[bool] = False
    use_post_quant_conv: ClassVar[bool] = False

    @override
    def __post_init__(self) -> None:
        if not self.block_out_channels:
            object.__setattr__(self, "block_out_channels", self.decoder_block_out_channels)
        super().__post_init__()
        check_supported(
            "AutoencoderTiny",
            self,
            {"act_fn": tuple(ACTIVATIONS), "upsample_fn": ("nearest", "bilinear", "bicubic")},
        )
        for part in ("encoder", "decoder"):
            widths, counts = self[f"{part}_block_out_channels"], self[f"num_{part}_blocks"]
            if len(widths) != len(counts) or not widths:
                raise ValueError(
                    f"{part}_block_out_channels has {len(widths)} entries and num_{part}_blocks "
                    f"{len(counts)}; give one of each for every level."
                )


@dataclass(eq=False)
class AutoencoderTinyOutput(Output):
    """What `AutoencoderTiny.encode` returns: `[batch, latent_channels, h, w]`."""

    latents: Tensor


class AutoencoderTiny(Autoencoder):
    """Pictures to latents and back, by a few small convolutions; its latents are not random."""

    config_class: ClassVar[type[Config]] = AutoencoderTinyConfig
    config: AutoencoderTinyConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self.encoder = EncoderTiny(self.config)
        self.decoder = DecoderTiny(self.config)

    @property
    @override
    def scale(self) -> int:
        return int(
            self.config.upsampling_scaling_factor ** (len(self.config.num_decoder_blocks) - 1)
        )

    @property
    def spatial_scale_factor(self) -> int:
        """See `scale`."""
        return self.scale

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """Encode pictures to latents.

        Args:
            x: `[batch, in_channels, H, W]` in [-1, 1]; H and W divisible by `scale`.
            return_dict: `False` returns a plain tuple.
        """
        output = AutoencoderTinyOutput(self.coder.encode(self, x))
        return output.as_asked(return_dict)

    def decode(
        self, x: Tensor, generator: torch.Generator | None = None, return_dict: bool = True
    ) -> Any:
        """Decode latents to pictures.

        Args:
            x: `[batch, latent_channels, h, w]`.
            generator: not used; decoding draws no noise.
            return_dict: `False` returns a plain tuple.
        """
        output = DecoderOutput(self.coder.decode(self, x))
        return output.as_asked(return_dict)

    @override
    def forward(self, sample: Tensor, return_dict: bool = True) -> Any:
        """Encode and decode pictures, with latents rounded as a picture would store them."""
        latents = self.scale_latents(self.encode(sample).latents)
        stored = (latents * LEVELS).round() / LEVELS
        return self.decode(self.unscale_latents(stored), return_dict=return_dict)

    def scale_latents(self, x: Tensor) -> Tensor:
        """Latents as numbers in [0, 1], as a picture stores them."""
        return (x / (2 * self.config.latent_magnitude) + self.config.latent_shift).clamp(0, 1)

    def unscale_latents(self, x: Tensor) -> Tensor:
        """Latents of numbers in [0, 1]."""
        return (x - self.config.latent_shift) * (2 * self.config.latent_magnitude)

    @override
    def encode_in_strips(self, pictures: Tensor, rows: int, store: StripStore) -> Tensor:
        encoder: Any = self.encoder
        x = run_local(encoder.prepare, Strips.of(pictures, rows, store))
        return run_sequence(encoder.layers, x).to_tensor()

    @override
    def decode_in_strips(self, latents: Tensor, rows: int, store: StripStore) -> Tensor:
        decoder: Any = self.decoder
        x = run_local(decoder.prepare, Strips.of(latents, rows, store))
        return run_local(decoder.finish, run_sequence(decoder.layers, x)).to_tensor()


class EncoderTiny(nn.Module):
    """Pictures to latents."""

    def __init__(self, config: AutoencoderTinyConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(*self._make(config))

    @staticmethod
    def _make(config: AutoencoderTinyConfig) -> Iterator[nn.Module]:
        widths = config.encoder_block_out_channels
        for level, (width, count) in enumerate(zip(widths, config.num_encoder_blocks, strict=True)):
            if level == 0:
                yield _convolve(config.in_channels, width)
            else:
                yield nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False)
            for _ in range(count):
                yield TinyBlock(width, config.act_fn)
        yield _convolve(widths[-1], config.latent_channels)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, in_channels, H, W]` in [-1, 1] → `[batch, latent_channels, h, w]`."""
        return self.layers(self.prepare(x))  # type: ignore[no-any-return]

    @staticmethod
    def prepare(x: Tensor) -> Tensor:
        """Pictures in [0, 1] of pictures in [-1, 1]."""
        return (x + 1) / 2


class DecoderTiny(nn.Module):
    """Latents to pictures."""

    def __init__(self, config: AutoencoderTinyConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(*self._make(config))

    @staticmethod
    def _make(config: AutoencoderTinyConfig) -> Iterator[nn.Module]:
        widths, counts = config.decoder_block_out_channels, config.num_decoder_blocks
        yield _convolve(config.latent_channels, widths[0])
        yield ACTIVATIONS[config.act_fn]()
        for level, (width, count) in enumerate(zip(widths, counts, strict=True)):
            for _ in range(count):
                yield TinyBlock(width, config.act_fn)
            if level == len(widths) - 1:
                yield _convolve(width, config.out_channels)
            else:
                yield nn.Upsample(
                    scale_factor=config.upsampling_scaling_factor, mode=config.upsample_fn
                )
                yield nn.Conv2d(width, width, 3, padding=1, bias=False)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, latent_channels, h, w]` → `[batch, out_channels, H, W]` in [-1, 1]."""
        return self.finish(self.layers(self.prepare(x)))

    @staticmethod
    def prepare(x: Tensor) -> Tensor:
        """Latents, of which those far from pictures' are drawn in by a tanh."""
        return torch.tanh(x / 3) * 3

    @staticmethod
    def finish(x: Tensor) -> Tensor:
        """Pictures in [-1, 1] of pictures in [0, 1]."""
        return x * 2 - 1


class TinyBlock(Checkpointed):
    """Three convolutions around a residual."""

    reach: ClassVar[int] = 3
    """Rows on either side that a row depends on."""

    def __init__(self, channels: int, act_fn: str) -> None:
        super().__init__()
        activate = ACTIVATIONS[act_fn]()
        self.conv = nn.Sequential(
            _convolve(channels, channels),
            activate,
            _convolve(channels, channels),
            activate,
            _convolve(channels, channels),
        )
        self.fuse = nn.ReLU()

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Transform `[batch, channels, h, w]`."""
        return self.fuse(self.conv(x) + x)  # type: ignore[no-any-return]


def _convolve(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def find_tiny_beside(name: str | None) -> Path | None:
    """The folder of the tiny autoencoder beside a model; `None` where there is none at hand.

    Args:
        name: what the model was loaded from: a folder, `"dpnb/emoji-64"`, or anything else.
    """
    if name is None or Path(name).is_file():
        return None
    folder = local_folder(name)
    beside = None if folder is None else folder / BESIDE
    return beside if beside is not None and beside.is_dir() else None


def read_tiny_shape(source: str) -> tuple[int, int] | None:
    """Channels of the latents, and pixels for each along one side, of the one in a folder.

    Args:
        source: the folder; of a repository nothing is read, and `None` returned.

    Raises:
        CheckpointError: there is none in it.
    """
    folder = local_folder(source)
    if folder is None:
        return None
    settings = folder / CONFIG
    state = settings.stat() if settings.is_file() else None
    return _read_shape(source, None if state is None else (state.st_mtime_ns, state.st_size))


@lru_cache(16)
def _read_shape(source: str, state: tuple[int, int] | None) -> tuple[int, int]:
    """The same of a folder whose settings were written at a time, and are so many bytes."""
    with init_on_meta():
        tiny = AutoencoderTiny.from_config(AutoencoderTiny.load_config(source))
    return tiny.config.latent_channels, tiny.scale
