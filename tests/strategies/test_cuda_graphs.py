"""Compiled code whose kernels are recorded while weights stay where they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dpnb
from dpnb.strategies.compilation import Compile
from dpnb.strategies.compiled_blocks import CompiledBlock
from dpnb.strategies.cuda_graphs import CALLS_UNTIL_RECORDED as ENOUGH
from dpnb.strategies.cuda_graphs import Code, RecordedCode, _capture, record_cuda_graph
from dpnb.strategies.undo import Undo
from tests.strategies.eager_code import EagerQueue
from tests.strategies.pipes import build

X = torch.arange(3.0)


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


def test_what_cannot_be_recorded_computes_all_the_same() -> None:
    tries = 0

    def refuse(code: Code, weights: list[Tensor], inputs: list[Tensor]) -> Code:
        nonlocal tries
        tries += 1
        raise RuntimeError("operation not permitted when stream is capturing")

    code = RecordedCode(scale, refuse)
    for _ in range(2 * ENOUGH):
        assert torch.equal(code([torch.ones(3)], [X])[0], X)
    weight = torch.ones(3)
    for _ in range(2 * ENOUGH):
        assert torch.equal(code([weight], [X])[0], X)
    assert tries == 1


def test_code_whose_file_is_gone_computes_unrecorded() -> None:
    block, queue, recorder = nn.Linear(3, 3).requires_grad_(False), EagerQueue(), Recorder()
    with Undo() as undo, torch.no_grad():
        compiled = CompiledBlock(block, (), queue, recorder)
        plain = block(X)
        compiled.replace(undo)
        for _ in range(3 * ENOUGH):
            torch.testing.assert_close(block(X), plain)
        assert compiled.state == "compiled"
    assert queue.calls > ENOUGH
    assert recorder.made == 0


def test_the_first_error_of_a_recording_is_what_is_told() -> None:
    class Spoilt:
        def capture_end(self) -> None:
            raise RuntimeError("the capture was invalidated")

    def fail(given: list[Tensor]) -> list[Tensor]:
        raise ZeroDivisionError

    graph: Any = Spoilt()
    with pytest.raises(ZeroDivisionError):
        _capture(graph, fail, [])


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
