"""Adapters that let a network see more channels: control LoRAs of FLUX."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.errors import ComponentError
from dpnb.nn.input_width import WidensInput
from dpnb.nn.weight_changes import LowRank
from dpnb.strategies.fused import Fused
from tests.pipelines.derived import PICTURE
from tests.strategies.pipes import LINK, build, traces, values

DTYPES = ("float32", "bfloat16")
OTHERS = [dpnb.SequentialOffload(device=LINK), dpnb.ModelOffload(LINK), dpnb.LayerwiseCasting()]


def control(dtype: str) -> Any:
    """A pipeline that follows a picture, whose transformer has no room for it."""
    pipe: Any = dpnb.FluxControlPipeline.from_pipe(build("tiny-flux", dtype))
    pipe.unload_lora_weights()
    pipe.set_progress_bar_config(disable=True)
    return pipe


PIPES: dict[str, Any] = {dtype: control(dtype) for dtype in DTYPES}


def lora(pipe: Any, channels: int, seed: int = 0) -> dict[str, Tensor]:
    """One of the first layer and of another."""
    generator = torch.Generator().manual_seed(seed)
    width, name = pipe.transformer.x_embedder.out_features, "transformer.x_embedder"
    inner = "transformer.transformer_blocks.0.attn.to_q"
    shapes = {
        f"{name}.lora_A.weight": (2, channels),
        f"{name}.lora_B.weight": (width, 2),
        f"{inner}.lora_A.weight": (2, width),
        f"{inner}.lora_B.weight": (width, 2),
    }
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def follow(pipe: Any, picture: Any = PICTURE) -> Tensor:
    made = pipe(
        "a cat",
        control_image=picture,
        height=32,
        width=32,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    )
    pictures: Tensor = made.images
    return pictures


@pytest.fixture(params=DTYPES)
def pipe(request: pytest.FixtureRequest) -> Iterator[Any]:
    pipe = PIPES[request.param]
    before, known, config = traces(pipe), values(pipe), pipe.transformer.config
    yield pipe
    pipe.strategies.use([])
    pipe.unload_lora_weights()
    assert traces(pipe) == before
    assert pipe.transformer.config is config
    now = values(pipe)
    assert all(torch.equal(now[name], value) for name, value in known.items())


def channels(pipe: Any) -> tuple[int, int, int]:
    layer = pipe.transformer.x_embedder
    return pipe.transformer.config.in_channels, layer.in_features, layer.weight.shape[1]


def test_there_is_room_while_it_is_on(pipe: Any) -> None:
    own = pipe.transformer.config.in_channels
    with pytest.raises(ComponentError, match="takes 4 channels; one that follows a picture takes"):
        follow(pipe)
    pipe.load_lora_weights(lora(pipe, 2 * own), "control")
    assert channels(pipe) == (2 * own,) * 3
    assert pipe.transformer.config.out_channels == own
    assert not torch.equal(follow(pipe), follow(pipe, PICTURE.rotate(90)))
    pipe.disable_lora()
    assert channels(pipe) == (own,) * 3


def test_what_is_new_counts_as_much_as_the_scale_says(pipe: Any) -> None:
    pipe.load_lora_weights(lora(pipe, 2 * pipe.transformer.config.in_channels), "control")
    pipe.set_adapters("control", 0.0)
    assert torch.equal(follow(pipe), follow(pipe, PICTURE.rotate(90)))
    pipe.set_adapters("control", 0.5)
    half = follow(pipe)
    assert not torch.equal(half, follow(pipe, PICTURE.rotate(90)))
    pipe.set_adapters("control")
    scaled = pipe("a cat", control_image=PICTURE, height=32, width=32, num_inference_steps=2,
                  generator=torch.Generator().manual_seed(0), output_type="pt",
                  joint_attention_kwargs={"scale": 0.5}).images  # fmt: skip
    assert torch.equal(scaled, half)


def test_one_for_the_plain_network_serves_beside_it(pipe: Any) -> None:
    own = pipe.transformer.config.in_channels
    narrow = lora(pipe, own, seed=1)
    padded = dict(narrow)
    first = "transformer.x_embedder.lora_A.weight"
    padded[first] = torch.cat([narrow[first], torch.zeros(2, own)], dim=1)
    pictures = []
    for order in ("before", "after"):
        for style in (narrow, padded):
            if order == "before":
                pipe.load_lora_weights(style, "style")
            pipe.load_lora_weights(lora(pipe, 2 * own), "control")
            if order == "after":
                pipe.load_lora_weights(style, "style")
            pipe.set_adapters(["control", "style"])
            pictures.append(follow(pipe))
            pipe.unload_lora_weights()
    assert all((picture - pictures[0]).abs().max() < 1e-2 for picture in pictures)


@pytest.mark.parametrize("other", OTHERS, ids=repr)
def test_other_strategies_serve_beside_it(pipe: Any, other: Any) -> None:
    pipe.load_lora_weights(lora(pipe, 2 * pipe.transformer.config.in_channels), "control")
    alone = follow(pipe)
    pipe.strategies.enable(other)
    together = follow(pipe)
    if not isinstance(other, dpnb.LayerwiseCasting):
        assert (together - alone).abs().max() < 1e-2
    pipe.unload_lora_weights()
    assert pipe.strategies.active == {other}


def test_it_is_fused_and_back(pipe: Any, tmp_path: Path) -> None:
    own = pipe.transformer.config.in_channels
    pipe.load_lora_weights(lora(pipe, 2 * own), "control")
    pipe.load_lora_weights(lora(pipe, own, seed=1), "style")
    pipe.set_adapters(["control", "style"], [1.0, 0.5])
    both = follow(pipe)
    for _ in range(2):
        pipe.fuse_lora()
        assert (follow(pipe) - both).abs().max() < 3e-2
        pipe.disable_lora()
        assert channels(pipe) == (own,) * 3
        pipe.enable_lora()
        assert torch.equal(follow(pipe), both)
    copied = deepcopy(pipe)
    copied.fuse_lora()
    fused = follow(copied)
    copied.unload_lora_weights()
    assert channels(copied) == (2 * own,) * 3
    assert torch.equal(follow(copied), fused)
    copied.save_pretrained(tmp_path)
    again = dpnb.FluxControlPipeline.from_pretrained(tmp_path, dtype="auto")
    again.set_progress_bar_config(disable=True)
    assert torch.equal(follow(again), fused)


def test_fusing_that_fails_leaves_no_room(pipe: Any) -> None:
    own = pipe.transformer.config.in_channels
    pipe.load_lora_weights(lora(pipe, 2 * own), "control")
    pipe.set_adapters("control", 1e30)
    with pytest.raises(ValueError, match="Fusing control would give"):
        pipe.fuse_lora(safe_fusing=True, lora_scale=1e30)
    pipe.unload_lora_weights()
    assert channels(pipe) == (own,) * 3
    width = pipe.transformer.x_embedder.out_features
    change = LowRank(torch.ones(1, 2 * own), torch.ones(width, 1))
    changes = {"control": {"x_embedder.weight": change}}
    undo = Fused().fuse(pipe.transformer, changes, safely=False)
    assert channels(pipe) == (2 * own,) * 3
    undo()
    assert channels(pipe) == (own,) * 3


def test_it_is_saved_without_room() -> None:
    pipe = PIPES["float32"]
    own = pipe.transformer.config.in_channels
    pipe.load_lora_weights(lora(pipe, 2 * own), "control")
    copied = deepcopy(pipe.components["transformer"])
    assert copied.x_embedder.weight.shape[1] == copied.config.in_channels == own
    pipe.unload_lora_weights()


def test_a_pipeline_that_shows_nothing_beside_the_latents_says_so() -> None:
    pipe: Any = build("tiny-flux")
    pipe.unload_lora_weights()
    pipe.load_lora_weights(lora(pipe, 2 * pipe.transformer.config.in_channels), "control")
    with pytest.raises(ComponentError, match=r"takes 8 channels; one that sees the latents alone"):
        pipe("a cat", num_inference_steps=1, height=32, width=32)
    pipe.unload_lora_weights()
    assert isinstance(pipe.transformer, WidensInput)
