from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.nn.attention_maps import RecordingKernel
from tests.strategies.pipes import build, draw, live_bytes, traces


@pytest.fixture(scope="module")
def pipe() -> Any:
    return build("sag")


def test_the_components_are_those_of_the_base() -> None:
    base = build("tiny-sd")
    pipe = dpnb.StableDiffusionSAGPipeline.from_pipe(base)
    assert pipe.unet is base.unet
    pipe.set_progress_bar_config(disable=True)
    assert torch.equal(draw(pipe, sag_scale=0.0), draw(base))
    assert not torch.allclose(draw(pipe, sag_scale=1.0), draw(base), atol=1e-3)


@pytest.mark.slow
def test_nothing_of_it_remains(pipe: Any) -> None:
    before = traces(pipe)
    draw(pipe)
    held = live_bytes()
    draw(pipe)
    assert traces(pipe) == before
    assert live_bytes() == held


@pytest.mark.parametrize("when", ["watched", "seen again"])
def test_nothing_of_it_remains_after_an_error(
    pipe: Any, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention = pipe.unet.middle_attention
    kernel, calls = attention.kernel, []

    def fail(*given: Any) -> Any:
        calls.append(isinstance(attention.kernel, RecordingKernel))
        if len(calls) == (1 if when == "watched" else 2):
            raise RuntimeError("no more paper")
        return kernel(*given)

    before = traces(pipe)
    with monkeypatch.context() as patch:
        patch.setattr(attention, "kernel", fail)
        with pytest.raises(RuntimeError, match="no more paper"):
            draw(pipe)
        assert attention.kernel is fail
    assert calls == ([True] if when == "watched" else [True, False])
    assert traces(pipe) == before


def test_guidance_may_end_between_two_steps(pipe: Any) -> None:
    steps = pipe.stream("a cat", num_inference_steps=3, output_type="np")
    assert next(steps).output is None
    pipe._guidance_scale = 1.0
    *_, last = steps
    assert last.output.images.shape == (1, 32, 32, 3)


def test_mistakes_are_one_sentence(pipe: Any) -> None:
    with pytest.raises(ValueError, match="sag_scale is -1; it is at least 0"):
        pipe.stream("a cat", sag_scale=-1)
    with pytest.raises(ValueError, match=r"8 x 8 pixels are too few for sag_scale.* 10 x 10"):
        pipe.stream("a cat", height=8, width=8)
    euler = dpnb.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    other = dpnb.StableDiffusionSAGPipeline.from_pipe(pipe, scheduler=euler)
    with pytest.raises(ValueError, match="EulerDiscreteScheduler counts in noise levels"):
        other.stream("a cat")
