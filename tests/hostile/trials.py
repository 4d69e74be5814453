"""What is done with a broken file: it is loaded, planned for, drawn with, read."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dpnb
from dpnb.bench.report import Report
from dpnb.loading.components.registry import SCHEDULERS
from dpnb.metering.trace import Trace
from dpnb.planning.table import PlanTable
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.prompt_file import Drawing, read_prompts

Good = Mapping[str, Mapping[str, Any]]
"""The components of the good checkpoints, by folder and name."""


class NotFiniteError(Exception):
    """A picture holds NaN or infinities, and nothing has said so."""


def try_file(kind: str, folder: Path, file: str, good: Good, chance: random.Random) -> None:
    """Do with a file what is done with a file of its kind."""
    if kind in RESULTS:
        RESULTS[kind](folder / file)
    elif kind == "lora":
        _adapt(folder, file, good["tiny-sd"])
    elif kind == "scheduler" and folder.name in SCHEDULERS:
        scheduler = getattr(dpnb, folder.name).from_pretrained(folder)
        _draw(dpnb.StableDiffusionPipeline(**{**good["tiny-sd"], "scheduler": scheduler}))
    elif kind == "dduf":
        _draw(dpnb.DiffusionPipeline.from_pretrained(str(folder / file)))
    else:
        _load(kind, folder, file, good, chance)


def _load(kind: str, folder: Path, file: str, good: Good, chance: random.Random) -> None:
    component = file.rpartition("/")[0]
    if chance.random() < 0.12:
        build_valueless_pipeline(folder, ValuelessTensors(), dtype=chance.choice((None, "float16")))
        return
    options: dict[str, Any] = chance.choice(
        (
            {},
            {},
            {"torch_dtype": "auto"},
            {"low_cpu_mem_usage": False},
            {"torch_dtype": torch.bfloat16},
            {"ignore_mismatched_sizes": True},
            {"variant": "fp16"} if chance.random() < 0.1 else {},
        )
    )
    others = good.get(folder.name, good["tiny-sd"]) if component else {}
    passed = {} if options else {n: part for n, part in others.items() if n != component}
    if kind == "bin":
        options["use_safetensors"] = False
    _draw(dpnb.DiffusionPipeline.from_pretrained(str(folder), **options, **passed))


def _draw(pipe: Any) -> None:
    pipe.set_progress_bar_config(disable=True)
    arguments = {"num_inference_steps": 2, "height": 16, "width": 16, "output_type": "np"}
    images = pipe("a red fox", generator=torch.Generator().manual_seed(0), **arguments).images
    if not np.isfinite(images).all():
        raise NotFiniteError


def _adapt(folder: Path, file: str, parts: Mapping[str, Any]) -> None:
    pipe: Any = dpnb.StableDiffusionPipeline(**parts)
    source = folder / file if "/" not in file else folder / "peft"
    names = {} if "/" not in file else {"weight_name": "adapter_model.safetensors"}
    pipe.load_lora_weights(source, adapter_name="style", **names)
    _draw(pipe)


def _show(shown: Any) -> None:
    from rich.console import Console

    with Console(quiet=True, width=100) as console:
        console.print(shown)
    shown._repr_html_()


def _read_plan(path: Path) -> None:
    table = PlanTable.load(path)
    _show(table)
    table.within(10**6)
    _ = table.front


def _read_report(path: Path) -> None:
    report = Report.load(path)
    _show(report)
    _ = report.front


def _read_trace(path: Path) -> None:
    trace = Trace.load(path)
    _show(trace)
    _ = trace.peak, trace.seconds_per_step


def _read_prompts(path: Path) -> None:
    for drawing in read_prompts(path, Drawing("", "rain", 7, 2, 4.0, 32, 32)):
        drawing.record("tiny-sd")


RESULTS: Mapping[str, Callable[[Path], None]] = {
    "plan": _read_plan,
    "report": _read_report,
    "trace": _read_trace,
    "prompts": _read_prompts,
}
