"""What components that dpnb did not write can do by themselves is planned for, where it serves."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

import dpnb
from dpnb.metering.tensors import TensorMeter
from dpnb.planning.candidates import ALTERNATIVES, list_candidates
from dpnb.planning.planner import plan
from dpnb.planning.table import PlanTable
from dpnb.planning.ties import TIE
from dpnb.planning.weight_sizes import idle_weight_bytes
from dpnb.strategies.component_switches import ComponentFusion, ComponentSlicing, ComponentTiling
from dpnb.strategies.strategy import Strategy
from tests.reference.checkpoints import pipeline
from tests.reference.foreign import wan

LINK = "simulated:64GiB/s"

SIDE = 384
"""Pixels: more than a tile of Wan's autoencoder has."""


@pytest.fixture
def film() -> Any:
    case = next(case for case in wan.CASES if case.name == "WanPipeline")
    return case.build()


def plans_of(pipe: Any, **options: Any) -> PlanTable:
    """Those of a short film that is larger than a tile."""
    return plan(pipe, height=SIDE, width=SIDE, frames=5, steps=2, device=LINK, **options)


def used(table: PlanTable) -> set[type[Strategy]]:
    """The classes of all strategies in a table."""
    return {type(strategy) for row in table for strategy in row.plan}


def test_only_where_a_network_is_foreign_its_own_switches_are_tried(film: Any) -> None:
    own = dpnb.random_pipeline("tiny-sd").strategies.networks
    kinds = {type(one) for one in list_candidates(own)}
    assert not kinds & {ComponentFusion, ComponentSlicing, ComponentTiling}
    foreign = [type(one) for one in list_candidates(dpnb.attach(film).strategies.networks)]
    assert {*foreign} > kinds
    assert foreign[-1] is ComponentSlicing, "they come last"


def test_what_fits_finds_the_autoencoder_s_own_tiles(film: Any) -> None:
    table = plans_of(film, approximate=True)
    assert ComponentTiling in used(table)
    whole, tiled = table.of().peak, table.of(ComponentTiling()).peak
    assert tiled < whole
    tight = table.within((tiled + whole) // 2)
    best = next(row for row in tight.fitting if ALTERNATIVES.isdisjoint(map(type, row.plan)))
    assert ComponentTiling() in best.plan
    assert tight.best().seconds <= (1 + TIE) * min(row.seconds for row in tight.fitting)
    studio = dpnb.attach(film)
    for row in (table.of(ComponentTiling()), tight.best()):
        table.apply(studio, row)
        rest = idle_weight_bytes(studio.strategies.networks)
        with dpnb.record(film, TensorMeter()) as trace:
            film("red apple", height=SIDE, width=SIDE, num_frames=5, num_inference_steps=2)
        assert trace.growth + rest == row.peak


def test_it_has_to_be_asked_for_because_it_changes_the_picture(film: Any) -> None:
    table = plans_of(film)
    assert ComponentTiling not in used(table)
    assert table.left_out["ComponentTiling"].endswith("ask for such plans with approximate.")


@pytest.fixture(scope="module")
def exchangeable() -> PlanTable:
    """Plans of a foreign pipeline whose networks dpnb has as well."""
    return plan(pipeline("sd1"), height=32, width=32, steps=2, device=LINK, approximate=True)


@pytest.mark.slow
def test_where_dpnb_s_own_network_does_it_better_that_is_taken(exchangeable: PlanTable) -> None:
    table = exchangeable
    assert dpnb.VaeTiling in used(table)
    assert not {ComponentTiling, ComponentFusion} & used(table)
    assert table.left_out["ComponentTiling"] == (
        "VaeTiling does it here, with a network of dpnb's own."
    )


def test_what_fails_in_a_run_is_left_out_and_the_others_are_planned(film: Any) -> None:
    class Torn(type(film.vae)):  # type: ignore[misc]
        def tiled_decode(self, z: Tensor, *given: Any, **named: Any) -> Any:
            if z.is_meta:
                return super().tiled_decode(z, *given, **named)
            raise ValueError("the tiles do not fit.")

    film.vae.__class__ = Torn
    table = plans_of(film, approximate=True)
    assert len(table) > 3
    assert ComponentTiling not in used(table)
    assert table.left_out["ComponentTiling"] == (
        "It can be switched on, but a run fails with it here: ValueError: the tiles do not fit."
    )


def test_what_cannot_be_switched_on_says_so(film: Any) -> None:
    class Torn(type(film.vae)):  # type: ignore[misc]
        def enable_tiling(self) -> None:
            raise NotImplementedError("no tiles of mine")

    film.vae.__class__ = Torn
    table = plans_of(film, approximate=True)
    assert ComponentTiling not in used(table)
    assert table.left_out["ComponentTiling"] == (
        "It cannot be switched on here: NotImplementedError: no tiles of mine."
    )
    given = plans_of(film, plans=[frozenset({ComponentTiling()}), frozenset()])
    assert [row.plan for row in given] == [frozenset()]
    assert "no tiles of mine" in given.left_out["ComponentTiling"]


@pytest.mark.slow
def test_what_is_exchanged_for_another_strategy_is_foreign_all_the_same(
    exchangeable: PlanTable,
) -> None:
    reason = exchangeable.left_out["ComponentSlicing"]
    assert reason == "Alone, this saves neither memory nor time here."
