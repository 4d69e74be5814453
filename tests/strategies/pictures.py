"""Pipelines to place, pictures to compare, and the state that an undo has to bring back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import dpnb
from dpnb.pipelines.shapes.architectures import ARCHITECTURES, fill

QUICK = "simulated:200GB/s"
"""A link so quick that a test does not wait for it."""

STEPS = 3

WIDE: dict[str, dict[str, Any]] = {
    "unet": {"block_out_channels": (48, 96)},
    "transformer": {"num_attention_heads": 8},
}


def emoji() -> Any:
    """The model of the package."""
    return quiet(dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64"))


def wide(architecture: str) -> Any:
    """A tiny pipeline whose denoising network is wide enough to have large tensors."""
    pipe: Any = dpnb.random_pipeline(architecture)
    name, changes = next(
        (name, changes) for name, changes in WIDE.items() if name in pipe.components
    )
    class_name, settings = ARCHITECTURES[architecture].networks()[name]
    with torch.device("meta"):
        network = getattr(dpnb, class_name)(**{**settings, **changes})
    fill(network, torch.float32, torch.Generator().manual_seed(1))
    setattr(pipe, name, network)
    return quiet(pipe)


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: Any, **arguments: Any) -> np.ndarray[Any, Any]:
    """The same picture every time."""
    arguments = {"num_inference_steps": STEPS, "output_type": "np", **arguments}
    images = pipe("red apple", generator=torch.Generator().manual_seed(1), **arguments).images
    assert isinstance(images, np.ndarray)
    return images


def networks(pipe: Any) -> dict[str, nn.Module]:
    return {k: part for k, part in pipe.components.items() if isinstance(part, nn.Module)}


def tensors(pipe: Any) -> dict[str, Tensor]:
    """Every parameter and buffer by name: the objects themselves."""
    return {
        f"{name}.{key}": tensor
        for name, network in networks(pipe).items()
        for key, tensor in (*network.named_parameters(), *network.named_buffers())
    }


@dataclass(frozen=True)
class State:
    """Everything about a pipeline's networks that an undo brings back."""

    objects: dict[str, Tensor]
    values: dict[str, Tensor]
    strides: dict[str, tuple[int, ...]]
    hooks: dict[int, tuple[int, ...]]
    own: dict[str, frozenset[str]]

    @classmethod
    def of(cls, pipe: Any) -> State:
        held = tensors(pipe)
        modules = [m for network in networks(pipe).values() for m in network.modules()]
        return cls(
            held,
            {name: tensor.detach().clone() for name, tensor in held.items()},
            {name: tensor.stride() for name, tensor in held.items()},
            {id(m): (len(m._forward_pre_hooks), len(m._forward_hooks)) for m in modules},
            {name: frozenset(vars(network)) for name, network in networks(pipe).items()},
        )

    def check(self, pipe: Any) -> None:
        """The pipeline is in this state."""
        now = State.of(pipe)
        assert now.objects.keys() == self.objects.keys()
        assert all(now.objects[name] is tensor for name, tensor in self.objects.items())
        assert all(torch.equal(now.values[name], value) for name, value in self.values.items())
        assert now.strides == self.strides
        assert now.hooks == self.hooks
        assert now.own == self.own
        for tensor in now.objects.values():
            own = tensor.untyped_storage().nbytes()
            assert own == tensor.numel() * tensor.element_size()
