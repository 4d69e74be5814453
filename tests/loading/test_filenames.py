from __future__ import annotations

import pytest

from dpnb.loading.filenames import Extension, WeightName, index_name, is_bare, weight_name


@pytest.mark.parametrize("stem", ["diffusion_pytorch_model", "model"])
@pytest.mark.parametrize("extension", ["safetensors", "bin"])
@pytest.mark.parametrize("variant", [None, "fp16", "non_ema", "non-ema"])
@pytest.mark.parametrize("shard", [None, (2, 13)])
def test_parsing_undoes_naming(
    stem: str, extension: Extension, variant: str | None, shard: tuple[int, int] | None
) -> None:
    number, total = shard or (None, None)
    assert WeightName.parse(weight_name(stem, extension, variant, shard)) == WeightName(
        stem, variant, extension, number, total
    )
    assert WeightName.parse(index_name(stem, extension, variant)) == WeightName(
        stem, variant, extension, is_index=True
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model-00001-of-00002.fp16.safetensors", WeightName("model", "fp16", "safetensors", 1, 2)),
        ("pytorch_model.bin.fp16.index.json", WeightName("model", "fp16", "bin", is_index=True)),
    ],
)
def test_older_forms_of_variants_are_understood(name: str, expected: WeightName) -> None:
    assert WeightName.parse(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "model",
        "README",
        "",
        "config.json",
        "model.onnx",
        "model.msgpack",
        "v1-5-pruned.safetensors",
        "model.safetensors.json",
        "model.fp16.ema.safetensors",
        "model.fp16-00001-of-00002.fp16.safetensors",
        "diffusion_pytorch_model.safetensors.part",
    ],
)
def test_other_files_are_not_weights(name: str) -> None:
    assert WeightName.parse(name) is None


def test_transformers_bin_files_have_a_name_of_their_own() -> None:
    assert weight_name("model", "bin", None) == "pytorch_model.bin"
    assert weight_name("model", "safetensors", "fp16") == "model.fp16.safetensors"
    assert index_name("model", "bin", None) == "pytorch_model.bin.index.json"


@pytest.mark.parametrize("name", ["../a", "a/b", "/a", "a\\b", "..", ".", "", "a\0b", None, 1])
def test_names_that_lead_elsewhere_are_not_bare(name: object) -> None:
    assert not is_bare(name)
    assert is_bare("diffusion_pytorch_model-00001-of-00002.safetensors")
