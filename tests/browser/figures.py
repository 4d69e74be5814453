"""Draw the README's figures of a sweep: `python -m tests.browser.figures [folder]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dpnb
from tests.browser.servers import ROOT

FOLDER = ROOT / "pictures"

WORKLOAD = dpnb.Workload(height=128, width=128, steps=8, batch=2)

LINK = "simulated:512MiB/s"


def main(folder: Path) -> None:
    """Measure every plan of the model inside, and write what the README shows of it."""
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
    pipe.set_progress_bar_config(disable=True)
    report = dpnb.sweep(pipe, workload=WORKLOAD, budget="20MiB", device=LINK)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in report.figures().items():
        figure.savefig(folder / f"{name}.png", dpi=150)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
