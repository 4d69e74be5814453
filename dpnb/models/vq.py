"""The vector-quantized autoencoder: its latents are entries of a codebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dpnb.loading.config import Config, Count, Side, Width
from dpnb.models.autoencoder import Autoencoder, Decoder, Encoder, Scale, check_blocks
from dpnb.models.supported_settings import check_supported
from dpnb.output import Output
from dpnb.validation import Range

COMMITMENT = 0.25
"""β of arXiv:1711.00937, eq. 3; here it weighs the codebook's term, as in diffusers."""

LATENTS_AT_ONCE = 1024
"""Latents that are compared with the whole codebook at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VQConfig(Config):
    """Settings of `VQModel`, by the names that `config.json` has."""

    use_quant_conv: ClassVar[bool] = True
    use_post_quant_conv: ClassVar[bool] = True
    latents_mean: ClassVar[None] = None
    latents_std: ClassVar[None] = None
    shift_factor: ClassVar[None] = None

    in_channels: Width = 3
    out_channels: Width = 3
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[Width, ...] = (64,)
    layers_per_block: Count = 1
    act_fn: str = "silu"
    latent_channels: Width = 3
    sample_size: Side | tuple[Side, ...] = 32
    num_vq_embeddings: Annotated[int, Range(1, 1 << 24)] = 256
    norm_num_groups: Width = 32
    vq_embed_dim: Width | None = None
    scaling_factor: Scale = 0.18215
    norm_type: str = "group"
    mid_block_add_attention: bool = True
    lookup_from_codebook: bool = False
    force_upcast: bool = False

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_supported("VQModel", self, {"act_fn": ("silu", "swish"), "norm_type": ("group",)})
        check_blocks("VQModel", self)


@dataclass(eq=False)
class VQEncoderOutput(Output):
    """What `VQModel.encode` returns: latents before quantization, `[batch, channels, h, w]`."""

    latents: Tensor


@dataclass(eq=False)
class VQDecoderOutput(Output):
    """What `VQModel.decode` returns.

    Args:
        sample: pictures, `[batch, out_channels, H, W]` in [-1, 1].
        commit_loss: the mean squared distance of latents and codebook, weighted for training.
    """

    sample: Tensor
    commit_loss: Tensor


class VQModel(Autoencoder):
    """A vector-quantized autoencoder (van den Oord et al. 2017, arXiv:1711.00937).

    Its slot `coder` decides how the encoder and the decoder are run: see `Coder`.
    """

    config_class: ClassVar[type[Config]] = VQConfig
    config: VQConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        config = self.config
        latents, width = config.latent_channels, config.vq_embed_dim or config.latent_channels
        self.encoder = Encoder(config, latents)
        self.quant_conv = nn.Conv2d(latents, width, 1)
        self.quantize = Codebook(config.num_vq_embeddings, width)
        self.post_quant_conv = nn.Conv2d(width, latents, 1)
        self.decoder = Decoder(config)

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """Encode pictures to latents.

        Args:
            x: `[batch, in_channels, H, W]` in [-1, 1]; H and W divisible by `scale`.
            return_dict: `False` returns a plain tuple.
        """
        output = VQEncoderOutput(self.coder.encode(self, x))
        return output.as_asked(return_dict)

    def decode(
        self,
        h: Tensor,
        force_not_quantize: bool = False,
        return_dict: bool = True,
        shape: tuple[int, ...] | None = None,
    ) -> Any:
        """Decode latents to pictures.

        Args:
            h: `[batch, channels, h, w]`, divided by `config.scaling_factor`; or, with
                `force_not_quantize` and `config.lookup_from_codebook`, indices of entries.
            force_not_quantize: decode the latents as they are, not the nearest entries.
            return_dict: `False` returns a plain tuple.
            shape: of the entries at these indices, `(batch, h, w, channels)`.
        """
        if not force_not_quantize:
            quantized, loss, _ = self.quantize(h)
        else:
            are_indices = self.config.lookup_from_codebook
            quantized = self.quantize.get_codebook_entry(h, shape) if are_indices else h
            loss = torch.zeros(h.shape[0], device=h.device, dtype=h.dtype)
        output = VQDecoderOutput(self.coder.decode(self, quantized), loss)
        return output.as_asked(return_dict)

    @override
    def forward(self, sample: Tensor, return_dict: bool = True) -> Any:
        """Encode and decode pictures `[batch, in_channels, H, W]`."""
        return self.decode(self.encode(sample).latents, return_dict=return_dict)


class Codebook(nn.Module):
    """The vectors that latents are quantized to.

    Args:
        count: how many there are.
        width: channels of each.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(count, width)
        with torch.no_grad():
            self.embedding.weight.uniform_(-1 / count, 1 / count)

    @override
    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, tuple[None, None, Tensor]]:
        """The nearest entry for every latent, and the loss for training.

        Args:
            latents: `[batch, channels, h, w]`.

        Returns:
            Entries, of the shape of `latents`, the loss, and a tuple of three, of which the last
            is the entries' indices, `[batch * h * w]`. Gradients pass through the entries as if
            they were the latents (straight-through estimator).
        """
        vectors = latents.permute(0, 2, 3, 1)
        flat = vectors.reshape(-1, vectors.shape[-1])
        nearest = torch.cat([self._nearest(some) for some in flat.split(LATENTS_AT_ONCE)])
        found = self.embedding(nearest).view(vectors.shape)
        loss = F.mse_loss(found.detach(), vectors) + COMMITMENT * F.mse_loss(
            found, vectors.detach()
        )
        passed = vectors + (found - vectors).detach()
        return passed.permute(0, 3, 1, 2).contiguous(), loss, (None, None, nearest)

    def _nearest(self, vectors: Tensor) -> Tensor:
        """The index of the nearest entry for each of `vectors` `[count, channels]`."""
        return torch.cdist(vectors, self.embedding.weight).argmin(dim=1)

    def get_codebook_entry(self, indices: Tensor, shape: tuple[int, ...] | None) -> Tensor:
        """The entries at `indices`: as `[batch, channels, h, w]`, where their shape is given.

        Args:
            indices: whole numbers.
            shape: `(batch, h, w, channels)`.
        """
        found: Tensor = self.embedding(indices)
        return found if shape is None else found.view(shape).permute(0, 3, 1, 2).contiguous()
