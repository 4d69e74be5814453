"""Attention by names that diffusers has for it, and by functions of the user's own.

In diffusers a processor is the code of one kind of attention. Here the kernels are (see
`dpnb.nn.attention_kernels`), which strategies choose; so the known names all mean the present one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from dpnb.nn.attention import Attention, PictureAttention
from dpnb.nn.rotary import RotaryAttention


class _Known:
    """Means the attention that a network computes anyway."""


class AttnProcessor(_Known):
    """Attention by its matrix, in diffusers; here by the kernel that is on."""


class AttnProcessor2_0(_Known):  # noqa: N801 - its name in diffusers
    """Attention by torch's fused kernel; here by the kernel that is on."""


class FluxAttnProcessor(_Known):
    """Attention with rotary embeddings, by the kernel that is on."""


class XFormersAttnProcessor(_Known):
    """Attention by xFormers, in diffusers; `dpnb.XFormers` switches it on here."""


Processor: TypeAlias = "_Known | Callable[..., Any]"


class SeenAttention:
    """A layer of attention as processors that others have written expect it.

    Attributes:
        heads: number of heads.
        scale: of the products of queries and keys.
        to_out: the projection back, and what stands for a dropout.
    """

    spatial_norm = norm_cross = norm_q = norm_k = None
    rescale_output_factor = 1.0
    upcast_attention = upcast_softmax = False

    def __init__(self, layer: Attention) -> None:
        self._layer = layer
        self.heads = layer.heads
        self.scale = layer.head_dim**-0.5
        self.to_q, self.to_k, self.to_v = layer.to_q, layer.to_k, layer.to_v
        self.to_out = [layer.to_out[0], nn.Identity()]
        self.is_cross_attention = layer.is_cross_attention
        self.residual_connection = isinstance(layer, PictureAttention)
        self.group_norm = layer.group_norm if isinstance(layer, PictureAttention) else None

    def prepare_attention_mask(
        self, attention_mask: None, target_length: int, batch_size: int, out_dim: int = 3
    ) -> None:
        """Nothing: no layer here is given a mask."""

    def head_to_batch_dim(self, tensor: Tensor, out_dim: int = 3) -> Tensor:
        """`[batch, tokens, channels]` → `[batch * heads, tokens, head_dim]`.

        Args:
            tensor: the tokens.
            out_dim: 4 keeps `batch` and `heads` apart.
        """
        batch, tokens, _ = tensor.shape
        parts = tensor.view(batch, tokens, self.heads, -1).transpose(1, 2)
        return parts.flatten(0, 1) if out_dim == 3 else parts

    def batch_to_head_dim(self, tensor: Tensor) -> Tensor:
        """`[batch * heads, tokens, head_dim]` → `[batch, tokens, channels]`."""
        _, tokens, channels = tensor.shape
        parts = tensor.view(-1, self.heads, tokens, channels)
        return parts.transpose(1, 2).flatten(2)

    def get_attention_scores(
        self, query: Tensor, key: Tensor, attention_mask: Tensor | None = None
    ) -> Tensor:
        """How much each query attends to each key, `[batch * heads, queries, keys]`."""
        scores = torch.matmul(query, key.transpose(-1, -2)) * self.scale
        if attention_mask is not None:
            scores = scores + attention_mask
        return torch.softmax(scores, dim=-1)


@dataclass(frozen=True, eq=False)
class ProcessedAttention:
    """Stands for the `forward` of a layer of attention.

    Attributes:
        compute: the layer's own.
        layer: as processors expect it.
        processor: computes in its place, unless it only names what the layer does.
    """

    compute: Callable[..., Tensor]
    layer: SeenAttention
    processor: Processor

    def __call__(self, tokens: Tensor, context: Tensor | None = None, **more: Any) -> Any:
        """Attend."""
        if isinstance(self.processor, _Known):
            return self.compute(tokens, context, **more)
        return self.processor(self.layer, tokens, encoder_hidden_states=context)


class AttentionProcessors(nn.Module):
    """A network whose attention is chosen by names and functions."""

    @property
    def attn_processors(self) -> dict[str, Processor]:
        """What computes each layer of attention, by its name."""
        return {f"{name}.processor": _processor_of(layer) for name, layer in self._attentions()}

    def set_attn_processor(self, processor: Processor | Mapping[str, Processor]) -> None:
        """Let a function compute attention: all of it, or by the names that `attn_processors` has.

        Args:
            processor: called with the layer, the tokens and `encoder_hidden_states`, the context;
                or the processor of a known name, which means the network's own attention.

        Raises:
            ValueError: some layers get none, or a function is given to a layer with rotary
                embeddings.
        """
        named = dict(self._attentions())
        processors = (
            {name.removesuffix(".processor"): one for name, one in processor.items()}
            if isinstance(processor, Mapping)
            else dict.fromkeys(named, processor)
        )
        if processors.keys() != named.keys():
            raise ValueError(
                f"{len(processors)} processors are given for {len(named)} layers of attention; "
                "give one for each name of attn_processors, or one for all."
            )
        for name, layer in named.items():
            if isinstance(layer, RotaryAttention) and not isinstance(processors[name], _Known):
                raise ValueError(
                    f"{type(self).__name__} rotates queries and keys within its attention, which "
                    "no function replaces here; choose another attention by a strategy."
                )
        for name, layer in named.items():
            _reset(layer)
            _set(layer, processors[name])

    def set_default_attn_processor(self) -> None:
        """Let every layer compute its own attention again."""
        for _, layer in self._attentions():
            _reset(layer)
            _set(layer, AttnProcessor())

    def _attentions(self) -> Iterator[tuple[str, Attention]]:
        return ((n, layer) for n, layer in self.named_modules() if isinstance(layer, Attention))


def _processor_of(layer: Attention) -> Processor:
    forward = layer.forward
    if isinstance(forward, ProcessedAttention):
        return forward.processor
    return FluxAttnProcessor() if isinstance(layer, RotaryAttention) else AttnProcessor2_0()


def _set(layer: Attention, processor: Processor) -> None:
    if isinstance(layer, RotaryAttention):
        return
    vars(layer)["forward"] = ProcessedAttention(layer.forward, SeenAttention(layer), processor)


def _reset(layer: Attention) -> None:
    if isinstance(layer.forward, ProcessedAttention):
        del vars(layer)["forward"]
