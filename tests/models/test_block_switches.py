"""What blocks of networks may be asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.strategies.pipes import build


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def test_a_step_of_training_keeps_less(pipe: Any) -> None:
    unet = pipe.unet.train().requires_grad_(True)
    weights = {p.untyped_storage().data_ptr() for p in unet.parameters()}
    kept: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[-1] += tensor.nbytes * (tensor.untyped_storage().data_ptr() not in weights)
        return tensor

    for enable in (unet.disable_gradient_checkpointing, unet.enable_gradient_checkpointing):
        enable()
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            unet(torch.ones(1, 4, 32, 32), 3, torch.ones(1, 7, 32))
    assert kept[1] < 0.5 * kept[0]
    unet.disable_gradient_checkpointing()
    assert not unet.is_gradient_checkpointing
    assert not [m for m in unet.modules() if "is_checkpointed" in vars(m)]
    with pytest.raises(ValueError, match=r"torch.utils.checkpoint.checkpoint here; leave it out"):
        unet.enable_gradient_checkpointing(torch.utils.checkpoint.checkpoint)


def test_a_network_without_many_blocks_is_compiled_as_a_whole(pipe: Any) -> None:
    with pytest.raises(ValueError, match="AutoencoderKL has no block of which there are many"):
        pipe.vae.compile_repeated_blocks()
