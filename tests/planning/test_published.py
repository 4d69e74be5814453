"""Predictions beside what other people have measured on cards.

`published.toml` has the measurements, each with its source. Here are those that are whole runs of
diffusers' pipelines, or calls of its autoencoder, with shapes that are known here, all weights on
the card and no compiler. The quick ones are predicted always, all with DPNB_PUBLISHED=1, and the
table is printed by `DPNB_PUBLISHED=1 python -m pytest -s tests/planning/test_published.py`.
"""

from __future__ import annotations

from statistics import median

import pytest

from tests.planning.published_cases import ALL, list_cases
from tests.planning.published_points import GIB, Point
from tests.planning.published_rules import RULES
from tests.planning.published_runs import Prediction
from tests.source import ROOT

QUANTITIES = ("max_memory_allocated", "max_memory_reserved")

UNEXPLAINED = {"hf-sdxl-blog-vae-slicing-mem"}
"""Points that nothing here accounts for; they are in the table and in the median.

It is as if the UNet that an earlier row of that page compiles, 4.78 GiB, were still there: so it is
with the next rows, 20.21 and 19.91 GiB with offloads.
"""

ENCODING = 0.84
"""Of what encoding in float16 had reserved, so much is predicted, at the least."""

Row = tuple[Point, Prediction, Prediction | None]
"""A point, what is predicted, and that for dpnb's own pipeline."""


def list_rows(*, quick: bool) -> list[Row]:
    cases = (case for case in list_cases(QUANTITIES, "GiB") if case.is_quick or not quick)
    return [(one.point, one.predict(), one.own() if one.own else None) for one in cases]


def error(point: Point, nbytes: float) -> float:
    return nbytes / point.published - 1


def errors_of(rows: list[Row], *, is_reserved: bool) -> list[float]:
    """Without signs, of the points of one quantity."""
    return [abs(error(p, p.chosen(f))) for p, f, _ in rows if p.is_reserved is is_reserved]


def errors_by(rule: str, rows: list[Row]) -> list[tuple[float, float]]:
    """Likewise by a rule, of the points of which it says something; and ours of these."""
    said = [(p, f, RULES[rule](p, f)) for p, f, _ in rows]
    return [
        (abs(error(p, nbytes)), abs(error(p, p.chosen(f))))
        for p, f, nbytes in said
        if nbytes is not None
    ]


def format_table(rows: list[Row]) -> str:
    """Points by name, published, predicted, and what simple rules say, in GiB."""
    lines = [
        f"{'GiB':48} published predicted  error  tensors  our own  "
        + "  ".join(f"{name:>11}" for name in RULES)
    ]
    for point, found, own in rows:
        numbers: list[float | None] = [None if own is None else point.chosen(own)]
        numbers += [rule(point, found) for rule in RULES.values()]
        shown = ["" if one is None else f"{one / GIB:.3f}" for one in numbers]
        lines.append(
            f"{point.name:48} {point.published / GIB:9.3f} {point.chosen(found) / GIB:9.3f} "
            f"{error(point, point.chosen(found)):6.1%} {found.tensors / GIB:8.3f} {shown[0]:>8}  "
            + "  ".join(f"{one:>11}" for one in shown[1:]).rstrip()
        )
    for is_reserved, word in ((False, "allocated"), (True, "reserved")):
        if errors := errors_of(rows, is_reserved=is_reserved):
            lines.append(f"median error of {word}: {median(errors):.2%} of {len(errors)} points")
    for name in RULES:
        if pairs := errors_by(name, rows):
            theirs, ours = (median(one) for one in zip(*pairs, strict=True))
            lines.append(f"by {name}: {theirs:.0%} of {len(pairs)} points, ours {ours:.1%} there")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    found = list_rows(quick=not ALL)
    print("\n" + format_table(found))
    return found


def test_the_median_error_of_what_is_allocated_is_below_a_twentieth(
    rows: list[Row],
) -> None:
    errors = errors_of(rows, is_reserved=False)
    assert len(errors) >= 15
    assert median(errors) <= 0.05
    assert median(errors) <= 0.005, "as well as it is now"


def test_the_median_error_of_what_is_reserved_is_below_a_tenth(
    rows: list[Row],
) -> None:
    errors = errors_of(rows, is_reserved=True)
    assert len(errors) >= 15
    assert median(errors) <= 0.10


@pytest.mark.skipif(not ALL, reason="README tells of all points: DPNB_PUBLISHED=1")
def test_readme_tells_what_is_found(rows: list[Row]) -> None:
    told = " ".join((ROOT / "README.md").read_text().split())
    assert f"{len(rows)} measurements that other people have published" in told
    for is_reserved, word in ((False, "allocated"), (True, "reserved")):
        errors = errors_of(rows, is_reserved=is_reserved)
        assert f"of {len(errors)} points *{word}*" in told
        digits = 1 if is_reserved else 2
        assert f"median error {100 * median(errors):.{digits}f} %" in told


@pytest.mark.skipif(not ALL, reason="rules are of whole runs: DPNB_PUBLISHED=1")
def test_readme_tells_what_rules_say(rows: list[Row]) -> None:
    told = " ".join((ROOT / "README.md").read_text().split())
    for name in RULES:
        theirs, ours = (median(one) for one in zip(*errors_by(name, rows), strict=True))
        assert ours < theirs / 2
        assert f"{name.replace('×', ' × ')}: {100 * theirs:.0f} %" in told


@pytest.mark.skipif(not ALL, reason="whole runs: DPNB_PUBLISHED=1")
def test_our_own_pipelines_need_no_more(rows: list[Row]) -> None:
    pairs = [(found, own) for _, found, own in rows if own is not None]
    assert len(pairs) >= 10
    for found, own in pairs:
        assert own.memory.allocated <= 1.001 * found.memory.allocated


def test_nothing_fits_that_did_not(rows: list[Row]) -> None:
    """What is reserved, the upper end of what is needed, is not below what was measured."""
    for point, found, _ in rows:
        if point.name in UNEXPLAINED:
            continue
        is_known_to_be_less = point.is_reserved and "encode-float16" in point.name
        least = ENCODING if is_known_to_be_less else 0.98
        assert found.memory.reserved >= least * point.published, point.name


def test_tensors_alone_say_less(rows: list[Row]) -> None:
    """What workspaces and the allocator add is most of the error of counting tensors alone."""
    plain = [abs(error(p, found.tensors)) for p, found, _ in rows]
    ours = [abs(error(p, p.chosen(found))) for p, found, _ in rows]
    assert median(plain) > 3 * median(ours)
