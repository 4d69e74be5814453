"""The networks' own switches, by the names that people know.

A network that belongs to a pipeline shares what is switched on with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from torch import nn

from dpnb.models.coders import Coder, SlicedCoder, TiledCoder
from dpnb.models.copying import Copying
from dpnb.models.tiling.blended_tiles import OVERLAP
from dpnb.nn.attention import Attention
from dpnb.nn.attention_kernels import op_name
from dpnb.nn.attention_processors import (
    AttentionProcessor,
    AttnProcessor,
    AttnProcessor2_0,
    XFormersAttnProcessor,
    check_processor,
)
from dpnb.numbers import parse_bool
from dpnb.switchboard import SliceSize, Switchboard, Switchboards

NATIVE = "native"
"""Another package's name for torch's fused attention, which chooses among its kernels."""

XFORMERS = "xformers"
"""The same of xFormers."""

BACKENDS: Mapping[str, str] = {
    "_native_math": "math",
    "_native_flash": "flash",
    "_native_efficient": "efficient",
    "_native_cudnn": "cudnn",
    "flex": "flex",
    "sage": "sage",
    "flash": "flash_2",
    "_flash_3": "flash_3",
}
"""What else computes attention: the name that other packages have for it → that of a kernel."""


class NetworkSwitches:
    """What can be switched on and off at a network with attention."""

    part_name: ClassVar[str]
    """The name of the component that the network is in a pipeline: "unet", for example."""

    def enable_xformers_memory_efficient_attention(self, attention_op: Any = None) -> None:
        """See `dpnb.XFormers`; the pipeline's other networks stay as they are.

        Args:
            attention_op: an operator of `xformers.ops`, or its name there.
        """
        self._switchboard.use_xformers(op_name(attention_op))

    def disable_xformers_memory_efficient_attention(self) -> None:
        """Compute the attention of this network with torch's fused kernel."""
        self._switchboard.use_torch_attention()

    def fuse_qkv_projections(self) -> None:
        """See `dpnb.QKVFusion`; the pipeline's other networks stay as they are."""
        self._switchboard.fuse_projections()

    def unfuse_qkv_projections(self) -> None:
        """Make this network's query, key and value by three matrix products again."""
        self._switchboard.unfuse_projections()

    # --- how attention is computed ---

    @property
    def attn_processors(self) -> dict[str, AttentionProcessor]:
        """How each attention layer computes: a name for its kernel, by the layer's."""
        return {f"{name}.processor": layer.processor for name, layer in self._attentions().items()}

    def set_attn_processor(self, processor: Any) -> None:
        """Choose how attention is computed, by the name of a processor.

        Args:
            processor: `AttnProcessor2_0()`, `AttnProcessor()` or `XFormersAttnProcessor()`, or one
                for each layer, as `attn_processors` has them.

        Raises:
            TypeError: it is code of one's own, which layers here do not run.
            ValueError: xFormers is to compute some layers and not others, or some are not named.
        """
        if isinstance(processor, Mapping) and processor.keys() != self.attn_processors.keys():
            raise ValueError(
                f"The number of processors is {len(processor)}, and they must name the "
                f"{len(self.attn_processors)} attention layers of attn_processors; name those, or "
                "give one for all."
            )
        if not isinstance(processor, Mapping):
            processor = dict.fromkeys(self.attn_processors, processor)
        chosen = {name: check_processor(one) for name, one in processor.items()}
        first = next(iter(chosen.values()), AttnProcessor2_0())
        if isinstance(first, XFormersAttnProcessor) and {*chosen.values()} == {first}:
            self.enable_xformers_memory_efficient_attention(first.attention_op)
            return
        if any(isinstance(one, XFormersAttnProcessor) for one in chosen.values()):
            raise ValueError("xFormers computes all layers of a network alike; give one processor.")
        self.disable_xformers_memory_efficient_attention()
        if chosen != self.attn_processors:
            with cast(Copying, self).suspended():
                for name, layer in self._attentions().items():
                    layer.kernel = chosen[f"{name}.processor"].kernel

    def set_default_attn_processor(self) -> None:
        """Compute attention as two matrix products, as `AttnProcessor` does."""
        self.set_attn_processor(AttnProcessor())

    def set_attention_backend(self, backend: str) -> None:
        """See `dpnb.AttentionKernel`; the pipeline's other networks stay as they are.

        Args:
            backend: `"native"` for torch's choice, `"_native_math"`, `"_native_flash"`,
                `"_native_efficient"`, `"_native_cudnn"`, `"flex"`, `"xformers"`, `"sage"`,
                `"flash"` or `"_flash_3"`.

        Raises:
            ValueError: there is no such backend here.
            StrategyError: it cannot compute here, or another computes for other networks.
        """
        if backend == NATIVE:
            self.set_attn_processor(AttnProcessor2_0())
        elif backend == XFORMERS:
            self.enable_xformers_memory_efficient_attention()
        elif backend in BACKENDS:
            self._switchboard.use_kernel(BACKENDS[backend])
        else:
            known = ", ".join(f'"{name}"' for name in (*BACKENDS, XFORMERS))
            raise ValueError(
                f'backend is {backend!r}; use "native", where torch chooses, or one of {known}.'
            )

    def reset_attention_backend(self) -> None:
        """Compute attention with torch's fused kernel."""
        self.set_attention_backend(NATIVE)

    def _attentions(self) -> dict[str, Attention]:
        modules = cast(nn.Module, self).named_modules()
        return {name: module for name, module in modules if isinstance(module, Attention)}

    @property
    def _switchboard(self) -> Switchboard:
        return Switchboards.make(self, self.part_name)


class DenoiserSwitches(NetworkSwitches):
    """What can be switched on and off at a denoising network."""

    def set_attention_slice(self, slice_size: SliceSize | Sequence[int] | None = "auto") -> None:
        """See `dpnb.AttentionSlicing`, which serves the whole pipeline; `None` switches it off.

        Args:
            slice_size: the heads that attend at a time, or those of each layer, all alike.

        Raises:
            ValueError: it is more than there are, or says different numbers for some layers.
        """
        if isinstance(slice_size, (list, tuple)):
            count = len(self._attentions())
            if len({*slice_size}) != 1 or len(slice_size) != count:
                raise ValueError(
                    f"slice_size is {slice_size}; {count} layers attend here, over as many heads "
                    "at a time in each: give one number."
                )
            slice_size = slice_size[0]
        self._switchboard.slice_attention(cast(SliceSize, slice_size))


class TransformerSwitches(DenoiserSwitches):
    """What can be switched on and off at a transformer."""

    part_name: ClassVar[str] = "transformer"


class UNetSwitches(DenoiserSwitches):
    """What can be switched on and off at a UNet."""

    part_name: ClassVar[str] = "unet"

    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """See `dpnb.FreeU`."""
        self._switchboard.enable_freeu(s1, s2, b1, b2)

    def disable_freeu(self) -> None:
        """Join backbone and skips as they are."""
        self._switchboard.disable_freeu()


class AutoencoderSwitches(NetworkSwitches):
    """What can be switched on and off at an autoencoder."""

    part_name: ClassVar[str] = "vae"
    config: Any
    coder: Coder

    @property
    def scale(self) -> int:
        """Pixels per latent, along one side."""
        raise NotImplementedError

    def enable_tiling(
        self,
        use_tiling: bool = True,
        *,
        tile: int | None = None,
        spill: bool = False,
        blended: bool = False,
    ) -> None:
        """See `dpnb.VaeTiling`; `use_tiling=False` switches it off."""
        if parse_bool("use_tiling", use_tiling):
            self._switchboard.enable_tiling(tile, spill, blended)
        else:
            self.disable_tiling()

    def disable_tiling(self) -> None:
        """Decode and encode whole pictures."""
        self._switchboard.disable_tiling()

    def enable_slicing(self) -> None:
        """See `dpnb.VaeSlicing`."""
        self._switchboard.enable_slicing()

    @property
    def use_tiling(self) -> bool:
        """Whether pictures are decoded in strips; it may be set."""
        return isinstance(self._plain_coder, TiledCoder)

    @use_tiling.setter
    def use_tiling(self, use_tiling: bool) -> None:
        if parse_bool("use_tiling", use_tiling) != self.use_tiling:
            self.enable_tiling(use_tiling)

    @property
    def use_slicing(self) -> bool:
        """Whether the pictures of a batch are decoded one after the other; it may be set."""
        return isinstance(self.coder, SlicedCoder)

    @use_slicing.setter
    def use_slicing(self, use_slicing: bool) -> None:
        if parse_bool("use_slicing", use_slicing):
            self.enable_slicing()
        else:
            self.disable_slicing()

    def disable_slicing(self) -> None:
        """Decode and encode a batch at once."""
        self._switchboard.disable_slicing()

    # --- how large tiles are, by the names that other packages have for it ---

    @property
    def tile_sample_min_size(self) -> int:
        """Pixels of a tile, or of the pictures that it was trained for where none are chosen.

        While it is tiled, setting this is `enable_tiling(tile=...)`.
        """
        coder, trained = self._plain_coder, self.config.sample_size
        chosen = coder.tile if isinstance(coder, TiledCoder) else None
        return chosen or (trained if isinstance(trained, int) else trained[0])

    @tile_sample_min_size.setter
    def tile_sample_min_size(self, pixels: int) -> None:
        coder = self._plain_coder
        if not isinstance(coder, TiledCoder):
            raise ValueError(
                f"tiles are to have {pixels} pixels, and this autoencoder is not tiled; call "
                f"enable_tiling(tile={pixels}), which is dpnb.VaeTiling({pixels}) of a pipeline."
            )
        self.enable_tiling(tile=pixels, spill=coder.spill, blended=coder.blended)

    @property
    def tile_latent_min_size(self) -> int:
        """The same, in latents."""
        return self.tile_sample_min_size // self.scale

    @tile_latent_min_size.setter
    def tile_latent_min_size(self, latents: int) -> None:
        self.tile_sample_min_size = latents * self.scale

    @property
    def tile_overlap_factor(self) -> float:
        """What blended tiles share with their neighbours, of their side."""
        return 1 / OVERLAP

    @tile_overlap_factor.setter
    def tile_overlap_factor(self, factor: float) -> None:
        if factor != self.tile_overlap_factor:
            raise ValueError(
                f"tile_overlap_factor is {factor}; blended tiles overlap by "
                f"{self.tile_overlap_factor}, and strips, which are exact, need none: leave it out."
            )

    @property
    def _plain_coder(self) -> Coder:
        return self.coder.inner if isinstance(self.coder, SlicedCoder) else self.coder
