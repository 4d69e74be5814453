"""What decides a run beside what is asked for and switched on is known, and compared."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import dpnb
from dpnb.planning.picture_costs import PictureCosts
from dpnb.strategies.catalog import CATALOG
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.strategy import Strategy
from dpnb.widgets.history_costs import find_picture_costs
from dpnb.widgets.history_panel import HistoryPanel
from dpnb.widgets.picture_judge import Verdict
from dpnb.widgets.run_comparison import compare_runs
from dpnb.widgets.run_makeup import RunMakeup
from tests.widgets.histories import drawn


def set_scheduler(pipe: Any) -> None:
    kind = type(pipe.scheduler)
    pipe.scheduler = kind.from_config(pipe.scheduler.config, beta_schedule="linear")


def train(pipe: Any) -> None:
    with torch.no_grad():
        for parameter in pipe.unet.parameters():
            parameter.mul_(0.9)


def guide(pipe: Any) -> None:
    pipe.guidance = dpnb.PerturbedAttentionGuidance()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_scheduler, "other scheduler settings"),
        (lambda pipe: pipe.to(torch.bfloat16), "in bfloat16 instead of float32"),
        (lambda pipe: pipe.vae.to(torch.float64), "vae in float64 instead of float32"),
        (guide, "another guidance"),
        (train, "other weights in unet"),
        (lambda pipe: setattr(pipe, "vae", copy.deepcopy(pipe.vae)), "other weights in vae"),
    ],
)
def test_what_a_cell_has_changed_between_two_runs_is_said(change: Any, words: str) -> None:
    own: Any = dpnb.random_pipeline("tiny-sd")
    own.set_progress_bar_config(disable=True)
    panel = HistoryPanel(own)
    first = drawn(panel)
    change(own)
    found = compare_runs(drawn(panel, QKVFusion()), first)
    assert (found.must_match, found.badge, found.peak, found.seconds) == (False, "", None, None)
    assert str(found).endswith(words)
    first, last = panel.session.run_state.history
    panel.session.run_state.note_verdict(last, first, Verdict(0.5, 0.5))
    assert find_picture_costs(panel.session) == PictureCosts.of([])
    panel.close()


@pytest.mark.parametrize("strategy", [kind() for kind in CATALOG], ids=repr)
def test_what_is_switched_on_is_no_other_network(pipe: Any, strategy: Strategy) -> None:
    plain = RunMakeup.of(pipe)
    if pipe.strategies.obstacle(strategy) is None:
        with pipe.strategies.using(strategy):
            assert RunMakeup.of(pipe).list_differences(plain) == []
    assert RunMakeup.of(pipe) == plain
