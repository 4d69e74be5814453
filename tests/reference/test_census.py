"""Some of the small foreign pipelines come out right in every way that the census tries."""

from __future__ import annotations

import pytest

from tests.reference.census import (
    FILE,
    GOOD,
    Finding,
    all_cases,
    read_table,
    select_cases,
    table,
    try_case,
)
from tests.reference.foreign.case import ForeignCase

NAMES = (
    "ZImagePipeline",
    "Flux2KleinPipeline",
    "QwenImagePipeline",
    "StableDiffusion3Pipeline",
    "SanaPipeline",
    "Lumina2Pipeline",
    "CogView4Pipeline",
    "KandinskyCombinedPipeline",
    "StableDiffusionXLControlNetPipeline",
    "WanPipeline (two transformers)",
    "DDIMPipeline",
    "StableAudioPipeline",
    "KolorsPipeline",
)

CASES = {case.name: case for case in all_cases()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_a_foreign_pipeline_is_the_same_attached_streamed_and_detached(name: str) -> None:
    finding = try_case(CASES[name])
    columns = (finding.attached, finding.streamed, finding.detached)
    assert columns == (GOOD,) * 3, finding
    assert float(finding.predicted) == pytest.approx(1, abs=0.01)


def test_every_case_has_a_name_of_its_own_and_a_row_in_the_table() -> None:
    names = [case.name for case in all_cases()]
    assert len(names) == len(set(names))
    assert len({name.partition(" ")[0] for name in names}) >= 60
    kept = FILE.read_text(encoding="utf-8")
    assert [name for name in names if f"\n| {name} |" not in kept] == []


def test_what_went_wrong_is_in_the_table() -> None:
    good = Finding("A", GOOD, GOOD, GOOD, "1.000")
    bad = Finding("B (odd)", GOOD, "off by 1e-1", GOOD, "0.5")
    refused = Finding("C", reasons=["it has no scheduler\nand more"])
    assert [one.is_good for one in (good, bad, refused)] == [True, False, False]
    text = table([good, bad, refused])
    assert "1 of 2 that run came out right" in text
    assert "| B (odd) | ✓ | off by 1e-1 | ✓ | 0.5 |" in text
    assert "it has no scheduler" in text
    assert table(read_table(text)) == text


def test_the_table_is_what_its_rows_say() -> None:
    kept = FILE.read_text(encoding="utf-8")
    assert table(read_table(kept)) == kept


def test_parts_of_the_census_are_all_of_it_and_a_name_is_a_class_or_a_case() -> None:
    cases = list(CASES.values())
    parts = [select_cases(cases, [f"{part}/3"]) for part in (1, 2, 3)]
    assert sorted(case.name for part in parts for case in part) == sorted(CASES)
    assert select_cases(cases, []) == cases
    assert len(select_cases(cases, ["WanPipeline"])) > 1
    named = select_cases(cases, ["WanPipeline (two transformers)", "KolorsPipeline"])
    assert {case.name for case in named} == {"WanPipeline (two transformers)", "KolorsPipeline"}


def test_a_case_can_be_built_twice_with_the_same_weights() -> None:
    case: ForeignCase = CASES["ZImagePipeline"]
    one, other = (case.build().transformer.state_dict() for _ in range(2))
    assert all(bool((one[name] == value).all()) for name, value in other.items())
