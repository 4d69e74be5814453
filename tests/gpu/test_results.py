"""Rows become tables, with what was predicted beside what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpnb.planning.gpu_specs import GPU_SPECS
from tests.gpu.plans import ALL_PLANS, plan_key
from tests.gpu.predictions import find_card
from tests.gpu.readme import BEGIN, END, README, describe, insert, main
from tests.gpu.results import DONE, PartResult, Results
from tests.gpu.rows import Row, Rows, read_rows
from tests.gpu.tables import render_table

TABLE = "sd15, 512 × 512, float16"

PREDICTED: Row = {
    "table": TABLE,
    "plan": "VaeTiling",
    "predicted_allocated_bytes": 3 << 20,
    "predicted_step_seconds": 0.05,
}

MEASURED: Row = {
    "table": TABLE,
    "plan": "VaeTiling",
    "allocated_bytes": 2 << 20,
    "step_seconds": 0.1,
    "decoding_seconds": 2.5,
}


@pytest.fixture
def results() -> Results:
    """Those of a card."""
    facts: list[Row] = [
        {"table": "Facts", "fact": "card", "value": "NVIDIA H200"},
        {"table": "Facts", "fact": "torch", "value": "2.11"},
    ]
    return Results(
        {
            "facts": PartResult("The card", DONE, rows=facts),
            "predictions": PartResult("What is predicted", DONE, rows=[PREDICTED]),
            "sd15": PartResult("Strategies", DONE, rows=[MEASURED]),
            "sdxl": PartResult("More strategies", "skipped: no time left"),
        }
    )


def test_a_measurement_stands_beside_its_prediction(results: Results) -> None:
    (row,) = results.rows_of(["sd15"])
    assert row["predicted_allocated_bytes"] == 3 << 20
    assert row["allocated_off_percent"] == pytest.approx(50)
    assert row["step_off_percent"] == pytest.approx(-50)
    assert "predicted_decoding_seconds" not in row
    assert "| VaeTiling | 2.00 MiB | 3.00 MiB | +50.0 % | 100 ms |" in results.to_markdown()


def test_a_prediction_of_another_plan_or_shape_is_none_of_this_one(results: Results) -> None:
    other: Row = {**MEASURED, "plan": "VaeSlicing"}
    elsewhere: Row = {**MEASURED, "table": "sdxl, 1024 × 1024, float16"}
    results.parts["sd15"].rows = [other, elsewhere]
    assert results.rows_of(["sd15"]) == [other, elsewhere]


def test_a_table_has_the_columns_of_all_its_rows() -> None:
    rows: list[Row] = [
        {"table": "a", "what": "x|y", "held_bytes": 1536},
        {"table": "a", "what": "z", "failed": "one\ntwo", "share_ratio": 0.5},
    ]
    assert render_table(rows).splitlines() == [
        "| what | held | failed | share |",
        "|---|---|---|---|",
        "| x\\|y | 1.50 KiB |  |  |",
        "| z |  | one two | 0.500 |",
    ]


def test_a_row_that_was_not_finished_is_no_row(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows")
    rows.add("a", value=1)
    with (tmp_path / "rows").open("a") as file:
        file.write('{"table": "a", "val')
    assert read_rows(tmp_path / "rows") == [{"table": "a", "value": 1}]


def test_the_readme_takes_its_tables(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nnothing yet\n{END}\nafter\n")
    for _ in range(2):
        assert main([str(tmp_path), "--readme", str(readme)]) == 0
        text = readme.read_text()
        assert text.startswith(f"before\n{BEGIN}\nMeasured on NVIDIA H200, some day (torch 2.11).")
        assert text.endswith(f"\n{END}\nafter\n")
        assert text.count(f"#### {TABLE}\n") == 1
        assert "More strategies (skipped: no time left)" in text
        assert "nothing yet" not in text
        assert "2.5 s" not in text


def test_this_readme_has_a_place_for_them(results: Results) -> None:
    text = insert(README.read_text(), describe(results))
    before, _, after = README.read_text().partition(f"{BEGIN}\n")
    assert text.startswith(before)
    assert text.endswith(after.partition(f"\n{END}")[2])


def test_a_dry_run_is_no_measurement_of_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="These results are not of a GPU"):
        describe(Results({}))
    with pytest.raises(ValueError, match="README has no lines"):
        insert("no place", "tables")
    with pytest.raises(ValueError, match="holds no results"):
        Results.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB"),
        ("NVIDIA GeForce RTX 3060 Ti", "RTX 3060 Ti"),
        ("NVIDIA L40S", "L40S"),
        ("Tesla T4", "T4"),
        ("a card of tomorrow", "H100 SXM"),
        ("", "H100 SXM"),
    ],
)
def test_a_driver_calls_a_card_otherwise_than_its_sheet(name: str, card: str) -> None:
    assert find_card(name) == card
    assert card in GPU_SPECS


def test_a_plan_is_named_whatever_it_streams_to() -> None:
    assert all(plan_key(plan) == name for name, plan in ALL_PLANS.items())
    assert not any("simulated" in name or "cuda" in name for name in ALL_PLANS)
    assert len(ALL_PLANS) > 25
