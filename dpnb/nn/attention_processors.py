"""Names of ways to compute attention, for code that was written for other packages.

There a processor is the code of an attention layer. Here layers have kernels, which strategies
choose; a processor is the name of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from dpnb.nn.attention_backends import MathKernel
from dpnb.nn.attention_kernels import (
    Kernel,
    PartlyPerturbedKernel,
    SlicedKernel,
    XFormersKernel,
    op_name,
    plain_attention,
    sdpa,
)


@dataclass(frozen=True)
class AttentionProcessor:
    """The name of a kernel."""

    @property
    def kernel(self) -> Kernel:
        """The kernel."""
        raise NotImplementedError


@dataclass(frozen=True)
class AttnProcessor(AttentionProcessor):
    """Attention as two matrix products, which holds the whole attention matrix."""

    @property
    @override
    def kernel(self) -> Kernel:
        return plain_attention


@dataclass(frozen=True)
class AttnProcessor2_0(AttentionProcessor):  # noqa: N801 - its name in scripts
    """Torch's fused attention, `scaled_dot_product_attention`."""

    @property
    @override
    def kernel(self) -> Kernel:
        return sdpa


@dataclass(frozen=True)
class XFormersAttnProcessor(AttentionProcessor):
    """xFormers' memory-efficient attention.

    Args:
        attention_op: an operator of `xformers.ops`, or its name there.
    """

    attention_op: Any = None

    @property
    @override
    def kernel(self) -> Kernel:
        return XFormersKernel(op_name(self.attention_op))


@dataclass(frozen=True)
class PAGIdentitySelfAttnProcessor2_0(AttentionProcessor):  # noqa: N801 - its name in scripts
    """Torch's fused attention; in the second half of a batch every token sees itself alone."""

    looks: ClassVar[int] = 2

    @property
    @override
    def kernel(self) -> Kernel:
        return PartlyPerturbedKernel(self.looks)


@dataclass(frozen=True)
class PAGCFGIdentitySelfAttnProcessor2_0(PAGIdentitySelfAttnProcessor2_0):  # noqa: N801
    """Likewise, in the last third of a batch, which also has entries without prompt."""

    looks: ClassVar[int] = 3


def processor_of(kernel: Kernel) -> AttentionProcessor:
    """The name of a kernel; where it runs in slices, of that of one slice."""
    inner = kernel.inner if isinstance(kernel, SlicedKernel) else kernel
    if isinstance(inner, XFormersKernel):
        return XFormersAttnProcessor(inner.op)
    if isinstance(inner, PartlyPerturbedKernel):
        return perturbing_processor(without_prompt=inner.looks > 2)
    is_written_out = inner is plain_attention or inner == MathKernel()
    return AttnProcessor() if is_written_out else AttnProcessor2_0()


def perturbing_processor(*, without_prompt: bool) -> PAGIdentitySelfAttnProcessor2_0:
    """That of a batch whose last entries are perturbed.

    Args:
        without_prompt: whether it also has entries without prompt.
    """
    kind = PAGCFGIdentitySelfAttnProcessor2_0 if without_prompt else PAGIdentitySelfAttnProcessor2_0
    return kind()


def check_processor(processor: object) -> AttentionProcessor:
    """`processor`, if it is the name of a kernel.

    Raises:
        TypeError: it is code of one's own, which layers here do not run.
    """
    if isinstance(processor, AttentionProcessor):
        return processor
    raise TypeError(
        f"{type(processor).__name__} is code for attention layers of another package; attach a "
        "pipeline that has it, dpnb.attach(pipe), or give AttnProcessor2_0(), AttnProcessor() or "
        "XFormersAttnProcessor()."
    )
