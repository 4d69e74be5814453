"""Reuse between steps beside diffusers: the same pictures, and what it is reported to get wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import dpnb
from dpnb.strategies.step_cache import StepCache
from tests.reference.checkpoints import diffusers
from tests.reference.foreign.ltx import CASES as LTX
from tests.reference.foreign.wan import CASES as WAN
from tests.reference.step_cache_reports import REPORTS, Side, judge, make_sides

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

CASES = {case.name: case for case in (*WAN, *LTX)}


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Side]:
    return make_sides(tmp_path_factory.mktemp("flux"))


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.__name__)
def test_what_is_reported_of_caches_is_right_here(
    report: Callable[[Side], bool], sides: dict[str, Side]
) -> None:
    assert judge(report, sides["dpnb"]) == "right"


@pytest.mark.parametrize("threshold", [0.4, 0.8, 1.0])
def test_flux_draws_the_same_as_with_the_cache_of_diffusers(
    threshold: float, sides: dict[str, Side]
) -> None:
    pictures = []
    plain = sides["dpnb"].draw(num_inference_steps=8)
    for side in sides.values():
        side.switch_on(threshold)
        pictures.append(side.draw(num_inference_steps=8))
        side.network.disable_cache()
    torch.testing.assert_close(*pictures, rtol=0, atol=2e-5)
    assert ((pictures[0] - plain).abs().max() > 1e-3) == (threshold > 0.4)


@pytest.mark.parametrize("name", ["WanPipeline (two transformers)", "LTXPipeline"])
def test_an_attached_pipeline_draws_the_same_as_with_its_own_cache(name: str) -> None:
    """Wan calls each of its two networks once for either prompt in a step."""
    case = CASES[name]
    pipe = case.build()
    plain = case.draw(pipe)
    networks = [part for key, part in pipe.components.items() if key.startswith("transformer")]
    for network in networks:
        network.enable_cache(diffusers.FirstBlockCacheConfig(threshold=10.0))
    expected = case.draw(pipe)
    for network in networks:
        network.disable_cache()
    studio = dpnb.attach(pipe)
    studio.strategies.enable(StepCache(threshold=10.0, last=0))
    torch.testing.assert_close(case.draw(pipe), expected, rtol=1e-5, atol=1e-5)
    studio.strategies.use([])
    assert torch.equal(case.draw(pipe), plain)
    assert not torch.equal(expected, plain)


def test_a_cache_of_its_own_is_refused_beside() -> None:
    pipe: Any = CASES["LTXPipeline"].build()
    pipe.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=0.1))
    studio = dpnb.attach(pipe)
    obstacle = studio.strategies.obstacle(StepCache())
    assert obstacle is not None
    assert "disable_cache()" in obstacle
