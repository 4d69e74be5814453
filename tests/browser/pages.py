"""The notebook that browser tests open: a dashboard, a second panel, and what the kernel says."""

from __future__ import annotations

import json
from pathlib import Path

from dpnb.lab import page

STEPS = 60

SOURCE = f"""
import ipywidgets as w
import dpnb
from dpnb.pipelines.steps import Stage
from dpnb.pipelines.watching import RunListener

pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
pipe.set_progress_bar_config(disable=True)
board = dpnb.dashboard(pipe, dpnb.Request("a red apple", steps={STEPS}))
twin = dpnb.StrategyPanel(pipe)
twin.add_class("twin")

kernel = w.HTML()
kernel.add_class("kernel")


def tell(plan):
    kernel.value = "plan: " + "; ".join(sorted(map(repr, plan)))


stop_telling = pipe.strategies.subscribe(tell)


class Exhausted(RunListener):
    def begin_step(self, run, stage):
        if stage is Stage.DENOISING:
            leave()
            raise MemoryError("the last byte is gone")


def exhaust(_):
    global leave
    leave = pipe.watch(Exhausted())


button = w.Button(description="Exhaust memory in the next run")
button.on_click(exhaust)
w.VBox([board, twin, kernel, button])
"""


def write(folder: Path) -> Path:
    """Write the notebook, and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    notebook = page("dpnb/emoji-64")
    notebook["cells"][0]["source"] = SOURCE.strip().splitlines(keepends=True)
    file = folder / "board.ipynb"
    file.write_text(json.dumps(notebook))
    return file
