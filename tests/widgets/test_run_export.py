from __future__ import annotations

import csv
import io
import json
import zipfile
from dataclasses import replace
from typing import Any

import pytest

from dpnb.pipelines.settings.picture_files import read_settings
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.vae import VaeSlicing
from dpnb.widgets.picture_judge import Verdict
from dpnb.widgets.run_export import COLUMNS, runs_to_csv, runs_to_json, zip_runs
from dpnb.widgets.run_settings import list_picture_settings
from dpnb.widgets.session import Session
from dpnb.widgets.state import FinishedRun, Request
from tests.widgets.conftest import TIMEOUT, Gate

ASKED = Request('a "red", fox\nat night', "blue", 2, 4.5, 32, 32, seed=7, count=2)


@pytest.fixture
def runs(session: Session, gate: Gate) -> tuple[FinishedRun, ...]:
    """One with a switch on the way, one from a cell, and one that has failed."""
    session.measure_with("tensors")
    session.use(frozenset({VaeSlicing()}))
    job = session.start(replace(ASKED, more=(("eta", 0.5),)))
    gate.open()
    gate.reached(2)
    session.change(lambda plan: plan | {FreeU()})
    gate.open(1000)
    job.wait(TIMEOUT)
    session.pipe.make_run(prompt="a", num_inference_steps=1, width=32, height=32)()
    gate.fails_at = (next(iter(session.run_state.history[0].trace.steps)).stage, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        session.start(ASKED).wait(TIMEOUT)
    found: tuple[FinishedRun, ...] = session.run_state.history
    return found


def test_json_holds_what_was_asked_switched_and_measured(runs: tuple[FinishedRun, ...]) -> None:
    values = json.loads(runs_to_json(runs, {1: "first"}))
    first, cell, failed = values["runs"]
    done = runs[0].trace.runs[0]
    assert (first["number"], first["name"], first["outcome"]) == (1, "first", "finished")
    assert first["request"]["prompt"] == ASKED.prompt
    assert first["request"]["more"] == {"eta": 0.5}
    assert first["seeds"] == [7, 8]
    assert first["strategies"][0]["step"] == 0
    assert first["strategies"][0]["strategies"] == [VaeSlicing().to_json()]
    assert FreeU().to_json() in first["strategies"][1]["strategies"]
    assert (first["meter"], first["peak"], first["weights"]) == (
        "tensors",
        done.peak,
        runs[0].weights,
    )
    assert (
        first["peak_by_stage"].keys() == first["seconds_by_stage"].keys() == done.by_stage().keys()
    )
    assert [step["seconds"] for step in first["steps"]] == [step.duration for step in done.steps]
    assert (cell["request"], cell["seeds"], cell["name"]) == (None, [None], None)
    assert (failed["outcome"], failed["error"], failed["seeds"]) == ("failed", "ValueError: no", [])


def test_a_table_has_a_line_for_each_run(runs: tuple[FinishedRun, ...]) -> None:
    rows = list(csv.DictReader(io.StringIO(runs_to_csv(runs, {1: "first"}))))
    first, cell, failed = rows
    assert tuple(first) == COLUMNS
    assert (first["number"], first["name"], first["prompt"]) == ("1", "first", ASKED.prompt)
    assert (first["seeds"], first["count"], first["more"]) == ("7 8", "2", '{"eta": 0.5}')
    assert first["strategies"] == "VAE slicing"
    assert "FreeU" in first["switched"]
    assert first["switched"].startswith("from step ")
    assert float(first["peak_denoising_bytes"]) == runs[0].trace.by_stage()["denoising"].peak
    assert float(first["seconds"]) == runs[0].trace.runs[0].duration
    assert float(first["seconds_per_step"]) == runs[0].trace.seconds_per_step
    assert (cell["prompt"], cell["seeds"], cell["switched"]) == ("", "", "")
    assert {row["compared_with"] + row["flip"] for row in rows} == {""}
    found = list(csv.DictReader(io.StringIO(runs_to_csv(runs, None, {2: (1, Verdict(0.25, 0.9))}))))
    assert [row["compared_with"] for row in found] == ["", "1", ""]
    assert [row["flip"] for row in found] == ["", "0.25", ""]
    records = json.loads(runs_to_json(runs, None, {2: (1, Verdict(0.25, 0.9))}))["runs"]
    assert [record["flip"] for record in records] == [None, 0.25, None]
    assert (failed["outcome"], failed["seconds_decoding"]) == ("failed", "")


def test_no_runs_are_an_empty_table() -> None:
    assert runs_to_csv([]) == ",".join(COLUMNS) + "\n"
    assert json.loads(runs_to_json([]))["runs"] == []


def test_an_archive_holds_tables_and_pictures_with_their_settings(
    runs: tuple[FinishedRun, ...],
) -> None:
    content = zip_runs(runs)
    assert content == zip_runs(runs)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "runs.csv",
            "runs.json",
            "run-001-1.png",
            "run-001-2.png",
            "run-002-1.png",
        ]
        assert archive.read("runs.csv").decode() == runs_to_csv(runs)
        expected: Any = list_picture_settings(runs[0])
        assert read_settings(archive.read("run-001-2.png")) == expected[1]
        assert expected[1].seed == 8
