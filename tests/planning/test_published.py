"""Predictions beside what other people have measured on cards.

`published.toml` has the measurements, each with its source. Here are those that are whole runs of
diffusers' pipelines, or calls of its autoencoder, with shapes that are known here, all weights on
the card and no compiler. The quick ones are predicted always, all with DPNB_PUBLISHED=1, and the
table is printed by `DPNB_PUBLISHED=1 python -m pytest -s tests/planning/test_published.py`.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest
import torch

from tests.planning.published_cases import ALL, list_cases
from tests.planning.published_points import GIB, Point
from tests.planning.published_runs import Prediction

QUANTITIES = ("max_memory_allocated", "max_memory_reserved")

UNEXPLAINED = {"hf-sdxl-blog-vae-slicing-mem"}
"""Points that nothing here accounts for; they are in the table and in the median.

It is as if the UNet that an earlier row of that page compiles, 4.78 GiB, were still there: so it is
with the next rows, 20.21 and 19.91 GiB with offloads.
"""

ENCODING = 0.84
"""Of what encoding in float16 had reserved, so much is predicted, at the least."""

INVOKE = 2200
"""Bytes of a decode for each byte of a pixel's number, by InvokeAI's rule for reserved memory."""


def list_rows(*, quick: bool) -> list[tuple[Point, Prediction]]:
    cases = list_cases(QUANTITIES, "GiB")
    return [(point, run()) for point, run, is_quick in cases if is_quick or not quick]


def error(point: Point, nbytes: float) -> float:
    return nbytes / point.published - 1


def format_table(rows: list[tuple[Point, Prediction]]) -> str:
    """Points by name, published, predicted, and what simple rules say, in GiB."""
    lines = [f"{'GiB':48} published predicted  error  tensors  weights×1.2  InvokeAI"]
    for point, found in rows:
        values = point.values
        simple = f"{1.2 * found.weights / GIB:11.2f}" if found.weights else " " * 11
        decode = values["switches"] == ["decode alone"] and point.is_reserved
        bytes_each = getattr(torch, values["dtype"]).itemsize if decode else 0
        rule = INVOKE * bytes_each * values["height"] * values["width"] if decode else 0
        lines.append(
            f"{point.name:48} {point.published / GIB:9.3f} {point.chosen(found) / GIB:9.3f} "
            f"{error(point, point.chosen(found)):6.1%} {found.tensors / GIB:8.3f}  {simple}  "
            + (f"{rule / GIB:8.2f}" if rule else "")
        )
    for is_reserved, word in ((False, "allocated"), (True, "reserved")):
        errors = [abs(error(p, p.chosen(f))) for p, f in rows if p.is_reserved is is_reserved]
        if errors:
            lines.append(f"median error of {word}: {median(errors):.2%} of {len(errors)} points")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def rows() -> list[tuple[Point, Prediction]]:
    found = list_rows(quick=not ALL)
    print("\n" + format_table(found))
    return found


def test_the_median_error_of_what_is_allocated_is_below_a_twentieth(
    rows: list[tuple[Point, Prediction]],
) -> None:
    errors = [abs(error(p, p.chosen(found))) for p, found in rows if not p.is_reserved]
    assert len(errors) >= 15
    assert median(errors) <= 0.05
    assert median(errors) <= 0.005, "as well as it is now"


def test_the_median_error_of_what_is_reserved_is_below_a_tenth(
    rows: list[tuple[Point, Prediction]],
) -> None:
    errors = [abs(error(p, p.chosen(found))) for p, found in rows if p.is_reserved]
    assert len(errors) >= 15
    assert median(errors) <= 0.10


@pytest.mark.skipif(not ALL, reason="README tells of all points: DPNB_PUBLISHED=1")
def test_readme_tells_what_is_found(rows: list[tuple[Point, Prediction]]) -> None:
    told = " ".join((Path(__file__).parents[2] / "README.md").read_text().split())
    assert f"{len(rows)} measurements that other people have published" in told
    for is_reserved, word in ((False, "allocated"), (True, "reserved")):
        errors = [abs(error(p, p.chosen(f))) for p, f in rows if p.is_reserved is is_reserved]
        assert f"of {len(errors)} points *{word}*" in told
        digits = 1 if is_reserved else 2
        assert f"median error {100 * median(errors):.{digits}f} %" in told


def test_nothing_fits_that_did_not(rows: list[tuple[Point, Prediction]]) -> None:
    """What is reserved, the upper end of what is needed, is not below what was measured."""
    for point, found in rows:
        if point.name in UNEXPLAINED:
            continue
        is_known_to_be_less = point.is_reserved and "encode-float16" in point.name
        least = ENCODING if is_known_to_be_less else 0.98
        assert found.memory.reserved >= least * point.published, point.name


def test_tensors_alone_say_less(rows: list[tuple[Point, Prediction]]) -> None:
    """What workspaces and the allocator add is most of the error of counting tensors alone."""
    plain = [abs(error(p, found.tensors)) for p, found in rows]
    ours = [abs(error(p, p.chosen(found))) for p, found in rows]
    assert median(plain) > 3 * median(ours)
