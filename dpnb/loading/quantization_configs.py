"""Configurations of a quantization by the names of other packages.

Those of single networks are transformers' own; `from_pretrained` takes all of them, and
`Quantization`, as `quantization_config`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dpnb.loading.quantization import recipe_of
from dpnb.silence import silence_imports

with silence_imports():
    from transformers import BitsAndBytesConfig, TorchAoConfig

__all__ = ["BitsAndBytesConfig", "PipelineQuantizationConfig", "TorchAoConfig"]


@dataclass
class PipelineQuantizationConfig:
    """How the networks of a pipeline are quantized: some by one backend, or each in its own way.

    Args:
        quant_backend: `"bitsandbytes_4bit"`, `"bitsandbytes_8bit"` or `"torchao"`.
        quant_kwargs: what the configuration of that backend takes.
        components_to_quantize: the names of the networks; all big ones by default.
        quant_mapping: component → configuration, in place of these three.

    Raises:
        ValueError: both or neither are given.
        TypeError: what is in `quant_mapping` is no configuration.
    """

    quant_backend: str | None = None
    quant_kwargs: Mapping[str, Any] = field(default_factory=dict)
    components_to_quantize: Sequence[str] | str | None = None
    quant_mapping: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        self.quant_kwargs = self.quant_kwargs or {}
        if isinstance(self.components_to_quantize, str):
            self.components_to_quantize = [self.components_to_quantize]
        if (self.quant_backend is None) == (not self.quant_mapping):
            raise ValueError(
                "quant_backend chooses one way for several networks, and quant_mapping one for "
                "each; give one of them."
            )
        if self.quant_backend is not None and not self.quant_kwargs:
            raise ValueError(
                f"quant_kwargs says how {self.quant_backend} is to store weights; give it, for "
                'example {"load_in_4bit": True}.'
            )
        for value in (self.quant_mapping or {}).values():
            recipe_of(value)

    @property
    def is_granular(self) -> bool:
        """Whether each network has a configuration of its own."""
        return self.quant_mapping is not None
