"""Compiled code whose kernels are recorded while weights stay where they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.strategies.compilation import Compile
from dpnb.strategies.cuda_graphs import CALLS_UNTIL_RECORDED as ENOUGH
from dpnb.strategies.cuda_graphs import Code, RecordedCode, record_cuda_graph
from tests.strategies.pipes import build


def scale(given: list[Tensor]) -> list[Tensor]:
    """Code: a weight times an input."""
    weight, x = given
    return [weight * x]


class Recorder:
    """Makes recordings that hold on to weights, as those of a GPU hold addresses."""

    def __init__(self) -> None:
        self.made = self.replayed = 0

    def __call__(self, code: Code, weights: list[Tensor], inputs: list[Tensor]) -> Code:
        self.made += 1

        def replay(inputs: list[Tensor]) -> list[Tensor]:
            self.replayed += 1
            return code([*weights, *inputs])

        return replay


def test_it_is_recorded_once_weights_stay() -> None:
    recorder, weight = Recorder(), torch.full((3,), 2.0)
    code = RecordedCode(scale, recorder)
    for count in range(1, 2 * ENOUGH):
        (drawn,) = code([weight], [torch.full((3,), float(count))])
        assert torch.equal(drawn, torch.full((3,), 2.0 * count))
        assert recorder.made == (count >= ENOUGH)
    assert recorder.replayed == ENOUGH


def test_weights_that_are_elsewhere_are_read_where_they_are() -> None:
    recorder, x = Recorder(), torch.ones(3)
    code = RecordedCode(scale, recorder)
    weights = [torch.full((3,), float(k)) for k in range(3 * ENOUGH)]
    for weight in weights:
        assert torch.equal(code([weight], [x])[0], weight)
    assert recorder.made == 0, "they come and go"
    for weight in weights[:2]:
        for _ in range(ENOUGH):
            assert torch.equal(code([weight], [x])[0], weight)
    assert recorder.made == 2


def test_it_is_refused_where_there_is_no_gpu() -> None:
    pipe = build()
    reason = pipe.strategies.obstacle(Compile("reduce-overhead"))
    assert reason == (
        "reduce-overhead records what a GPU is asked for, and this pipeline is on cpu; leave mode "
        'at "default".'
    )


@pytest.mark.gpu
def test_a_recording_of_a_gpu_computes_what_the_code_does() -> None:
    device = torch.device("cuda")
    weight = torch.randn(64, 64, device=device)

    def code(given: list[Tensor]) -> list[Tensor]:
        return [torch.relu(given[1] @ given[0])]

    replay = record_cuda_graph(code, [weight], [torch.randn(8, 64, device=device)])
    for _ in range(3):
        x = torch.randn(8, 64, device=device)
        torch.testing.assert_close(replay([x])[0], code([weight, x])[0])
    weight.zero_()
    assert not replay([torch.randn(8, 64, device=device)])[0].any(), "it reads them where they are"


@pytest.mark.gpu
def test_pictures_of_recorded_blocks_are_the_same() -> None:
    pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64").to("cuda")
    pipe.set_progress_bar_config(disable=True)

    def draw() -> Any:
        generator = torch.Generator().manual_seed(0)
        made: Any = pipe("red apple", 8, output_type="pt", generator=generator)
        return made.images

    plain = draw()
    with pipe.strategies.using(Compile("reduce-overhead")):
        while " until now as written" in pipe.strategies.remarks[0]:
            draw()
        torch.testing.assert_close(draw(), plain, rtol=0, atol=5e-3)
    assert torch.equal(draw(), plain)
