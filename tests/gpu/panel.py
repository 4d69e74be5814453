"""What watching costs: pictures of the model inside with and without a dashboard, turn by turn."""

from __future__ import annotations

import statistics
import time
from functools import partial

import dpnb
from tests.gpu.models import build_emoji
from tests.gpu.pictures import draw_emoji
from tests.gpu.rows import Rows
from tests.gpu.setting import Setting, missing

TABLE = "A dashboard, beside the same without one"

NOTHING, RECORDING = "nothing", "a recording"

COMPARISONS = (
    (NOTHING, "seconds", time.perf_counter),
    (RECORDING, "seconds", time.perf_counter),
    (NOTHING, "the processor's seconds", time.process_time),
)

ROUNDS, STEPS = 7, 20

DRY_ROUNDS, DRY_STEPS = 1, 2


def measure(setting: Setting, rows: Rows) -> None:
    """The part."""
    if absent := missing("ipywidgets", "comm", "jupyter_client"):
        rows.leave_out("dashboards", f"{', '.join(absent)}: not installed")
        return
    import comm

    from tests.benchmarks.bench_panel import Packed
    from tests.benchmarks.compare import compare

    comm.create_comm = Packed
    rounds, steps = (DRY_ROUNDS, DRY_STEPS) if setting.is_dry else (ROUNDS, STEPS)
    watched = build_emoji(setting)
    others = {name: build_emoji(setting) for name in (NOTHING, RECORDING)}
    board = dpnb.dashboard(watched)
    with dpnb.record(others[RECORDING]):
        for name, counted, clock in COMPARISONS:
            if setting.left < 3:
                rows.leave_out(f"a dashboard beside {name}: {counted}", "no time left")
                continue
            ours = partial(draw_emoji, watched, steps)
            theirs = partial(draw_emoji, others[name], steps)
            found = compare(ours, theirs, rounds=rounds, clock=clock)
            rows.add(
                TABLE,
                beside=name,
                clock=counted,
                median_seconds=statistics.median(found.ours),
                other_seconds=statistics.median(found.theirs),
                dashboard_ratio=found.ratio,
            )
    board.close()
