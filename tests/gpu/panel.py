"""What watching costs: pictures of the model inside with and without a dashboard, turn by turn."""

from __future__ import annotations

import time
from functools import partial

import dpnb
from tests.gpu.models import build_emoji
from tests.gpu.pictures import draw_emoji
from tests.gpu.rows import Rows
from tests.gpu.setting import Setting, missing

TABLE = "A dashboard, beside the same without one"

ROUNDS, DRY_ROUNDS = 9, 1


def measure(setting: Setting, rows: Rows) -> None:
    """The part."""
    if absent := missing("ipywidgets", "comm", "jupyter_client"):
        rows.leave_out("dashboards", f"{', '.join(absent)}: not installed")
        return
    import comm

    from tests.benchmarks.bench_panel import Packed
    from tests.benchmarks.compare import compare

    comm.create_comm = Packed
    watched, recorded, plain = (build_emoji(setting) for _ in range(3))
    board = dpnb.dashboard(watched)
    recording = dpnb.record(recorded)
    rounds = DRY_ROUNDS if setting.is_dry else ROUNDS
    with recording:
        for title, clock in (
            ("seconds", time.perf_counter),
            ("processor's seconds", time.process_time),
        ):
            for name, other in (("nothing", plain), ("a recording", recorded)):
                if setting.left < 2:
                    rows.leave_out(f"a dashboard beside {name}: {title}", "no time left")
                    continue
                steps = 2 if setting.is_dry else 20
                found = compare(
                    partial(draw_emoji, watched, steps),
                    partial(draw_emoji, other, steps),
                    rounds=rounds,
                    clock=clock,
                )
                rows.add(
                    TABLE,
                    beside=name,
                    clock=title,
                    median_seconds=sorted(found.ours)[rounds // 2],
                    other_seconds=sorted(found.theirs)[rounds // 2],
                    dashboard_ratio=found.ratio,
                )
    board.close()
