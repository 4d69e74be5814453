"""The notebook that browser tests open: a dashboard, a second panel, and what the kernel says."""

from __future__ import annotations

import json
from pathlib import Path

from dpnb.lab import make_page

STEPS, HELD = 60, 3
"""Denoising steps of a run, and those after which one is held."""

SOURCE = f"""
import threading
import ipywidgets as w
import dpnb
from dpnb.stages import Stage
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import RunListener

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


class Exhausted(RunListener[Run]):
    def begin_step(self, run, stage):
        if stage is Stage.DENOISING:
            leave()
            raise MemoryError("the last byte is gone")


def exhaust(_):
    global leave
    leave = pipe.watch(Exhausted())


class Held(RunListener[Run]):
    def begin_run(self, run):
        self.begun = 0

    def begin_step(self, run, stage):
        self.begun += stage is Stage.DENOISING
        if self.begun == {HELD} + 1:
            free.wait()


free = threading.Event()
free.set()
pipe.watch(Held())
holding = w.HTML("Runs are free.")
holding.add_class("holding")


def set_held(change):
    free.clear() if change["new"] else free.set()
    holding.value = "Runs are held." if change["new"] else "Runs are free."


hold = w.Checkbox(description="Hold runs", indent=False)
hold.observe(set_held, "value")
button = w.Button(description="Exhaust memory in the next run")
button.on_click(exhaust)
w.VBox([board, twin, kernel, button, hold, holding])
"""


def write(folder: Path) -> Path:
    """Write the notebook, and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    notebook = make_page("dpnb/emoji-64")
    notebook["cells"][0]["source"] = SOURCE.strip().splitlines(keepends=True)
    file = folder / "board.ipynb"
    file.write_text(json.dumps(notebook))
    return file
