"""What watching costs: a picture of the emoji model with and without a dashboard, turn by turn.

Every message to a browser is packed and signed as a kernel does it; only the browser is missing.
Run with `python -m tests.benchmarks.bench_panel [rounds]`.
"""

from __future__ import annotations

import sys
from functools import partial
from time import perf_counter
from typing import Any

import comm
import torch
from comm.base_comm import BaseComm
from jupyter_client.session import Session as Wire

import dpnb
from dpnb.emoji import FOLDER
from dpnb.widgets.charts import run_chart
from tests.benchmarks.bench_emoji import draw
from tests.benchmarks.compare import compare


class Packed(BaseComm):
    """Packs every message for a browser that is not there.

    Attributes:
        sent: how many bytes there were, of all.
    """

    wire = Wire(key=b"benchmark")
    sent = 0

    def publish_msg(
        self,
        msg_type: str,
        data: Any = None,
        metadata: Any = None,
        buffers: Any = None,
        **keys: Any,
    ) -> None:
        content = {"data": data or {}, "comm_id": self.comm_id, **keys}
        message = self.wire.msg(msg_type, content=content, metadata=metadata)
        Packed.sent += sum(len(part) for part in self.wire.serialize(message))


if __name__ == "__main__":
    torch.set_num_threads(1)
    comm.create_comm = Packed
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    # The one that is loaded first draws by some hundredths slower, whatever is on it.
    first, watched, uncharted, recorded, plain = (
        dpnb.StableDiffusionPipeline.from_pretrained(FOLDER, dtype=torch.float32) for _ in range(5)
    )
    for pipe in (first, watched, uncharted, recorded, plain):
        pipe.set_progress_bar_config(disable=True)
    board = dpnb.dashboard(watched)
    others = [
        kind(uncharted)
        for kind in (dpnb.RunPanel, dpnb.StrategyPanel, dpnb.PlannerPanel, dpnb.HistoryPanel)
    ]
    recording = dpnb.record(recorded)
    recording.__enter__()
    for count in (1, 8):
        prompts = ["red apple"] * count
        Packed.sent = 0
        ours = partial(draw, watched, prompts)
        to_plain = compare(ours, partial(draw, plain, prompts), rounds=rounds)
        sent = Packed.sent / (rounds + 1) / 1024
        to_recorded = compare(ours, partial(draw, recorded, prompts), rounds=rounds)
        to_uncharted = compare(ours, partial(draw, uncharted, prompts), rounds=rounds)
        print(
            f"batch {count}: a dashboard / nothing {to_plain.ratio:.3f}, "
            f"a dashboard / a recording {to_recorded.ratio:.3f}, "
            f"a dashboard / its panels without charts {to_uncharted.ratio:.3f}, "
            f"{sent:.0f} KiB sent",
            flush=True,
        )
    trace = board.session.run_state.trace
    assert trace is not None
    started = perf_counter()
    for _ in range(100):
        run_chart(trace)
    print(f"one chart: {(perf_counter() - started) * 10:.2f} ms")
    for panel in (board, *others):
        panel.close()
