import pytest
import torch

from dpnb.devices import best_device, parse_device, parse_dtype


@pytest.mark.parametrize("name", ["float16", "fp16", "torch.float16", torch.float16])
def test_a_dtype_has_several_names(name: str | torch.dtype) -> None:
    assert parse_dtype(name) is torch.float16


def test_an_unknown_dtype_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(TypeError, match=r"'half-ish' is not a dtype; use .* float16"):
        parse_dtype("half-ish")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ValueError, match="'toaster' is not a device"):
        parse_device("toaster")


def test_the_best_device_can_hold_a_tensor() -> None:
    assert torch.zeros(1, device=best_device()).device.type == best_device().type


def test_pictures_are_compared_at_full_precision() -> None:
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
