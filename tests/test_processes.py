"""Two processes that were launched together share prompts and plans, and may be killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import dpnb
from dpnb.bench.report import Report
from dpnb.cli import app
from dpnb.processes import ALONE, Processes, init_processes

PROMPTS = ("red apple", "sun", "cat face")

DRAW = ["draw", "--prompts", "prompts.jsonl", "--steps", "2", "--device", "cpu"]

PLANS: list[Any] = [
    dpnb.VaeTiling(),
    dpnb.VaeTiling(spill=True),
    dpnb.QKVFusion(),
    dpnb.ConditioningCache(),
    dpnb.AttentionSlicing("max"),
    dpnb.SequentialOffload(device="simulated:8GiB/s"),
    [dpnb.ModelOffload(device="simulated:8GiB/s"), dpnb.VaeTiling(blended=True)],
]


def sweep_into(
    file: Path, repeats: int = 1, plans: Sequence[Any] = PLANS, processes: Processes = ALONE
) -> Report:
    """Measure plans, quickly or taking long over each."""
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
    pipe.set_progress_bar_config(disable=True)
    workload = dpnb.Workload(height=32, width=32, steps=1)
    return dpnb.sweep(
        pipe, plans, workload, repeats=repeats, path=file, progress=False, processes=processes
    )


TIMEOUT = 120

if __name__ == "__main__":
    app([*DRAW, "--out", "pictures"], standalone_mode=False)
    both = init_processes("cpu")
    sweep_into(Path("whole", "sweep.json"), plans=PLANS[:2], processes=both)
    sweep_into(Path("killed", "sweep.json"), repeats=60, processes=both)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def launch(folder: Path) -> list[subprocess.Popen[bytes]]:
    """Two processes with the environment that `accelerate launch` and `torchrun` give them."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = []
    for rank in range(2):
        given = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        with (folder / f"out-{rank}").open("wb") as out, (folder / f"err-{rank}").open("wb") as err:
            command = [sys.executable, __file__]
            started.append(subprocess.Popen(command, cwd=folder, env=given, stdout=out, stderr=err))
    return started


def measured(file: Path) -> int:
    """How many plans a file holds."""
    return len(Report.load(file)) if file.is_file() else 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have drawn and swept, and were killed in the middle of a sweep."""
    folder = tmp_path_factory.mktemp("two")
    lines = "\n".join(json.dumps({"prompt": prompt}) for prompt in PROMPTS)
    (folder / "prompts.jsonl").write_text(lines)
    parts = [folder / "killed" / f"sweep-process-{rank}.json" for rank in range(2)]
    processes = launch(folder)
    deadline = time.monotonic() + TIMEOUT
    try:
        while any(measured(part) < 1 for part in parts):
            failed = [one.returncode for one in processes if one.poll() is not None]
            errors = "".join((folder / f"err-{rank}").read_text() for rank in range(2))
            assert not failed, errors
            assert time.monotonic() < deadline, errors
            time.sleep(0.02)
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
    return folder


@pytest.mark.slow
def test_pictures_are_those_that_one_process_draws(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert CliRunner().invoke(app, [*DRAW, "--out", str(tmp_path)]).exit_code == 0
    alone = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    together = {file.name: file.read_bytes() for file in (folder / "pictures").iterdir()}
    assert len(alone) == len(PROMPTS)
    assert together == alone
    assert "Drew 3 pictures into pictures/" in (folder / "out-0").read_text()
    assert "by 2 processes" in (folder / "out-0").read_text()


@pytest.mark.slow
def test_only_the_main_process_speaks(folder: Path) -> None:
    assert (folder / "out-0").read_text()
    assert (folder / "out-1").read_text() == ""


@pytest.mark.slow
def test_the_plans_of_both_are_one_report(folder: Path) -> None:
    report = Report.load(folder / "whole" / "sweep.json")
    assert [one.name for one in report] == [
        "nothing switched on",
        "VaeTiling",
        "VaeTiling(spill=True)",
    ]
    assert [one.outcome for one in report] == ["finished"] * len(report)
    assert all((one.difference or 0) < 1e-4 for one in report)
    assert not list((folder / "whole").glob("sweep-process-*"))


@pytest.mark.slow
def test_a_sweep_that_was_killed_ends_with_the_same_report(folder: Path, tmp_path: Path) -> None:
    file = folder / "killed" / "sweep.json"
    parts = [Report.load(part) for part in file.parent.glob("sweep-process-*")]
    done = {one.plan: one for part in parts for one in part}
    assert 2 <= len(done) <= len(PLANS)

    resumed = sweep_into(file)
    whole = sweep_into(tmp_path / "sweep.json")
    for name in ("plan", "outcome", "peaks", "difference", "mean_difference"):
        assert values(resumed, name) == values(whole, name)
    assert {one.plan: one for one in resumed if one.plan in done} == done
    assert Report.load(file) == resumed
    assert not list(file.parent.glob("sweep-process-*"))


def values(report: Report, name: str) -> list[Any]:
    return [getattr(one, name) for one in report]


def test_shares_are_alike_and_lose_nothing() -> None:
    work = list(range(7))
    shares = [Processes(index, 3).share(work) for index in range(3)]
    assert sorted(one for share in shares for one in share) == work
    assert {len(share) for share in shares} == {2, 3}


def test_a_process_by_itself_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert init_processes() is ALONE
    assert ALONE.is_main
    assert ALONE.share([1, 2]) == ALONE.gather([1, 2]) == [1, 2]
    assert ALONE.agree(lambda: "so") == "so"
