"""A step of every scheduler against diffusers': processor time on `[1, 4, 64, 64]`, one thread.

Run with `python -m tests.benchmarks.bench_schedulers [steps]`.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from typing import Any

import torch

from tests.reference.scheduler_cases import NAMES, Settings, pair, with_generator

VARIANTS: dict[str, list[Settings]] = {
    "DDIMScheduler": [{"clip_sample": False}],
    "PNDMScheduler": [{"skip_prk_steps": True}],
    "EulerDiscreteScheduler": [{"prediction_type": "v_prediction"}],
    "DPMSolverMultistepScheduler": [
        {"solver_order": 3, "use_karras_sigmas": True},
        {"algorithm_type": "sde-dpmsolver++"},
    ],
    "UniPCMultistepScheduler": [{"solver_order": 3}],
}


def seconds_per_step(scheduler: Any, steps: int) -> float:
    """Processor time of `scale_model_input` and `step`, with a model that costs nothing."""
    scheduler.set_timesteps(steps)
    sample, output = torch.randn(2, 1, 4, 64, 64).unbind()
    arguments = with_generator(scheduler, 0)
    started = time.process_time()
    for t in scheduler.timesteps:
        scheduler.scale_model_input(sample, t)
        sample = scheduler.step(output, t, sample, return_dict=False, **arguments)[0]
    return (time.process_time() - started) / len(scheduler.timesteps)


def measure(ours: Any, theirs: Any, steps: int, rounds: int = 20) -> tuple[float, float]:
    """Medians for the two, timed in turn: A B B A."""
    times: dict[int, list[float]] = {id(ours): [], id(theirs): []}
    for turn in range(rounds + 1):
        for way in (ours, theirs) if turn % 2 == 0 else (theirs, ours):
            times[id(way)].append(seconds_per_step(way, steps))
    return statistics.median(times[id(ours)][1:]), statistics.median(times[id(theirs)][1:])


def main(steps: int = 20) -> None:
    """Print a line per scheduler and variant: microseconds of a step, and the ratio."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"processor time of a step, in a run of {steps}")
    for name in NAMES:
        for settings in [{}, *VARIANTS.get(name, [])]:
            theirs, ours = pair(name, settings)
            mine, other = measure(ours, theirs, steps)
            words = ", ".join(f"{key}={value}" for key, value in settings.items())
            title = f"{name.removesuffix('Scheduler'):23}{words:40}"
            figures = f"dpnb {mine * 1e6:6.1f} µs   diffusers {other * 1e6:7.1f} µs"
            print(f"{title} {figures}   ratio {mine / other:.2f}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
