"""Multi-head attention, with a slot for its projection and one for its kernel."""

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.attention_kernels import ChosenKernel, Kernel, SlicedKernel, sdpa
from dpnb.nn.attention_processors import AttentionProcessor, check_processor, processor_of
from dpnb.nn.attention_projections import FUSED, SEPARATE, Projection
from dpnb.nn.channel_projection import is_channels_last, see_as_map
from dpnb.nn.inplace import add, multiply


class Attention(nn.Module):
    """Attention of `tokens` to themselves, or to a `context` (cross-attention).

    Args:
        dim: channels of the tokens.
        heads: number of heads.
        head_dim: channels of one head.
        context_dim: channels of the context; `None` where tokens attend to themselves.
        bias: whether query, key and value have a bias.
        projects_out: whether the output is projected back to `dim` channels.
    """

    projection: Projection
    kernel: Kernel

    def __init__(
        self,
        dim: int,
        heads: int,
        head_dim: int,
        context_dim: int | None = None,
        *,
        bias: bool = False,
        projects_out: bool = True,
    ) -> None:
        super().__init__()
        inner_dim = heads * head_dim
        source_dim = dim if context_dim is None else context_dim
        self.heads = heads
        self.head_dim = head_dim
        self.is_cross_attention = context_dim is not None
        self.to_q = nn.Linear(dim, inner_dim, bias=bias)
        self.to_k = nn.Linear(source_dim, inner_dim, bias=bias)
        self.to_v = nn.Linear(source_dim, inner_dim, bias=bias)
        if projects_out:
            self.to_out = nn.ModuleList([nn.Linear(inner_dim, dim)])
        self.projection = SEPARATE
        self.kernel = sdpa

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that it computes in; weights may be stored in another one."""
        return self.to_out[0].get_parameter("bias").dtype

    @property
    def processor(self) -> AttentionProcessor:
        """How it computes: the name of its kernel."""
        return processor_of(self.kernel)

    def get_processor(self) -> AttentionProcessor:
        """See `processor`."""
        return self.processor

    def set_processor(self, processor: AttentionProcessor) -> None:
        """Choose how this layer computes.

        Args:
            processor: `AttnProcessor2_0()` or `AttnProcessor()`.

        Raises:
            TypeError: it is code of one's own, which layers here do not run.
            ValueError: whole networks are switched to or from it.
        """
        kernel = check_processor(processor).kernel
        if any(isinstance(k, (SlicedKernel, ChosenKernel)) for k in (self.kernel, kernel)):
            raise ValueError(
                "slices and xFormers are for whole networks, as what AttentionKernel chooses is; "
                "call the network's set_attn_processor(...), and its set_attention_slice(None) to "
                "end slices."
            )
        self.kernel = kernel

    @property
    def fused_projections(self) -> bool:
        """Whether one matrix product makes several projections; see `dpnb.QKVFusion`."""
        return self.projection is FUSED

    @property
    def fusible_layers(self) -> dict[str, tuple[str, ...]]:
        """The layers that QKV fusion replaces by one, by the name of the fused layer."""
        if self.is_cross_attention:
            return {"to_kv": ("to_k", "to_v")}
        return {"to_qkv": ("to_q", "to_k", "to_v")}

    @override
    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            tokens: `[batch, tokens, dim]`.
            context: `[batch, context tokens, context_dim]`, or `None` for self-attention.

        Returns:
            A new tensor, `[batch, tokens, dim]`.
        """
        query, key, value = self.projection(self, tokens, tokens if context is None else context)
        out = self.attend(query, key, value)
        del query, key, value
        return self.project_out(out)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Run the kernel; each argument is `[batch, tokens, heads * head_dim]`.

        Returns:
            `[batch, heads, query tokens, head_dim]`.
        """
        return self.kernel(
            self._split_heads(query), self._split_heads(key), self._split_heads(value)
        )

    def project_out(self, out: Tensor) -> Tensor:
        """The output, `[batch, heads, tokens, head_dim]` → `[batch, tokens, dim]`."""
        return self.to_out[0](self.merge_heads(out))  # type: ignore[no-any-return]

    def merge_heads(self, out: Tensor) -> Tensor:
        """`[batch, heads, tokens, head_dim]` → `[batch, tokens, heads * head_dim]`."""
        return out.transpose(1, 2).reshape(out.shape[0], -1, self.heads * self.head_dim)

    def _split_heads(self, tokens: Tensor) -> Tensor:
        return tokens.view(tokens.shape[0], -1, self.heads, self.head_dim).transpose(1, 2)


class PictureAttention(Attention):
    """Self-attention of all positions of a feature map, with its norm and residual.

    Its output is divided by `divisor`.
    """

    divisor: float = 1

    def __init__(self, channels: int, *, groups: int, eps: float) -> None:
        super().__init__(channels, heads=1, head_dim=channels, bias=True)
        self.group_norm = nn.GroupNorm(groups, channels, eps=eps)

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """`x` plus its attention, `[batch, channels, height, width]`."""
        tokens = self.group_norm(x).flatten(2).transpose(1, 2).contiguous()
        attended = super().forward(tokens)
        if is_channels_last(x):
            out = add(see_as_map(attended, x.shape[2:]), x)
        else:
            out = add(attended.transpose(1, 2).reshape(x.shape), x)
        return out if self.divisor == 1 else multiply(out, 1 / self.divisor)
