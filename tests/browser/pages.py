"""The notebook that browser tests open: a dashboard, a second panel, and what the kernel says."""

from __future__ import annotations

import json
from pathlib import Path

from dpnb.lab import make_page

STEPS, HELD = 60, 3
"""Denoising steps of a run, and those after which one is held."""

MANY = 75
"""Runs of a long session."""

OWN = """
pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
"""
"""Builds a pipeline of dpnb."""

FOREIGN = """
from tests.reference.checkpoints import pipeline
from tests.reference.foreign import wan

pipe = pipeline("sd1")
films = next(case for case in wan.CASES if case.name == "WanPipeline").build()
"""
"""Builds two that were not written here: one that draws pictures, and one that draws videos."""

FILMS = """
film = dpnb.RunPanel(
    films,
    dpnb.Request(
        "a red fox",
        steps=2,
        width=32,
        height=32,
        more=(("num_frames", 9), ("max_sequence_length", 24)),
    ),
)
film.add_class("film")
w.VBox([film])
"""
"""The panel of the one that draws videos."""

SOURCE = f"""
import threading
import ipywidgets as w
import dpnb
from dpnb.stages import Stage
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import RunListener

PIPE
pipe.set_progress_bar_config(disable=True)
board = dpnb.dashboard(pipe, dpnb.Request("a red apple", steps={STEPS}))
studio = board.session.pipe
twin = dpnb.StrategyPanel(pipe)
twin.add_class("twin")

kernel = w.HTML()
kernel.add_class("kernel")


def tell(plan):
    kernel.value = "plan: " + "; ".join(sorted(map(repr, plan)))


stop_telling = studio.strategies.subscribe(tell)


class Exhausted(RunListener[Run]):
    def begin_step(self, run, stage):
        if stage is Stage.DENOISING:
            leave()
            raise MemoryError("the last byte is gone")


def exhaust(_):
    global leave
    leave = studio.watch(Exhausted())


class Held(RunListener[Run]):
    def begin_run(self, run):
        self.begun = 0

    def begin_step(self, run, stage):
        self.begun += stage is Stage.DENOISING
        if self.begun == {HELD} + 1:
            free.wait()


free = threading.Event()
free.set()
studio.watch(Held())
holding = w.HTML("Runs are free.")
holding.add_class("holding")


def set_held(change):
    free.clear() if change["new"] else free.set()
    holding.value = "Runs are held." if change["new"] else "Runs are free."


def draw_many(_):
    def work():
        asked = dpnb.Request("a red apple", steps=1, height=32, width=32)
        for _ in range({MANY}):
            board.session.start(asked).wait()
        many.description = "Many are drawn"

    threading.Thread(target=work).start()


many = w.Button(description="Draw many")
many.on_click(draw_many)
hold = w.Checkbox(description="Hold runs", indent=False)
hold.observe(set_held, "value")
button = w.Button(description="Exhaust memory in the next run")
button.on_click(exhaust)
w.VBox([board, twin, kernel, button, many, hold, holding])
"""


def write(folder: Path, build: str = OWN, *others: str) -> Path:
    """Write the notebook, and return its file.

    Args:
        folder: where it is.
        build: Python that builds the pipeline.
        others: further cells.
    """
    folder.mkdir(parents=True, exist_ok=True)
    notebook = make_page("dpnb/emoji-64")
    [cell] = notebook["cells"]
    sources = [SOURCE.replace("PIPE", build.strip()), *others]
    notebook["cells"] = [
        {**cell, "id": f"cell-{number}", "source": source.strip().splitlines(keepends=True)}
        for number, source in enumerate(sources)
    ]
    file = folder / "board.ipynb"
    file.write_text(json.dumps(notebook))
    return file
