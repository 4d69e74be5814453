from __future__ import annotations

import os
import subprocess
import sys
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.stages import Stage
from dpnb.strategies.out_of_memory import MEMORY_SAVERS, find_memory_savers
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.strategy import Strategy
from tests.strategies.pipes import LINK, build, draw

pytestmark = pytest.mark.exhaustive

STARVED = """
import resource
import numpy
import torch
import dpnb

torch.set_num_threads(1)
pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
pipe.set_progress_bar_config(disable=True)

def draw(side):
    generator = torch.Generator().manual_seed(0)
    return pipe(
        "red apple", height=side, width=side, num_inference_steps=1, output_type="np",
        generator=generator,
    ).images

before = draw(64)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 240 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    draw(768)
except torch.OutOfMemoryError as error:
    assert isinstance(error, dpnb.OutOfMemoryError), error
    print(error.stage, error.relief)
    print(str(error).partition(" (")[0])
    kept = error
assert pipe.strategies.active == frozenset()
assert numpy.array_equal(draw(64), before)
pipe.strategies.enable(kept.relief)
print(draw(768).shape)
"""


@pytest.mark.slow
def test_the_switch_that_is_named_is_enough() -> None:
    """In a process that is given too little memory for the decoder."""
    # What is freed goes back to the system at once, so that the limit is one of live bytes.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    result = subprocess.run(
        [sys.executable, "-c", STARVED],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.splitlines() == [
        "decoding VaeTiling()",
        "Memory ran out while the picture was decoded. Switch on "
        "pipe.strategies.enable(dpnb.VaeTiling()) and run again.",
        "(1, 768, 768, 3)",
    ], result.stderr


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def starve(pipe: Any, module: Any, error: Exception | None = None) -> dpnb.OutOfMemoryError:
    """What a run says when memory runs out in `module`."""

    def fail(*_: Any) -> None:
        raise error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    handle = module.register_forward_hook(fail)
    with pytest.raises(dpnb.OutOfMemoryError) as caught:
        draw(pipe)
    handle.remove()
    return caught.value


def test_the_stage_is_known(pipe: Any) -> None:
    assert starve(pipe, pipe.text_encoder).stage == "text"
    assert starve(pipe, pipe.unet).stage == "denoising"
    said = starve(pipe, pipe.vae.decoder)
    assert said.stage == "decoding"
    assert str(said) == (
        "Memory ran out while the picture was decoded. Switch on "
        "pipe.strategies.enable(dpnb.VaeTiling()) and run again. (CUDA out of memory. Tried to "
        "allocate 2.00 GiB)"
    )


FAILED_ALLOCATIONS: list[Exception] = [
    MemoryError("no"),
    torch.OutOfMemoryError("HIP out of memory."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED"),
    RuntimeError("level_zero backend failed: UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("unable to mmap 4096 bytes: Cannot allocate memory (12)"),
    OSError(12, "Cannot allocate memory"),
]
"""In the words of torch, CUDA and the system."""


@pytest.mark.parametrize("error", FAILED_ALLOCATIONS, ids=lambda error: str(error)[:40])
def test_a_failed_allocation_is_known_for_what_it_is(pipe: Any, error: Exception) -> None:
    assert starve(pipe, pipe.unet, error).__cause__ is error
    assert starve(pipe, pipe.vae.decoder, error).stage == "decoding"


def test_an_error_of_the_accelerator_may_be_one(pipe: Any) -> None:
    kind = vars(torch).get("AcceleratorError", RuntimeError)
    assert starve(pipe, pipe.unet, kind("CUDA error: out of memory")).stage == "denoising"


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("division by zero"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"),
        OSError(28, "No space left on device"),
        ValueError("out of memory"),
        dpnb.StrategyError("DeviceMap keeps what is out of memory on the disk."),
    ],
    ids=lambda error: str(error)[:40],
)
def test_other_errors_pass(pipe: Any, error: Exception) -> None:
    def fail(*_: Any) -> None:
        raise error

    pipe.unet.register_forward_hook(fail)
    with pytest.raises(type(error)) as caught:
        draw(pipe)
    assert caught.value is error


def test_a_sentence_is_said_even_where_there_is_no_memory_to_find_a_memory_saver(
    pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> str:
        raise MemoryError

    for kind in {type(strategy) for strategy in MEMORY_SAVERS}:
        monkeypatch.setattr(kind, "obstacle", fail)
    said = starve(pipe, pipe.text_encoder)
    assert said.relief is None
    assert str(said).startswith("Memory ran out while the prompt was encoded. Draw a smaller")


def test_nothing_of_the_run_is_held_by_the_error(pipe: Any) -> None:
    made: list[weakref.ref[Tensor]] = []
    handle = pipe.unet.conv_in.register_forward_hook(lambda *a: made.append(weakref.ref(a[2])))
    error = starve(pipe, pipe.unet)
    handle.remove()
    assert error.__cause__ is not None
    assert [ref() for ref in made] == [None] * len(made) != []


def cheapest(stack: StrategyStack, stage: str, pictures: int) -> Strategy | None:
    return next(find_memory_savers(stack, Stage(stage), pictures), None)


@pytest.mark.parametrize("stage", ["text", "denoising", "decoding"])
def test_one_switch_after_the_other_is_named_until_there_is_none(pipe: Any, stage: str) -> None:
    named: list[Strategy] = []
    while (strategy := cheapest(pipe.strategies, stage, pictures=2)) is not None:
        assert stage in strategy.relieves
        named.append(strategy)
        pipe.strategies.enable(strategy)
    assert len(set(named)) == len(named)
    assert named == [strategy for strategy in MEMORY_SAVERS if strategy in named]
    assert named


def test_a_batch_of_one_is_not_sliced(pipe: Any) -> None:
    assert cheapest(pipe.strategies, "decoding", 1) == dpnb.VaeTiling()
    assert cheapest(pipe.strategies, "decoding", 2) == dpnb.VaeSlicing()


def test_what_is_on_is_not_given_up_for_less(pipe: Any) -> None:
    pipe.strategies.use([dpnb.SequentialOffload(device=LINK), dpnb.VaeTiling(4, spill=True)])
    assert cheapest(pipe.strategies, "decoding", 1) == dpnb.LayerwiseCasting()


def test_with_everything_on_a_smaller_picture_is_left(pipe: Any) -> None:
    pipe.strategies.use([dpnb.LayerwiseCasting()])
    said = starve(pipe, pipe.unet)
    assert said.relief is None
    assert "Draw a smaller picture, or fewer at once." in str(said)
