"""Pipelines on the device of a setting, and what is asked of them."""

from __future__ import annotations

import gc
from functools import cache
from typing import Any

import torch

import dpnb
from dpnb.pipelines.shapes.architectures import assemble, fill
from dpnb.planning.workload import Workload
from tests.gpu.setting import Setting, Shape


def build(shape: Shape, setting: Setting) -> Any:
    """A pipeline of a shape, whose random weights are made on the device."""
    import_all()
    kind = getattr(torch, shape.dtype)
    generator = torch.Generator(setting.device).manual_seed(0)

    def complete(module: torch.nn.Module) -> None:
        with torch.device(setting.device):
            fill(module, kind, generator)

    pipe: Any = assemble(shape.architecture, complete)
    pipe.to(setting.device)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def build_emoji(setting: Setting) -> Any:
    """The model inside, on the device, in float32."""
    import_all()
    pipe: Any = dpnb.StableDiffusionPipeline.from_pretrained("dpnb/emoji-64")
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(setting.device)


def workload_of(shape: Shape) -> Workload:
    """What is drawn."""
    return Workload(height=shape.side, width=shape.side, steps=shape.steps)


def draw(pipe: Any, shape: Shape) -> None:
    """Draw that."""
    pipe(**workload_of(shape).arguments())


def synchronize(setting: Setting) -> None:
    """Wait until the device has done all that it was asked for."""
    if not setting.is_dry:
        torch.cuda.synchronize()


def empty(setting: Setting) -> None:
    """Give back what nothing refers to."""
    gc.collect()
    if not setting.is_dry:
        torch.cuda.empty_cache()


def full_precision() -> None:
    """Compute float32 as such; elsewhere TF32 would be taken for a difference of ours."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


@cache
def import_all() -> None:
    """Import what pipelines import, and look for no garbage among modules from then on."""
    dpnb.random_pipeline("tiny-sdxl")
    gc.collect()
    gc.freeze()
