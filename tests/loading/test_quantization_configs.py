"""Configurations of a quantization by the names of other packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb
from dpnb.nn.quantized import quantization_of
from tests.strategies.pipes import build

NF4 = dpnb.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
INT8 = dpnb.BitsAndBytesConfig(load_in_8bit=True)


def quantized(pipe: Any) -> set[str]:
    return {
        name
        for name, part in pipe.components.items()
        if isinstance(part, torch.nn.Module)
        and any(quantization_of(layer) for layer in part.modules())
    }


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (
            dpnb.PipelineQuantizationConfig(
                "bitsandbytes_8bit", {"load_in_8bit": True}, components_to_quantize="unet"
            ),
            {"unet"},
        ),
        (
            dpnb.PipelineQuantizationConfig("bitsandbytes_8bit", {"load_in_8bit": True}),
            {"unet", "text_encoder"},
        ),
        (
            dpnb.PipelineQuantizationConfig(quant_mapping={"text_encoder": INT8}),
            {"text_encoder"},
        ),
    ],
)
def test_the_networks_that_are_named_are_quantized(
    tmp_path: Path, config: Any, names: set[str]
) -> None:
    build("tiny-sd").save_pretrained(tmp_path)
    pipe = dpnb.StableDiffusionPipeline.from_pretrained(tmp_path, quantization_config=config)
    assert quantized(pipe) == names


def test_what_contradicts_itself_is_refused() -> None:
    kind = dpnb.PipelineQuantizationConfig
    with pytest.raises(ValueError, match=r"quant_backend chooses one way.*give one of them"):
        kind()
    with pytest.raises(ValueError, match="give one of them"):
        kind("torchao", {"quant_type": None}, quant_mapping={"unet": NF4})
    with pytest.raises(ValueError, match="quant_kwargs says how torchao is to store weights"):
        kind("torchao")
    with pytest.raises(TypeError, match="is no configuration of a quantization"):
        kind(quant_mapping={"unet": object()})
