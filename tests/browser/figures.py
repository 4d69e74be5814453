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

COMPARED: list[Any] = [
    dpnb.VaeTiling(),
    dpnb.ConditioningCache(),
    dpnb.LayerwiseCasting(),
    dpnb.FreeU(),
    dpnb.FreeU(s1=0.99, s2=0.95, b1=1.02, b2=1.02),
    dpnb.VaeTiling(blended=True, tile=16),
    dpnb.PerturbedAttention(),
    dpnb.SequentialOffload(device="simulated:8GiB/s"),
    [dpnb.SequentialOffload(device="simulated:8GiB/s"), dpnb.LayerwiseCasting()],
    [dpnb.LayerwiseCasting(), dpnb.ConditioningCache()],
]
"""Plans whose pictures are compared; some change them."""


def main(folder: Path) -> None:
    """Measure every plan of the model inside, and write what the README shows of it."""
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
    pipe.set_progress_bar_config(disable=True)
    report = dpnb.sweep(pipe, workload=WORKLOAD, budget="20MiB", device=LINK)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in report.figures().items():
        figure.savefig(folder / f"{name}.png", dpi=150)
    drawn = dpnb.Workload(steps=20, guidance_scale=5.0)
    compared = dpnb.sweep(pipe, COMPARED, drawn, device="simulated:8GiB/s", quality=True)
    compared.figures()["picture"].savefig(folder / "picture.png", dpi=150)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
