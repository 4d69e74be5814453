"""Names of ways to compute attention, for code that was written for other packages.

There a processor is the code of an attention layer. Here layers have kernels, which strategies
choose; a processor is the name of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AttentionProcessor:
    """The name of a kernel."""


@dataclass(frozen=True)
class AttnProcessor(AttentionProcessor):
    """Attention as two matrix products; here computed by torch's fused kernel all the same."""


@dataclass(frozen=True)
class AttnProcessor2_0(AttentionProcessor):  # noqa: N801 - its name in scripts
    """Torch's fused attention, `scaled_dot_product_attention`."""


@dataclass(frozen=True)
class XFormersAttnProcessor(AttentionProcessor):
    """xFormers' memory-efficient attention.

    Args:
        attention_op: an operator of `xformers.ops`, or its name there.
    """

    attention_op: Any = None
