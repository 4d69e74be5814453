"""Adapters in all their forms: what they change, and in which words they are refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor, nn

import dpnb
from dpnb.errors import CheckpointError
from dpnb.loading.adapters.adapter_changes import parse_adapter
from dpnb.loading.adapters.adapter_files import METADATA, StoredAdapter, read_adapter
from dpnb.strategies.fused import apply_changes

PIPES: dict[str, Any] = {
    name: dpnb.random_pipeline(name) for name in ("tiny-sd", "tiny-sdxl", "tiny-flux")
}
RANDOM = torch.Generator().manual_seed(0)
TO_Q = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


def components(family: str) -> dict[str, nn.Module | None]:
    parts = PIPES[f"tiny-{family}"].components.items()
    return {name: part for name, part in parts if part is None or isinstance(part, nn.Module)}


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=RANDOM)


def pair(weight: Tensor, rank: int = 2) -> tuple[Tensor, Tensor]:
    """A random down and up for a weight."""
    return random(rank, *weight.shape[1:]), random(weight.shape[0], rank)


def weights(family: str, tensors: dict[str, Tensor], **absent: None) -> dict[str, Tensor]:
    """Every parameter that the adapter changes, as it is then."""
    parts = components(family) | absent
    found = parse_adapter(StoredAdapter(tensors), parts)
    return {
        f"{name}.{key}": apply_changes(network.get_parameter(key).data, [change])
        for name, changes in found.items()
        for key, change in changes.items()
        if (network := parts[name]) is not None
    }


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=1e-5), name


NAMES = {
    ("sd", "lora_te_text_model_encoder_layers_0_mlp_fc1"): "text_encoder.encoder.layers.0.mlp.fc1",
    ("sdxl", "lora_te2_text_projection"): "text_encoder_2.text_projection",
    ("sdxl", "text_encoders.clip_g.transformer.text_model.encoder.layers.0.self_attn.q_proj"): (
        "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj"
    ),
    ("sdxl", "diffusion_model.middle_block.0.in_layers.2"): "unet.mid_block.resnets.0.conv1",
    ("flux", "lora_te1_text_model_encoder_layers_0_self_attn_q_proj"): (
        "text_encoder.encoder.layers.0.self_attn.q_proj"
    ),
    ("flux", "lora_te3_encoder_block_0_layer_0_SelfAttention_q"): (
        "text_encoder_2.encoder.block.0.layer.0.SelfAttention.q"
    ),
    ("flux", "text_encoders.t5xxl.transformer.encoder.block.0.layer.1.DenseReluDense.wo"): (
        "text_encoder_2.encoder.block.0.layer.1.DenseReluDense.wo"
    ),
    ("flux", "lora_unet_final_layer_linear"): "transformer.proj_out",
    ("flux", "final_layer.linear"): "transformer.proj_out",
    ("flux", "double_blocks.0.processor.proj_lora2"): (
        "transformer.transformer_blocks.0.attn.to_add_out"
    ),
    ("flux", "single_blocks.0.processor.proj_lora"): (
        "transformer.single_transformer_blocks.0.proj_out"
    ),
    ("flux", "base_model.model.time_in.in_layer"): (
        "transformer.time_text_embed.timestep_embedder.linear_1"
    ),
}


@pytest.mark.parametrize(("family", "theirs"), NAMES, ids=str)
def test_a_name_of_others_means_a_layer_here(family: str, theirs: str) -> None:
    ours = NAMES[family, theirs]
    component, _, layer = ours.partition(".")
    network = components(family)[component]
    assert network is not None
    down, up = pair(network.get_submodule(layer).get_parameter("weight"))
    plain = {f"{ours}.lora_A.weight": down, f"{ours}.lora_B.weight": up}
    words = ("down", "up") if ".processor." in theirs else ("lora_down", "lora_up")
    given = dict(zip((f"{theirs}.{word}.weight" for word in words), (down, up), strict=True))
    assert_equal(weights(family, given), weights(family, plain))


@pytest.mark.parametrize(
    "stem", ["lora_unet_final_layer_adaLN_modulation_1", "final_layer.adaLN_modulation.1"]
)
@pytest.mark.parametrize("is_whole", [True, False])
def test_the_last_modulation_of_flux_has_its_halves_the_other_way(
    stem: str, is_whole: bool
) -> None:
    name = "norm_out.linear"
    layer = PIPES["tiny-flux"].transformer.get_submodule(name)
    down, up = pair(layer.weight)
    shift, scale = up.chunk(2)
    given = {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
    bias = random(layer.bias.shape[0])
    if is_whole:
        given = {f"{stem}.diff": up @ down, f"{stem}.diff_b": bias}
    found = weights("flux", given)
    expected = layer.weight + torch.cat([scale, shift]) @ down
    assert torch.allclose(found[f"transformer.{name}.weight"], expected, atol=1e-5)
    if is_whole:
        whole = layer.bias + torch.cat(bias.chunk(2)[::-1])
        assert torch.allclose(found[f"transformer.{name}.bias"], whole, atol=1e-5)


@pytest.mark.parametrize(
    ("stem", "layers"),
    [
        ("double_blocks.0.processor.qkv_lora1", "transformer_blocks.0.attn.to_{}"),
        ("double_blocks.0.processor.qkv_lora2", "transformer_blocks.0.attn.add_{}_proj"),
        ("single_blocks.1.processor.qkv_lora", "single_transformer_blocks.1.attn.to_{}"),
    ],
)
def test_what_xlabs_joins_is_parted(stem: str, layers: str) -> None:
    names = [layers.format(x) for x in "qkv"]
    plain = [PIPES["tiny-flux"].transformer.get_submodule(name).weight for name in names]
    down, up = pair(torch.cat(plain))
    found = weights("flux", {f"{stem}.down.weight": down, f"{stem}.up.weight": up})
    for name, weight, rows in zip(names, plain, up.chunk(3), strict=True):
        assert torch.allclose(found[f"transformer.{name}.weight"], weight + rows @ down, atol=1e-5)


def test_more_than_products_is_added(caplog: pytest.LogCaptureFixture) -> None:
    unet = PIPES["tiny-sd"].unet
    layer, norm = unet.get_submodule("mid_block.resnets.0.conv1"), unet.mid_block.resnets[0].norm1
    down, up = pair(layer.weight)
    bias, weight = random(layer.bias.shape[0]), random(*norm.weight.shape)
    theirs = "lora_unet_mid_block_resnets_0"
    found = weights(
        "sd",
        {
            f"{theirs}_conv1.lora_down.weight": down,
            f"{theirs}_conv1.lora_up.weight": up[..., None, None],
            f"{theirs}_conv1.alpha": torch.tensor(1),
            f"{theirs}_conv1.diff_b": bias,
            f"{theirs}_norm1.w_norm": weight,
            f"{theirs}_norm1.b_norm": bias,
            "unet.mid_block.resnets.1.conv1.lora_A.weight": down,
            "unet.mid_block.resnets.1.conv1.lora_B.weight": up,
            "unet.mid_block.resnets.1.conv1.lora_B.bias": bias,
            "unet.conv_norm_out.weight": torch.ones(16),
        },
    )
    product = (up @ down.flatten(1)).view(layer.weight.shape)
    other = unet.mid_block.resnets[1].conv1
    for name, value in {
        "mid_block.resnets.0.conv1.weight": layer.weight + product / 2,
        "mid_block.resnets.0.conv1.bias": layer.bias + bias,
        "mid_block.resnets.0.norm1.weight": norm.weight + weight,
        "mid_block.resnets.0.norm1.bias": norm.bias + bias,
        "mid_block.resnets.1.conv1.weight": other.weight + product,
        "mid_block.resnets.1.conv1.bias": other.bias + bias,
        "conv_norm_out.weight": torch.ones(16),
    }.items():
        assert torch.allclose(found.pop(f"unet.{name}"), value, atol=1e-5), name
    assert found == {}


def test_embeddings_change_by_products_too() -> None:
    table = PIPES["tiny-sd"].text_encoder.get_submodule("embeddings.token_embedding").weight
    a, b = random(2, table.shape[0]), random(table.shape[1], 2)
    name = "text_encoder.text_model.embeddings.token_embedding"
    found = weights("sd", {f"{name}.lora_embedding_A": a, f"{name}.lora_embedding_B": b})
    assert torch.allclose(next(iter(found.values())), table + (b @ a).t(), atol=1e-5)


def test_the_norms_of_flux_are_replaced() -> None:
    norm = PIPES["tiny-flux"].transformer.transformer_blocks[0].attn.norm_added_k.weight
    values = random(*norm.shape)
    down, up = pair(PIPES["tiny-flux"].transformer.proj_out.weight)
    product = {"final_layer.linear.lora_A.weight": down, "final_layer.linear.lora_B.weight": up}
    for name in (
        "double_blocks.0.txt_attn.norm.key_norm.scale",
        "transformer.transformer_blocks.0.attn.norm_added_k.weight",
    ):
        found = weights("flux", product | {name: values})
        key = "transformer.transformer_blocks.0.attn.norm_added_k.weight"
        assert torch.allclose(found[key], values, atol=1e-6)


@pytest.mark.parametrize(
    "stem",
    [
        "lora_te3_encoder_block_0_layer_0_SelfAttention_q",
        "text_encoder_2.encoder.block.0.layer.0.SelfAttention.q",
    ],
)
def test_what_is_for_an_encoder_that_is_not_loaded_is_left_out(
    stem: str, caplog: pytest.LogCaptureFixture
) -> None:
    down, up = pair(PIPES["tiny-flux"].transformer.proj_out.weight)
    text = {f"{stem}.lora_down.weight": random(2, 8), f"{stem}.lora_up.weight": random(8, 2)}
    rest = {"transformer.proj_out.lora_A.weight": down, "transformer.proj_out.lora_B.weight": up}
    with caplog.at_level(logging.WARNING):
        found = weights("flux", text | rest, text_encoder_2=None)
    assert_equal(found, weights("flux", rest))
    assert "The adapter changes text_encoder_2 too, which is not loaded" in caplog.text
    with pytest.raises(CheckpointError, match="changes text_encoder_2 alone, which is not loaded"):
        weights("flux", text, text_encoder_2=None)


def test_a_layer_of_two_encoders_needs_its_component_and_one_of_one_does_not() -> None:
    name = "text_model.encoder.layers.0.self_attn.q_proj"
    weight = PIPES["tiny-sd"].text_encoder.get_submodule(name.removeprefix("text_model.")).weight
    down, up = pair(weight)
    given = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    assert list(weights("sd", given)) == [f"text_encoder.{name.removeprefix('text_model.')}.weight"]
    with pytest.raises(CheckpointError, match="text_encoder and text_encoder_2 have; begin its"):
        weights("sdxl", given)


def test_the_networks_own_name_counts_where_a_layer_is_named_twice() -> None:
    down, up = pair(PIPES["tiny-sd"].unet.get_submodule(TO_Q).weight)
    own = {f"unet.{TO_Q}.lora_A.weight": down, f"unet.{TO_Q}.lora_B.weight": up}
    kohya = f"lora_unet_{TO_Q.replace('.', '_')}"
    other = {f"{kohya}.lora_down.weight": down, f"{kohya}.lora_up.weight": up * 2}
    assert_equal(weights("sd", own | other), weights("sd", own))
    assert_equal(weights("sd", other | own), weights("sd", own))


A, B = f"unet.{TO_Q}.lora_A.weight", f"unet.{TO_Q}.lora_B.weight"
DOWN, UP = pair(PIPES["tiny-sd"].unet.get_submodule(TO_Q).weight)
PAIR = {A: DOWN, B: UP}
ALPHA = f"unet.{TO_Q}.alpha"
TE2 = "lora_te2_text_model_encoder_layers_0_mlp_fc1"

REFUSED: list[tuple[dict[Any, Any], str]] = [
    ({}, r"The adapter is empty"),
    ({A: DOWN}, r"only a part of .*lora_A\.weight.*complete file"),
    ({B: UP}, r"only a part of"),
    ({ALPHA: torch.tensor(1.0)}, r"only a part of"),
    ({A: DOWN, B: UP[1:]}, r"by \[\d+, \d+\] of rank 2.*another model"),
    ({A: DOWN[:, 1:], B: UP}, r"by \[\d+, \d+\] of rank 2.*another model"),
    ({A: DOWN, B: UP[:, :1]}, r"shapes \[2, \d+\] and \[\d+, 1\], which differ in rank"),
    ({A: DOWN[:0], B: UP[:, :0]}, r"shape \[0, \d+\]; a matrix with a rank of 1 or more"),
    ({A: DOWN[0], B: UP}, r"shape \[\d+\]; a matrix"),
    ({A: torch.tensor(1.0), B: UP}, r"shape \[\]; a matrix"),
    ({A: DOWN.to(torch.int8), B: UP}, r"torch\.int8; its weights must be floating-point"),
    ({A: DOWN.to(torch.complex64), B: UP}, r"torch\.complex64; its weights"),
    ({A: DOWN * float("nan"), B: UP}, r"not finite; its training has failed"),
    ({A: DOWN, B: UP * float("inf")}, r"not finite; its training has failed"),
    (PAIR | {ALPHA: torch.ones(3)}, r"alpha' has the shape \[3\]; an alpha is one finite number"),
    (PAIR | {ALPHA: torch.tensor(float("nan"))}, r"an alpha is one finite number"),
    (PAIR | {3: DOWN}, r"has Tensor under the name 3; an adapter is tensors by names"),
    (PAIR | {"unet.x.alpha": "2"}, r"has str under the name 'unet\.x\.alpha'"),
    ({"unet.nothing.lora_A.weight": DOWN}, r"'unet\.nothing'.*another model"),
    (
        {f"{TE2}.lora_down.weight": DOWN},
        r"a layer of text_encoder_2, and this pipeline has no such",
    ),
    ({"text_encoder_2.x.lora_A.weight": DOWN}, r"layer of text_encoder_2, and this pipeline has"),
    ({"unet.conv_in.weight": DOWN}, r"'unet\.conv_in\.weight'.*no part.*may be a whole model"),
    (PAIR | {"unet.conv_in.weight": DOWN}, r"'unet\.conv_in' by \[2, \d+\].*another model"),
    (PAIR | {f"unet.{TO_Q}.lora_B.bias": UP[:, 0]}, r"to_q\.bias, and that layer has no bias here"),
    (PAIR | {f"unet.{TO_Q}.diff_b": UP[:, 0]}, r"to_q\.bias, and that layer has no bias here"),
    ({f"unet.{TO_Q}.reshape": UP}, r"no part of a LoRA that dpnb knows"),
    ({f"unet.{TO_Q}.hada_w1_a": DOWN}, r"LoHa; only plain LoRA"),
    ({f"unet.{TO_Q}.dora_scale": DOWN}, r"DoRA; only plain LoRA"),
    ({"lora_controlnet": DOWN}, r"a ControlNet in low-rank form; only plain LoRA"),
    (PAIR | {"bundle_emb.fox.string_to_param.*": UP}, r"stands for a new word in prompts"),
    (PAIR | {"clip_l": UP}, r"stands for a new word in prompts"),
]


@pytest.mark.parametrize(("tensors", "message"), REFUSED, ids=lambda case: str(case)[-50:])
def test_what_is_no_adapter_for_this_is_refused(tensors: dict[Any, Any], message: str) -> None:
    pipe = PIPES["tiny-sd"]
    for _ in range(2):
        with pytest.raises(CheckpointError, match=message) as caught:
            pipe.load_lora_weights(tensors)
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)
        assert pipe.get_list_adapters() == {}
        assert pipe.strategies.active == frozenset()


@pytest.mark.parametrize("stem", ["img_in", "transformer.x_embedder"])
def test_the_first_layer_of_flux_may_get_more_channels_or_fewer_be_changed(
    stem: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dpnb")
    weight = PIPES["tiny-flux"].transformer.x_embedder.weight.data
    channels, key = weight.shape[1], "transformer.x_embedder.weight"
    for count in (channels // 2, 2 * channels):
        down, up = random(2, count), random(weight.shape[0], 2)
        changed = weights("flux", {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up})
        expected = torch.zeros(weight.shape[0], max(count, channels))
        expected[:, :channels] += weight
        expected[:, :count] += up @ down
        assert_equal(changed, {key: expected})
    fewer, more = (record.getMessage() for record in caplog.records)
    begun = f"x_embedder takes {channels} channels and the adapter"
    assert fewer == f"{begun} {channels // 2}: it leaves the last ones as they are."
    assert more == f"{begun} {2 * channels}: it is widened while the adapter is on."


def test_other_layers_get_no_more_channels() -> None:
    weight = PIPES["tiny-flux"].transformer.proj_out.weight
    down, up = pair(torch.cat([weight, weight], dim=1))
    with pytest.raises(CheckpointError, match=r"'proj_out' by .* and that has weights"):
        weights("flux", {"proj_out.lora_A.weight": down, "proj_out.lora_B.weight": up})


@pytest.mark.parametrize("norm", ["norm_q", "norm_k", "norm_added_q", "norm_added_k"])
def test_norms_may_be_all_that_is_replaced(norm: str) -> None:
    name = f"transformer.transformer_blocks.0.attn.{norm}.weight"
    values = random(*PIPES["tiny-flux"].transformer.get_parameter(name.partition(".")[2]).shape)
    assert_equal(weights("flux", {name: values}), {name: values})


def test_names_that_say_nothing_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    more = {f"{A}.note": torch.tensor(1.0)}
    assert_equal(weights("sd", PAIR | more), weights("sd", PAIR))
    assert f"{A}.note', which is no part of a LoRA; left out" in caplog.text


def test_names_without_a_component_are_the_denoisers(caplog: pytest.LogCaptureFixture) -> None:
    bare = {name.removeprefix("unet."): tensor for name, tensor in PAIR.items()}
    assert_equal(weights("sd", bare), weights("sd", PAIR))
    assert f"names no component in '{TO_Q}.lora_A.weight'; taken as unet's." in caplog.text
    caplog.clear()
    of_peft = {f"base_model.model.{name}": tensor for name, tensor in bare.items()}
    assert_equal(weights("sd", of_peft), weights("sd", PAIR))
    assert not caplog.records


@pytest.mark.parametrize("end", ["alpha", "lora_A.weight.alpha"])
def test_an_alpha_may_be_a_plain_number(end: str) -> None:
    name = f"unet.{TO_Q}.{end}"
    of_tensor = weights("sd", PAIR | {f"unet.{TO_Q}.alpha": torch.tensor(3.0)})
    given: Any = PAIR | {name: 3.0}
    assert_equal(weights("sd", dict(read_adapter(given).tensors)), of_tensor)
    assert not torch.equal(next(iter(of_tensor.values())), next(iter(weights("sd", PAIR).values())))


def test_layers_of_peft_have_the_names_of_those_inside() -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    before = parse_adapter(StoredAdapter(PAIR), {"unet": pipe.unet})
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    assert parse_adapter(StoredAdapter(PAIR), {"unet": pipe.unet}).keys() == before.keys()


NOTES = [
    "{not json",
    "null",
    "[1]",
    "3",
    '"x"',
    "[" * 100_000,
    '{"unet.r": ' + "1" * 5_000 + "}",
    "",
]


@pytest.mark.parametrize("text", NOTES, ids=lambda text: text[:12])
def test_broken_metadata_is_refused(text: str, tmp_path: Path) -> None:
    save_file(PAIR, tmp_path / "style.safetensors", {METADATA: text})
    with pytest.raises(CheckpointError, match=rf"The {METADATA} of .* is .*again\.$"):
        PIPES["tiny-sd"].load_lora_weights(tmp_path)
    assert PIPES["tiny-sd"].get_list_adapters() == {}


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({"unet.r": 2, "unet.use_dora": True}, "describes DoRA"),
        ({"unet.r": 2, "unet.lora_alpha": [4]}, r"lora_alpha=\[4\]; it must be a finite number"),
        ({"unet.r": 2, "unet.alpha_pattern": {"(a|a)*(?!b)": 1}}, "does not read"),
        ({"unet.r": 5}, "has rank 5, and its matrices have 2"),
    ],
)
def test_metadata_that_asks_for_something_else_is_refused(
    notes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    save_file(PAIR, tmp_path / "style.safetensors", {METADATA: json.dumps(notes)})
    with pytest.raises(CheckpointError, match=message):
        PIPES["tiny-sd"].load_lora_weights(tmp_path)


def test_an_expression_in_metadata_takes_no_time(tmp_path: Path) -> None:
    patterns = {"(a*)*" * 30 + "c": 3, "(.|.)*x": 3, "to_q": 6}
    notes = {"unet.r": 2, "unet.lora_alpha": 2, "unet.alpha_pattern": patterns}
    save_file(PAIR, tmp_path / "style.safetensors", {METADATA: json.dumps(notes)})
    found = parse_adapter(read_adapter(tmp_path), components("sd"))
    weight = PIPES["tiny-sd"].unet.get_submodule(TO_Q).weight
    now = apply_changes(weight.data, [found["unet"][f"{TO_Q}.weight"]])
    assert torch.allclose(now, weight + 3 * UP @ DOWN, atol=1e-5)


def test_a_file_of_torchs_with_other_keys_is_refused(tmp_path: Path) -> None:
    tensors: dict[Any, Tensor] = {**PAIR, 7: UP}
    torch.save(tensors, tmp_path / "style.bin")
    with pytest.raises(CheckpointError, match=r"style\.bin"):
        PIPES["tiny-sd"].load_lora_weights(tmp_path)
