from __future__ import annotations

import pytest

from dpnb.errors import CheckpointError, VariantError
from dpnb.loading.file_selection import select_model_files, select_pipeline_files
from dpnb.loading.model_index import ModelIndex

INDEX = ModelIndex(
    class_name="StableDiffusionPipeline",
    components={
        "scheduler": ("diffusers", "PNDMScheduler"),
        "text_encoder": ("transformers", "CLIPTextModel"),
        "tokenizer": ("transformers", "CLIPTokenizer"),
        "unet": ("diffusers", "UNet2DConditionModel"),
        "safety_checker": None,
    },
)
PLAIN = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "unet/config.json",
]
UNET = "unet/diffusion_pytorch_model"
SAFETENSORS = ["text_encoder/model.safetensors", f"{UNET}.safetensors"]
FP16 = ["text_encoder/model.fp16.safetensors", f"{UNET}.fp16.safetensors"]
BIN = ["text_encoder/pytorch_model.bin", f"{UNET}.bin"]
OTHERS = [
    "README.md",
    ".gitattributes",
    "v1-5-pruned.safetensors",
    "v1-5-pruned.ckpt",
    "feature_extractor/preprocessor_config.json",
    "safety_checker/model.safetensors",
    "text_encoder/flax_model.msgpack",
    "unet/diffusion_flax_model.msgpack",
    "unet/model.onnx",
    "unet/weights.pb",
    "unet/deep/config.json",
]


def test_safetensors_of_every_component_are_chosen_and_nothing_else() -> None:
    chosen = select_pipeline_files([*OTHERS, *PLAIN, *SAFETENSORS, *BIN, *FP16], INDEX)
    assert chosen == sorted([*PLAIN, *SAFETENSORS])


def test_the_order_of_the_list_does_not_matter() -> None:
    files = [*OTHERS, *PLAIN, *SAFETENSORS]
    assert select_pipeline_files(files, INDEX) == select_pipeline_files(files[::-1], INDEX)


def test_bin_is_chosen_throughout_if_one_component_lacks_safetensors() -> None:
    assert select_pipeline_files([*PLAIN, *SAFETENSORS[:1], *BIN], INDEX) == sorted([*PLAIN, *BIN])


def test_a_component_with_one_format_only_still_gets_its_weights() -> None:
    mixed = [SAFETENSORS[0], BIN[1]]
    assert select_pipeline_files([*PLAIN, *mixed], INDEX) == sorted([*PLAIN, *mixed])


def test_the_format_asked_for_is_chosen_or_refused() -> None:
    files = [*PLAIN, *SAFETENSORS, *BIN]
    assert select_pipeline_files(files, INDEX, use_safetensors=False) == sorted([*PLAIN, *BIN])
    with pytest.raises(CheckpointError, match="text_encoder has no safetensors weights; leave out"):
        select_pipeline_files([*PLAIN, *BIN], INDEX, use_safetensors=True)
    with pytest.raises(CheckpointError, match="text_encoder has no bin weights; leave out"):
        select_pipeline_files([*PLAIN, *SAFETENSORS], INDEX, use_safetensors=False)


def test_a_variant_is_chosen_where_a_component_has_it() -> None:
    files = [*PLAIN, *SAFETENSORS, *FP16]
    assert select_pipeline_files(files, INDEX, variant="fp16") == sorted([*PLAIN, *FP16])
    files.remove(FP16[0])
    assert select_pipeline_files(files, INDEX, variant="fp16") == sorted(
        [*PLAIN, SAFETENSORS[0], FP16[1]]
    )


def test_a_variant_that_is_nowhere_names_those_that_are_there() -> None:
    with pytest.raises(CheckpointError, match="=fp`, which are not here; the variants are 'fp16'"):
        select_pipeline_files([*PLAIN, *SAFETENSORS, *FP16], INDEX, variant="fp")
    with pytest.raises(VariantError, match="`variant=fp16`, which are not here; leave out"):
        select_pipeline_files([*PLAIN, *SAFETENSORS], INDEX, variant="fp16")
    assert {CheckpointError, ValueError} <= {*VariantError.__mro__}


@pytest.mark.parametrize(
    "weights",
    [
        [f"{UNET}.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
        + [f"{UNET}.safetensors.index.fp16.json"],
        [f"{UNET}-0000{n}-of-00002.fp16.safetensors" for n in (1, 2)]
        + [f"{UNET}.safetensors.fp16.index.json"],
    ],
)
def test_shards_come_with_their_index(weights: list[str]) -> None:
    files = [*PLAIN, *SAFETENSORS, *weights]
    assert select_pipeline_files(files, INDEX, variant="fp16") == sorted(
        [*PLAIN, SAFETENSORS[0], *weights]
    )
    assert select_pipeline_files(files, INDEX) == sorted([*PLAIN, *SAFETENSORS])


def test_components_that_are_passed_are_not_fetched() -> None:
    chosen = select_pipeline_files([*PLAIN, *SAFETENSORS], INDEX, passed=["unet", "tokenizer"])
    assert not [file for file in chosen if file.startswith(("unet", "tokenizer"))]
    only_bin = [*PLAIN, SAFETENSORS[0], BIN[1]]
    assert SAFETENSORS[0] in select_pipeline_files(only_bin, INDEX, passed=["unet"])


def test_files_that_the_index_ignores_are_not_fetched() -> None:
    index = ModelIndex(INDEX.class_name, INDEX.components, ignored=("tokenizer/merges.txt",))
    assert "tokenizer/merges.txt" not in select_pipeline_files([*PLAIN, *SAFETENSORS], index)


def test_onnx_files_come_when_asked_for() -> None:
    index = ModelIndex("OnnxPipeline", {"unet": ("diffusers", "OnnxRuntimeModel")})
    files = ["model_index.json", "unet/model.onnx", "unet/weights.pb"]
    assert select_pipeline_files(files, index) == files[:1]
    assert select_pipeline_files(files, index, use_onnx=True) == files


def test_a_single_model_is_chosen_out_of_its_folder() -> None:
    files = [*OTHERS, *PLAIN, *SAFETENSORS, *FP16, *BIN]
    assert select_model_files(files, "unet") == ["unet/config.json", SAFETENSORS[1]]
    assert select_model_files(files, "unet/", variant="fp16") == ["unet/config.json", FP16[1]]
    assert select_model_files(["config.json", "a/b", "model.safetensors"]) == [
        "config.json",
        "model.safetensors",
    ]
    assert select_model_files(files, "scheduler") == ["scheduler/scheduler_config.json"]
    with pytest.raises(CheckpointError, match="The repository has no folder 'vae'; check"):
        select_model_files(files, "vae")


def test_onnx_files_come_beside_the_weights_where_they_are_asked_for() -> None:
    files = [*OTHERS, *PLAIN, *SAFETENSORS]
    more = {"unet/model.onnx", "unet/weights.pb"}
    assert set(select_pipeline_files(files, INDEX, use_onnx=True)) == {*PLAIN, *SAFETENSORS, *more}


def test_code_comes_where_it_may_run() -> None:
    code = ["pipeline.py", "helper.py", "unet/own.py", "deep/er/helper.py"]
    files = [*code, *PLAIN, *SAFETENSORS]
    assert select_pipeline_files(files, INDEX) == sorted([*PLAIN, *SAFETENSORS])
    assert set(select_pipeline_files(files, INDEX, with_code=True)) == {*PLAIN, *SAFETENSORS, *code}
