"""Quantization beside diffusers': its configurations mean the same, and make the same weights."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
import transformers
from diffusers.quantizers import PipelineQuantizationConfig
from torchao.quantization import Int8WeightOnlyConfig

import dpnb
from dpnb.errors import QuantizationError
from dpnb.nn.quantized import plain_tensors, quantization_of
from tests.reference.conftest import Written

INT8 = Int8WeightOnlyConfig(set_inductor_config=False)

BY_NAME = PipelineQuantizationConfig(
    quant_mapping={
        "unet": diffusers.TorchAoConfig(INT8, modules_to_not_convert=["proj"]),
        "text_encoder": transformers.TorchAoConfig(INT8, modules_to_not_convert=["fc1"]),
    }
)


def loaded(library: Any, folder: Any, config: Any) -> Any:
    pipe = library.DiffusionPipeline.from_pretrained(
        folder, quantization_config=config, dtype=torch.bfloat16
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stored(network: torch.nn.Module) -> dict[str, list[torch.Tensor]]:
    """What the quantized weights of a network are made of, by name."""
    return {
        name: parts
        for name, parameter in network.named_parameters()
        if len(parts := plain_tensors(parameter)) > 1
    }


def test_the_same_layers_hold_the_same_bits(written: Written) -> None:
    folder, _ = written("sd1")
    ours, theirs = loaded(dpnb, folder, BY_NAME), loaded(diffusers, folder, BY_NAME)
    for component in ("unet", "text_encoder"):
        mine, other = stored(getattr(ours, component)), stored(getattr(theirs, component))
        assert mine.keys() == other.keys()
        assert mine
        for name, parts in mine.items():
            assert all(map(torch.equal, parts, other[name]))


def test_what_diffusers_has_quantized_is_not_taken_over(written: Written) -> None:
    folder, _ = written("sd1")
    theirs = loaded(diffusers, folder, BY_NAME)
    with pytest.raises(QuantizationError, match="with int8 weights cannot be taken over; load it"):
        dpnb.StableDiffusionPipeline.from_pipe(theirs)


def test_the_same_picture(written: Written) -> None:
    folder, _ = written("sd1")
    pictures = []
    for library in (dpnb, diffusers):
        pipe = loaded(library, folder, BY_NAME)
        generator = torch.Generator().manual_seed(0)
        settings = {"num_inference_steps": 2, "output_type": "np", "height": 32, "width": 32}
        images = pipe("a red fox", generator=generator, **settings).images
        pictures.append(torch.from_numpy(images))
    assert (pictures[0] - pictures[1]).abs().max() < 0.03


@pytest.mark.parametrize(
    ("backend", "kwargs", "stored_as"),
    [
        ("bitsandbytes_8bit", {"load_in_8bit": True}, "int8"),
        ("bitsandbytes_4bit", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4"),
    ],
)
def test_one_backend_for_components(
    written: Written, backend: str, kwargs: dict[str, Any], stored_as: str
) -> None:
    folder, _ = written("sd1")
    config = PipelineQuantizationConfig(
        quant_backend=backend, quant_kwargs=kwargs, components_to_quantize=["unet"]
    )
    ours = loaded(dpnb, folder, config)
    assert quantization_of(ours.unet) == stored_as
    assert quantization_of(ours.text_encoder) is None


def test_one_backend_for_all(written: Written) -> None:
    folder, _ = written("sd1")
    config = PipelineQuantizationConfig(
        quant_backend="bitsandbytes_8bit", quant_kwargs={"load_in_8bit": True}
    )
    ours = loaded(dpnb, folder, config)
    found = [quantization_of(part) for part in (ours.unet, ours.text_encoder, ours.vae)]
    assert found == ["int8", "int8", None]
