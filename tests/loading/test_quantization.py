from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchao.quantization import Float8WeightOnlyConfig, FqnToConfig, Int8WeightOnlyConfig
from transformers import BitsAndBytesConfig, TorchAoConfig

import dpnb
from dpnb.errors import QuantizationError
from dpnb.loading.quantization import KINDS, BitsAndBytes, QuantizationPlan, recipe_of
from dpnb.loading.quantizer import choose_layers, probe, quantize
from dpnb.nn.quantized import nbytes_of, plain_tensors, quantization_of

ON_CPU = [
    ("int8", "torchao", "int8"),
    ("fp8", "torchao", "float8"),
    ("int8", "bitsandbytes", "int8"),
    ("nf4", "bitsandbytes", "nf4"),
    ("fp4", "bitsandbytes", "fp4"),
]

BYTES: dict[str, Callable[[int, int], int]] = {
    "int8 torchao": lambda ins, outs: outs * (ins + 4 + 1),
    "fp8 torchao": lambda ins, outs: outs * (ins + 4),
    "int8 bitsandbytes": lambda ins, outs: outs * (ins + 4),
    "nf4 bitsandbytes": lambda ins, outs: outs * ins // 2 + outs * ins // 64 * 4 + 16 * 4,
    "fp4 bitsandbytes": lambda ins, outs: outs * ins // 2 + outs * ins // 64 * 4 + 16 * 4,
}
"""Of a weight: its bits, a scale for every output or 64 inputs, a zero point or a table."""


class Net(nn.Module):
    """First and last layers, a norm, and two matrices between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 128)
        self.block = nn.Sequential(nn.Linear(128, 256), nn.LayerNorm(256), nn.Linear(256, 128))
        self.last = nn.Linear(128, 64)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.block(self.first(x)))
        return out


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.mark.parametrize(("kind", "backend", "label"), ON_CPU)
def test_matrices_inside_shrink_to_exactly_so_many_bytes(
    net: Net, kind: str, backend: str, label: str
) -> None:
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        plain = net(x)
    before = nbytes_of(net)
    quantize(net, dpnb.Quantization(kind, backend).recipe(), "net")
    small, full = BYTES[f"{kind} {backend}"], 128 * 256 * 4
    assert before - nbytes_of(net) == 2 * full - small(128, 256) - small(256, 128)
    assert quantization_of(net) == label
    assert [quantization_of(m) for m in (net.first, net.block[1], net.last)] == [None] * 3
    with torch.inference_mode():
        difference = (net(x) - plain).abs().max() / plain.abs().max()
    assert 0 < difference < (0.02 if label == "int8" else 0.25)


def test_layers_that_are_named_stay_as_they_are(net: Net) -> None:
    way = dpnb.Quantization("int8", modules_to_not_convert=("block.0",))
    quantize(net, way.recipe(), "net")
    assert type(net.block[0].weight) is nn.Parameter
    assert len(plain_tensors(net.get_parameter("block.2.weight"))) == 3


def test_a_name_may_be_what_a_part_ends_in(net: Net) -> None:
    way = dpnb.Quantization("int8", modules_to_not_convert=("ock.0",))
    assert list(choose_layers(net, way.recipe(), "net")) == ["block.2"]


def test_a_name_that_no_layer_has_is_refused_before_anything_changes(net: Net) -> None:
    way = dpnb.Quantization("int8", modules_to_not_convert=("blocks",))
    with pytest.raises(QuantizationError, match="names 'blocks', which net does not have"):
        quantize(net, way.recipe(), "net")
    assert quantization_of(net) is None


def test_layers_whose_inputs_do_not_divide_into_groups_stay(net: Net) -> None:
    recipe = dpnb.Quantization("int4", group_size=256).recipe()
    assert list(choose_layers(net, recipe, "net")) == ["block.2"]


def test_a_network_without_matrices_is_refused() -> None:
    with pytest.raises(QuantizationError, match="net has no linear layers that int8"):
        quantize(nn.Sequential(nn.Conv2d(3, 3, 1)), recipe_of("int8"), "net")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"kind": "int3"}, "cannot be stored as 'int3'; use int8, int4, fp8, nf4, fp4"),
        ({"kind": "nf4", "backend": "torchao"}, "'torchao' does not make nf4 weights"),
        ({"kind": "int8", "group_size": 32}, "group_size=32 is for int4"),
        ({"kind": "int4", "group_size": 0}, "group_size=0 is for int4, and 1 at the least"),
    ],
)
def test_what_no_package_does_is_refused(value: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        dpnb.Quantization(**value)


def test_a_quantization_is_a_value() -> None:
    names: Any = ["a"]
    way = dpnb.Quantization("int8", modules_to_not_convert=names)
    assert way == dpnb.Quantization("int8", modules_to_not_convert=("a",))
    assert len({way, way}) == 1


CONFIGURATIONS = [
    pytest.param("int8", "int8", "torchao", (), id="text"),
    pytest.param(dpnb.Quantization("int8", "bitsandbytes"), "int8", "bitsandbytes", (), id="ours"),
    pytest.param(Float8WeightOnlyConfig(), "Float8WeightOnlyConfig", "torchao", (), id="torchao"),
    pytest.param(
        TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=["a"]),
        "Int8WeightOnlyConfig",
        "torchao",
        ("a",),
        id="transformers-torchao",
    ),
    pytest.param(
        BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["a"]),
        "int8",
        "bitsandbytes",
        ("a",),
        id="transformers-8-bit",
    ),
    pytest.param(
        BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
        "nf4",
        "bitsandbytes",
        (),
        id="transformers-4-bit",
    ),
]


@pytest.mark.parametrize(("value", "label", "backend", "skipped"), CONFIGURATIONS)
def test_every_configuration_is_understood(
    value: Any, label: str, backend: str, skipped: tuple[str, ...]
) -> None:
    recipe = recipe_of(value)
    assert (recipe.label, recipe.backend, recipe.skipped) == (label, backend, skipped)
    assert QuantizationPlan.of(value).everywhere == recipe
    assert QuantizationPlan.of({"unet": value}).by_name == {"unet": recipe}
    again = recipe_of(recipe.for_transformers(torch.float16))
    assert (again.backend, again.settings, again.skipped) == (backend, recipe.settings, skipped)


def test_four_bits_compute_in_the_dtype_of_the_weights() -> None:
    given = recipe_of("nf4").for_transformers(torch.bfloat16)
    assert given.bnb_4bit_compute_dtype == torch.bfloat16
    assert not given.bnb_4bit_use_double_quant


def test_settings_of_bitsandbytes_are_taken_over() -> None:
    given = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=True,
    )
    settings = recipe_of(given).settings
    assert settings == BitsAndBytes("nf4", 6.0, torch.bfloat16, nested=True)
    assert recipe_of(BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=3.0)).settings == (
        BitsAndBytes("int8", 3.0)
    )


def test_one_way_for_all_leaves_autoencoder_and_checker_out() -> None:
    plan = QuantizationPlan.of("int8")
    names = ["unet", "text_encoder", "safety_checker", "vae"]
    assert set(plan.recipes(names)) == {"unet", "text_encoder"}
    assert QuantizationPlan.of(None).recipes(["unet"]) == {}


@pytest.mark.parametrize("component", ["transformer", "scheduler"])
def test_a_component_that_is_not_loaded_is_refused(component: str) -> None:
    plan = QuantizationPlan.of({component: "int8"})
    with pytest.raises(QuantizationError, match=f"names {component}; .* here are unet, vae"):
        plan.recipes(["unet", "vae"])


@pytest.mark.parametrize("value", [3, b"int8", {"unet": None}, SimpleNamespace()])
def test_what_is_no_configuration_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="is no configuration of a quantization"):
        QuantizationPlan.of(value)


def test_other_packages_are_not_served() -> None:
    with pytest.raises(QuantizationError, match="by 'gguf' is not served; use torchao or"):
        recipe_of(SimpleNamespace(quant_method="gguf"))
    with pytest.raises(QuantizationError, match="FqnToConfig does not say how every linear"):
        recipe_of(FqnToConfig({}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_that_is_missing_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = KINDS[kind][0]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(QuantizationError, match=f"{kind} weights need {package}.*pip install"):
        QuantizationPlan.of({"unet": kind})


def test_a_device_that_cannot_is_told_beforehand() -> None:
    with pytest.raises(QuantizationError, match="int4 weights of unet do not work in float32 on c"):
        probe(recipe_of("int4"), "unet", None, torch.float32)


@pytest.mark.parametrize(("kind", "backend", "label"), ON_CPU)
def test_finding_out_draws_no_random_numbers(kind: str, backend: str, label: str) -> None:
    state = torch.get_rng_state()
    probe(dpnb.Quantization(kind, backend).recipe(), label, None, torch.bfloat16)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_works_on_cuda(kind: str) -> None:
    probe(recipe_of(kind), "net", torch.device("cuda"), torch.bfloat16)
    net = Net().to(torch.bfloat16).eval()
    x = torch.randn(3, 64, dtype=torch.bfloat16)
    with torch.inference_mode():
        plain = net(x)
        quantize(net, recipe_of(kind), "net", torch.device("cuda"))
        assert {t.device.type for p in net.parameters() for t in plain_tensors(p)} == {"cuda"}
        difference = (net(x.to("cuda")).to("cpu") - plain).abs().max() / plain.abs().max()
    assert 0 < difference < 0.25


def test_a_model_alone_is_quantized_too(tmp_path: Path) -> None:
    dpnb.random_pipeline("tiny-sd").components["unet"].save_pretrained(tmp_path)
    unet = dpnb.UNet2DConditionModel.from_pretrained(tmp_path, quantization_config="int8")
    assert isinstance(unet, dpnb.UNet2DConditionModel)
    assert quantization_of(unet) == "int8"
    with pytest.raises(QuantizationError, match="UNet2DConditionModel holds int8 weights"):
        unet.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_components_of_a_pipeline_are_no_way_for_one_network(tmp_path: Path) -> None:
    vae_alone = dpnb.Quantization("int8", components=("vae",))
    with pytest.raises(QuantizationError, match="names components of a pipeline; give a network"):
        QuantizationPlan.of({"unet": vae_alone})
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    pipe.unet.save_pretrained(tmp_path)
    with pytest.raises(QuantizationError, match="names components of a pipeline; give a network"):
        dpnb.UNet2DConditionModel.from_pretrained(tmp_path, quantization_config=vae_alone)


def test_a_checkpoint_that_is_quantized_already_is_refused(tmp_path: Path) -> None:
    unet = dpnb.random_pipeline("tiny-sd").components["unet"]
    unet.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("{", '{"quantization_config": {"bits": 4},', 1))
    with pytest.raises(QuantizationError, match="holds weights that are quantized already"):
        dpnb.UNet2DConditionModel.from_pretrained(tmp_path)
