"""Low-rank weights: loaded from anywhere, switched at any time, gone without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import dpnb
from dpnb.errors import CheckpointError, StrategyError
from dpnb.nn.weight_changes import LowRank
from dpnb.strategies.adapter_set import AdapterSet
from tests.hub_server import HubServer
from tests.strategies.pipes import LINK, adapter, draw, traces, values

pytestmark = pytest.mark.exhaustive

PIPE = dpnb.random_pipeline("tiny-sd")
PIPE.set_progress_bar_config(disable=True)
NAME = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
DOWN, UP = f"{NAME}.lora_A.weight", f"{NAME}.lora_B.weight"
STYLE, OTHER = adapter(PIPE), adapter(PIPE, rank=3, seed=1)
PLAIN = draw(PIPE)


@pytest.fixture
def pipe() -> Iterator[Any]:
    before, known = traces(PIPE), values(PIPE)
    yield PIPE
    PIPE.strategies.use([])
    PIPE.unload_lora_weights()
    assert traces(PIPE) == before
    now = values(PIPE)
    assert all(torch.equal(now[name], value) for name, value in known.items())
    assert PIPE.get_list_adapters() == {}


def test_the_last_one_is_on_and_others_when_they_are_asked_for(pipe: Any) -> None:
    pipe.load_lora_weights(STYLE)
    one = draw(pipe)
    pipe.load_lora_weights(OTHER, "other")
    assert pipe.get_active_adapters() == ["other"]
    assert pipe.get_list_adapters()["unet"] == ["default_0", "other"]
    assert not torch.equal(draw(pipe), one)
    pipe.set_adapters("default_0")
    assert torch.equal(draw(pipe), one)
    pipe.set_adapters(["default_0", "other"], [1.0, 0.0])
    assert torch.equal(draw(pipe), one)
    assert pipe.get_active_adapters() == ["default_0", "other"]
    pipe.set_adapters("other", 0.5)
    half = draw(pipe)
    pipe.disable_lora()
    pipe.load_lora_weights(STYLE, "again")
    assert pipe.get_active_adapters() == ["again"]
    assert torch.equal(draw(pipe), one)
    pipe.set_adapters("other", 0.5)
    pipe.disable_lora()
    pipe.enable_lora()
    assert pipe.get_active_adapters() == ["other"]
    assert torch.equal(draw(pipe), half)


def test_the_scale_is_that_of_the_change(pipe: Any) -> None:
    weight = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight
    plain = weight.detach().clone()
    product = STYLE[UP] @ STYLE[DOWN]
    pipe.load_lora_weights(STYLE, "style")
    assert torch.allclose(weight - plain, product, atol=1e-6)
    pipe.set_adapters("style", -2.0)
    assert torch.allclose(weight - plain, -2 * product, atol=1e-6)
    pipe.fuse_lora(lora_scale=0.5)
    assert torch.allclose(weight - plain, -product, atol=1e-6)
    pipe.unfuse_lora()
    assert torch.allclose(weight - plain, -2 * product, atol=1e-6)
    pipe.strategies.enable(dpnb.LoRA(0.0))
    assert torch.equal(weight, plain)


def test_off_and_on_again(pipe: Any) -> None:
    pipe.load_lora_weights(STYLE)
    one = draw(pipe)
    pipe.disable_lora()
    assert torch.equal(draw(pipe), PLAIN)
    pipe.enable_lora()
    assert torch.equal(draw(pipe), one)


def test_what_is_deleted_goes_and_the_others_stay_on(pipe: Any) -> None:
    pipe.load_lora_weights(STYLE, "style")
    pipe.load_lora_weights(OTHER, "other")
    pipe.set_adapters("style", 0.5)
    one = draw(pipe)
    pipe.set_adapters(["style", "other"], [0.5, 2.0])
    pipe.delete_adapters("other")
    assert pipe.get_active_adapters() == ["style"]
    assert torch.equal(draw(pipe), one)
    pipe.delete_adapters(["style"])
    assert pipe.get_active_adapters() == []
    assert torch.equal(draw(pipe), PLAIN)


@pytest.mark.parametrize("plan", [dpnb.QKVFusion(), dpnb.SequentialOffload(device=LINK)], ids=repr)
def test_it_is_loaded_and_unloaded_under_other_strategies(pipe: Any, plan: Any) -> None:
    pipe.load_lora_weights(STYLE)
    one = draw(pipe)
    pipe.unload_lora_weights()
    pipe.strategies.enable(plan)
    pipe.load_lora_weights(STYLE)
    assert (draw(pipe) - one).abs().max() <= 1e-5
    assert plan in pipe.strategies.active
    pipe.unload_lora_weights()
    assert pipe.strategies.active == {plan}
    assert (draw(pipe) - PLAIN).abs().max() <= 1e-5


def test_a_switch_between_two_steps_counts_from_the_next(pipe: Any) -> None:
    pipe.load_lora_weights(STYLE)
    pipe.disable_lora()
    unchanged = [step.latents.clone() for step in stream(pipe)]
    latents = []
    for step in stream(pipe):
        latents.append(step.latents.clone())
        if step.index == 0:
            pipe.enable_lora()
    assert torch.equal(latents[0], unchanged[0])
    assert not torch.equal(latents[1], unchanged[1])


def stream(pipe: Any) -> Iterator[Any]:
    generator = torch.Generator().manual_seed(0)
    for step in pipe.stream("a red fox", num_inference_steps=3, generator=generator):
        if step.stage is dpnb.Stage.DENOISING:
            yield step


def test_saving_writes_the_plain_weights(pipe: Any, tmp_path: Path) -> None:
    pipe.load_lora_weights(STYLE)
    pipe.save_pretrained(tmp_path)
    assert pipe.get_active_adapters() == ["default_0"]
    again = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert torch.equal(draw(again), PLAIN)


def test_a_pipeline_of_the_same_networks_has_it_too(pipe: Any) -> None:
    pipe.load_lora_weights(STYLE)
    twin: Any = dpnb.StableDiffusionPipeline.from_pipe(pipe)
    assert twin.get_active_adapters() == ["default_0"]
    twin.disable_lora()
    assert pipe.get_active_adapters() == []


def test_it_comes_from_files_folders_and_the_hub(pipe: Any, tmp_path: Path, hub: HubServer) -> None:
    folder = tmp_path / "styles"
    folder.mkdir()
    save_file(STYLE, folder / "style.safetensors")
    pipe.load_lora_weights(folder / "style.safetensors", "file")
    expected = draw(pipe)
    pipe.load_lora_weights(folder, "folder")
    save_file(OTHER, folder / "other.safetensors")
    pipe.load_lora_weights(folder, "named", weight_name="style.safetensors")
    files = {f.name: f.read_bytes() for f in folder.iterdir()}
    hub.add("someone/styles", files)
    pipe.load_lora_weights(
        "someone/styles", "hub", weight_name="style.safetensors", cache_dir=tmp_path / "cache"
    )
    for name in ("folder", "named", "hub"):
        pipe.set_adapters(name)
        assert torch.equal(draw(pipe), expected)
    with pytest.raises(CheckpointError, match=r"several files.*say which with weight_name"):
        pipe.load_lora_weights(folder)
    with pytest.raises(CheckpointError, match=r"no file none\.safetensors; it has other"):
        pipe.load_lora_weights(folder, weight_name="none.safetensors")
    with pytest.raises(CheckpointError, match="There is no file"):
        pipe.load_lora_weights(tmp_path / "absent.safetensors")


def test_requests_that_cannot_be_met_change_nothing(pipe: Any) -> None:
    with pytest.raises(StrategyError, match=r"No LoRA weights are loaded; load some with"):
        pipe.strategies.enable(dpnb.LoRA())
    pipe.load_lora_weights(STYLE, "style")
    with pytest.raises(ValueError, match=r"adapter 'style' already"):
        pipe.load_lora_weights(OTHER, "style")
    with pytest.raises(StrategyError, match=r"'x' is not in the list .* loaded are style"):
        pipe.set_adapters("x")
    with pytest.raises(ValueError, match=r"'x' is not in the list of present adapters"):
        pipe.set_adapters("x")
    with pytest.raises(ValueError, match=r"no adapter 'x' of a file to put another in the place"):
        pipe.load_lora_weights(OTHER, "x", hotswap=True)
    pipe.fuse_lora()
    with pytest.raises(ValueError, match=r"'style' is fused .* call unfuse_lora\(\) before"):
        pipe.load_lora_weights(OTHER, "style", hotswap=True)
    pipe.unfuse_lora()
    with pytest.raises(ValueError, match="are 2 and adapter_names 1"):
        pipe.set_adapters("style", [1.0, 2.0])
    with pytest.raises(ValueError, match="adapter_names is empty"):
        pipe.set_adapters([])
    with pytest.raises(ValueError, match="twice"):
        dpnb.LoRA(1.0, ("a", "a"))
    with pytest.raises(ValueError, match="weights are 1 and adapters 2"):
        dpnb.LoRA(1.0, ("a", "b"), (1.0,))
    assert pipe.get_active_adapters() == ["style"]


def test_what_asks_for_nothing_changes_nothing(pipe: Any, caplog: pytest.LogCaptureFixture) -> None:
    for call in (pipe.disable_lora, pipe.enable_lora, pipe.unfuse_lora, pipe.enable_lora_hotswap):
        call()
    pipe.unload_lora_weights(reset_to_overwritten_params=True)
    pipe.delete_adapters("nobody")
    assert "There is no adapter 'nobody' to delete." in caplog.text
    assert torch.equal(draw(pipe), PLAIN)


def test_an_adapter_takes_the_place_of_another_of_its_name(pipe: Any) -> None:
    pipe.load_lora_weights(OTHER)
    other = draw(pipe)
    pipe.set_adapters("default_0", 0.5)
    half = draw(pipe)
    pipe.unload_lora_weights()
    pipe.load_lora_weights({name: t for name, t in STYLE.items() if "unet" in name}, "a")
    pipe.set_adapters("a", 0.5)
    pipe.load_lora_weights(OTHER, "a", hotswap=True)
    assert torch.equal(draw(pipe), half)
    pipe.set_adapters("a")
    assert torch.equal(draw(pipe), other)
    assert pipe.get_list_adapters() == {"vae": ["a"], "text_encoder": ["a"], "unet": ["a"]}


def test_one_that_cannot_take_a_place_leaves_the_other_there(pipe: Any) -> None:
    pipe.load_lora_weights(STYLE, "a")
    one, plan = draw(pipe), pipe.strategies.active
    layer = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q
    wrong = {DOWN: STYLE[DOWN][:, :1], UP: STYLE[UP]}
    with pytest.raises(CheckpointError, match="has weights"):
        pipe.load_lora_weights(wrong, "a", hotswap=True)
    assert torch.equal(draw(pipe), one)
    changes: Any = {"unet": {"absent.weight": LowRank(STYLE[DOWN], STYLE[UP])}}
    with pytest.raises(AttributeError, match="absent"):
        AdapterSet(pipe.strategies).swap("a", changes)
    assert pipe.strategies.active == plan
    assert torch.equal(draw(pipe), one)
    assert type(layer) is torch.nn.Linear


def test_quantized_weights_are_not_changed_and_nothing_stays_loaded() -> None:
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained(
        "dpnb/emoji-64", quantization_config={"unet": "int8"}
    )
    for _ in range(2):
        with pytest.raises(StrategyError, match=r"full weights, and those of a layer .* int8"):
            pipe.load_lora_weights(adapter(pipe), "style")
        assert pipe.get_list_adapters() == {}
        assert pipe.strategies.active == frozenset()
