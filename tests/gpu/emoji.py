"""The model inside on the device: its picture, how long it takes, and the same by other ways."""

from __future__ import annotations

import statistics
import time
from itertools import product
from typing import Any

import numpy as np
from PIL import Image

import dpnb
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.strategy import Effect, Strategy
from tests.gpu.models import build_emoji, full_precision, synchronize
from tests.gpu.pictures import ALLOWED, Picture, difference, draw_emoji, verdict
from tests.gpu.plans import PLACEMENTS, plans_for
from tests.gpu.rows import Rows
from tests.gpu.setting import Setting

PICTURES, KINDS, WAYS = (
    "Pictures of the model inside, 20 steps",
    "Pipelines over the model inside, against the CPU",
    "Exact switches of which the picture differs by more than rounding",
)

STEPS, DRY_STEPS = 6, 2

BUDGET = "8MiB"
"""Of the model inside, which is 23 MiB."""


def measure(setting: Setting, rows: Rows) -> None:
    """The part."""
    full_precision()
    pipe = build_emoji(setting)
    count, steps = (1, 2) if setting.is_dry else (10, 20)
    for batch in (1,) if setting.is_dry else (1, 8):
        with rows.attempt(PICTURES, f"batch {batch}"):
            _time_pictures(pipe, batch, count, setting, rows)
    with rows.attempt(PICTURES, "emoji.png"):
        names = ("red apple", "castle on a yellow background", "an orange elephant")
        drawn = [draw_emoji(pipe, steps, prompt=name) for name in names]
        Image.fromarray((np.hstack(drawn) * 255).round().astype(np.uint8)).save(
            setting.folder / "emoji.png"
        )
    with rows.attempt(KINDS, "all of them", "pipeline"):
        _compare_kinds(pipe, setting, rows)
    with rows.attempt(WAYS, "switches"):
        _compare_ways(pipe, setting, rows)


def _time_pictures(pipe: Any, batch: int, count: int, setting: Setting, rows: Rows) -> None:
    """Seconds of a picture, the median of some."""
    seconds = []
    for number in range(count + 1):
        began = time.perf_counter()
        draw_emoji(pipe, steps=2 if setting.is_dry else 20, num_images_per_prompt=batch)
        synchronize(setting)
        if number:
            seconds.append(time.perf_counter() - began)
    rows.add(
        PICTURES,
        what=f"{batch} at once" if batch > 1 else "one",
        median_seconds=statistics.median(seconds),
        least_seconds=min(seconds),
    )


def _given() -> dict[str, dict[str, Any]]:
    """Pipelines over the same networks, with what they are given beside words."""
    noise = (np.random.default_rng(0).random((64, 64, 3)) * 255).astype(np.uint8)
    stripes = (np.arange(64 * 64).reshape(64, 64) % 64 // 32 * 255).astype(np.uint8)
    picture = {"image": Image.fromarray(noise), "strength": 0.7}
    return {
        "StableDiffusionPipeline": {},
        "StableDiffusionImg2ImgPipeline": picture,
        "StableDiffusionInpaintPipeline": {**picture, "mask_image": Image.fromarray(stripes)},
        "StableDiffusionSAGPipeline": {},
    }


def _draw_kinds(pipe: Any, steps: int) -> dict[str, Picture]:
    found = {}
    for name, arguments in _given().items():
        kind: Any = getattr(dpnb, name).from_pipe(pipe)
        kind.set_progress_bar_config(disable=True)
        found[name] = draw_emoji(kind, steps, **arguments)
    return found


def _compare_kinds(pipe: Any, setting: Setting, rows: Rows) -> None:
    steps = DRY_STEPS if setting.is_dry else STEPS
    here = _draw_kinds(pipe, steps)
    cpu = _draw_kinds(pipe.to("cpu"), steps)
    pipe.to(setting.device)
    for name, picture in here.items():
        off = difference(picture, cpu[name])
        rows.add(KINDS, pipeline=name, difference=off, **verdict(off))


def _compare_ways(pipe: Any, setting: Setting, rows: Rows) -> None:
    """Every exact plan by itself and with every placement, for all pipelines over the model."""
    steps = DRY_STEPS if setting.is_dry else STEPS
    plain, tried = _draw_kinds(pipe, steps), 0
    for plan, place in product(plans_for(setting).values(), _list_places(setting)):
        whole = [*plan, *place]
        if any(one.effect is not Effect.EXACT or one in PLACEMENTS for one in plan):
            continue
        if any(pipe.strategies.obstacle(one) for one in whole):
            continue
        if setting.left < 0:
            rows.leave_out(f"{whole} and further switches of the model inside", "no time left")
            break
        with rows.attempt(WAYS, repr(whole)):
            with pipe.strategies.using(*whole):
                drawn = _draw_kinds(pipe, steps)
            off = max(difference(plain[kind], drawn[kind]) for kind in plain)
            tried += 1
            if off > ALLOWED:
                rows.add(WAYS, what=repr(whole), difference=off, **verdict(off))
    rows.add(WAYS, what=f"{tried} tried, each with {len(plain)} pipelines")


def _list_places(setting: Setting) -> list[tuple[Strategy, ...]]:
    """Where weights may be: on the device, or streamed to it in some way."""
    streams = [SequentialOffload(budget, setting.link) for budget in (None, BUDGET)]
    if setting.is_dry:
        return [(streams[0],)]
    return [(), (ModelOffload(setting.link),), *((stream,) for stream in streams)]
