"""What goes wrong only on a device: waits for it, races, and memory that runs out."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections import Counter

import torch

import dpnb
from dpnb.strategies.conditioning import ConditioningCache
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.strategy import Strategy
from dpnb.strategies.vae import VaeTiling
from tests.gpu.models import build_emoji, empty
from tests.gpu.pictures import draw_emoji
from tests.gpu.rows import Rows
from tests.gpu.setting import Setting

WAITS, RACES, MEMORY = (
    "How often a run waits for the device",
    "Races that torch's sanitizer finds while weights stream",
    "When memory runs out",
)

FEW, MANY = 4, 12
"""Steps of two runs; what both have in common is outside of steps."""

STREAMED = """
import dpnb, torch
pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
pipe.set_progress_bar_config(disable=True)
pipe.strategies.use([dpnb.{strategy}])
for _ in range(2):
    pipe("red apple", num_inference_steps=3)
torch.cuda.synchronize()
"""

SANITIZED = ("SequentialOffload()", "SequentialOffload('8MiB')", "ModelOffload()")

FRACTION = 0.006
"""Of the card, for a process that is to run out of memory: less than a GiB of 139."""


def measure(setting: Setting, rows: Rows) -> None:
    """The part."""
    if setting.is_dry:
        rows.leave_out("waits, races and memory that runs out", "they need a CUDA device")
        return
    with rows.attempt(WAITS, "runs"):
        _count_waits(setting, rows)
    for strategy in SANITIZED:
        if setting.left < 10:
            rows.leave_out(f"the sanitizer with {strategy}", "no time left")
            continue
        with rows.attempt(RACES, strategy):
            _sanitize(strategy, setting, rows)
    with rows.attempt(MEMORY, "2048 × 2048"):
        _run_out_of_memory(setting, rows)


def _count_waits(setting: Setting, rows: Rows) -> None:
    """Waits in a step: of a long run above those of a short one, by the place that waits."""
    pipe = build_emoji(setting)
    plans: tuple[tuple[Strategy, ...], ...] = (
        (),
        (ConditioningCache(),),
        (SequentialOffload(),),
        (ModelOffload(),),
        (VaeTiling(spill=True),),
    )
    for plan in plans:
        with pipe.strategies.using(*plan):
            draw_emoji(pipe, MANY)
            few, many = _waits(pipe, FEW), _waits(pipe, MANY)
        more = many - few
        rows.add(
            WAITS,
            plan=" + ".join(map(repr, plan)) or "nothing switched on",
            in_a_run=sum(many.values()),
            in_a_step=sum(more.values()) / (MANY - FEW),
            where=", ".join(place for place, _ in more.most_common(3)),
        )


def _waits(pipe: object, steps: int) -> Counter[str]:
    """How often a run waits for the device, by file and line."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            draw_emoji(pipe, steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return Counter(
        f"{os.path.basename(one.filename)}:{one.lineno}"
        for one in seen
        if "synchron" in str(one.message)
    )


def _sanitize(strategy: str, setting: Setting, rows: Rows) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STREAMED.format(strategy=strategy)],
        env={**os.environ, "TORCH_CUDA_SANITIZER": "1"},
        capture_output=True,
        text=True,
        timeout=max(setting.left, 5),
        check=False,
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    races = sum("data race" in line for line in lines)
    trouble = {"failed": lines[-1][:160]} if done.returncode and lines else {}
    rows.add(RACES, plan=strategy, races=races, exit_status=done.returncode, **trouble)


def _run_out_of_memory(setting: Setting, rows: Rows) -> None:
    """What is said, what is left over, and whether the next picture is as the first."""
    pipe = build_emoji(setting)
    picture = draw_emoji(pipe, 2)
    empty(setting)
    before = torch.cuda.memory_allocated()
    torch.cuda.set_per_process_memory_fraction(FRACTION)
    said = "no error"
    try:
        draw_emoji(pipe, 1, height=2048, width=2048)
    except dpnb.OutOfMemoryError as error:
        said = str(error)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    empty(setting)
    left = torch.cuda.memory_allocated() - before
    is_same = bool((draw_emoji(pipe, 2) == picture).all())
    rows.add(MEMORY, said=said, left_over_bytes=left, next_picture_is_the_same=is_same)
