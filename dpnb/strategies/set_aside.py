"""Where values wait that are needed again once a strategy is switched off."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from contextlib import ExitStack
from tempfile import TemporaryFile
from weakref import finalize

import torch
from torch import Tensor


def set_aside(data: Tensor) -> Callable[[], Tensor]:
    """Put a tensor's values away: on the host, or from there into a file that nobody else sees.

    Returns:
        What brings them back, to where they were; it may be called more than once.
    """
    device, dtype, shape = data.device, data.dtype, data.shape
    if device.type != "cpu":
        waiting = data.to("cpu")
        return lambda: waiting.to(device)
    with ExitStack() as opened:
        file = opened.enter_context(TemporaryFile())
        file.truncate(data.nbytes)

        def mapped() -> Tensor:
            memory = mmap.mmap(file.fileno(), shape.numel() * dtype.itemsize)
            return torch.frombuffer(memory, dtype=dtype).view(shape)

        def read() -> Tensor:
            return mapped().clone()

        mapped().copy_(data)
        finalize(read, opened.pop_all().close)
    return read
