"""Which weight files are chosen, by the names that scripts ask it by."""

from __future__ import annotations

from importlib import import_module

import pytest

from dpnb.errors import VariantError
from dpnb.pipelines.foreign.weight_choice import (
    is_safetensors_compatible,
    variant_compatible_siblings,
)

UNET = "unet/diffusion_pytorch_model"
SHARDS = [f"{UNET}.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
INDEX = f"{UNET}.safetensors.index.fp16.json"


@pytest.mark.parametrize(
    ("files", "variant", "compatible"),
    [
        ([f"{UNET}.bin", f"{UNET}.safetensors"], None, True),
        ([f"{UNET}.safetensors", "text_encoder/pytorch_model.bin"], None, False),
        ([f"{UNET}.bin", f"{UNET}.fp16.safetensors"], None, False),
        ([f"{UNET}.bin", f"{UNET}.fp16.safetensors"], "fp16", True),
        ([f"{UNET}.fp16.bin", f"{UNET}.safetensors"], "fp16", False),
        ([f"{UNET}.bin", *SHARDS], "fp16", True),
        (["diffusion_pytorch_model.bin"], None, False),
        (["diffusion_pytorch_model.safetensors", "config.json"], None, True),
        ([], None, False),
    ],
)
def test_every_component_needs_safetensors(
    files: list[str], variant: str | None, compatible: bool
) -> None:
    assert is_safetensors_compatible(files, variant=variant) is compatible


def test_folders_can_be_left_out() -> None:
    files = [f"{UNET}.safetensors", "vae/diffusion_pytorch_model.bin"]
    assert is_safetensors_compatible(files, passed_components=["vae"])
    assert is_safetensors_compatible(files, folder_names={"unet"})
    assert not is_safetensors_compatible(files, folder_names={"vae"})


def test_a_component_gives_its_variant_or_its_plain_weights() -> None:
    plain = "vae/diffusion_pytorch_model.safetensors"
    both = [plain, f"{UNET}.safetensors", f"{UNET}.bin", *SHARDS, INDEX]
    assert variant_compatible_siblings(both, "fp16", ["*.bin"]) == (
        {plain, *SHARDS, INDEX},
        {*SHARDS, INDEX},
    )
    assert variant_compatible_siblings(both, None, ["*.bin"]) == (
        {plain, f"{UNET}.safetensors"},
        set(),
    )
    assert variant_compatible_siblings(["unet/model.onnx"], None, []) == (
        {"unet/model.onnx"},
        set(),
    )


def test_a_variant_that_is_nowhere_is_told() -> None:
    with pytest.raises(VariantError, match="`variant=fp16` there is no"):
        variant_compatible_siblings([f"{UNET}.safetensors", f"{UNET}.fp16.bin"], "fp16", ["*.bin"])


def test_scripts_find_both_where_they_know_them() -> None:
    place = import_module("dpnb.pipelines.pipeline_loading_utils")
    assert place.is_safetensors_compatible is is_safetensors_compatible
    assert place.variant_compatible_siblings is variant_compatible_siblings
