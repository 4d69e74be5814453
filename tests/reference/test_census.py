"""A dozen of the small foreign pipelines come out right in every way that the census tries."""

from __future__ import annotations

import pytest

from tests.reference.census import FILE, GOOD, Finding, all_cases, table, try_case
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
    refused = Finding("C", reasons=["it has no scheduler"])
    assert [one.is_good for one in (good, bad, refused)] == [True, False, False]
    text = table([good, bad, refused])
    assert "1 of 2 that run came out right" in text
    assert "| B (odd) | ✓ | off by 1e-1 | ✓ | 0.5 |" in text
    assert "it has no scheduler" in text


def test_a_case_can_be_built_twice_with_the_same_weights() -> None:
    case: ForeignCase = CASES["ZImagePipeline"]
    one, other = (case.build().transformer.state_dict() for _ in range(2))
    assert all(bool((one[name] == value).all()) for name, value in other.items())
