"""Whether plans take their time in the order that was predicted.

Every plan of a model draws in turn, round after round, so that what else the machine does falls on
all of them alike. Kendall's tau counts the pairs of plans whose medians differ by more than a
tenth: 1 where all of them are in the predicted order, -1 where none is.

Run with `python -m tests.benchmarks.bench_order [rounds] [model] [link]`.
"""

from __future__ import annotations

import sys
import time
from itertools import combinations
from statistics import median
from typing import Any

import dpnb
from dpnb.planning.table import PlanRow
from dpnb.units import format_seconds

DIFFERENT = 1.1
"""One median over the other, from which on two plans differ."""


def timed(pipe: Any, row: PlanRow, workload: dpnb.Workload) -> float:
    """Seconds of a run, after switching."""
    with pipe.strategies.using(*row.plan):
        pipe(**workload.arguments())
        started = time.perf_counter()
        pipe(**workload.arguments())
        return time.perf_counter() - started


def tau(rows: list[PlanRow], seconds: list[float]) -> tuple[float, int]:
    """Kendall's tau, and how many pairs it counts."""
    agree = disagree = 0
    for one, other in combinations(range(len(rows)), 2):
        pair = sorted((seconds[one], seconds[other]))
        if pair[1] > DIFFERENT * pair[0]:
            predicted = rows[one].seconds - rows[other].seconds
            is_alike = predicted * (seconds[one] - seconds[other]) > 0
            agree, disagree = agree + is_alike, disagree + (not is_alike)
    count = agree + disagree
    return (agree - disagree) / max(count, 1), count


def bench(rounds: int, model: str, link: str) -> None:
    """Every plan of a model on the CPU, with offloading over a simulated link."""
    pipe: Any = (
        dpnb.DiffusionPipeline.from_pretrained(model)
        if "/" in model
        else dpnb.random_pipeline(model)
    )
    pipe.set_progress_bar_config(disable=True)
    workload = dpnb.Workload(steps=8)
    rows = list(dpnb.plan(pipe, workload=workload, device=f"simulated:{link}"))
    runs: list[list[float]] = [[] for _ in rows]
    for _ in range(rounds):
        for row, seen in zip(rows, runs, strict=True):
            seen.append(timed(pipe, row, workload))
    for row, seen in zip(rows, runs, strict=True):
        print(
            f"measured {format_seconds(median(seen)):>8}   least {format_seconds(min(seen)):>8}   "
            f"predicted {format_seconds(row.seconds):>8}   {row.name}"
        )
    for name, summary in (("medians", median), ("least times", min)):
        value, count = tau(rows, [summary(seen) for seen in runs])
        print(f"{model}: tau of {name} {value:.2f} over {count} pairs of {len(rows)} plans")


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    bench(int(given.get(0, "7")), given.get(1, "dpnb/emoji-64"), given.get(2, "2GiB/s"))
