"""Compiled code that a GPU is asked for all at once: its kernels are recorded, and replayed.

To ask for each kernel by itself takes the host longer than a small network's kernels last.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import torch
from torch import Tensor

Code: TypeAlias = Callable[[list[Tensor]], list[Tensor]]
"""Weights and inputs → outputs."""

Record: TypeAlias = Callable[[Code, list[Tensor], list[Tensor]], Code]
"""Code, weights and inputs → what takes other inputs like these, with the same weights."""

CALLS_UNTIL_RECORDED = 3
"""So many calls in a row have to find the weights at the same places before one is recorded."""


class RecordedCode:
    """Code that is recorded once its weights stay where they are, and recorded anew elsewhere.

    A recording holds addresses. Where weights come and go, as with an offload, none is made; nor
    where making one has failed.

    Args:
        code: what is recorded; nobody else may call it.
        record: makes a recording.
    """

    def __init__(self, code: Code, record: Record) -> None:
        self._code, self._record = code, record
        self._places: tuple[int, ...] = ()
        self._calls = 0
        self._replay: Code | None = None
        self._is_recordable = True

    def __call__(self, weights: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
        """What the code computes; tensors that nobody else holds."""
        places = tuple(weight.data_ptr() for weight in weights)
        if places != self._places:
            self._places, self._calls, self._replay = places, 0, None
        self._calls += 1
        is_due = self._replay is None and self._calls >= CALLS_UNTIL_RECORDED
        if is_due and self._is_recordable:
            self._try_to_record(weights, inputs)
        if self._replay is not None:
            return self._replay(inputs)
        return self._code([*weights, *inputs])

    def _try_to_record(self, weights: list[Tensor], inputs: list[Tensor]) -> None:
        try:
            self._replay = self._record(self._code, weights, inputs)
        except Exception:  # whatever cannot be recorded, or has no room: it computes all the same
            self._is_recordable = False


class CudaGraphRecorder:
    """Records CUDA graphs, which take their working memory from one place.

    What computes with them does so one after the other, on one stream.
    """

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, code: Code, weights: list[Tensor], inputs: list[Tensor]) -> Code:
        """Record a call; see `record_cuda_graph`."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        return record_cuda_graph(code, weights, inputs, self._pool)


def record_cuda_graph(
    code: Code,
    weights: list[Tensor],
    inputs: list[Tensor],
    pool: Any = None,
) -> Code:
    """Record the kernels of a call.

    Args:
        code: launches kernels on the current stream, and waits for none of them.
        weights: at places where they stay as long as the recording is replayed.
        inputs: all on one GPU.
        pool: where it takes memory from, shared with recordings that are never replayed at the same
            time; one of its own by default.

    Returns:
        What takes inputs of the same shapes, dtypes and strides, and gives copies of the outputs.
    """
    device = inputs[0].device
    kept = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=device) for t in inputs]
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
    with torch.cuda.device(device):
        now = torch.cuda.current_stream()
        _fill(kept, inputs)
        stream.wait_stream(now)
        try:
            with torch.cuda.stream(stream):
                code([*weights, *kept])  # libraries set themselves up in a first call
                graph.capture_begin(pool, capture_error_mode="thread_local")
                outputs = _capture(graph, code, [*weights, *kept])
        finally:
            now.wait_stream(stream)

    def replay(inputs: list[Tensor]) -> list[Tensor]:
        with torch.cuda.device(device):
            _fill(kept, inputs)
            graph.replay()
            return [output.clone() for output in outputs]

    return replay


def _capture(graph: torch.cuda.CUDAGraph, code: Code, given: list[Tensor]) -> list[Tensor]:
    try:
        outputs = code(given)
    except BaseException:
        with suppress(RuntimeError):  # of a capture that the first error has spoilt
            graph.capture_end()
        raise
    graph.capture_end()
    return outputs


def _fill(kept: list[Tensor], inputs: list[Tensor]) -> None:
    for held, given in zip(kept, inputs, strict=True):
        held.copy_(given)
