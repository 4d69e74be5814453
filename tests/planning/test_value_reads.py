"""Values that nobody knows are not read past torch's operations either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dpnb.planning.valueless import ValuelessTensorError, ValuelessTensors

READS: dict[str, Callable[[Tensor], Any]] = {
    "numpy": lambda tensor: tensor.numpy(),
    "asarray": lambda tensor: np.asarray(tensor),
    "tolist": lambda tensor: tensor.tolist(),
    "float": lambda tensor: float(tensor[0]),
    "dlpack": lambda tensor: np.from_dlpack(tensor),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_every_way_to_look_at_indices_says_the_same(
    read: Callable[[Tensor], Any], dtype: torch.dtype
) -> None:
    mode = ValuelessTensors()
    tensor = mode.empty((3,), dtype)
    with mode, pytest.raises(ValuelessTensorError, match="decides by values"):
        read(tensor + 1)
    with mode:
        read(torch.arange(3))


def test_a_list_of_any_numbers_is_looked_at() -> None:
    mode = ValuelessTensors()
    with mode, pytest.raises(ValuelessTensorError):
        mode.empty((3,), torch.float32).tolist()


def test_masks_are_looked_at_and_pictures_are_handed_out() -> None:
    mode = ValuelessTensors()
    pictures = mode.empty((1, 4, 4, 3), torch.float32)
    with mode:
        assert (pictures * 2).numpy().shape == (1, 4, 4, 3)
        assert pictures.to(torch.uint8).numpy().dtype == np.uint8
        with pytest.raises(ValuelessTensorError):
            (pictures > 0).numpy()


def test_afterwards_reads_are_what_they_were() -> None:
    mode = ValuelessTensors()
    tensor = mode.empty((3,), torch.int64)
    with mode, mode:
        pass
    assert len(tensor.tolist()) == 3
    with pytest.raises(ZeroDivisionError), mode:
        raise ZeroDivisionError
    assert tensor.numpy().shape == (3,)
