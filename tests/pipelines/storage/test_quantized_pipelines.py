from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import QuantizationError
from dpnb.nn.quantized import nbytes_of, quantization_of
from dpnb.units import format_bytes
from tests.strategies.pipes import build, draw, live_bytes, networks

pytestmark = pytest.mark.exhaustive


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny-sd")
    build("tiny-sd").save_pretrained(path)
    return path


def load(folder: Path, config: Any = None, **options: Any) -> Any:
    pipe = dpnb.DiffusionPipeline.from_pretrained(folder, quantization_config=config, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize(
    ("config", "bound"),
    [
        ("int8", 0.02),
        ("fp8", 0.05),
        ({"unet": "nf4"}, 0.1),
        ({"unet": "int8", "vae": "int8"}, 0.02),
        (dpnb.Quantization("int8", "bitsandbytes"), 0.05),
    ],
    ids=repr,
)
def test_the_picture_stays_close(folder: Path, config: Any, bound: float) -> None:
    difference = (draw(load(folder, config)) - draw(load(folder))).abs()
    assert 0 < difference.max() < bound


@pytest.mark.slow
def test_live_bytes_shrink_by_what_the_networks_say(folder: Path) -> None:
    load(folder, "int8")
    before = live_bytes()
    full = load(folder)
    whole = sum(map(nbytes_of, networks(full).values()))
    at_first = live_bytes() - before
    del full
    pipe = load(folder, "int8")
    small = sum(map(nbytes_of, networks(pipe).values()))
    assert small < whole
    assert at_first - (live_bytes() - before) == whole - small


def test_a_pipeline_says_what_is_quantized(folder: Path) -> None:
    lines = repr(load(folder, {"unet": "int8"})).splitlines()
    pipe = load(folder, {"unet": "int8"})
    assert f"  unet: UNet2DConditionModel ({format_bytes(pipe.unet.nbytes)}, int8)" in lines
    assert f"  vae: AutoencoderKL ({format_bytes(pipe.vae.nbytes)})" in lines


def test_a_device_map_of_one_device_works(folder: Path) -> None:
    picture = draw(load(folder, "int8"))
    assert torch.equal(draw(load(folder, "int8", device_map="cpu")), picture)
    mapped = load(folder, "int8", device_map={"unet": "cpu", "vae": "cpu", "text_encoder": "cpu"})
    assert torch.equal(draw(mapped), picture)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"transformer": "int8"}, "names transformer; .* are text_encoder, unet, vae"),
        ({"scheduler": "int8"}, "names scheduler"),
        ({"unet": "int4"}, "int4 weights of unet do not work in float32 on cpu"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_loaded(
    folder: Path, config: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []
    monkeypatch.setattr(dpnb.UNet2DConditionModel, "load", loaded.append)
    with pytest.raises(QuantizationError, match=sentence):
        load(folder, config)
    assert not loaded


def test_a_mistake_is_told_before_anything_is_fetched() -> None:
    with pytest.raises(ValueError, match="cannot be stored as 'int3'"):
        load(Path("nobody/nothing"), {"unet": "int3"})


def test_a_part_that_is_passed_is_not_quantized(folder: Path) -> None:
    unet = load(folder).unet
    with pytest.raises(QuantizationError, match=r"names unet; .* are text_encoder, vae"):
        load(folder, {"unet": "int8"}, unet=unet)
    assert quantization_of(load(folder, "int8", unet=unet).unet) is None


@pytest.mark.parametrize("component", ["unet", "text_encoder"])
@pytest.mark.parametrize("backend", ["torchao", "bitsandbytes"])
def test_a_cast_is_refused_and_changes_nothing(folder: Path, component: str, backend: str) -> None:
    pipe = load(folder, {component: dpnb.Quantization("int8", backend)})
    picture = draw(pipe)
    with pytest.raises(QuantizationError, match=f"{component} holds int8 weights, which cannot be"):
        pipe.to(torch.bfloat16)
    with pytest.raises(QuantizationError, match=f"{component} holds int8 weights, which cannot be"):
        dpnb.StableDiffusionPipeline.from_pipe(pipe, dtype=torch.bfloat16)
    assert {p.dtype for p in pipe.vae.parameters()} == {torch.float32}
    assert torch.equal(draw(pipe.to("cpu").to(torch.float32)), picture)


def test_weights_that_compute_in_bfloat16_are_quantized(folder: Path) -> None:
    pipe = load(folder, "int8", dtype=torch.bfloat16)
    assert pipe.dtype == torch.bfloat16
    plain = draw(load(folder, dtype=torch.bfloat16))
    assert (draw(pipe.to(torch.bfloat16)) - plain).abs().max() < 0.05


def test_ours_is_not_saved_quantized(folder: Path, tmp_path: Path) -> None:
    pipe = load(folder, "int8")
    for target in (tmp_path / "saved", tmp_path / "saved.dduf"):
        with pytest.raises(QuantizationError, match="UNet2DConditionModel holds int8 weights, and"):
            pipe.save_pretrained(target)
        assert not target.exists()


@pytest.mark.parametrize("backend", ["torchao", "bitsandbytes"])
def test_a_text_encoder_is_saved_quantized(folder: Path, tmp_path: Path, backend: str) -> None:
    pipe = load(folder, {"text_encoder": dpnb.Quantization("int8", backend)})
    with pytest.raises(QuantizationError, match=r"no such file holds.*text_encoder\); save"):
        pipe.save_pretrained(tmp_path / "saved.dduf")
    pipe.save_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert quantization_of(again.text_encoder) == "int8"
    assert torch.equal(draw(again), draw(pipe))


def test_one_file_is_loaded_quantized(folder: Path, tmp_path: Path) -> None:
    load(folder).save_pretrained(tmp_path / "tiny.dduf")
    pipe = load(tmp_path / "tiny.dduf", {"unet": "int8", "text_encoder": "int8"})
    same = load(folder, {"unet": "int8", "text_encoder": "int8"})
    assert torch.equal(draw(pipe), draw(same))


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_an_autoencoder_is_widened_exactly(tmp_path: Path, kind: str) -> None:
    build("tiny-sdxl").save_pretrained(tmp_path)
    pipe = load(tmp_path, {"vae": kind}, dtype=torch.float16)
    assert pipe.vae.config.force_upcast
    parameters = {name: id(p) for name, p in pipe.vae.named_parameters()}
    picture = draw(pipe)
    assert {name: id(p) for name, p in pipe.vae.named_parameters()} == parameters
    for layer in pipe.vae.modules():
        if quantization_of(layer) and not list(layer.children()):
            layer.weight = torch.nn.Parameter(layer.weight.data.dequantize(), requires_grad=False)
    assert torch.equal(draw(pipe), picture)


def test_another_pipeline_shares_what_is_quantized(folder: Path) -> None:
    pipe = load(folder, "int8")
    other = dpnb.StableDiffusionPipeline.from_pipe(pipe)
    other.set_progress_bar_config(disable=True)
    assert other.unet is pipe.unet
    assert torch.equal(draw(other), draw(pipe))


def test_loading_says_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        load(folder, "int8")
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
