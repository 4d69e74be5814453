"""Which published measurements are predicted, and how."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch

from dpnb.planning.workload import Workload
from tests.planning.published_points import CARDS, MODELS, Point, read_points
from tests.planning.published_runs import (
    CHECKER,
    Prediction,
    predict_loading,
    predict_pipeline,
    predict_vae,
)

ALL = os.environ.get("DPNB_PUBLISHED") == "1"

ROUNDED = "dfast-sd"
"""Points of runs that had asked torch for products of matrices in TF32."""


@dataclass(frozen=True)
class Run:
    """A whole run of diffusers' pipeline.

    Attributes:
        architecture: one of `ARCHITECTURES`.
        card: one of `GPU_SPECS`.
        dtype: of all weights.
        size: height and width.
        batch: pictures.
        changes: what is done to the pipeline first.
        more: bytes of weights that are there beside.
        precision: of products of matrices; see `torch.set_float32_matmul_precision`.
        guidance_scale: the pipeline's own one if `None`.
        is_ours: whether dpnb's own pipeline runs in its place.
    """

    architecture: str
    card: str
    dtype: torch.dtype
    size: tuple[int, int]
    batch: int
    changes: tuple[str, ...]
    more: int
    precision: str
    guidance_scale: float | None
    is_ours: bool = False


Predict = Callable[[], Prediction]


@dataclass(frozen=True)
class Case:
    """A point that is predicted.

    Attributes:
        point: which.
        predict: does so.
        own: likewise for dpnb's own pipeline in place of diffusers', of whole runs without changes.
    """

    point: Point
    predict: Predict
    own: Predict | None = None

    @property
    def is_quick(self) -> bool:
        """Whether it takes next to no time."""
        return bool(self.point.values["pipeline"].startswith("AutoencoderKL."))


def list_cases(quantities: Collection[str], unit: str) -> Iterator[Case]:
    """What can be predicted.

    Args:
        quantities: that are asked for.
        unit: in which they must be published.
    """
    for point in read_points():
        values = point.values
        is_asked = values["quantity"] in quantities and values["unit"] == unit
        if not is_asked or values["card"] not in CARDS:
            continue
        case = _vae_case(point) or _pipeline_case(point)
        if case is not None:
            yield case


def _vae_case(point: Point) -> Case | None:
    values = point.values
    if not point.name.startswith(("invoke-report-sd15", "invoke-report-sdxl")):
        return None
    if values["switches"] not in (["decode alone"], ["encode alone"]):
        return None
    decodes, card = values["switches"] == ["decode alone"], CARDS[values["card"]]
    return Case(point, partial(vae, card, point.dtype, point.size, decodes))


def _pipeline_case(point: Point) -> Case | None:
    values = point.values
    switches = tuple(values["switches"])
    changes = {
        (): (),
        ("vae slicing",): ("slicing",),
        ("set_default_attn_processor",): ("unet",),
        ("set_default_attn_processor unet and vae",): ("unet", "vae"),
        ("after loading, before any call",): ("load",),
        ("channels_last unet",): (),  # the same operations
    }
    is_known = values["model"] in MODELS and switches in changes
    if not is_known or point.dtype is None:
        return None
    run = Run(
        MODELS[values["model"]],
        CARDS[values["card"]],
        point.dtype,
        point.size,
        values["batch"],
        changes[switches],
        more=CHECKER if values["model"].endswith("v1-4") else 0,
        precision="high" if point.name.startswith(ROUNDED) else "highest",
        guidance_scale=0.0 if values["guidance"] == "cfg off" else None,
    )
    own = None if run.changes else partial(whole, replace(run, is_ours=True))
    return Case(point, partial(whole, run), own)


@contextmanager
def as_torch_is(precision: str) -> Iterator[None]:
    """Within, torch computes in float32 as where nobody has set anything but this.

    Args:
        precision: of products of matrices; see `torch.set_float32_matmul_precision`.
    """
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


@cache
def vae(card: str, dtype: torch.dtype, size: tuple[int, int], decodes: bool) -> Prediction:
    with as_torch_is("highest"):
        return predict_vae(card, dtype, *size, decodes=decodes)


@cache
def whole(run: Run) -> Prediction:
    if run.changes == ("load",):
        return predict_loading(run.architecture, run.card, run.dtype)

    def change(pipe: Any) -> None:
        if "slicing" in run.changes:
            pipe.vae.enable_slicing()
        for name in {"unet", "vae"} & set(run.changes):
            getattr(pipe, name).set_default_attn_processor()

    height, width = run.size
    workload = Workload(
        height=height, width=width, batch=run.batch, steps=4, guidance_scale=run.guidance_scale
    )
    with as_torch_is(run.precision), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers' own code warns of itself
        return predict_pipeline(
            run.architecture,
            run.card,
            run.dtype,
            workload,
            is_ours=run.is_ours,
            change=change if run.changes else None,
            more=run.more,
        )
