"""How the weights of a pipeline are stored, in words."""

from __future__ import annotations

from torch import nn

from dpnb.nn.quantized import quantization_of
from dpnb.pipelines.pipeline import DiffusionPipeline


def quantized_weights(pipe: DiffusionPipeline) -> str:
    """The components whose weights are quantized, as in `"unet int8, text_encoder fp8"`."""
    return ", ".join(
        f"{name} {kind}"
        for name, part in pipe.parts().items()
        if isinstance(part, nn.Module) and (kind := quantization_of(part)) is not None
    )
